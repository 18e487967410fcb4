//! What a hub is asked: what a repository holds, and the bytes of a file.
//!
//! `hf-hub` 1.0 brings a client of Xet's with it and compares no checksums; `modelscope` 0.1 and `models-cat` 0.1 know no
//! tokens, no revisions of data sets and no time limits. What is needed of both hubs are few calls, which are made here.

mod address;
mod clock;
mod failed;
pub mod fault;
mod http;
mod huggingface;
mod listing;
mod modelscope;
mod network;
mod notes;
mod proxy;
mod questions;
mod refused;
mod strange;
mod text;

pub use address::{called, hidden, offline, server};
pub use http::{Answer, Client, Patience, host};
pub use listing::{Checksum, Listing, RemoteFile, is_inside};
pub use network::Network;
pub use notes::{Notes, Wait};
pub use strange::is_page_for;

use std::time::Instant;

use reqwest::Url;

use super::{Hub, Repo};
use crate::error::{Context, Result};
use fault::Fault;

/// What a repository holds.
///
/// Blocking; ends at once where `cancelled` says so.
///
/// # Errors
/// `Error::User`: the hub cannot be reached or refuses, there is no such repository, or what it lists cannot be a listing
/// of one (too long, a path that leads elsewhere).
pub fn list(repo: &Repo, network: &Network, cancelled: &dyn Fn() -> bool) -> Result<Listing> {
    run(async {
        let client = Client::new(repo, network, Instant::now(), &Notes::default())?;
        until(cancelled, &mut || {}, client.list()).await
    })
}

/// Runs a future to its end on threads of its own, of which none is waited for: a look-up of a name may take long.
pub(super) fn run<T>(future: impl Future<Output = Result<T, Fault>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(super::pull::AT_ONCE + 1)
        .thread_name("hub")
        .enable_all()
        .build()
        .internal("starting the async runtime")?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(result?)
}

/// How often whoever waits is asked whether it still does, and told how far things are.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

/// Waits for a future, calling `tick` meanwhile.
pub(super) async fn until<T>(
    cancelled: &dyn Fn() -> bool,
    tick: &mut dyn FnMut(),
    future: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    // Who does not wait any more gets no answer, though it comes at once.
    if cancelled() {
        return Err(Fault::cancelled());
    }
    let mut future = std::pin::pin!(future);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            biased;
            _ = ticks.tick() => {
                if cancelled() {
                    return Err(Fault::cancelled());
                }
                tick();
            }
            result = &mut future => return result,
        }
    }
}

impl Client {
    /// What the repository holds, checked, with what a job needs of it marked.
    ///
    /// # Errors
    /// See [`list`].
    pub async fn list(&self) -> Result<Listing, Fault> {
        let mut listing = match self.repo.hub {
            Hub::ModelScope => modelscope::list(self).await?,
            Hub::Hf => huggingface::list(self).await?,
        };
        if listing.files.is_empty() {
            return Err(self.no_listing("it lists no files"));
        }
        listing.check(&self.repo)?;
        listing.mark(&self.repo);
        if self.repo.hub == Hub::Hf {
            huggingface::complete(self, &mut listing).await?;
        }
        Ok(listing)
    }

    /// Where a file's bytes are asked for.
    ///
    /// # Errors
    /// No address can be made of it.
    pub fn file(&self, listing: &Listing, path: &str) -> Result<Url, Fault> {
        match self.repo.hub {
            Hub::ModelScope => modelscope::file(self, path),
            Hub::Hf => huggingface::file(self, &listing.commit, path),
        }
    }
}
