//! One safetensors file.

use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};
use safetensors::SafeTensors;

use crate::error::{Context, Error, Result, brief, shown};
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
        let file = plain::open(path).user(shown(path))?;
        // SAFETY: the map is read only; a file that another program shortens meanwhile ends the engine by SIGBUS,
        // which its client reports. Weights are not edited in place by any tool.
        let map = unsafe { Mmap::map(&file) }.user(shown(path))?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// Lets the kernel take back the memory in which `bytes` of this file are shown: they have been copied. What is
    /// asked for again is read again.
    pub fn forget(&self, bytes: &[u8]) {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.map.as_ptr() as usize);
        if offset < self.map.len() && bytes.len() <= self.map.len() - offset {
            // SAFETY: a map of a file that nobody writes to through it: dropped pages come back as they were.
            let _ =
                unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, bytes.len()) };
        }
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
                shown(&self.path)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of a file with this length of a header, and this header.
    fn error(length: u64, header: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        std::fs::write(&path, [&length.to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
        let error = Shard::open(&path).unwrap().tensors().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn what_a_header_says_is_not_believed() {
        for length in [HEADER_LIMIT + 1, u64::MAX] {
            assert!(error(length, "{}").contains("are the most"));
        }
        let beyond = error(HEADER_LIMIT, "{}");
        assert!(beyond.contains("not a whole safetensors file"), "{beyond}");
        // No bytes at all, by a factor of 0: what multiplies the others first overflows.
        for shape in ["[9223372036854775808,0]", "[0,281474976710656]", "[0,1,1,1,1,1,1,1,1]"] {
            let header = format!(r#"{{"a\u001bb":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}}}"#);
            let told = error(header.len() as u64, &header);
            assert!(told.contains("the shape of a\\u{1b}b is no weight's"), "{told}");
        }
    }
}
