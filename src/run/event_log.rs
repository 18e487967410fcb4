//! The event log, `events.jsonl`: one JSON object a line, each with `seq`, `time` and the event's own keys.
//!
//! It only grows. A line counts once its newline is written; what stands after the last newline was torn by a crash
//! or is still being written, and is not read. The kind of event is the caller's, so this room knows none of them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::files::{AppendFile, file_error};
use crate::error::{Context, Result};
use crate::plain;

/// Bytes looked at at a time for where the last line begins.
const BACK: u64 = 4096;
/// Bytes that are read at a time, and so the longest line: an event has some hundred.
const PIECE: u64 = 16 << 20;
/// Bytes of the disk that a log which is being written keeps for its last words.
const RESERVE: u64 = 64 << 10;

/// An event with its place in the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record<E> {
    /// Counts the lines of a run from 1, across its workers.
    pub seq: u64,
    /// Unix seconds.
    pub time: f64,
    #[serde(flatten)]
    pub event: E,
}

/// The writing end. One worker at a time may hold it (the worker's lock sees to that).
#[derive(Debug)]
pub struct EventLog {
    file: AppendFile,
    last: u64,
}

impl EventLog {
    /// Opens or creates the log; `seq` goes on after the last whole line, and a torn last line is cut off.
    pub fn open(path: &Path) -> Result<EventLog> {
        #[derive(Deserialize)]
        struct Seq {
            seq: u64,
        }
        let (file, content) = AppendFile::open(path)?;
        // Broken lines are passed over, as on reading.
        let last = content.rsplit(|b| *b == b'\n').find_map(|line| serde_json::from_slice::<Seq>(line).ok());
        Ok(EventLog { file, last: last.map_or(0, |s| s.seq) })
    }

    /// Appends one event, in one write(2), and returns its `seq`.
    ///
    /// `event` must serialize to a JSON object. Errors: `Error::NoRoom` where the disk is full; the log is then as it
    /// was before, and the next event may succeed.
    pub fn append<E: Serialize>(&mut self, event: &E) -> Result<u64> {
        self.file.reserve(RESERVE)?;
        self.append_last(event)
    }

    /// [`append`](Self::append) of an event that must be told on a full disk too, such as why a run does not go on:
    /// into the room that is kept for such.
    pub fn append_last<E: Serialize>(&mut self, event: &E) -> Result<u64> {
        let record = Record { seq: self.last.saturating_add(1), time: now(), event };
        let mut line = serde_json::to_vec(&record).internal("writing an event")?;
        line.push(b'\n');
        self.file.append(&line)?;
        self.last = record.seq;
        Ok(record.seq)
    }

    /// Makes everything appended so far survive a power cut.
    pub fn sync(&self) -> Result<()> {
        self.file.sync()
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay<E> {
    pub records: Vec<Record<E>>,
    /// Whole lines that could not be read: broken ones, and kinds that a newer version writes.
    pub skipped: u64,
}

/// All events of a log, oldest first; a torn last line is left out, lines that cannot be read are skipped.
/// Errors: `Error::User` where the file cannot be read.
pub fn read_events<E: DeserializeOwned>(path: &Path) -> Result<Vec<Record<E>>> {
    Ok(replay(path)?.records)
}

/// [`read_events`], with the number of lines skipped.
pub fn replay<E: DeserializeOwned>(path: &Path) -> Result<Replay<E>> {
    let mut all = Replay { records: Vec::new(), skipped: 0 };
    let mut file = plain::open(path).map_err(|e| file_error("read", path, &e))?;
    read_lines(&mut file, &mut all).map_err(|e| file_error("read", path, &e))?;
    Ok(all)
}

/// Parses the whole lines of `bytes` into `into`; returns how many bytes they take.
fn parse_lines<E: DeserializeOwned>(bytes: &[u8], into: &mut Replay<E>) -> usize {
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    for line in bytes[..whole].split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(record) => into.records.push(record),
            Err(_) => into.skipped += 1,
        }
    }
    whole
}

/// Reads the whole lines from where `file` stands to its end, piece by piece; returns how many bytes they take. A line
/// that is longer than a piece is none of ours, and is skipped.
fn read_lines<E: DeserializeOwned>(file: &mut File, into: &mut Replay<E>) -> io::Result<u64> {
    let mut piece = Vec::new();
    let (mut taken, mut too_long) = (0, false);
    loop {
        let more = Read::by_ref(file).take(PIECE - piece.len() as u64).read_to_end(&mut piece)?;
        let rest = match piece.iter().position(|b| *b == b'\n').filter(|_| too_long) {
            // The end of a line whose beginning is gone.
            Some(end) => {
                too_long = false;
                end + 1
            }
            None => 0,
        };
        let mut whole = rest;
        if !too_long {
            whole += parse_lines(&piece[rest..], into);
        }
        if whole == 0 && piece.len() as u64 == PIECE {
            into.skipped += u64::from(!too_long);
            too_long = true;
            whole = piece.len();
        }
        taken += whole as u64;
        piece.drain(..whole);
        if more == 0 {
            return Ok(taken);
        }
    }
}

