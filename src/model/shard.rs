//! One safetensors file.

use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;

use crate::error::{Context, Error, Result, brief};
use crate::plain;

/// Bytes of the longest header that is read. The published models' have some ten thousand; what a header says takes up
/// to twenty times its own length in memory.
const HEADER_LIMIT: u64 = 8 << 20;
/// Dimensions of a tensor: a Qwen's have two at most.
const DIMENSIONS: usize = 8;

/// A safetensors file in memory.
pub struct Shard {
    path: PathBuf,
    map: Mmap,
}

impl Shard {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = plain::open(path).user(path.display())?;
        // SAFETY: the map is read only; a file that another program shortens meanwhile ends the engine by SIGBUS,
        // which its client reports. Weights are not edited in place by any tool.
        let map = unsafe { Mmap::map(&file) }.user(path.display())?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// The tensors of the file.
    ///
    /// # Errors
    /// A header that is too long, is none, or does not fit the file: tensors that overlap or leave gaps, are longer or
    /// shorter than their shape, or end beyond the file.
    pub fn tensors(&self) -> Result<SafeTensors<'_>> {
        let refuse = |why: String| {
            Error::user(format!(
                "{}: not a whole safetensors file ({why}); it may be truncated, or a download page instead of the file; \
                 fetch it again",
                self.path.display()
            ))
        };
        let length = self.map.first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
        if length > HEADER_LIMIT {
            return Err(refuse(format!("a header of {length} bytes; {HEADER_LIMIT} are the most")));
        }
        let tensors = SafeTensors::deserialize(&self.map).map_err(|e| refuse(brief(&e)))?;
        // Sizes are products of these, and one factor may be 0.
        let strange =
            |shape: &[usize]| shape.len() > DIMENSIONS || shape.iter().any(|&n| n > usize::MAX >> 16);
        let found = tensors.iter().find(|(_, view)| strange(view.shape())).map(|(name, _)| brief(&name));
        match found {
            None => Ok(tensors),
            Some(name) => Err(refuse(format!("the shape of {name} is no weight's"))),
        }
    }
}
