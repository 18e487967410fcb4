//! When a kill is to fall, and whom it is to hit.

use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand_mt::Mt;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::process::{Pid, Signal, kill_process};

/// Random numbers from a seed.
pub struct Chance(Mt);

impl Chance {
    pub fn new(seed: u32) -> Self {
        Self(Mt::new(seed))
    }

    /// Below `n`.
    pub fn below(&mut self, n: u32) -> u32 {
        self.0.next_u32() % n
    }

    pub fn up_to(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(self.0.next_u32()) / f64::from(u32::MAX))
    }
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// `qwen-tui sft` and its engine, at once.
    Group,
    Engine,
    /// `qwen-tui sft`; its engine trains on.
    Front,
    /// An engine whose front program was killed before.
    Orphan,
}

impl Victim {
    pub fn draw(chance: &mut Chance) -> Self {
        match chance.below(10) {
            0..5 => Self::Group,
            5..8 => Self::Engine,
            _ => Self::Front,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "both programs",
            Self::Engine => "the engine",
            Self::Front => "`sft` alone",
            Self::Orphan => "the engine left alone",
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
pub enum Aim {
    /// A time from the start on.
    Time(Duration),
    /// The `nth` such change of the run's directory, and a moment.
    Change {
        what: Change,
        nth: u32,
        and: Duration,
    },
    Never,
}

/// What a save, or the beginning of an engine, does to the run's directory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// A file is made that has not got its name yet, such as transformers' arguments, before the first step.
    Unnamed,
    /// The hidden directory of a new checkpoint is made.
    Begun,
    /// All its files are there, and the last, with their checksums, is made.
    Sealed,
    /// It gets its name.
    Renamed,
    /// An old one is moved aside to be removed.
    Rotated,
}

impl Change {
    fn of(events: ReadFlags, name: &str) -> Option<Self> {
        let hidden = name.strip_prefix(".checkpoint-");
        if hidden.is_none() && name.starts_with('.') && name.contains(".tmp-") {
            return events.contains(ReadFlags::CREATE).then_some(Self::Unnamed);
        }
        match (events.contains(ReadFlags::CREATE), events.contains(ReadFlags::MOVED_TO), hidden) {
            (true, _, Some(rest)) if rest.contains(".tmp-") => Some(Self::Begun),
            (_, true, Some(rest)) if rest.contains(".rm-") => Some(Self::Rotated),
            (_, true, None) if name.starts_with("checkpoint-") => Some(Self::Renamed),
            (true, _, None) if name == "checksums.json" => Some(Self::Sealed),
            _ => None,
        }
    }
}

impl Aim {
    pub fn draw(chance: &mut Chance) -> Self {
        let millis = Duration::from_millis;
        let (what, most) = match chance.below(11) {
            0..3 => return Self::Time(chance.up_to(millis(2500))),
            // About as long as a save takes.
            3..5 => (Change::Begun, millis(100)),
            5..7 => (Change::Sealed, millis(5)),
            7..9 => (Change::Renamed, millis(5)),
            9 => (Change::Rotated, millis(2)),
            _ => return Self::Change { what: Change::Unnamed, nth: 1, and: Duration::ZERO },
        };
        // At once, as often as not.
        let and = if chance.below(2) == 0 { Duration::ZERO } else { chance.up_to(most) };
        Self::Change { what, nth: 1 + chance.below(6), and }
    }

    /// Waits for the moment. False where the program `ended` before.
    pub fn wait(self, run: &dyn Fn() -> Option<PathBuf>, ended: &mut dyn FnMut() -> bool) -> bool {
        match self {
            Self::Never => false,
            Self::Time(time) => {
                let began = Instant::now();
                while began.elapsed() < time {
                    if ended() {
                        return false;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                true
            }
            Self::Change { what, nth, and } => {
                // Of a new run, once it is there: long before its engine has loaded its libraries.
                let run = loop {
                    match run() {
                        Some(run) => break run,
                        None if ended() => return false,
                        None => std::thread::sleep(Duration::from_millis(1)),
                    }
                };
                if !wait_for(&run, what, nth, ended) {
                    return false;
                }
                // A sleep is seldom as short as asked for.
                let since = Instant::now();
                while since.elapsed() < and {
                    std::hint::spin_loop();
                }
                true
            }
        }
    }
}

/// Waits until `what` has happened `nth` times in `run`.
fn wait_for(run: &Path, what: Change, nth: u32, ended: &mut dyn FnMut() -> bool) -> bool {
    let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, run, WatchFlags::CREATE | WatchFlags::MOVED_TO).unwrap();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut changes = inotify::Reader::new(&watch, &mut buffer);
    let (mut seen, mut looked) = (0, Instant::now());
    loop {
        match changes.next() {
            Ok(change) => {
                let name =
                    change.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let change = Change::of(change.events(), &name);
                seen += u32::from(change == Some(what));
                if seen == nth {
                    return true;
                }
                if change == Some(Change::Begun) {
                    // It may have its name already.
                    let _ = inotify::add_watch(&watch, run.join(&name), WatchFlags::CREATE);
                }
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                if looked.elapsed() > Duration::from_millis(5) {
                    looked = Instant::now();
                    if ended() {
                        return false;
                    }
                }
                std::thread::sleep(Duration::from_micros(30));
            }
            Err(e) => panic!("inotify: {e}"),
        }
    }
}

pub fn kill(pid: u32) {
    // It may have ended by itself just now.
    let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
}

/// Whether the process has gone; one that nobody has waited for yet holds nothing any more either.
pub fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// The processes that `pid` has started.
pub fn children(pid: u32) -> Vec<u32> {
    let of = |stat: &str| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok();
    let is_child = |child: &u32| {
        fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| of(&stat) == Some(pid))
    };
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}