/// The reading end for a run that may still be going on.
#[derive(Debug)]
pub struct Follower<E> {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of the whole lines returned so far. What comes after them is read anew at each poll, so a line that
    /// was incomplete, or that a new worker cut off, needs no memory here.
    offset: u64,
    skipped: u64,
    event: PhantomData<E>,
}

impl<E: DeserializeOwned> Follower<E> {
    /// Follows the log at `path` from its beginning; it need not exist yet.
    pub fn open(path: &Path) -> Follower<E> {
        Follower { path: path.to_owned(), file: None, offset: 0, skipped: 0, event: PhantomData }
    }

    /// Follows the log at `path` from its end: what stands there in whole lines is not returned.
    ///
    /// # Errors
    /// `Error::User` where it cannot be read.
    pub fn at_end(path: &Path) -> Result<Follower<E>> {
        let mut follower = Follower::open(path);
        follower.skip_to_end().map_err(|e| file_error("read", path, &e))?;
        Ok(follower)
    }

    fn skip_to_end(&mut self) -> io::Result<()> {
        let mut file = match plain::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        // The newest line may still be being written: back to where the one before ends.
        let mut end = file.metadata()?.len();
        let mut part = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(BACK);
            file.seek(SeekFrom::Start(start))?;
            part.clear();
            Read::by_ref(&mut file).take(end - start).read_to_end(&mut part)?;
            if let Some(at) = part.iter().rposition(|b| *b == b'\n') {
                end = start + at as u64 + 1;
                break;
            }
            end = start;
        }
        self.offset = end;
        self.file = Some(file);
        Ok(())
    }

    /// The events whose lines were completed since the last poll; none while the file does not exist. A file that
    /// has become shorter than what was read is read from its beginning.
    pub fn poll(&mut self) -> Result<Vec<Record<E>>> {
        let mut new = Replay { records: Vec::new(), skipped: 0 };
        self.read_new(&mut new).map_err(|e| file_error("read", &self.path, &e))?;
        self.skipped += new.skipped;
        Ok(new.records)
    }

    /// Whole lines that could not be read so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    fn read_new(&mut self, into: &mut Replay<E>) -> io::Result<()> {
        if self.file.is_none() {
            match plain::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        if let Some(file) = &mut self.file {
            if file.metadata()?.len() < self.offset {
                self.offset = 0;
            }
            file.seek(SeekFrom::Start(self.offset))?;
            self.offset += read_lines(file, into)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Toy {
        Step { step: u64, loss: f64 },
        Note { text: String },
    }

    fn step(step: u64) -> Toy {
        Toy::Step { step, loss: 0.1 + 0.2 }
    }

    fn add(path: &Path, text: &str) {
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn events_come_back_as_they_went_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut log = EventLog::open(&path).unwrap();
        let note = Toy::Note { text: "包装不错\n但是".into() };
        assert_eq!(log.append(&step(1)).unwrap(), 1);
        assert_eq!(log.append(&note).unwrap(), 2);
        log.sync().unwrap();
        let lines = fs::read_to_string(&path).unwrap();
        assert_eq!(lines.lines().count(), 2);
        assert!(lines.starts_with(r#"{"seq":1,"time":"#) && lines.contains(r#""kind":"step""#), "{lines}");
        let records = read_events::<Toy>(&path).unwrap();
        assert_eq!(records.iter().map(|r| &r.event).collect::<Vec<_>>(), [&step(1), &note]);
        assert!((now() - records[0].time).abs() < 60.0);
        assert_eq!(EventLog::open(&path).unwrap().append(&step(2)).unwrap(), 3);
    }

    #[test]
    fn a_torn_last_line_is_dropped_on_reading_and_cut_on_writing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        EventLog::open(&path).unwrap().append(&step(1)).unwrap();
        let whole = fs::read(&path).unwrap();
        // Every way a second line can be cut short, its whole text without the newline included.
        let second = r#"{"seq":2,"time":1.5,"kind":"note","text":"好"}"#.as_bytes();
        for cut in 1..=second.len() {
            fs::write(&path, [&whole[..], &second[..cut]].concat()).unwrap();
            let all = replay::<Toy>(&path).unwrap();
            assert_eq!((all.records.len(), all.skipped), (1, 0));
            assert_eq!(EventLog::open(&path).unwrap().append(&step(7)).unwrap(), 2);
            let records = read_events::<Toy>(&path).unwrap();
            assert_eq!((records.len(), &records[1].event), (2, &step(7)));
        }
    }

    #[test]
    fn broken_lines_and_unknown_kinds_are_skipped_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut log = EventLog::open(&path).unwrap();
        log.append(&step(1)).unwrap();
        add(&path, "{\"seq\":2,\"ti\n\0\0\0\n{\"seq\":3,\"time\":1,\"kind\":\"from_the_future\"}\n");
        let mut log = EventLog::open(&path).unwrap();
        assert_eq!(log.append(&step(2)).unwrap(), 4);
        add(&path, "rubbish\n");
        assert_eq!(EventLog::open(&path).unwrap().append(&step(3)).unwrap(), 5);
        let all = replay::<Toy>(&path).unwrap();
        assert_eq!(all.records.iter().map(|r| r.seq).collect::<Vec<_>>(), [1, 4, 5]);
        assert_eq!(all.skipped, 4);
    }

    #[test]
    fn a_full_disk_is_an_error_and_the_number_is_not_used_up() {
        let mut log = EventLog { file: AppendFile::full_disk(), last: 4 };
        let e = log.append(&step(1)).unwrap_err();
        assert!(matches!(e, Error::NoRoom(_)) && e.exit_code() == 2, "{e:?}");
        assert!(e.to_string().contains("free some space"), "{e}");
        assert_eq!(log.last, 4);
    }

    #[test]
    fn a_follower_sees_each_line_once_and_only_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut follower = Follower::<Toy>::open(&path);
        assert_eq!(follower.poll().unwrap(), []);
        let mut log = EventLog::open(&path).unwrap();
        assert_eq!(follower.poll().unwrap(), []);
        log.append(&step(1)).unwrap();
        log.append(&step(2)).unwrap();
        assert_eq!(follower.poll().unwrap().len(), 2);
        assert_eq!(follower.poll().unwrap(), []);
        // A line that arrives in two pieces, cut inside a character.
        let line = "{\"seq\":3,\"time\":1,\"kind\":\"note\",\"text\":\"好\"}\n".as_bytes();
        let cut = line.iter().position(|b| *b > 127).unwrap() + 1;
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&line[..cut]).unwrap();
        assert_eq!(follower.poll().unwrap(), []);
        file.write_all(&line[cut..]).unwrap();
        assert_eq!(follower.poll().unwrap()[0].event, Toy::Note { text: "好".into() });
        // A torn line seen by the follower, cut off by the next worker, followed by a longer one.
        add(&path, "{\"seq\":4,");
        assert_eq!(follower.poll().unwrap(), []);
        let mut log = EventLog::open(&path).unwrap();
        log.append(&Toy::Note { text: "long".repeat(20) }).unwrap();
        let new = follower.poll().unwrap();
        assert_eq!((new.len(), new[0].seq, follower.skipped()), (1, 4, 0));
        add(&path, "broken\n");
        assert_eq!((follower.poll().unwrap().len(), follower.skipped()), (0, 1));
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_what_follows_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        EventLog::open(&path).unwrap().append(&step(1)).unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let whole = file.metadata().unwrap().len();
        // A hole, as a file of any length can have one.
        file.set_len(whole + 3 * PIECE + 5).unwrap();
        let mut follower = Follower::<Toy>::open(&path);
        assert_eq!((follower.poll().unwrap().len(), follower.skipped()), (1, 1));
        add(&path, "\n{\"seq\":2,\"time\":1,\"kind\":\"note\",\"text\":\"a\"}\n");
        assert_eq!(follower.poll().unwrap().len(), 1);
        let all = replay::<Toy>(&path).unwrap();
        assert_eq!((all.records.len(), all.skipped), (2, 1));
    }

    #[test]
    fn a_follower_of_the_end_sees_only_what_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut early = Follower::<Toy>::at_end(&path).unwrap();
        let note = |n: u64, text: &str| {
            format!("{{\"seq\":{n},\"time\":1,\"kind\":\"note\",\"text\":\"{text}\"}}\n")
        };
        // A line longer than what is looked at at a time, and one that is half written.
        let torn = note(3, &"长".repeat(5000)).into_bytes();
        let whole = (note(1, "old") + &note(2, "old")).into_bytes();
        fs::write(&path, [&whole[..], &torn[..9000]].concat()).unwrap();
        let mut follower = Follower::<Toy>::at_end(&path).unwrap();
        assert!(follower.poll().unwrap().is_empty());
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&torn[9000..]).unwrap();
        let seqs = |records: Vec<Record<Toy>>| records.iter().map(|r| r.seq).collect::<Vec<_>>();
        assert_eq!(seqs(follower.poll().unwrap()), [3]);
        assert_eq!(seqs(early.poll().unwrap()), [1, 2, 3]);
    }
}
