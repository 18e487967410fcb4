//! What is given for a name and is none: the address of a repository's page, as it is copied out of a browser, and a data
//! set's name in the place of a model's. Whoever is given one has the same answer from here.

use super::names::DataSet;
use super::repo::{Hub, Repo, Sort};
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

/// What to do instead, where `name` is the address of a page; none where it is no such address.
pub fn answer(name: &str, given: Given) -> Option<String> {
    let name = name.trim();
    let page = repo_of(name)?;
    let what = match page.sort {
        Sort::Model => "a model's page",
        Sort::Dataset => "a data set's page",
    };
    let is = format!("{name} is the address of {what}");
    Some(match (given, page.sort) {
        (Given::Pull, _) => format!("{is}; pull it by its name: `{}`", pull(&page)),
        (Given::Model, Sort::Model) => format!("model_id_or_path: {is}; name the model: {}", model(&page)),
        (Given::Model, Sort::Dataset) => format!("model_id_or_path: {is}, which holds rows. {}", rows(&page)),
        (Given::Dataset, Sort::Dataset) => format!("dataset: {is}. {}", rows(&page)),
        (Given::Dataset, Sort::Model) => {
            format!("dataset: {is}; name the model: {}, and the rows with --dataset", model(&page))
        }
    })
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

/// A part of an address without its percent signs; itself where one of them stands for nothing.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, more @ ..] = rest {
        let code = match (first, more) {
            (b'%', [high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                digit(high).zip(digit(low)).map(|(high, low)| (high * 16 + low) as u8)
            }
            (b'%', _) => None,
            _ => Some(*first),
        };
        let Some(code) = code else { return part.to_owned() };
        bytes.push(code);
        rest = if *first == b'%' { &more[2..] } else { more };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| part.to_owned())
}

/// The repository whose page, or a page beneath it, is at this address; none where it is no such address.
pub fn repo_of(address: &str) -> Option<Repo> {
    let whole = address.trim();
    let (scheme, rest) = whole.split_once("://").unwrap_or(("https", whole));
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let host = parts.next()?.to_ascii_lowercase();
    let hub = match host.strip_prefix("www.").unwrap_or(&host) {
        "huggingface.co" | "hf.co" | "hf-mirror.com" => Hub::Hf,
        "modelscope.cn" | "modelscope.ai" => Hub::ModelScope,
        _ => return None,
    };
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let mut parts = parts.peekable();
    let sort = if parts.next_if_eq(&"datasets").is_some() { Sort::Dataset } else { Sort::Model };
    // The pages of ModelScope's models lie under that; Hugging Face's, at the top.
    let _ = parts.next_if_eq(&"models");
    let id = format!("{}/{}", parts.next()?, parts.next()?);
    let named = parts.next().is_some_and(|page| ["tree", "blob", "resolve"].contains(&page));
    let revision = parts.next().filter(|_| named).map(decoded);
    let revision = revision.filter(|revision| revision != hub.default_revision());
    is_id(&id).then_some(Repo { hub, sort, id, revision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_its_repository() {
        let told = |address: &str| repo_of(address).map(|r| (r.hub, r.sort, r.id, r.revision));
        let (ms, hf, model, rows) = (Hub::ModelScope, Hub::Hf, Sort::Model, Sort::Dataset);
        for (address, hub, sort, id, revision) in [
            ("https://huggingface.co/Qwen/Qwen-1_8B", hf, model, "Qwen/Qwen-1_8B", None),
            ("https://huggingface.co/Qwen/Qwen-1_8B/tree/main", hf, model, "Qwen/Qwen-1_8B", None),
            ("hf.co/Qwen/Qwen-1_8B/blob/v1/config.json?x=1", hf, model, "Qwen/Qwen-1_8B", Some("v1")),
            ("https://huggingface.co/datasets/a/rows/tree/v2", hf, rows, "a/rows", Some("v2")),
            ("https://www.modelscope.cn/models/qwen/Qwen-1_8B/summary", ms, model, "qwen/Qwen-1_8B", None),
            ("https://modelscope.cn/models/qwen/Qwen-1_8B/files", ms, model, "qwen/Qwen-1_8B", None),
            ("http://modelscope.cn/datasets/DAMO_NLP/jd/#x", ms, rows, "DAMO_NLP/jd", None),
        ] {
            let expected = (hub, sort, id.to_owned(), revision.map(str::to_owned));
            assert_eq!(told(address), Some(expected), "{address}");
        }
        for none in
            ["https://huggingface.co", "https://example.com/a/b", "ftp://hf.co/a/b", "qwen/Qwen-1_8B", ""]
        {
            assert_eq!(told(none), None, "{none}");
        }
    }

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
        assert!(perhaps_rows("damo_nlp/jd", Given::Model).contains("--dataset jd-sentiment-zh"));
        assert!(perhaps_rows("a/b", Given::Model).contains("`qwen-tui pull a/b --dataset --to DIR`"));
    }

    #[test]
    fn what_is_suggested_can_be_given_to_a_shell() {
        for (part, told) in
            [("refs%2Fpr%2F1", "refs/pr/1"), ("a%20b", "a b"), ("%zz", "%zz"), ("50%", "50%"), ("%ff", "%ff")]
        {
            assert_eq!(decoded(part), told);
        }
        assert_eq!(quoted("refs/pr/1"), "refs/pr/1");
        assert_eq!(quoted("$(x)'"), r"'$(x)'\'''");
    }
}
