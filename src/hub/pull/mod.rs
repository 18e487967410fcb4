//! A repository of a hub, or what a job needs of it, brought onto this machine: whole or not at all.

mod ask;
mod failures;
mod fetch;
mod hash;
mod links;
mod plain_dir;
mod stage;
mod state;
mod target;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::absent::cache_variable;
use super::client::fault::{Fault, Kind};
use super::client::{self, Client, Listing, Network, RemoteFile, called, until};
use super::page;
use super::{Repo, Sort};
use crate::error::{Error, Result};
use crate::human;
use crate::run::free_bytes;
use ask::Ask;
use failures::left;
use fetch::Job;
use stage::Staging;
use state::Shared;
use target::Target;

pub use failures::Failures;
pub use state::{FileProgress, FileState, Progress, Stage};

/// Files that are fetched at once.
pub(super) const AT_ONCE: usize = 4;
/// Bytes that are left free beside what is fetched.
const SPARE: u64 = 16 << 20;

/// What is pulled where.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// A directory of its own; not set: the cache of the hub's tool.
    pub to: Option<PathBuf>,
    /// These files alone; none: what a job needs.
    pub files: Vec<String>,
    /// For a job, whose arguments name places in other words than those of `qwen-tui pull`.
    pub for_job: bool,
    pub network: Network,
}

impl PullOptions {
    /// How another place for `repo` is named.
    fn other_place(&self, repo: &Repo) -> String {
        let variable = cache_variable(repo.hub);
        match (self.for_job, repo.sort) {
            (false, _) => "--to".to_owned(),
            (true, Sort::Model) => {
                format!("{variable}, or by `{} --to DIR` and then --model_cache_dir DIR", page::pull(repo))
            }
            (true, Sort::Dataset) => variable.to_owned(),
        }
    }
}

/// Fetches what a job needs of `repo`, unless it is there already, and returns its directory. Several files come at once;
/// what a cut leaves is gone on with the next time. `told` hears ten times a second how far it is, on this thread;
/// `cancelled` ends it.
///
/// Blocking, on threads of its own; not to be called from an async task.
///
/// # Errors
/// `Error::NoRoom` on a full disk, `Error::User` with one message for whatever else came in between. Nothing is placed
/// then, and what has come stays for the next time.
pub fn pull(
    repo: &Repo,
    options: &PullOptions,
    told: &mut dyn FnMut(&Progress),
    cancelled: &dyn Fn() -> bool,
) -> Result<PathBuf> {
    let pulled = pull_first(std::slice::from_ref(repo), options, told, cancelled);
    pulled.map(|(_, dir)| dir).map_err(Error::from)
}

/// [`pull`] from the first of `repos` that has it. What the others say, who are asked where the first takes its time,
/// counts only after that.
///
/// # Errors
/// What each that was asked said. Only a hub that cannot be reached, is busy or ill, has no such repository or opens it to
/// nobody leads to the next.
pub fn pull_first(
    repos: &[Repo],
    options: &PullOptions,
    told: &mut dyn FnMut(&Progress),
    cancelled: &dyn Fn() -> bool,
) -> Result<(Repo, PathBuf), Failures> {
    first(repos, &options.network, async |ask, at| {
        whole((ask, at), &repos[at], options, told, cancelled).await.map(|dir| (repos[at].clone(), dir))
    })
}

/// What the first of `repos` that has it has, as [`pull_first`] would take it. Blocking; nothing is fetched.
///
/// # Errors
/// As [`pull_first`].
pub fn list_first(
    repos: &[Repo],
    network: &Network,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Repo, Listing), Failures> {
    first(repos, network, async |ask, at| {
        until(cancelled, &mut || {}, ask.of(at)).await.map(|(_, listing)| (repos[at].clone(), listing))
    })
}

