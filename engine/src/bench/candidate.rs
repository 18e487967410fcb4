//! A candidate, as the benchmark sees it: a process that does what it is told and answers with a JSON line.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use qwen_tui::bench::PeerLoop;
use qwen_tui::error::{Context, Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tch::Device;

use super::memory::{Share, Watch};
use super::part::Role;
use super::stop;

/// transformers and PEFT at the reference run's settings.
const PEER: &str = include_str!("../../../benches/peers/transformers_peft.py");

/// Says which packages a Python lacks, without importing them, which takes a while.
const LACKS: &str = "import importlib.util as u
print(*(m for m in ('torch', 'transformers', 'peft') if u.find_spec(m) is None))";

/// Whether `python` can run the script.
///
/// # Errors
/// None there, or one without the packages.
pub fn check_python(python: &Path) -> Result<()> {
    let name = format!("--peers {}", python.display());
    let told = Command::new(python).args(["-c", LACKS]).output().user(&name)?;
    let lacks = String::from_utf8_lossy(&told.stdout);
    match (told.status.success(), lacks.trim()) {
        (true, "") => Ok(()),
        (true, lacks) => Err(Error::user(format!("{name}: this Python has no {}", lacks.replace(' ', ", ")))),
        (false, _) => {
            let words = String::from_utf8_lossy(&told.stderr);
            Err(Error::user(format!("{name} is no Python that runs ({}) {}", told.status, words.trim())))
        }
    }
}

/// A process that is timed.
pub struct Candidate {
    pub name: &'static str,
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    device: Device,
    pub share: Share,
    /// What it said when it was ready.
    pub facts: Value,
}

impl Candidate {
    /// Starts this program in a role, and waits until it answers.
    ///
    /// # Errors
    /// One that ends instead.
    pub fn start(name: &'static str, role: Role, job: &Path, device: Device) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().internal("finding this program's own path")?);
        let word =
            clap::ValueEnum::to_possible_value(&role).map_or_else(String::new, |v| v.get_name().into());
        command.arg("bench-part").arg(word).arg(job);
        Self::spawn(name, command, device)
    }

    /// Starts the Python script with this `python`, and waits until it answers.
    ///
    /// # Errors
    /// Also a Python without the packages.
    pub fn start_peer(python: &Path, which: PeerLoop, job: &Path, device: Device) -> Result<Self> {
        let script = job.with_file_name("transformers_peft.py");
        std::fs::write(&script, PEER).user(script.display())?;
        let mut command = Command::new(python);
        let which = match which {
            PeerLoop::Plain => "plain",
            PeerLoop::Trainer => "trainer",
        };
        command.arg(&script).arg(job).args(["--serve", "--loop", which]);
        command.envs([
            ("PYTHONWARNINGS", "ignore"),
            ("HF_HUB_OFFLINE", "1"),
            ("TOKENIZERS_PARALLELISM", "false"),
        ]);
        Self::spawn("transformers + PEFT", command, device)
    }

    fn spawn(name: &'static str, mut command: Command, device: Device) -> Result<Self> {
        let mut share = Share::default();
        let watch = Watch::begin(device, &share);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .user(format!("cannot run {}", command.get_program().display()))?;
        stop::ends(&mut child)?;
        let piped = || Error::internal("a pipe to a candidate");
        let (commands, answers) =
            (child.stdin.take().ok_or_else(piped)?, child.stdout.take().ok_or_else(piped)?);
        let answers = BufReader::new(answers);
        let mut candidate =
            Self { name, child, commands: Some(commands), answers, device, share, facts: Value::Null };
        candidate.facts = candidate.answer()?;
        share = std::mem::take(&mut candidate.share);
        if let Some(watch) = watch {
            watch.end(&mut share);
        }
        candidate.share = share;
        Ok(candidate)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// A candidate that ends instead.
    pub fn ask<T: DeserializeOwned>(&mut self, command: &str) -> Result<T> {
        let watch = Watch::begin(self.device, &self.share);
        if let Some(commands) = &mut self.commands {
            // One that has ended is found out by its silence.
            let _ = writeln!(commands, "{command}").and_then(|()| commands.flush());
        }
        let answer = self.answer();
        if let Some(watch) = watch {
            watch.end(&mut self.share);
        }
        serde_json::from_value(answer?).internal(format!("{}'s answer to {command}", self.name))
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line).internal(format!("{}'s answer", self.name))?;
        if line.is_empty() {
            let status = self.child.wait().internal(self.name)?;
            return Err(Error::user(format!("{} ended ({status}); its own words stand above", self.name)));
        }
        serde_json::from_str(&line).internal(format!("{}'s answer", self.name))
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        // Without commands it ends; the benchmark is over when all have.
        self.commands = None;
        let _ = self.child.wait();
        stop::forget(&self.child);
    }
}
