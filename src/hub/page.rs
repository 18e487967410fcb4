//! What is given for a name and is none: the address of a repository's page, as it is copied out of a browser, and a data
//! set's name in the place of a model's. Whoever is given one has the same answer from here.

use super::client::hidden;
use super::names::DataSet;
use super::repo::{Hub, Repo, Sort};
use super::url::Address;
use crate::args::models::is_id;
use crate::error::Error;

/// Where something was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// To `pull`.
    Pull,
    /// As `model_id_or_path`.
    Model,
    /// As `dataset`.
    Dataset,
}

impl Given {
    /// What a message about it begins with.
    fn key(self) -> &'static str {
        match self {
            Given::Pull => "",
            Given::Model => "model_id_or_path: ",
            Given::Dataset => "dataset: ",
        }
    }

    /// What may be given in the place of an address.
    fn instead(self) -> &'static str {
        match self {
            Given::Pull => "OWNER/NAME",
            Given::Model => "OWNER/NAME, or a directory",
            Given::Dataset => "a file of rows on this machine",
        }
    }
}

/// What to do instead, where `name` is an address, or the name of something else; none where it is a name like others.
pub fn answer(name: &str, given: Given) -> Option<String> {
    let (name, key) = (name.trim(), given.key());
    let page = match Address::of(name) {
        Some(Address::Repository(page)) => page,
        Some(Address::Other(hub, what)) => return Some(format!("{key}{}", none_of(name, hub, what))),
        None if name.contains("://") => return Some(format!("{key}{}", unknown(name, given.instead()))),
        None => {
            let set = DataSet::by_name(name).filter(|_| given == Given::Model)?;
            return Some(format!("{key}{name} is the name of a data set: {}", trained_on(set)));
        }
    };
    let name = hidden(name);
    let what = match page.sort {
        Sort::Model => "a model's page",
        Sort::Dataset => "a data set's page",
    };
    let is = format!("{name} is the address of {what}");
    Some(match (given, page.sort) {
        (Given::Pull, _) => format!("{is}; pull it by its name: `{}`", pull(&page)),
        (Given::Model, Sort::Model) => format!("{key}{is}; name the model: {}", model(&page)),
        (Given::Model, Sort::Dataset) => format!("{key}{is}, which holds rows. {}", rows(&page)),
        (Given::Dataset, Sort::Dataset) => format!("{key}{is}. {}", rows(&page)),
        (Given::Dataset, Sort::Model) => {
            format!("{key}{is}; name the model: {}, and the rows with --dataset", model(&page))
        }
    })
}

/// Why an address of a hub's names nothing that could be had, and of an address that is none of a hub's; none where it names
/// something, or is no address.
pub fn nothing_at(address: &str) -> Option<String> {
    let address = address.trim();
    match Address::of(address) {
        Some(Address::Other(hub, what)) => Some(none_of(address, hub, what)),
        None if address.contains("://") => Some(unknown(address, Given::Pull.instead())),
        _ => None,
    }
}

fn unknown(address: &str, instead: &str) -> String {
    format!(
        "{} is no address of a hub that is known here (MODELSCOPE_DOMAIN and HF_ENDPOINT name other servers): give {instead}",
        hidden(address)
    )
}

fn none_of(address: &str, hub: Hub, what: Option<&str>) -> String {
    let is = match what {
        Some(what) => format!("is the address of {what}: no model and no data set"),
        None => format!("is an address of {hub}'s that names no model and no data set"),
    };
    format!("{} {is}. They are named OWNER/NAME, as it stands on their page", hidden(address))
}

/// What may be meant by a name of the form `owner/name` that is no model's on any hub.
pub fn perhaps_rows(id: &str, given: Given) -> String {
    let id = id.trim();
    match (given, DataSet::by_id(id)) {
        (Given::Pull, _) => format!("Where {id} is a data set, add --dataset"),
        (_, Some(set)) => format!("{id} is a data set: {}", trained_on(set)),
        (_, None) => {
            let command = format!("qwen-tui pull {id} --dataset --to DIR");
            format!("Where {id} is a data set: {}", fetched(&command))
        }
    }
}

