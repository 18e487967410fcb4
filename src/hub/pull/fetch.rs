//! One file: fetched, gone on with after a cut, checked.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use reqwest::{Method, StatusCode, Url, header};

use super::hash::{Hasher, count};
use super::state::{FileState, Shared};
use crate::hub::client::fault::{Fault, Kind, disk};
use crate::hub::client::{Client, Patience, RemoteFile, host, is_page_for};

/// Bytes of progress after which a connection that is cut counts as the first again.
const PROGRESS: u64 = 4 << 10;

/// A file, where it is fetched from and what it is fetched to.
pub struct Job<'a> {
    pub client: &'a Client,
    pub url: Url,
    pub file: &'a RemoteFile,
    pub part: &'a Path,
    pub shared: &'a Shared,
}

impl Job<'_> {
    /// Fetches it, going on with what is there of it. It is whole and right when this is done.
    ///
    /// # Errors
    /// It could not be had. What has come stays, unless it is known to be wrong.
    pub async fn fetch(&self) -> Result<(), Fault> {
        let (path, mut wrong) = (&self.file.path, 0);
        loop {
            match self.once().await.map_err(|fault| fault.about(path)) {
                // Once more from its beginning: what was there from before may have been wrong.
                Err(fault) if matches!(fault.kind, Kind::Checksum | Kind::NotFile) => {
                    let _ = std::fs::remove_file(self.part);
                    self.shared.set(path, 0, FileState::Fetching);
                    wrong += 1;
                    if wrong > 1 {
                        return Err(fault);
                    }
                    self.shared.note(format!("{}; it is fetched once more", fault.reason()));
                }
                other => return other,
            }
        }
    }

    async fn once(&self) -> Result<(), Fault> {
        let Job { client, file, part, shared, .. } = *self;
        let mut options = OpenOptions::new();
        // In place of a file, a link may lie there that leads elsewhere.
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
        let out = options.create(true).append(true).open(part).map_err(|e| disk("write", part, &e))?;
        let mut it = Part { path: part, out, hasher: hasher(file), done: 0 };
        let there = it.out.metadata().map_err(|e| disk("read", part, &e))?.len();
        match &mut it.hasher {
            Some(hasher) if there > 0 && file.size.is_some_and(|size| there <= size) => {
                shared.set(&file.path, 0, FileState::Checking);
                it.done = count(part, there, hasher, &|done| shared.had(&file.path, done)).await?;
            }
            _ => it.clear(file)?,
        }
        let (mut failed, mut counted) = (0, it.done);
        while file.size.is_none_or(|size| it.done < size) {
            shared.set(&file.path, it.done, FileState::Fetching);
            match self.stream(&mut it).await {
                Ok(()) => break,
                Err(fault) if fault.passes() => {
                    // What grows may go on; what brings nothing may not go on for ever.
                    if it.done >= counted + PROGRESS {
                        failed = 0;
                    }
                    counted = it.done;
                    failed += 1;
                    let Some(wait) = client.wait(&fault, failed) else {
                        // Who never sends a byte of it has not been reached.
                        let is_lost = fault.kind == Kind::Cut && it.done == 0;
                        return Err(if is_lost { Fault { kind: Kind::Unreachable, ..fault } } else { fault });
                    };
                    client.again(&file.path, &fault, wait).await;
                }
                Err(fault) => return Err(fault),
            }
        }
        shared.set(&file.path, it.done, FileState::Checking);
        let done = it.done;
        check(client, file, it)?;
        shared.set(&file.path, done, FileState::Done);
        Ok(())
    }

    /// One request: what comes is written, to the end.
    async fn stream(&self, it: &mut Part<'_>) -> Result<(), Fault> {
        let Job { client, file, shared, .. } = *self;
        let from = Some(it.done).filter(|done| *done > 0);
        let mut response = client.send(Method::GET, self.url.clone(), from, Patience::Bytes).await?.response;
        let range =
            response.headers().get(header::CONTENT_RANGE).and_then(|range| Range::of(range.to_str().ok()?));
        let from_where = host(response.url());
        let announced = match (response.status(), range) {
            (StatusCode::PARTIAL_CONTENT, Some(range)) if range.start == it.done => range.total,
            (StatusCode::PARTIAL_CONTENT, _) => {
                it.clear(file)?;
                let does = "sends another part of the file than was asked for";
                return Err(client.not_the_file(response.url(), does));
            }
            // It sends the whole, whatever was asked for.
            _ => {
                it.clear(file)?;
                response.content_length()
            }
        };
        // What is as long as the listing says is the file, whatever it is called.
        let is_as_long = file.size.is_some() && file.size == announced;
        if !is_as_long && is_page_for(&file.path, response.headers()) {
            return Err(client.page_for_file(response.url()));
        }
        if let (Some(size), Some(announced)) = (file.size, announced)
            && size != announced
        {
            let does = format!("has {announced} bytes where the hub's listing says {size}");
            return Err(client.not_the_file(response.url(), &does));
        }
        while let Some(chunk) = client.chunk(&mut response, Patience::Bytes).await? {
            let room = file.size.map_or(u64::MAX, |size| size - it.done);
            if chunk.len() as u64 > room {
                let does = format!("sends more than the {} bytes of the hub's listing", it.done + room);
                return Err(client.not_the_file(response.url(), &does));
            }
            it.write(&chunk)?;
            shared.got(&file.path, it.done, chunk.len() as u64);
        }
        match file.size {
            Some(size) if it.done < size => {
                Err(Fault::new(Kind::Cut, format!("{from_where} ended after {} of {size} bytes", it.done)))
            }
            _ => Ok(()),
        }
    }
}

/// A file that is being written.
struct Part<'a> {
    path: &'a Path,
    out: File,
    hasher: Option<Hasher>,
    done: u64,
}

impl Part<'_> {
    /// Begins anew.
    fn clear(&mut self, file: &RemoteFile) -> Result<(), Fault> {
        self.out.set_len(0).map_err(|e| disk("write", self.path, &e))?;
        self.hasher = hasher(file);
        self.done = 0;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.out.write_all(bytes).map_err(|e| disk("write", self.path, &e))?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.done += bytes.len() as u64;
        Ok(())
    }
}

fn hasher(file: &RemoteFile) -> Option<Hasher> {
    Hasher::new(file.checksum.as_ref()?, file.size)
}

/// Compares with what the hub says, and has the bytes on the disk.
fn check(client: &Client, file: &RemoteFile, it: Part<'_>) -> Result<(), Fault> {
    if let (Some(hasher), Some(checksum)) = (it.hasher, &file.checksum) {
        let (got, wanted, kind) = (hasher.hex(), checksum.hex(), checksum.name());
        if got != wanted {
            let server = client.server();
            let message = format!(
                "{kind} of what came from {server} is {got}, where the hub's listing says {wanted}: it is thrown away. \
                 Where this stays so, something on the way changes what it passes on"
            );
            return Err(Fault::new(Kind::Checksum, message));
        }
    }
    it.out.sync_all().map_err(|e| disk("write", it.path, &e))
}

/// `Content-Range: bytes START-END/TOTAL`
struct Range {
    start: u64,
    total: Option<u64>,
}

impl Range {
    fn of(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (start, _) = range.split_once('-')?;
        Some(Self { start: start.trim().parse().ok()?, total: total.trim().parse().ok() })
    }
}
