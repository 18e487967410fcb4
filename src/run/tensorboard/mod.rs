//! TensorBoard's event files, as transformers' `TensorBoardCallback` has them written from SWIFT's log.
//!
//! A file is a list of TFRecords (a length, a protocol buffer, and checksums of both); each log line is written by one
//! write(2) and nothing is held back, so that a process that is killed loses nothing. A file is never appended to by
//! another process: who goes on begins a new one, whatever the end of the last looks like.

mod proto;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use rustix::fs::Access;
use serde_json::{Map, Value};

use super::files::file_error;
use crate::error::Result;
use proto::{Dim, Event, Metadata, PluginData, SessionLog, Shape, Summary, Tensor};

/// What the names of event files begin with.
const PREFIX: &str = "events.out.tfevents.";
/// The version of the format, in the first record.
const VERSION: &str = "brain.Event:2";
/// Seconds in a name have ten digits, which TensorBoard's order by name counts on.
const LAST_SECOND: u64 = 9_999_999_999;

/// The tags and values of an entry of `log_history`: `eval_loss` is `eval/loss`, `loss` is `train/loss` and
/// `train_runtime` is `train/train_runtime` (transformers' `rewrite_logs`). A null is a figure that is not finite.
pub fn scalars(entry: &Map<String, Value>) -> Vec<(String, f64)> {
    let figures = entry.iter().filter(|(key, _)| *key != "step").filter_map(|(key, value)| match value {
        Value::Null => Some((key, f64::NAN)),
        value => value.as_f64().map(|x| (key, x)),
    });
    let tag = |key: &str| match key.strip_prefix("eval_") {
        Some(figure) => format!("eval/{figure}"),
        None => format!("train/{key}"),
    };
    figures.map(|(key, x)| (tag(key), x)).collect()
}

/// An event file that is being written.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    len: u64,
}

impl EventFile {
    /// Begins `dir/events.out.tfevents.SECONDS.HOST.PID.N`; the directory is made where it is missing. Readers go
    /// through a directory's files by name, so SECONDS is later than that of any file there.
    ///
    /// # Errors
    /// Error::User where it cannot be made or written.
    pub fn create(dir: &Path) -> Result<Self> {
        make_dir(dir)?;
        let newest = seconds_of_files(dir).max().map_or(0, |newest| newest + 1);
        let seconds = (now() as u64).max(newest).min(LAST_SECOND);
        let (host, pid) = (host(), std::process::id());
        let path = |n: u32| dir.join(format!("{PREFIX}{seconds:010}.{host}.{pid}.{n}"));
        let mut n = 0;
        let file = loop {
            match OpenOptions::new().append(true).create_new(true).open(path(n)) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
                other => break other,
            }
        };
        let path = path(n);
        let file = file.map_err(|e| file_error("create", &path, &e))?;
        let mut events = Self { path, file, len: 0 };
        events.append(&[Event { file_version: Some(VERSION.to_owned()), ..event(0) }])?;
        Ok(events)
    }

    /// Says that the run begins again with `step`: readers forget what files before this one tell of it and of later
    /// steps (`purge_step` of PyTorch's `SummaryWriter`).
    pub fn begin_again(&mut self, step: u64) -> Result<()> {
        let start = SessionLog { status: proto::START };
        self.append(&[Event { session_log: Some(start), ..event(step) }])
    }

    /// A text under `TAG/text_summary`, as `SummaryWriter.add_text` has it.
    pub fn text(&mut self, tag: &str, text: &str) -> Result<()> {
        let value = proto::Value {
            tag: format!("{tag}/text_summary"),
            simple_value: None,
            tensor: Some(Tensor {
                dtype: proto::TEXT,
                tensor_shape: Some(Shape { dim: vec![Dim { size: 1 }] }),
                string_val: vec![text.as_bytes().to_vec()],
            }),
            metadata: Some(Metadata { plugin_data: Some(PluginData { plugin_name: "text".to_owned() }) }),
        };
        self.append(&[summary(0, value)])
    }

    /// The figures of an entry of `log_history`, an event each.
    pub fn log(&mut self, entry: &Map<String, Value>) -> Result<()> {
        let step = entry.get("step").and_then(Value::as_u64).unwrap_or(0);
        let value = |(tag, x)| proto::Value {
            tag,
            // The format's scalars are floats of 32 bits.
            simple_value: Some(x as f32),
            tensor: None,
            metadata: None,
        };
        let events: Vec<Event> =
            scalars(entry).into_iter().map(|scalar| summary(step, value(scalar))).collect();
        self.append(&events)
    }

    /// Makes everything written so far survive a power cut.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| file_error("write", &self.path, &e))
    }

    /// Appends records whole, or takes back what was written of them.
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let bytes: Vec<u8> = events.iter().flat_map(|event| record(&event.encode_to_vec())).collect();
        if let Err(e) = self.file.write_all(&bytes) {
            let _ = self.file.set_len(self.len);
            return Err(file_error("write", &self.path, &e));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn summary(step: u64, value: proto::Value) -> Event {
    Event { summary: Some(Summary { value: vec![value] }), ..event(step) }
}

/// An event of this moment with nothing in it.
fn event(step: u64) -> Event {
    Event { wall_time: now(), step: step as i64, file_version: None, summary: None, session_log: None }
}

/// A TFRecord: the length as 64 bits, its checksum, the data, its checksum, all little-endian.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length, &masked_crc(&length).to_le_bytes()[..], data, &masked_crc(data).to_le_bytes()].concat()
}

/// CRC-32C, rotated and shifted so that a checksum of data that holds checksums is not weak (TFRecord's `MaskCrc`).
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Unix seconds.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The host's name as it may stand in a file's.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().replace(['/', '\0'], "-");
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The seconds in the names of the event files in `dir`.
fn seconds_of_files(dir: &Path) -> impl Iterator<Item = u64> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name());
    names.filter_map(|name| {
        let digits = name.to_str()?.strip_prefix(PREFIX)?.split('.').next()?;
        digits.parse().ok().filter(|s| *s <= LAST_SECOND)
    })
}

/// Whether there are event files in `dir`.
pub fn has_event_files(dir: &Path) -> bool {
    seconds_of_files(dir).next().is_some()
}

/// Makes `dir`, and looks whether files can be made in it.
///
/// # Errors
/// Error::User where not.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|e| file_error("create the directory", dir, &e))?;
    rustix::fs::access(dir, Access::WRITE_OK).map_err(|e| file_error("write into", dir, &e.into()))
}

/// Removes the event files in `dir`, and `dir` where nothing else is in it. What cannot be removed stays.
pub(super) fn discard(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
