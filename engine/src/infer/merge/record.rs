//! `merged.json`: what a merged model was made of, and which files it is. By it an earlier merge is known, to be replaced
//! or used again.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use qwen_tui::args::ARGS_FILE;
use qwen_tui::error::{Context, Result};
use qwen_tui::run::{MERGED, read_json, sha256, write_json};
use serde::{Deserialize, Serialize};

use super::Job;
use crate::device;
use crate::model::adapter::Adapter;
use crate::model::beside;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    base: String,
    checkpoint: String,
    /// Of the adapter's weights.
    adapter_sha256: String,
    /// Of its `adapter_config.json`; older merges have none.
    adapter_config_sha256: Option<String>,
    /// What was asked for; none: the base's own.
    dtype: Option<String>,
    /// Names of all files of the merge; older merges have none.
    files: Option<Vec<String>>,
}

impl Record {
    pub fn new(job: &Job, adapter: &Adapter) -> Result<Self> {
        let path = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned()).display().to_string();
        let sum = |file: &Path| sha256(file).user(file.display()).map(|(_, sum)| sum);
        Ok(Self {
            base: path(&job.base),
            checkpoint: path(&job.checkpoint),
            adapter_sha256: sum(&adapter.files.weights)?,
            adapter_config_sha256: Some(sum(&adapter.files.config_file)?),
            dtype: job.kind.map(|kind| device::dtype_name(kind).to_owned()),
            files: None,
        })
    }

    /// Writes it into `dir`, with the names of all that is there.
    pub fn write(mut self, dir: &Path) -> Result<()> {
        let entries = std::fs::read_dir(dir).user(dir.display())?.flatten();
        let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
        names.push(MERGED.to_owned());
        names.sort();
        self.files = Some(names);
        write_json(&dir.join(MERGED), &self)
    }

    /// The record of the merge in `dir`.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read(dir: &Path) -> Result<Self> {
        read_json(&dir.join(MERGED))
    }

    /// Whether merge-lora has made `dir`.
    pub fn is_in(dir: &Path) -> bool {
        Self::read(dir).is_ok()
    }

    /// What `earlier` was made of otherwise than this.
    pub fn differences(&self, earlier: &Record) -> Vec<String> {
        let mut differences = Vec::new();
        if earlier.base != self.base {
            differences.push(format!("the base model {} (now {})", earlier.base, self.base));
        }
        if earlier.adapter_sha256 != self.adapter_sha256 {
            differences.push("other adapter weights than the checkpoint's now".to_owned());
        }
        if earlier.adapter_config_sha256 != self.adapter_config_sha256 {
            differences.push("another adapter_config.json than the checkpoint's now".to_owned());
        }
        differences
    }
}

/// The files in `dir` that a merge wrote, in the order in which they may go: the record, which tells them, at last.
pub fn own_files(dir: &Path) -> Vec<OsString> {
    let listed = Record::read(dir).ok().and_then(|record| record.files);
    let own = |name: &OsStr| {
        let Some(name) = name.to_str() else { return false };
        match &listed {
            Some(names) => names.iter().any(|n| n == name),
            // Of an older merge, and of one that was cut: the names that merges use.
            None => is_usual(name) || is_usual(unfinished(name)),
        }
    };
    let mut names: Vec<OsString> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()) && own(&entry.file_name()))
        .map(|entry| entry.file_name())
        .collect();
    names.sort_by_key(|name| name == MERGED);
    names
}

/// Whether merges use this file name.
fn is_usual(name: &str) -> bool {
    let shard = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_shard = shard.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || "-of".contains(c)));
    ["model.safetensors", "model.safetensors.index.json", "configuration.json", ARGS_FILE, MERGED]
        .contains(&name)
        || is_shard
        || beside::belongs(name)
}

/// The name of the file that `.NAME.tmp-PID` was to become; other names as they are.
fn unfinished(name: &str) -> &str {
    let hidden = name.strip_prefix('.').and_then(|name| name.rsplit_once(".tmp-"));
    hidden.filter(|(_, pid)| pid.parse::<u32>().is_ok()).map_or(name, |(name, _)| name)
}
