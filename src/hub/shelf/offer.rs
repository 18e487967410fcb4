//! What a hub would send for a name, before anything is fetched.

use crate::error::{Error, Result};
use crate::hub::client::{Listing, Network};
use crate::hub::names::files_of;
use crate::hub::pull::list_first;
use crate::hub::repo::{Hub, Repo, Sort};

/// What a hub has of what a job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub hub: Hub,
    /// Paths and bytes, where the hub tells them.
    pub files: Vec<(String, Option<u64>)>,
    /// Why it could not be used.
    pub problem: Option<&'static str>,
}

impl Offer {
    fn of(repo: &Repo, listing: &Listing) -> Offer {
        let known = files_of(repo);
        let files = listing.needed().filter(|f| known.is_empty() || known.contains(&f.path.as_str()));
        let has_rows = |f: &str| [".csv", ".jsonl", ".json"].iter().any(|end| f.ends_with(end));
        let problem = match repo.sort {
            Sort::Model if listing.has_weights() => None,
            Sort::Model if listing.has_pickles() => {
                Some("its weights are Python pickles alone, which nothing here loads")
            }
            Sort::Model => Some("it has no weights in safetensors"),
            Sort::Dataset if listing.needed().any(|f| has_rows(&f.path)) => None,
            Sort::Dataset => Some("it has no rows in a format that is read here (.csv, .jsonl, .json)"),
        };
        Offer { hub: repo.hub, files: files.map(|f| (f.path.clone(), f.size)).collect(), problem }
    }

    /// Bytes of all files that the hub tells them of; none where it tells them of no file.
    pub fn bytes(&self) -> Option<u64> {
        self.files.iter().filter_map(|(_, size)| *size).reduce(u64::saturating_add)
    }

    /// Whether the hub tells the bytes of each file.
    pub fn is_told_whole(&self) -> bool {
        self.files.iter().all(|(_, size)| size.is_some())
    }
}

/// What would be fetched of `repos`: asked of the first that answers. None where `cancelled` came first. Blocking; nothing
/// is fetched.
///
/// # Errors
/// What each of them said.
pub fn offer(repos: &[Repo], cancelled: &dyn Fn() -> bool) -> Result<Option<Offer>> {
    offer_by(repos, &Network::default(), cancelled)
}

/// [`offer`] by another way to the hubs. Nothing is tried again: whoever looks on has nothing to look at meanwhile.
///
/// # Errors
/// As [`offer`].
pub fn offer_by(repos: &[Repo], network: &Network, cancelled: &dyn Fn() -> bool) -> Result<Option<Offer>> {
    let listed = list_first(repos, &Network { retries: 0, ..network.clone() }, cancelled);
    if cancelled() {
        return Ok(None);
    }
    match listed {
        Ok((repo, listing)) => Ok(Some(Offer::of(&repo, &listing))),
        Err(failures) => Err(Error::User(format!("{}\nBy hand: docs/hub.md", Error::from(failures)))),
    }
}
