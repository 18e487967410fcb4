//! Whether the engine runs, and the devices it sees.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use qwen_tui::job::engine::ENGINE_VARIABLE;
use qwen_tui::job::human;
use qwen_tui::job::libraries::{self, Unusable};
use qwen_tui::job::probe::{self, Answer, PATIENCE};
use serde::Deserialize;

use super::Check;

/// What `qwen-tui-engine info --json` prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Info {
    pub version: String,
    pub libtorch: String,
    #[serde(default)]
    pub devices: Vec<Device>,
    #[serde(default)]
    pub threads: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Device {
    pub name: String,
    /// `cpu` or `cuda:N`.
    pub kind: String,
    #[serde(default)]
    pub memory_total: Option<u64>,
}

/// Why the engine did not say what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One line, following "it is there, but".
    pub why: String,
    /// Whether its libraries were loaded all the same.
    pub loaded: bool,
}

/// Runs `engine info --json`.
pub fn probe(engine: &Path) -> Result<Info, Failure> {
    probe_within(engine, PATIENCE)
}

fn probe_within(engine: &Path, patience: Duration) -> Result<Info, Failure> {
    let failed = |why: String| Failure { why, loaded: false };
    if let Some(unusable) = libraries::look(engine) {
        return Err(failed(unusable.told()));
    }
    let Answer { status, stdout, stderr } = probe::info(engine, patience).map_err(failed)?;
    if let Some(unusable) = Unusable::from_loader(&stderr) {
        return Err(failed(unusable.told()));
    }
    let last = stderr.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or("it said nothing");
    if let Some(signal) = status.signal() {
        return Err(failed(format!("it was ended by signal {signal}: {last}")));
    }
    if let Some(code) = status.code().filter(|code| *code != 0) {
        let why = format!("it ended with exit status {code}: {last}");
        // The loader ends so, and shells that find no program.
        return Err(Failure { why, loaded: code != 127 });
    }
    serde_json::from_str(stdout.trim())
        .map_err(|e| Failure { why: format!("what it says of itself cannot be read ({e})"), loaded: true })
}

/// Whether the engine is one that the environment names.
pub fn named() -> bool {
    std::env::var_os(ENGINE_VARIABLE).is_some_and(|v| !v.is_empty())
}

/// `source` is where to run `make`, in words.
pub fn check(path: &Path, probe: &Result<Info, Failure>, source: &str) -> Check {
    let here = env!("CARGO_PKG_VERSION");
    match probe {
        Err(Failure { why, loaded }) => Check::missing(
            "engine",
            format!("{} is there, but {why}", path.display()),
            match (loaded, named()) {
                (true, true) => format!(
                    "is that the engine? `unset {ENGINE_VARIABLE}`, so that the engine beside qwen-tui is used"
                ),
                (true, false) => format!(
                    "run `make build`{source}: the engine is meant to be of the same build as qwen-tui"
                ),
                (false, _) => {
                    format!("see the line on libtorch; if that is in order, run `make build`{source}")
                }
            },
        ),
        Ok(info) if info.version != here => Check::warn(
            "engine",
            format!("{} is version {}, qwen-tui is {here}", path.display(), info.version),
            format!("run `make build`{source}: both are meant to be of one build"),
        ),
        Ok(info) => {
            Check::ok("engine", format!("{} {}, libtorch {}", path.display(), info.version, info.libtorch))
        }
    }
}

/// Where training would run.
pub fn devices(info: &Info) -> Check {
    let devices: Vec<String> = info
        .devices
        .iter()
        .map(|d| match d.memory_total {
            Some(bytes) => format!("{} {} ({})", d.kind, d.name, human::bytes(bytes)),
            None => format!("{} {}", d.kind, d.name),
        })
        .collect();
    let threads =
        info.threads.map(|n| format!("; {} on the CPU", human::counted(n, "thread"))).unwrap_or_default();
    match devices.is_empty() {
        true => Check::warn("devices", "the engine names none", "run `make build` again"),
        false => Check::ok("devices", format!("{}{threads}", devices.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn engine(script: &str) -> Result<Info, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        loop {
            match probe_within(&path, Duration::from_millis(500)) {
                // Another test forked while the script was open for writing here.
                Err(f) if f.why.contains("Text file busy") => std::thread::sleep(Duration::from_millis(20)),
                result => return result,
            }
        }
    }

    #[test]
    fn every_way_of_not_running_is_told() {
        let missing = engine(
            "echo 'engine: error while loading shared libraries: libc10.so: cannot open shared object file' >&2; exit 127",
        );
        assert_eq!(missing.unwrap_err().why, "the loader does not find the library libc10.so");
        let short = engine(
            "echo 'engine: error while loading shared libraries: /x/libtorch_cpu.so: file too short' >&2; exit 127",
        );
        assert!(short.unwrap_err().why.contains("/x/libtorch_cpu.so is damaged"));
        let symbol = engine("echo 'engine: symbol lookup error: undefined symbol: _ZN2at' >&2; exit 127");
        let symbol = symbol.unwrap_err().why;
        assert!(
            symbol.contains("libtorch it finds is of another version") && !symbol.contains("_ZN2at"),
            "{symbol}"
        );
        let other = engine("echo 'unrecognized option' >&2; exit 2").unwrap_err();
        assert!(other.loaded && other.why.contains("exit status 2: unrecognized option"), "{other:?}");
        assert!(engine("kill -6 $$").unwrap_err().why.contains("signal 6"));
        assert!(engine("exec sleep 5").unwrap_err().why.contains("did not answer"));
        let other = engine("echo hello").unwrap_err();
        assert!(other.loaded && other.why.contains("cannot be read"), "{other:?}");
        let info =
            engine(r#"echo '{"version":"0.1.0","libtorch":"2.11.0","devices":[{"name":"X","kind":"cpu"}]}'"#);
        assert!(devices(&info.unwrap()).found.contains("cpu X"));
    }
}
