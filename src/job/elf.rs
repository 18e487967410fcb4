//! The dynamic section of an ELF program: which libraries it wants and where it looks for them.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Context, Error, Result};

/// What a 64-bit little-endian ELF file asks of the loader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// Names of libraries (`DT_NEEDED`).
    pub needed: Vec<String>,
    /// Folders searched before the system's (`DT_RUNPATH`, or `DT_RPATH` where that is absent); `$ORIGIN` as written.
    pub search: Vec<String>,
}

/// Reads the dynamic section of the file at `path`; all empty for a statically linked program.
///
/// # Errors
/// `Error::User` where the file cannot be read, is no such ELF file, or ends before what its headers name.
pub fn dynamic(path: &Path) -> Result<Dynamic> {
    let file = std::fs::File::open(path).user(format!("cannot read {}", path.display()))?;
    // SAFETY: only read; a file changed by others meanwhile gives wrong names, checked like all else below.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.user(format!("cannot map {}", path.display()))?;
    let dynamic = parse(&bytes)
        .ok_or_else(|| Error::user(format!("{} is not a 64-bit little-endian ELF file", path.display())))?;
    match end(&bytes) {
        Some(end) if end <= bytes.len() as u64 => Ok(dynamic),
        _ => Err(Error::user(format!("{} is cut short", path.display()))),
    }
}

/// Where the last segment and the table of sections end, by the headers.
fn end(file: &[u8]) -> Option<u64> {
    let table = |start, size, count| {
        let (start, size, count) = (number(file, start, 8)?, number(file, size, 2)?, number(file, count, 2)?);
        Some((start, size, count))
    };
    let (segments, size, count) = table(32, 54, 56)?;
    let mut end = 0;
    for i in 0..count {
        let at = segments.checked_add(i * size)?;
        let field = |offset| number(file, at.checked_add(offset)?, 8);
        end = end.max(field(8)?.checked_add(field(32)?)?);
    }
    let (sections, size, count) = table(40, 58, 60)?;
    Some(end.max(sections.checked_add(size * count)?))
}

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

fn parse(file: &[u8]) -> Option<Dynamic> {
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let headers = number(file, 32, 8)?;
    let (size, count) = (number(file, 54, 2)?, number(file, 56, 2)?);
    // (kind, offset in the file, address, size in the file)
    let segments = (0..count)
        .map(|i| {
            let at = headers.checked_add(i * size)?;
            let field = |offset, length| number(file, at.checked_add(offset)?, length);
            Some((field(0, 4)?, field(8, 8)?, field(16, 8)?, field(32, 8)?))
        })
        .collect::<Option<Vec<_>>>()?;
    let Some(&(_, start, _, length)) = segments.iter().find(|s| s.0 == PT_DYNAMIC) else {
        return Some(Dynamic::default());
    };
    let mut entries: HashMap<u64, Vec<u64>> = HashMap::new();
    for i in 0..length / 16 {
        let at = start.checked_add(i * 16)?;
        let tag = number(file, at, 8)?;
        if tag == 0 {
            break;
        }
        entries.entry(tag).or_default().push(number(file, at.checked_add(8)?, 8)?);
    }
    let values = |tag| entries.get(&tag).map_or(&[][..], Vec::as_slice);
    let &table = values(DT_STRTAB).first()?;
    // The string table is given as an address.
    let table = segments.iter().find_map(|&(kind, offset, address, size)| {
        let inside = table.checked_sub(address).filter(|d| kind == PT_LOAD && *d < size)?;
        offset.checked_add(inside)
    })?;
    let text = |&offset: &u64| -> Option<String> {
        let rest = file.get(usize::try_from(table.checked_add(offset)?).ok()?..)?;
        Some(String::from_utf8_lossy(rest.split(|b| *b == 0).next()?).into_owned())
    };
    let needed = values(DT_NEEDED).iter().map(text).collect::<Option<Vec<_>>>()?;
    let paths =
        [DT_RUNPATH, DT_RPATH].iter().map(|tag| values(*tag)).find(|v| !v.is_empty()).unwrap_or_default();
    let paths = paths.iter().map(text).collect::<Option<Vec<_>>>()?;
    let search =
        paths.iter().flat_map(|p| p.split(':')).filter(|p| !p.is_empty()).map(str::to_string).collect();
    Some(Dynamic { needed, search })
}

/// A little-endian number of `length` bytes at `at`.
fn number(file: &[u8], at: u64, length: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let bytes = file.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_needs_the_c_library() {
        let own = std::env::current_exe().unwrap();
        let dynamic = dynamic(&own).unwrap();
        assert!(dynamic.needed.iter().any(|n| n.starts_with("libc.so")), "{dynamic:?}");
    }

    #[test]
    fn a_file_cut_short_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for (length, whole) in
            [(own.len(), true), (own.len() - 1, false), (own.len() / 2, false), (70, false)]
        {
            std::fs::write(&path, &own[..length]).unwrap();
            assert_eq!(super::dynamic(&path).is_ok(), whole, "{length} of {}", own.len());
        }
    }

    #[test]
    fn no_damage_to_the_file_is_a_panic() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let head = &own[..own.len().min(4096)];
        for length in 0..head.len() {
            parse(&head[..length]);
            end(&head[..length]);
        }
        for i in 6..512 {
            let mut broken = head.to_vec();
            broken[i] ^= 0xff;
            parse(&broken);
            end(&broken);
        }
        assert_eq!(parse(b"#!/bin/sh\n"), None);
    }
}
