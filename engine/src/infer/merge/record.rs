//! `merged.json`: what a merged model was made of. By it an earlier merge is known, to be replaced or used again.

use std::path::Path;

use qwen_tui::error::{Context, Result};
use qwen_tui::run::{MERGED, read_json, sha256, write_json};
use serde::{Deserialize, Serialize};

use super::Job;
use crate::device;
use crate::model::adapter::Adapter;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    base: String,
    checkpoint: String,
    /// Of the adapter's weights.
    adapter_sha256: String,
    /// What was asked for; none: the base's own.
    dtype: Option<String>,
}

impl Record {
    pub fn new(job: &Job, adapter: &Adapter) -> Result<Self> {
        let weights = &adapter.files.weights;
        let path = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned()).display().to_string();
        Ok(Self {
            base: path(&job.base),
            checkpoint: path(&job.checkpoint),
            adapter_sha256: sha256(weights).user(weights.display())?.1,
            dtype: job.kind.map(|kind| device::dtype_name(kind).to_owned()),
        })
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        write_json(&dir.join(MERGED), self)
    }

    /// Whether merge-lora has made `dir`.
    pub fn is_in(dir: &Path) -> bool {
        read_json::<Record>(&dir.join(MERGED)).is_ok()
    }

    /// Whether the merge in `dir` is of other weights than these; one without a record (SWIFT's) cannot be told.
    pub fn differs(&self, dir: &Path) -> bool {
        read_json::<Record>(&dir.join(MERGED)).is_ok_and(|r| r.adapter_sha256 != self.adapter_sha256)
    }
}