/// What `get` has of the first of `repos`, or of the next one where that is no use, until one ends the matter.
fn first<T>(
    repos: &[Repo],
    network: &Network,
    mut get: impl AsyncFnMut(&mut Ask<'_>, usize) -> Result<T, Fault>,
) -> Result<T, Failures> {
    let mut failures = Failures::none();
    let got = client::run(async {
        let mut ask = Ask::new(repos, network);
        let mut turns: VecDeque<usize> = (0..repos.len()).collect();
        let mut early = Vec::new();
        while let Some(at) = turns.pop_front() {
            let fault = match get(&mut ask, at).await {
                Ok(got) => return Ok(Some(got)),
                Err(fault) => fault,
            };
            early.retain(|(earlier, _)| *earlier != at);
            let left = left(&repos[at], &fault);
            if fault.is_early {
                let asked = turns.front().is_some_and(|&next| ask.is_asked(next));
                let goes_on = if asked { "going on with" } else { "asking" };
                ask.notes.say(format!("{left}; {goes_on} the other hub first"));
                ask.be_patient(at);
                turns.push_back(at);
                early.push((at, fault));
            } else if failures.end_with(&repos[at], fault) {
                break;
            } else if let Some(&next) = turns.front() {
                let goes_on = match (ask.is_asked(next), early.iter().any(|(earlier, _)| *earlier == next)) {
                    (true, _) => format!("going on with {}", repos[next].hub),
                    (false, true) => format!("asking {} again", repos[next].hub),
                    (false, false) => format!("asking {}", repos[next].hub),
                };
                ask.notes.say(format!("{left}; {goes_on}"));
            }
        }
        early.into_iter().rev().for_each(|(at, fault)| failures.before(&repos[at], fault));
        Ok(None)
    });
    match got {
        Ok(Some(got)) => Ok(got),
        Ok(None) => Err(failures),
        Err(e) => {
            (failures.unreached, failures.missing) = (false, false);
            failures.all.extend(repos.first().map(|repo| (repo.hub, e)));
            Err(failures)
        }
    }
}

/// Pulls what the hub at this place of `ask` has of `repo`.
async fn whole(
    ask: (&mut Ask<'_>, usize),
    repo: &Repo,
    options: &PullOptions,
    told: &mut dyn FnMut(&Progress),
    cancelled: &dyn Fn() -> bool,
) -> Result<PathBuf, Fault> {
    let shared = Arc::new(Shared::new(ask.0.notes.clone()));
    let result = stages(ask, repo, options, &shared, &mut || told(&shared.progress()), cancelled).await;
    // What came last.
    told(&shared.progress());
    result.map_err(|fault| fault.with_place(&options.other_place(repo)))
}

async fn stages(
    (ask, at): (&mut Ask<'_>, usize),
    repo: &Repo,
    options: &PullOptions,
    shared: &Arc<Shared>,
    tick: &mut dyn FnMut(),
    cancelled: &dyn Fn() -> bool,
) -> Result<PathBuf, Fault> {
    let (client, mut listing) = until(cancelled, tick, ask.of(at)).await?;
    choose(&mut listing, repo, options)?;
    let target = Target::new(repo, options, &listing)?;
    shared.files(listing.needed());
    shared.stage(Stage::Checking);
    let mut open = until(cancelled, tick, target.missing(&listing, shared)).await?;
    if open.is_empty() && target.is_placed(&listing) {
        // Without a lock: the place may be one that only others write.
        return Ok(target.dir);
    }
    let (staging, waited) = until(cancelled, tick, enter(&target, shared)).await?;
    let staging = Arc::new(staging);
    target.recover(&listing, &staging);
    if waited {
        shared.stage(Stage::Checking);
        open = until(cancelled, tick, target.missing(&listing, shared)).await?;
    }
    open.iter().for_each(|file| shared.had(&file.path, staging.has(file)));
    if !open.is_empty() {
        check_room(&open, &staging)?;
        shared.stage(Stage::Fetching);
        tick();
        let fetched = until(cancelled, tick, fetch_all(&client, &listing, &open, &staging, shared)).await;
        // Where some of it lies at its place from before, the other hub would send all of it anew.
        let is_begun = open.len() < listing.needed().count();
        fetched.map_err(|fault| if is_begun { fault.of_begun() } else { fault })?;
    }
    shared.stage(Stage::Placing);
    tick();
    target.place(&listing, &open, &staging)?;
    staging.leave();
    Ok(target.dir)
}

/// Leaves only those files marked that were asked for, and refuses a repository that no job could use.
fn choose(listing: &mut Listing, repo: &Repo, options: &PullOptions) -> Result<(), Fault> {
    let refuse = |message: String| Err(Fault::new(Kind::Other, message));
    if !options.files.is_empty() {
        listing.files.iter_mut().for_each(|file| file.needed = options.files.contains(&file.path));
        if let Some(missing) =
            options.files.iter().find(|name| !listing.files.iter().any(|f| &f.path == *name))
        {
            let there: Vec<&str> = listing.files.iter().take(20).map(|file| file.path.as_str()).collect();
            return refuse(format!("{} has no file {missing}; it has {}", called(repo), there.join(", ")));
        }
        return Ok(());
    }
    match repo.sort {
        Sort::Model if !listing.has_weights() => refuse(match listing.has_pickles() {
            true => format!(
                "{} has its weights as Python pickles alone (.bin), which nothing here loads. Convert them once, in Python: \
                 AutoModelForCausalLM.from_pretrained(\"{}\", trust_remote_code=True).save_pretrained(DIR, \
                 safe_serialization=True), put its tokenizer's files beside them, and name DIR with --model_id_or_path",
                called(repo),
                repo.id
            ),
            false => format!("{} has no weights (*.safetensors): is it a model?", called(repo)),
        }),
        Sort::Model if !listing.needed().any(|file| file.path == "config.json") => {
            refuse(format!("{} has no config.json: it is no model in Hugging Face's layout", called(repo)))
        }
        Sort::Dataset if listing.needed().next().is_none() => refuse(format!(
            "{} has no rows in a format that is read here (.csv, .jsonl, .json)",
            called(repo)
        )),
        _ => Ok(()),
    }
}

/// Waits for whoever fetches the same; whether there was somebody.
async fn enter(target: &Target, shared: &Shared) -> Result<(Staging, bool), Fault> {
    let mut waited = false;
    loop {
        if let Some(staging) = Staging::enter(&target.staging)? {
            return Ok((staging, waited));
        }
        waited = true;
        shared.stage(Stage::Waiting);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// Refuses what would not fit.
fn check_room(open: &[RemoteFile], staging: &Staging) -> Result<(), Fault> {
    let wanted: u64 = open.iter().map(|file| file.size.unwrap_or(0).saturating_sub(staging.has(file))).sum();
    match free_bytes(staging.dir()) {
        Some(free) if free < wanted.saturating_add(SPARE) => {
            let short = wanted.saturating_add(SPARE) - free;
            let message = format!(
                "{} are to be fetched, {} are to stay free beside that, and {} are free where {} lies: free {} more there, or \
                 choose another disk",
                human::bytes(wanted),
                human::bytes(SPARE),
                human::bytes(free),
                staging.dir().display(),
                // Three digits are shown: rather more than too little.
                human::bytes(short.saturating_add(short / 100)),
            );
            Err(Fault::new(Kind::NoRoom, message).of_place())
        }
        _ => Ok(()),
    }
}

/// Fetches files, several at once, the largest first. The first that cannot be had ends it.
async fn fetch_all(
    client: &Arc<Client>,
    listing: &Listing,
    open: &[RemoteFile],
    staging: &Arc<Staging>,
    shared: &Arc<Shared>,
) -> Result<(), Fault> {
    let mut files: Vec<&RemoteFile> = open.iter().collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut parts = std::collections::HashSet::new();
    let mut tasks = JoinSet::new();
    for file in files {
        let (part, url) = (staging.part(file), client.file(listing, &file.path)?);
        if !parts.insert(part.clone()) {
            // The same under another name.
            shared.set(&file.path, file.size.unwrap_or(0), FileState::Done);
            continue;
        }
        // Every task holds the lock: none may write after another process has it.
        let (client, staging, shared) = (Arc::clone(client), Arc::clone(staging), Arc::clone(shared));
        let (turns, file) = (Arc::clone(&turns), file.clone());
        tasks.spawn(async move {
            let _turn = turns.acquire_owned().await;
            let job = Job { client: &client, url, file: &file, part: &part, shared: &shared };
            let fetched = job.fetch().await;
            drop(staging);
            fetched
        });
    }
    while let Some(done) = tasks.join_next().await {
        let fetched =
            done.unwrap_or_else(|e| Err(Fault::new(Kind::Other, format!("a task of the pull ended: {e}"))));
        if fetched.is_err() {
            tasks.shutdown().await;
            return fetched;
        }
    }
    Ok(())
}
