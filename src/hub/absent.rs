//! What is not on this machine, and what people are told of it.

use std::fmt::Write as _;

use super::caches::{Caches, Look};
use super::names::{DataSet, USE_HF};
use super::page::{Given, perhaps_rows};
use super::repo::{Hub, Repo, Sort};
use crate::args::models;
use crate::error::Error;

/// What the environment can change where no hub is reached.
pub const OTHER_WAYS: &str = "MODELSCOPE_DOMAIN and HF_ENDPOINT name other servers, HTTPS_PROXY a proxy, NO_PROXY what is asked without it";

/// What is not on this machine, and where it was looked for.
#[derive(Debug, Clone)]
pub struct Absent {
    /// The argument that names it.
    pub key: &'static str,
    /// Its name, as the arguments have it.
    pub name: String,
    /// Where it may be had, in the order in which the hubs are asked.
    pub repos: Vec<Repo>,
    /// What the look at the cache of each of them has come to.
    pub(super) looks: Vec<Look>,
}

impl Absent {
    /// Its name, with the id that it stands for where that is another.
    pub fn called(&self) -> String {
        let id = self.repos.first().map_or("", |repo| repo.id.as_str());
        match self.name.eq_ignore_ascii_case(id) {
            true => id.to_owned(),
            false => format!("{} ({id})", self.name),
        }
    }

    /// Where it may be had: `ModelScope, else from Hugging Face`.
    pub(super) fn hubs(&self) -> String {
        let hubs: Vec<String> = self.repos.iter().map(|repo| repo.hub.to_string()).collect();
        hubs.join(", else from ")
    }

    /// The line that says so before it is fetched.
    pub fn told(&self) -> String {
        format!("{}: not on this machine; fetching it from {}", self.called(), self.hubs())
    }

    /// The line that says so when a job is put into the queue.
    pub fn told_later(&self) -> String {
        format!("{} is not on this machine: the queue fetches it", self.called())
    }

    /// Why it cannot be had: `answers` is what the hubs said, a line each; none where none was asked.
    pub fn error(&self, answers: Option<&Error>) -> Error {
        let mut text = self.looked_in_vain(answers);
        let pickled = self.looks.iter().flat_map(|look| &look.unusable).any(|(_, why)| why.contains(".bin"));
        if !pickled {
            let _ = write!(text, "\n{}", self.by_hand());
        }
        Error::User(text)
    }

    /// The same where no hub has it, by what they said. What no table knows either cannot be brought by hand: perhaps it is
    /// something else.
    pub(super) fn nowhere(&self, answers: &Error) -> Error {
        match self.repos.first().filter(|repo| repo.sort == Sort::Model && models::by_id(&repo.id).is_none())
        {
            None => self.error(Some(answers)),
            Some(repo) => {
                let text = self.looked_in_vain(Some(answers));
                Error::User(format!("{text}\n{}", perhaps_rows(&repo.id, Given::Model)))
            }
        }
    }

    /// Where it was looked for, and what came of it.
    fn looked_in_vain(&self, answers: Option<&Error>) -> String {
        let mut text = String::new();
        let _ = write!(text, "{}: {} is not on this machine", self.key, self.called());
        text += if answers.is_none() { "." } else { " and could not be fetched." };
        for (repo, look) in self.repos.iter().zip(&self.looks) {
            let _ = write!(text, "\n  {}", looked_for(repo));
            of_no_use(look).for_each(|line| {
                let _ = write!(text, "\n    {line}");
            });
        }
        let answers = answers.map(Error::to_string).unwrap_or_default();
        for line in answers.lines() {
            let _ = write!(text, "\n  {line}");
        }
        if !answers.is_empty() {
            let _ = write!(text, "\n  ({OTHER_WAYS})");
        }
        text
    }

    /// How to bring the files without this machine's network.
    fn by_hand(&self) -> String {
        let id = self.repos.first().map_or(self.name.as_str(), |repo| repo.id.as_str());
        match self.repos.first().map(|repo| repo.sort) {
            Some(Sort::Dataset) => {
                let files = DataSet::by_name(&self.name).map_or_else(String::new, |set| {
                    format!("--dataset DIR/{} --custom_val_dataset_path DIR/{}", set.train, set.validation)
                });
                format!(
                    "To bring it by hand: `qwen-tui pull {} --to DIR` on a machine with a network, copy DIR \
                     here, and give {files}",
                    self.name
                )
            }
            _ => format!(
                "To bring it by hand: `qwen-tui pull {id} --to DIR` on a machine with a network, copy DIR here, and give \
                 --model_id_or_path DIR. {USE_HF}=1 or --hub hf asks Hugging Face first."
            ),
        }
    }
}

/// What lies in a cache and cannot be used, a line each with the reason.
pub fn of_no_use(look: &Look) -> impl Iterator<Item = String> {
    look.unusable.iter().map(|(dir, why)| {
        // Most reasons begin with the path that is missing.
        let place = if why.contains(&*dir.to_string_lossy()) {
            String::new()
        } else {
            format!("{}: ", dir.display())
        };
        format!("there, and of no use: {place}{why}")
    })
}

/// Where a repository was looked for on this machine, and what would name another place.
pub fn looked_for(repo: &Repo) -> String {
    format!(
        "looked for {}{} in {}'s cache {} ({} names another)",
        repo.id,
        repo.revision.as_ref().map_or(String::new(), |revision| format!(" at {revision}")),
        repo.hub,
        Caches::here().root(repo.hub).display(),
        cache_variable(repo.hub)
    )
}

pub(super) fn cache_variable(hub: Hub) -> &'static str {
    match hub {
        Hub::ModelScope => "MODELSCOPE_CACHE",
        Hub::Hf => "HF_HUB_CACHE or HF_HOME",
    }
}
