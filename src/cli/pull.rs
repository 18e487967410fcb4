//! `qwen-tui pull`: a model or a data set from a hub, by name.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use qwen_tui::args::models;
use qwen_tui::error::{Error, Result};
use qwen_tui::hub::client::{called, hidden};
use qwen_tui::hub::names::{DataSet, hub_first, model_repos};
use qwen_tui::hub::page::{Given, answer, perhaps_rows};
use qwen_tui::hub::{
    Caches, Failures, Hub, Layout, Look, OTHER_WAYS, PullOptions, Repo, Sort, looked_for, of_no_use,
};

use super::out;
use super::pulling::{Brought, INTERRUPTED, bring};

#[derive(Args)]
#[command(after_help = "\
ModelScope is asked first and Hugging Face where it does not have it; USE_HF=1 turns that round, --hub asks one alone. \
Only what a job needs is fetched: weights in safetensors, configuration, tokenizer, licence; of a data set its rows. It \
lies then where the hub's own Python tool finds it (docs/pull.md). Standard output has its directory. After Ctrl-C or a \
cut connection the same command goes on where it was.

Examples:
  qwen-tui pull qwen-1_8b
  qwen-tui pull Qwen/Qwen-1_8B-Chat --hub hf --to ~/models/chat
  qwen-tui pull jd-sentiment-zh")]
pub struct Arguments {
    /// A model type (qwen-1_8b), a data set's name (jd-sentiment-zh), or OWNER/NAME on a hub
    name: String,
    /// Ask this hub alone
    #[arg(long)]
    hub: Option<Named>,
    /// Branch, tag or commit
    #[arg(long)]
    revision: Option<String>,
    /// Put the files into this directory instead of the hub's cache
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// OWNER/NAME is a data set
    #[arg(long)]
    dataset: bool,
}

