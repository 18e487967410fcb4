//! The demo's data: real reviews as JD-shaped rows, the small base model's vocabulary and pretraining
//! corpus, and the bag-of-words classifier that its accuracy is held against. The training itself is the engine's.

pub mod base;
pub mod bayes;
pub mod bpe;
pub mod corpus;
pub mod everyday;
pub mod places;
pub mod play;
pub mod reviews;

mod near;
mod text;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::error::{Context, Result};

/// Writes a file whole or not at all: the bytes go beside it first and are renamed into place.
fn write_file(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let what = || format!("cannot write {} (is the disk full, or the folder read-only?)", path.display());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).user(what())?;
    }
    let part = path.with_extension("part");
    let written = File::create(&part).and_then(|file| {
        let mut out = BufWriter::new(file);
        fill(&mut out)?;
        out.flush()?;
        fs::rename(&part, path)
    });
    if written.is_err() {
        // Best effort: the error that matters is the one being returned.
        let _ = fs::remove_file(&part);
    }
    written.user(what())
}
