//! Reading data files: rows, and what is wrong with those that are none.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::formats;
use super::template::{Blank, Row, blank, unplain};
use super::tokenize::BOM;
use super::{csv_file, json_file};
use crate::error::{Error, Result, shown};
use crate::plain;

/// One record of a file: its columns by name.
pub(super) type Record = Map<String, Value>;

/// Broken rows that are kept with their reasons: a file can have one in every two bytes.
pub const TOLD: usize = 100;
/// Bytes of the longest row: what its JSON says takes up to forty times as many, and no model has such a context.
const ROW_LIMIT: usize = 16 << 20;

/// Refuses a row that no model could read.
pub(super) fn check_length(bytes: usize) -> Result<(), String> {
    match bytes > ROW_LIMIT {
        true => Err(format!("longer than {} MB", ROW_LIMIT >> 20)),
        false => Ok(()),
    }
}

/// What happens at a broken row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBroken {
    /// It is left out and reported (SWIFT's `none`, `discard` and `warning`).
    Skip,
    /// Reading ends in an error (SWIFT's `error`).
    Error,
}

/// Where a row begins in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: u64,
    /// Its number in the file, from 1, where others begin on the same line.
    pub row: Option<u64>,
}

impl Place {
    pub(super) fn line(line: u64) -> Self {
        Place { line, row: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        self.row.map_or(Ok(()), |row| write!(f, ", row {row}"))
    }
}

/// A row that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub file: PathBuf,
    pub place: Place,
    pub reason: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", shown(&self.file), self.place, self.reason)
    }
}

/// Rows that have something in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    pub count: usize,
    /// `FILE, line N`
    pub first: Option<String>,
}

impl Places {
    fn add(&mut self, file: &Path, place: Place) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("{}, {place}", shown(file)));
    }

    fn extend(&mut self, more: Places) {
        self.count += more.count;
        self.first = self.first.take().or(more.first);
    }
}

/// What a file held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    pub rows: Vec<Row>,
    /// The first broken rows, [`TOLD`] at most, and how many there are in all.
    pub broken: Vec<Broken>,
    pub broken_rows: usize,
    /// Rows without a label (or answer): left out in silence, as SWIFT does.
    pub unlabelled: usize,
    /// Rows with a blank text or answer among the `rows`, as SWIFT keeps them.
    pub blank: Places,
    /// Rows without a query among the `rows`, where others have one.
    pub unasked: Places,
    /// Where the first row stands that not every template has a place for, and what it has: `FILE, line N has a history`.
    pub unplain: Option<String>,
}

/// Reads a `.csv`, `.jsonl` or `.json` file (UTF-8). What a row is shows in its columns:
/// `sentence` and `label` (`DAMO_NLP/jd`; 0 negative, 1 positive, empty unlabelled), `response` (with `query`, `system`,
/// `history`), `instruction` and `output` (with `input`), `conversations`, or `messages`.
///
/// # Errors
/// `Error::User` where the file cannot be read or has no usable row, and at the first broken row with [`OnBroken::Error`].
pub fn read_file(path: &Path, on_broken: OnBroken) -> Result<Read> {
    let parse = reader(path)?;
    let extension = extension(path);
    let bytes = plain::read(path, u64::MAX)
        .map_err(|e| Error::user(format!("cannot read the data file {}: {e}", shown(path))))?;
    let bytes = bytes.strip_prefix(BOM).unwrap_or(&bytes);
    if let [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] = bytes {
        return Err(Error::user(format!("{} is UTF-16 text; save it as UTF-8", shown(path))));
    }
    let mut sink = Sink { file: path, on_broken, read: Read::default() };
    parse(bytes, &mut sink)?;
    sink.finish(match extension.as_str() {
        _ if bytes.trim_ascii().is_empty() => "the file is empty",
        "csv" => "there is only a header",
        _ => "its list is empty",
    })
}

/// Reads the records of a format.
type Parse = fn(&[u8], &mut Sink) -> Result<()>;

/// Whether there is a file at `path` whose name says how it is read; its content is not looked at.
///
/// # Errors
/// `Error::User` names the place where it was looked for.
pub fn check_file(path: &Path) -> Result<()> {
    reader(path).map(drop)
}

