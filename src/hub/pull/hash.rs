//! Checksums of files, counted while the bytes come.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::hub::client::Checksum;
use crate::hub::client::fault::{Fault, disk};
use crate::plain;

/// A checksum of the kind that the hub tells, as far as the bytes have come.
#[derive(Clone)]
pub enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Hasher {
    /// Of a file of `size` bytes, which git counts in: without it there is none of git's.
    pub fn new(kind: &Checksum, size: Option<u64>) -> Option<Self> {
        match kind {
            Checksum::Sha256(_) => Some(Hasher::Sha256(Sha256::new())),
            Checksum::GitBlob(_) => Some(Hasher::GitBlob(Sha1::new_with_prefix(format!("blob {}\0", size?)))),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(sha) => sha.update(bytes),
            Hasher::GitBlob(sha) => sha.update(bytes),
        }
    }

    /// In lower-case hexadecimal.
    pub fn hex(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        match self {
            Hasher::Sha256(sha) => hex(&sha.finalize()),
            Hasher::GitBlob(sha) => hex(&sha.finalize()),
        }
    }
}

/// Counts the first `bytes` of a file into `hasher`, or fewer where it is shorter; how many they were. Other tasks come in
/// between, and the wait can be ended there.
///
/// # Errors
/// The file cannot be read.
pub async fn count(
    path: &Path,
    bytes: u64,
    hasher: &mut Hasher,
    told: &(dyn Fn(u64) + Sync),
) -> Result<u64, Fault> {
    let failed = |e: &std::io::Error| disk("read", path, e);
    let mut file: std::io::Take<File> = plain::open(path).map_err(|e| failed(&e))?.take(bytes);
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let n = file.read(&mut buffer).map_err(|e| failed(&e))?;
        if n == 0 {
            return Ok(done);
        }
        hasher.update(&buffer[..n]);
        done += n as u64;
        told(done);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_as_their_tools_count_them() {
        let of = |kind: &str| {
            let mut hasher = Hasher::new(&Checksum::of(kind).unwrap(), Some(6)).unwrap();
            hasher.update(b"hel");
            hasher.update(b"lo\n");
            hasher.hex()
        };
        // printf 'hello\n' | sha256sum; git hash-object --stdin
        assert_eq!(of(&"0".repeat(64)), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(of(&"0".repeat(40)), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
