//! What the address of a page names: the repository of that hub, at that revision.

use super::{Item, Shelf, absent, cached, named_family, rows};
use crate::args::models;
use crate::hub::caches::Caches;
use crate::hub::names::model_repos;
use crate::hub::repo::{Hub, Repo, Sort};
use crate::hub::url::repo_of;

/// What the page at the address in `text` names, where that is another revision than a hub's own: a copy of another one is
/// not it. Looks into the caches; none where `text` is no such address.
pub fn at_revision(text: &str) -> Option<Item> {
    let page = repo_of(text.trim()).filter(|page| page.revision.is_some())?;
    Some(of(&Caches::here(), &page))
}

pub(super) fn of(caches: &Caches, page: &Repo) -> Item {
    let known = models::by_id(&page.id).filter(|_| page.sort == Sort::Model);
    let name = known.and_then(|known| known.id).unwrap_or(&page.id);
    let repos = repos(name, page);
    let mut there: Vec<Item> = repos
        .iter()
        .filter_map(|repo| match repo.sort {
            Sort::Model => cached(caches, repo.clone()),
            Sort::Dataset => rows::cached(caches, repo),
        })
        .collect();
    there.sort_by_key(|item| !item.is_here());
    let item = there.into_iter().next().unwrap_or_else(|| Item {
        model_type: known.map(|known| known.model_type.to_owned()),
        family: known.map_or_else(String::new, |known| named_family(known.model_type)),
        ..absent(name, repos)
    });
    item.on_page(page)
}

/// The repositories that a hub would be asked for by a page: its own first.
fn repos(name: &str, page: &Repo) -> Vec<Repo> {
    let repos = model_repos(name, page.revision.as_deref(), page.hub).into_iter();
    repos.map(|repo| Repo { sort: page.sort, ..repo }).collect()
}

impl Item {
    /// The same as a page names it, where it is of that page: that hub comes first, at that revision.
    pub fn on_page(mut self, page: &Repo) -> Item {
        if self.sort != page.sort {
            return self;
        }
        if let (Shelf::Broken(_, _, asked) | Shelf::Absent(asked), Sort::Model) = (&mut self.place, self.sort)
        {
            *asked = repos(&self.name, page);
        }
        self.page = Some(page.clone());
        self
    }

    /// The command that fetches it, for what a job cannot name: from the hub that was `asked` and has it, else from
    /// that of its page, else from the only one that may.
    pub fn pull(&self, asked: Option<Hub>) -> String {
        let has = |hub: Hub| self.repos().iter().find(|repo| repo.hub == hub);
        match (asked.and_then(has), &self.page, self.repos()) {
            (Some(repo), _, _) | (None, Some(repo), _) | (None, None, [repo]) => crate::hub::page::pull(repo),
            _ => format!("qwen-tui pull {} --dataset", self.name),
        }
    }
}
