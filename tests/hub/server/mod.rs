//! Both hubs on loopback: listing, ranges, redirects to a second server that stands for the CDN, and faults on demand.
#![allow(dead_code)]

mod http;
mod huggingface;
mod modelscope;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub use http::{Reply, Request};

/// From here on a file is in LFS: it comes by way of the CDN.
const LFS: usize = 50_000;

/// What goes wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    None,
    /// Another answer: status, headers, body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The connection ends after so many bytes of the body.
    Cut(u64),
    /// After so many bytes nothing more comes.
    Stall(u64),
    /// Not even a status comes.
    Silence,
    /// So many bytes at a time, with a pause of so many milliseconds.
    Slow(usize, u64),
    /// One byte of the body is another.
    Wrong,
    /// `Range` is ignored.
    Whole,
}

type Faults = Box<dyn FnMut(&Request) -> Fault + Send>;

/// A file of a repository.
pub struct File {
    pub path: String,
    pub bytes: Vec<u8>,
    pub sha256: String,
    /// Git's hash of it.
    pub blob: String,
}

impl File {
    pub fn new(path: &str, bytes: Vec<u8>) -> Self {
        let git = Sha1::new_with_prefix(format!("blob {}\0", bytes.len())).chain_update(&bytes);
        let (sha256, blob) = (hex(&Sha256::digest(&bytes)), hex(&git.finalize()));
        Self { path: path.to_owned(), bytes, sha256, blob }
    }

    pub fn is_lfs(&self) -> bool {
        self.bytes.len() >= LFS
    }
}

/// A repository, on both hubs.
pub struct Repository {
    /// `models` or `datasets`.
    pub sort: &'static str,
    pub id: String,
    pub files: Vec<File>,
    /// The token without which it is not there.
    pub token: Option<String>,
}

impl Repository {
    pub fn new(sort: &'static str, id: &str, files: Vec<(&str, Vec<u8>)>) -> Self {
        let files = files.into_iter().map(|(path, bytes)| File::new(path, bytes)).collect();
        Self { sort, id: id.to_owned(), files, token: None }
    }

    /// The files of a directory.
    pub fn of(sort: &'static str, id: &str, dir: &Path) -> Self {
        let mut files = Vec::new();
        gather(dir, dir, &mut files);
        files.sort_by(|a: &File, b: &File| a.path.cmp(&b.path));
        Self { sort, id: id.to_owned(), files, token: None }
    }

    /// 40 digits that change with any file.
    pub fn commit(&self) -> String {
        let mut sha = Sha1::new();
        self.files.iter().for_each(|file| sha.update(format!("{} {}\n", file.path, file.sha256)));
        hex(&sha.finalize())
    }

    pub fn has_revision(&self, revision: &str) -> bool {
        ["main", "master", "v1.0"].contains(&revision) || revision == self.commit()
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn gather(root: &Path, dir: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            files.push(File::new(name, std::fs::read(&path).unwrap()));
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the threads of a server share.
pub struct Shared {
    pub repositories: Mutex<Vec<Repository>>,
    faults: Mutex<Faults>,
    seen: Mutex<Vec<Request>>,
    ended: AtomicBool,
    /// `http://127.0.0.1:PORT` of the hub and of its CDN.
    pub hub: String,
    pub cdn: String,
}

/// Both hubs at one address, and their CDN at another; gone with the test.
pub struct Server(Arc<Shared>);

impl Server {
    pub fn start(repositories: Vec<Repository>) -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hub, cdn) = (listen(), listen());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            repositories: Mutex::new(repositories),
            faults: Mutex::new(Box::new(|_| Fault::None)),
            seen: Mutex::new(Vec::new()),
            ended: AtomicBool::new(false),
            hub: address(&hub),
            cdn: address(&cdn),
        });
        for (listener, is_cdn) in [(hub, false), (cdn, true)] {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let (Ok(stream), shared) = (stream, Arc::clone(&shared)) else { continue };
                    std::thread::spawn(move || shared.serve(stream, is_cdn));
                }
            });
        }
        Self(shared)
    }

    pub fn address(&self) -> String {
        self.0.hub.clone()
    }

    /// What goes wrong from here on.
    pub fn fault(&self, faults: impl FnMut(&Request) -> Fault + Send + 'static) {
        *self.0.faults.lock().unwrap() = Box::new(faults);
    }

    pub fn well(&self) {
        self.fault(|_| Fault::None);
    }

    /// What was asked so far; forgotten then.
    pub fn seen(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.seen.lock().unwrap())
    }

    /// Changes what is on the hubs.
    pub fn change(&self, change: impl FnOnce(&mut Vec<Repository>)) {
        change(&mut self.0.repositories.lock().unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        for address in [&self.0.hub, &self.0.cdn] {
            let _ = TcpStream::connect(address.trim_start_matches("http://"));
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, is_cdn: bool) {
        let Some(request) = Request::read(&stream, is_cdn) else { return };
        self.seen.lock().unwrap().push(request.clone());
        let fault = (self.faults.lock().unwrap())(&request);
        let reply = match &fault {
            Fault::Status(status, headers, body) => {
                let mut reply = Reply::new(*status, body.clone().into_bytes());
                headers.iter().for_each(|(name, value)| reply.header(name, value));
                reply
            }
            _ => self.reply(&request),
        };
        // Whoever asked may have gone.
        let _ = reply.send(stream, &request, &fault, &self.ended);
    }

    fn reply(&self, request: &Request) -> Reply {
        let repositories = self.repositories.lock().unwrap();
        let path = request.path.trim_start_matches('/');
        if request.is_cdn {
            let named = path.strip_prefix("cdn/");
            let mut files = repositories.iter().flat_map(|r| &r.files);
            return match files.find(|file| Some(file.sha256.as_str()) == named) {
                Some(file) => Reply::new(200, file.bytes.clone()),
                None => Reply::new(404, Vec::new()),
            };
        }
        match path.strip_prefix("api/v1/") {
            Some(path) => modelscope::reply(self, &repositories, request, path),
            None => huggingface::reply(self, &repositories, request, path),
        }
    }

    /// Where the CDN has a file, signed for whoever asked.
    pub fn signed(&self, file: &File) -> String {
        format!("{}/cdn/{}?signature=secret", self.cdn, file.sha256)
    }
}

/// The repository of a name, in any case, as far as the request opens it.
pub fn find<'a>(
    all: &'a [Repository],
    sort: &str,
    id: &str,
    request: &Request,
) -> Result<&'a Repository, u16> {
    let found = all.iter().find(|r| r.sort == sort && r.id.eq_ignore_ascii_case(id)).ok_or(404u16)?;
    match &found.token {
        Some(token) if request.header("authorization") != Some(&format!("Bearer {token}")) => Err(401),
        _ => Ok(found),
    }
}