/// Why `name` is no data set of a job: `e`, with what it may be on a hub.
pub fn no_rows(name: &str, e: Error) -> Error {
    match DataSet::by_id(name) {
        Some(set) => Error::user(format!("dataset: {name} is called {} here", set.name)),
        None if is_id(name) => e.map(|e| format!("{e}. {}", perhaps_rows(name, Given::Dataset))),
        None => e,
    }
}

/// How a job is given a data set that lies on a hub.
fn rows(repo: &Repo) -> String {
    match DataSet::by_id(&repo.id).filter(|set| set.repo().hub == repo.hub && repo.revision.is_none()) {
        Some(set) => trained_on(set),
        None => fetched(&format!("{} --to DIR", pull(repo))),
    }
}

fn trained_on(set: &DataSet) -> String {
    format!("--dataset {} trains on it", set.name)
}

fn fetched(command: &str) -> String {
    format!("`{command}` fetches it; then name its files: --dataset DIR/FILE")
}

/// The arguments that name a model.
fn model(repo: &Repo) -> String {
    let hub = if repo.hub == Hub::Hf { " --hub hf" } else { "" };
    let revision = repo.revision.as_ref().map(|revision| format!(" --model_revision {}", quoted(revision)));
    format!("--model_id_or_path {}{hub}{}", repo.id, revision.unwrap_or_default())
}

/// The command that pulls it.
pub(super) fn pull(repo: &Repo) -> String {
    let dataset = if repo.sort == Sort::Dataset { " --dataset" } else { "" };
    let hub = match repo.hub {
        Hub::ModelScope => "modelscope",
        Hub::Hf => "hf",
    };
    let revision = repo.revision.as_ref().map(|revision| format!(" --revision {}", quoted(revision)));
    format!("qwen-tui pull {}{dataset} --hub {hub}{}", repo.id, revision.unwrap_or_default())
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./+@:".contains(c);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_is_given_for_decides_the_answer() {
        let rows = "https://huggingface.co/datasets/you/rows/tree/refs%2Fpr%2F1";
        let pull = "`qwen-tui pull you/rows --dataset --hub hf --revision refs/pr/1";
        assert!(answer(rows, Given::Pull).unwrap().ends_with(&format!("{pull}`")));
        for (given, key) in [(Given::Model, "model_id_or_path: "), (Given::Dataset, "dataset: ")] {
            let told = answer(rows, given).unwrap();
            assert!(told.starts_with(key) && told.contains(&format!("{pull} --to DIR`")), "{told}");
            assert!(told.ends_with("--dataset DIR/FILE"), "{told}");
        }
        let known = "modelscope.cn/datasets/DAMO_NLP/jd/files";
        assert!(answer(known, Given::Dataset).unwrap().ends_with("--dataset jd-sentiment-zh trains on it"));
        let model = answer("hf.co/Qwen/Qwen-1_8B", Given::Dataset).unwrap();
        assert!(
            model.starts_with("dataset: ") && model.contains("--model_id_or_path Qwen/Qwen-1_8B --hub hf")
        );
        assert_eq!(answer("Qwen/Qwen-1_8B", Given::Model), None);
        let told = answer("jd-sentiment-zh", Given::Model).unwrap();
        assert!(told.contains("is the name of a data set: --dataset jd-sentiment-zh trains on it"), "{told}");
        assert_eq!(answer("jd-sentiment-zh", Given::Dataset), None);
        for (given, instead) in [(Given::Pull, "OWNER/NAME"), (Given::Dataset, "a file of rows")] {
            let told = answer("https://me:seKret@example.com/a/b", given).unwrap();
            assert!(told.contains("https://…@example.com/a/b is no address of a hub"), "{told}");
            assert!(told.contains(instead), "{told}");
            let told = answer("https://me:seKret@huggingface.co/spaces/a/b", given).unwrap();
            assert!(
                told.contains("is the address of a space, a program") && !told.contains("seKret"),
                "{told}"
            );
        }
        assert!(perhaps_rows("damo_nlp/jd", Given::Model).contains("--dataset jd-sentiment-zh"));
        assert!(perhaps_rows("a/b", Given::Model).contains("`qwen-tui pull a/b --dataset --to DIR`"));
    }

    #[test]
    fn what_is_suggested_can_be_given_to_a_shell() {
        assert_eq!(quoted("refs/pr/1"), "refs/pr/1");
        assert_eq!(quoted("$(x)'"), r"'$(x)'\'''");
    }
}
