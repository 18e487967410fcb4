//! Which device a job wants, and which ones are in use.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::args::{ARGS_FILE, read_object};
use crate::error::{Context, Error, Result};
use crate::job::Event;
use crate::job::engine::find_engine;
use crate::job::probe::{self, PATIENCE};
use crate::job::runs::head_and_tail;
use crate::run::EVENTS;

/// What one job at a time computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Cpu,
    Cuda(u32),
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// How long an engine that did not say what `auto` is, is left alone.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Turns the values of `device` into devices. What `auto` is, the engine says, once.
#[derive(Debug, Default)]
pub struct Devices {
    auto: Option<Device>,
    /// Since when and why that is not known.
    refused: Option<(Instant, Error)>,
}

impl Devices {
    /// # Errors
    /// The engine's, where it does not say what `auto` is.
    pub fn named(&mut self, name: &str) -> Result<Device> {
        if let Some(device) = plain(name).or(self.auto) {
            return Ok(device);
        }
        if let Some((_, e)) = self.refused.as_ref().filter(|(since, _)| since.elapsed() < ASK_AGAIN) {
            return Err(e.clone());
        }
        let told = find_engine().and_then(|engine| ask(&engine, PATIENCE));
        match &told {
            Ok(device) => self.auto = Some(*device),
            Err(e) => self.refused = Some((Instant::now(), e.clone())),
        }
        told
    }

    /// The device of the run in `dir`, by its worker's word, or else by its arguments.
    ///
    /// # Errors
    /// As [`named`](Self::named).
    pub fn of_run(&mut self, dir: &Path) -> Result<Device> {
        let events = head_and_tail(&dir.join(EVENTS)).unwrap_or_default();
        let told = events.iter().rev().find_map(|r| match &r.event {
            Event::Started { device, .. } => plain(device),
            _ => None,
        });
        if let Some(device) = told {
            return Ok(device);
        }
        let args = read_object(&dir.join(ARGS_FILE)).unwrap_or_default();
        self.named(args.get("device").and_then(Value::as_str).unwrap_or("auto"))
    }
}

/// The device that a name is on every machine; none for `auto`.
fn plain(name: &str) -> Option<Device> {
    match name {
        "cpu" => Some(Device::Cpu),
        "cuda" => Some(Device::Cuda(0)),
        other => other.strip_prefix("cuda:")?.parse().ok().map(Device::Cuda),
    }
}

/// Asks the engine what `auto` is. One that hangs must not hold up the jobs of other devices for ever.
fn ask(engine: &Path, patience: Duration) -> Result<Device> {
    let answer = probe::info(engine, patience).map_err(|why| {
        Error::user(format!(
            "the engine {} is there, but {why}: `qwen-tui doctor` looks for what is wrong; a job that names its device \
             (--device cpu or cuda:0) does not ask",
            engine.display()
        ))
    })?;
    if !answer.status.success() {
        let said = answer.stderr.lines().rev().find_map(|l| l.strip_prefix("error: "));
        let said = said.unwrap_or(answer.stderr.trim());
        return Err(Error::user(format!("the engine ended with {}: {said}", answer.status)));
    }
    auto(&answer.stdout)
}

/// What the engine takes for `auto`, by what it prints for `info --json`: the first GPU where it sees one.
fn auto(told: &str) -> Result<Device> {
    let info: Value = serde_json::from_str(told.trim()).internal("what the engine says of its devices")?;
    let devices = info["devices"].as_array();
    let devices = devices.ok_or_else(|| Error::internal("the engine does not name its devices"))?;
    let has_gpu = devices.iter().any(|d| d["kind"] == "cuda:0");
    Ok(if has_gpu { Device::Cuda(0) } else { Device::Cpu })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::job::runs::tests::{STARTED, run};

    #[test]
    fn names_are_devices_and_auto_is_what_the_engine_takes() {
        let mut devices = Devices { auto: Some(Device::Cuda(0)), refused: None };
        for (name, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:3", Device::Cuda(3)),
            ("auto", Device::Cuda(0)),
        ] {
            assert_eq!(devices.named(name).unwrap(), device);
        }
        let gpu = r#"{"devices":[{"kind":"cpu"},{"kind":"cuda:0"}]}"#;
        assert_eq!(auto(gpu).unwrap(), Device::Cuda(0));
        assert_eq!(auto("{\"devices\":[{\"kind\":\"cpu\"}]}\n").unwrap(), Device::Cpu);
        assert!(auto("{}").is_err() && auto("").is_err());
    }

    #[test]
    fn an_engine_that_hangs_or_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let asked = |script: &str| {
            let engine = dir.path().join("engine");
            std::fs::write(&engine, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
            loop {
                match ask(&engine, Duration::from_millis(500)) {
                    // Another test forked while the script was open for writing here.
                    Err(e) if e.to_string().contains("Text file busy") => continue,
                    told => return told.map_err(|e| e.to_string()),
                }
            }
        };
        let hangs = asked("exec sleep 600").unwrap_err();
        assert!(hangs.contains("did not answer within") && hangs.contains("doctor"), "{hangs}");
        let fails = asked("echo 'error: no device' >&2; exit 2").unwrap_err();
        assert!(fails.ends_with("exit status: 2: no device"), "{fails}");
        assert_eq!(asked(r#"echo '{"devices":[{"kind":"cpu"}]}'"#), Ok(Device::Cpu));
    }

    #[test]
    fn a_run_is_on_the_device_that_its_worker_names() {
        let out = tempfile::tempdir().unwrap();
        let mut devices = Devices { auto: Some(Device::Cuda(0)), refused: None };
        let dir = run(out.path(), "v0", &[]);
        assert_eq!(devices.of_run(&dir).unwrap(), Device::Cuda(0), "nothing is known: auto");
        std::fs::write(dir.join(ARGS_FILE), r#"{"device":"cuda:2"}"#).unwrap();
        assert_eq!(devices.of_run(&dir).unwrap(), Device::Cuda(2));
        run(out.path(), "v0", &[STARTED]);
        assert_eq!(devices.of_run(&dir).unwrap(), Device::Cpu);
    }
}