impl Arguments {
    fn is_models_name(&self) -> bool {
        let name = self.name.trim();
        models::by_type(name).or_else(|| models::by_id(name)).is_some()
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Named {
    Modelscope,
    Hf,
}

impl Named {
    fn hub(self) -> Hub {
        match self {
            Named::Modelscope => Hub::ModelScope,
            Named::Hf => Hub::Hf,
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<i32> {
    let repos = repos(arguments)?;
    let (there, looks) = if arguments.to.is_none() { look(&repos) } else { (None, Vec::new()) };
    if let Some((repo, dir, _)) = there.as_ref().filter(|(_, _, elsewhere)| *elsewhere) {
        // A second copy would only take room.
        out::note(&format!(
            "{} is here already, where another tool put it; --to DIR fetches it anew",
            called(repo)
        ));
        return out::line(&dir.display().to_string()).map(|()| 0);
    }
    let options = PullOptions { to: arguments.to.clone(), ..PullOptions::default() };
    match bring(&repos, &options)? {
        Brought::Here(repo, dir) => {
            out::note(&format!("{} is here and whole", called(&repo)));
            out::line(&dir.display().to_string()).map(|()| 0)
        }
        Brought::Stopped => Ok(INTERRUPTED),
        Brought::Failed(failures) => failed(failures, there, arguments, &repos, &looks),
    }
}

/// What is told, or taken, where no hub gave it; `there`: what is whole in a cache.
fn failed(
    failures: Failures,
    there: There,
    arguments: &Arguments,
    repos: &[Repo],
    looks: &[(Repo, Look)],
) -> Result<i32> {
    // What one hub says leaves open what another would.
    let ways = if failures.some_unreached { format!("\n{OTHER_WAYS}\n{BY_HAND}") } else { String::new() };
    if failures.unreached {
        let Some((repo, dir, _)) = there else {
            return Err(Error::from(failures).map(|message| unreached(&message, looks)));
        };
        out::note(&Error::from(failures).to_string());
        let what = called(&repo);
        out::note(&format!(
            "{what} is here from before, and whole; whether it is the newest was not to be learned"
        ));
        return out::line(&dir.display().to_string()).map(|()| 0);
    }
    let hint = if !failures.is_missing() {
        String::new()
    } else if !arguments.dataset && repos.iter().all(is_no_known_model) {
        format!("\n{}", perhaps_rows(&arguments.name, Given::Pull))
    } else if arguments.dataset && arguments.is_models_name() {
        format!("\n{} is a model: pull it without --dataset", arguments.name.trim())
    } else {
        String::new()
    };
    Err(Error::from(failures).map(|message| format!("{message}{}{hint}{ways}", of_no_use_in(looks))))
}

/// The message of hubs that nobody reached, with where it was looked for before, and what to do.
fn unreached(message: &str, looks: &[(Repo, Look)]) -> String {
    let looked = looks
        .iter()
        .map(|one| format!("\n{}{}", looked_for(&one.0), of_no_use_in(std::slice::from_ref(one))));
    let looked: String = looked.collect();
    format!("{message}{looked}\n{OTHER_WAYS}\n{BY_HAND}")
}

const BY_HAND: &str =
    "To bring it by hand, run this with --to DIR on a machine with a network, and copy DIR here";

/// What lies in the caches and cannot be used, with the reasons.
fn of_no_use_in(looks: &[(Repo, Look)]) -> String {
    looks.iter().flat_map(|(_, look)| of_no_use(look)).map(|line| format!("\n  {line}")).collect()
}

fn is_no_known_model(repo: &Repo) -> bool {
    repo.sort == Sort::Model && models::by_id(&repo.id).is_none()
}

/// What a look at the caches has come to: the first repository that is whole there, its directory, and whether that is
/// another than a pull would put it into.
type There = Option<(Repo, PathBuf, bool)>;

/// Looks for the repositories in the caches, until one is whole there.
fn look(repos: &[Repo]) -> (There, Vec<(Repo, Look)>) {
    let caches = Caches::here();
    let mut looks = Vec::new();
    for repo in repos {
        let mut look = caches.look(repo);
        if let Some(found) = look.found.take() {
            let place = caches.place(repo, found.revision.as_deref().unwrap_or_default());
            // Another layout, or another spelling of the name.
            let folder = |dir: &Path| dir.ancestors().nth(2).map(Path::to_owned);
            let elsewhere = found.layout == Layout::ModelScopeOld || folder(&place) != folder(&found.dir);
            return (Some((repo.clone(), found.dir, elsewhere)), looks);
        }
        looks.push((repo.clone(), look));
    }
    (None, looks)
}

/// The repositories that the name may mean, in the order in which they are asked.
fn repos(arguments: &Arguments) -> Result<Vec<Repo>> {
    let first = arguments.hub.map_or_else(|| hub_first(None), |named| Ok(named.hub()))?;
    let revision = arguments.revision.as_deref();
    let name = arguments.name.trim();
    let known = DataSet::by_name(name);
    let mut repos = match known {
        Some(set) => vec![Repo { revision: revision.map(str::to_owned), ..set.repo() }],
        None => model_repos(name, revision, first),
    };
    if known.is_none() && arguments.dataset {
        repos.iter_mut().for_each(|repo| repo.sort = Sort::Dataset);
    }
    if let Some(named) = arguments.hub {
        repos.retain(|repo| repo.hub == named.hub());
        if repos.is_empty() && known.is_some() {
            return Err(Error::user(format!("{name} is on no other hub than ModelScope")));
        }
    }
    if let Some(told) = answer(name, Given::Pull) {
        return Err(Error::user(told));
    }
    if repos.is_empty() {
        return Err(Error::user(format!(
            "{:?} is no model type, no data set that is known by name, and no OWNER/NAME on a hub: `qwen-tui pull \
             qwen-1_8b`, or the name as it stands on its page",
            hidden(name)
        )));
    }
    Ok(repos)
}
