//! A model to serve, and pulls of it in this process and by the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use qwen_tui::error::Result;
use qwen_tui::hub::{Hub, Network, Progress, PullOptions, Repo, Sort, pull};
use tempfile::TempDir;

use crate::server::{Repository, Request, Server};

pub const MODEL: &str = "qwen/Qwen-1_8B";
pub const WEIGHTS: &str = "model.safetensors";

/// The demo's base model.
pub fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/base")
}

/// Bytes without a pattern, the same each time.
pub fn noise(bytes: usize, seed: u32) -> Vec<u8> {
    let mut mt = rand_mt::Mt::new(seed);
    (0..bytes.div_ceil(4)).flat_map(|_| mt.next_u32().to_le_bytes()).take(bytes).collect()
}

/// What looks like a model and is of the size that a test wants.
pub fn model(weights: usize) -> Repository {
    let files = vec![
        ("config.json", b"{}".to_vec()),
        ("qwen.tiktoken", noise(3000, 1)),
        ("LICENSE", b"a licence".to_vec()),
        (WEIGHTS, noise(weights, 2)),
        ("pytorch_model.bin", noise(60_000, 3)),
        ("assets/logo.png", noise(100, 4)),
    ];
    Repository::new("models", MODEL, files)
}

/// What of [`model`] is fetched.
pub const NEEDED: [&str; 4] = ["LICENSE", "config.json", WEIGHTS, "qwen.tiktoken"];

pub fn repo(hub: Hub) -> Repo {
    Repo { hub, sort: Sort::Model, id: MODEL.into(), revision: None }
}

/// A server, and a directory to pull to.
pub struct Bench {
    pub server: Server,
    pub home: TempDir,
}

impl Bench {
    pub fn new(repositories: Vec<Repository>) -> Self {
        Self { server: Server::start(repositories), home: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// To a directory of its own, of a client without patience.
    pub fn options(&self, to: &str) -> PullOptions {
        let network = Network {
            server: Some(self.server.address()),
            connect: Duration::from_secs(5),
            answer: Duration::from_millis(500),
            stall: Duration::from_millis(500),
            retries: 3,
            pause: Duration::from_millis(5),
            longest_wait: Network::default().longest_wait,
        };
        PullOptions { to: Some(self.path(to)), files: Vec::new(), network, for_job: false }
    }

    pub fn pull(&self, hub: Hub, to: &str) -> Result<PathBuf> {
        self.watched(hub, to, &mut |_| {})
    }

    pub fn watched(&self, hub: Hub, to: &str, told: &mut dyn FnMut(&Progress)) -> Result<PathBuf> {
        pull(&repo(hub), &self.options(to), told, &|| false)
    }

    /// The program, in a home of its own, on this server.
    pub fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qwen-tui"));
        command.args(words).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("HOME", self.home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("MODELSCOPE_DOMAIN", self.server.address()).env("HF_ENDPOINT", self.server.address());
        command.env("HF_HUB_DOWNLOAD_TIMEOUT", "2");
        command
    }

    pub fn run(&self, words: &[&str]) -> Said {
        Said::of(self.program(words).output().unwrap())
    }

    /// Files in the directory, hidden ones too.
    #[track_caller]
    pub fn names(&self, to: &str) -> Vec<String> {
        names(&self.path(to))
    }

    /// What was fetched is what is served.
    #[track_caller]
    pub fn check(&self, dir: &Path) {
        let mut there = names(dir);
        there.retain(|name| name != ".pulled.json");
        assert_eq!(there, NEEDED);
        self.server.change(|all| {
            for name in NEEDED {
                let served = &all[0].file(name).unwrap().bytes;
                assert!(std::fs::read(dir.join(name)).unwrap() == *served, "{name} differs");
            }
        });
    }
}

pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The directory that a pull that went well names.
    #[track_caller]
    pub fn dir(&self) -> PathBuf {
        assert_eq!(self.status, Some(0), "{self:?}");
        PathBuf::from(self.out.trim_end())
    }
}

/// Whether the bytes of large weights are asked for, and not where they are.
pub fn is_weights(request: &Request) -> bool {
    request.is_cdn && request.is_weights()
}