fn reader(path: &Path) -> Result<Parse> {
    let place = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if !path.exists() {
        return Err(Error::user(format!("{}: no such data file", shown(&place()))));
    }
    if path.is_dir() {
        return Err(Error::user(format!("{} is a directory; name the files in it", shown(path))));
    }
    match extension(path).as_str() {
        "csv" => Ok(csv_file::read),
        "jsonl" => Ok(json_file::read_lines),
        "json" => Ok(json_file::read_list),
        _ => Err(Error::user(format!(
            "{}: a data file is named .csv, .jsonl or .json; rename it by what it holds",
            shown(path)
        ))),
    }
}

/// In small letters, without the dot.
fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

/// [`read_file`] of several files, one after the other.
pub fn read_files<P: AsRef<Path>>(paths: &[P], on_broken: OnBroken) -> Result<Read> {
    let mut all = Read::default();
    for path in paths {
        let read = read_file(path.as_ref(), on_broken)?;
        all.rows.extend(read.rows);
        all.broken.extend(read.broken);
        all.broken.truncate(TOLD);
        all.broken_rows += read.broken_rows;
        all.unlabelled += read.unlabelled;
        all.blank.extend(read.blank);
        all.unasked.extend(read.unasked);
        all.unplain = all.unplain.or(read.unplain);
    }
    Ok(all)
}

/// The file behind the name of a data set: the name itself where it is a file's.
///
/// # Errors
/// `Error::User` for any other name.
pub fn resolve_dataset_name(name: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.exists() || path.extension().is_some_and(|e| ["csv", "jsonl", "json"].iter().any(|k| e == *k)) {
        return Ok(path.into());
    }
    let jd = match name {
        "jd-sentiment-zh" => " (for jd-sentiment-zh: train.csv and dev.csv of DAMO_NLP/jd on ModelScope)",
        _ => "",
    };
    Err(Error::user(format!(
        "dataset {name:?} is not on this machine; name its file in its place (dataset), and one of validation rows \
         (custom_val_dataset_path){jd}"
    )))
}

/// Where the readers of the formats put what they find.
pub(super) struct Sink<'a> {
    file: &'a Path,
    on_broken: OnBroken,
    read: Read,
}

impl Sink<'_> {
    /// Takes the record that begins at `place`, or the reason why there is none.
    pub fn take(&mut self, place: Place, record: Result<Record, String>) -> Result<()> {
        match record.and_then(formats::to_row) {
            Ok(Some(row)) => {
                if let Some(what) = unplain(&row).filter(|_| self.read.unplain.is_none()) {
                    self.read.unplain = Some(format!("{}, {place} has {what}", shown(self.file)));
                }
                match blank(&row) {
                    Some(Blank::Text) => self.read.blank.add(self.file, place),
                    Some(Blank::Query) => self.read.unasked.add(self.file, place),
                    None => {}
                }
                self.read.rows.push(row);
            }
            Ok(None) => self.read.unlabelled += 1,
            Err(reason) => {
                let broken = Broken { file: self.file.into(), place, reason };
                if self.on_broken == OnBroken::Error {
                    return Err(Error::user(format!(
                        "{broken}. Mend the row, or leave broken rows out (check_dataset_strategy warning)"
                    )));
                }
                self.read.broken_rows += 1;
                if self.read.broken.len() < TOLD {
                    self.read.broken.push(broken);
                }
            }
        }
        Ok(())
    }

    /// An error of the file as a whole.
    pub fn fail<T>(&self, reason: impl fmt::Display) -> Result<T> {
        Err(Error::user(format!("{}: {reason}", shown(self.file))))
    }

    /// What was read; `empty` says what a file without a row holds.
    fn finish(mut self, empty: &str) -> Result<Read> {
        if self.read.unasked.count == self.read.rows.len() {
            // Texts to go on with: there is no query in any.
            self.read.unasked = Places::default();
        }
        let Read { rows, broken, broken_rows, unlabelled, .. } = &self.read;
        match (rows.as_slice(), broken.first()) {
            ([], Some(first)) => self.fail(format!(
                "no usable row in it ({broken_rows} broken, {unlabelled} without a label); the first broken one: {}: {}",
                first.place,
                first.reason
            )),
            ([], None) if *unlabelled > 0 => {
                self.fail(format!("no usable row in it: none of its {unlabelled} has a label"))
            }
            ([], None) => self.fail(format!("no row in it: {empty}")),
            _ => Ok(self.read),
        }
    }
}

/// `bytes` as text; the reason says what to do, as data from China is often GBK.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|e| {
        format!(
            "not UTF-8 text (byte {} of it); save the file as UTF-8 (if it is GBK: iconv -f GBK -t UTF-8; if UTF-16: \
             iconv -f UTF-16 -t UTF-8)",
            e.valid_up_to() + 1
        )
    })
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
