//! A pull on standard error: bars on a terminal, lines elsewhere.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use qwen_tui::error::{Result, escaped};
use qwen_tui::hub::{Failures, FileProgress, FileState, Progress, PullOptions, Repo, Stage, pull_first};
use qwen_tui::job::human;
use qwen_tui::job::stop::{Stop, asking_to_stop};
use qwen_tui::stderr::QuietKeys;

use super::out;

/// Between two lines where there is no terminal.
const EVERY: Duration = Duration::from_secs(10);
/// Between two lines at least.
const AT_MOST: Duration = Duration::from_secs(2);
/// Cells of a file's name.
const NAME: usize = 32;

/// Exit status of what Ctrl-C ended.
pub const INTERRUPTED: i32 = 130;

/// How a pull ended.
pub enum Brought {
    Here(Repo, PathBuf),
    /// By Ctrl-C or another signal that asks for it, which has been said.
    Stopped,
    Failed(Failures),
}

/// Pulls from the first of the hubs that has it, shown on standard error; Ctrl-C ends it.
///
/// # Errors
/// Signals cannot be caught.
pub fn bring(repos: &[Repo], options: &PullOptions) -> Result<Brought> {
    // Whatever ends it leaves the terminal as it was.
    let stop = Stop::catch(&[&asking_to_stop()[..], &[libc::SIGQUIT]].concat())?;
    let mut screen = Screen::for_stderr();
    let pulled = pull_first(repos, options, &mut |progress| screen.show(progress), &|| stop.came());
    screen.close();
    Ok(match pulled {
        Ok((repo, dir)) => Brought::Here(repo, dir),
        Err(_) if stop.came() => {
            out::note(&format!("stopped; {}", screen.kept()));
            Brought::Stopped
        }
        Err(failures) => Brought::Failed(failures),
    })
}

/// Where a pull is shown.
pub struct Screen {
    bars: Option<Bars>,
    stage: Option<Stage>,
    finished: usize,
    said: Instant,
    /// Bytes that were there when it was last told.
    done: u64,
    total: Option<u64>,
}

struct Bars {
    all: MultiProgress,
    whole: ProgressBar,
    files: HashMap<String, ProgressBar>,
    _quiet: Option<QuietKeys>,
}

impl Screen {
    pub fn for_stderr() -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
        let bars = (std::io::stderr().is_terminal() && !dumb).then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let whole = all.add(ProgressBar::no_length().with_style(style("{spinner} {wide_msg}")));
            whole.enable_steady_tick(Duration::from_millis(200));
            Bars { all, whole, files: HashMap::new(), _quiet: QuietKeys::new() }
        });
        Self { bars, stage: None, finished: 0, said: Instant::now(), done: 0, total: None }
    }

    pub fn show(&mut self, progress: &Progress) {
        for note in &progress.notes {
            self.say(note);
        }
        (self.done, self.total) = (progress.done, progress.total);
        let entered = self.stage.replace(progress.stage) != Some(progress.stage);
        match &mut self.bars {
            Some(bars) => bars.show(progress),
            None => self.lines(progress, entered),
        }
    }

    /// What is left where it was stopped.
    pub fn kept(&self) -> String {
        match self.done {
            0 => "what had come is kept, and the same command goes on from there".to_owned(),
            done => {
                format!("{} are kept, and the same command goes on from there", bytes(done, self.total))
            }
        }
    }

    pub fn close(&mut self) {
        if let Some(bars) = self.bars.take() {
            bars.whole.finish_and_clear();
            bars.files.values().for_each(ProgressBar::finish_and_clear);
        }
    }

    fn say(&self, line: &str) {
        match &self.bars {
            Some(bars) => drop(bars.all.println(escaped(line))),
            None => out::note(line),
        }
    }

    fn lines(&mut self, progress: &Progress, entered: bool) {
        match progress.stage {
            Stage::Waiting if entered => out::note(WAITING),
            Stage::Fetching if entered => {
                let files = human::counted(open(progress).count() as u64, "file");
                out::note(&match progress.total {
                    Some(total) => {
                        format!("fetching {} in {files}", human::bytes(total.saturating_sub(progress.done)))
                    }
                    None => format!("fetching {files}, of which the hub does not tell all sizes"),
                });
            }
            _ => {}
        }
        if !matches!(progress.stage, Stage::Fetching | Stage::Placing) {
            self.finished = progress.files.iter().filter(|file| file.state == FileState::Done).count();
            return;
        }
        let finished = progress.files.iter().filter(|file| file.state == FileState::Done).count();
        let (all, since) = (finished == progress.files.len(), self.said.elapsed());
        if finished != self.finished && (all || since > AT_MOST) || since > EVERY {
            (self.finished, self.said) = (finished, Instant::now());
            out::note(&format!("{finished}/{} files, {}", progress.files.len(), figures(progress)));
        }
    }
}

const WAITING: &str = "another process fetches the same: waiting for it";

fn open(progress: &Progress) -> impl Iterator<Item = &FileProgress> {
    progress.files.iter().filter(|file| file.state != FileState::Done)
}

/// `1.2 GB of 3.67 GB`; `1.2 GB` of what is not known.
fn bytes(done: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {}", human::bytes(done), human::bytes(total)),
        None => human::bytes(done),
    }
}

/// `1.2 GB of 3.67 GB, 45.1 MB/s, 55 s left`
fn figures(progress: &Progress) -> String {
    let mut text = bytes(progress.done, progress.total);
    if progress.rate >= 1.0 {
        text += &format!(", {}/s", human::bytes(progress.rate as u64));
    }
    if let Some(left) = progress.left {
        text += &format!(", {} left", human::duration(left.as_secs_f64()));
    }
    text
}

impl Bars {
    pub fn show(&mut self, progress: &Progress) {
        match progress.stage {
            Stage::Listing => self.whole.set_message(match progress.waits.first() {
                // When first: the rest may be too long for the line, and stands above.
                Some(wait) => format!("{}, {}: {}", wait.when(), wait.about, escaped(&wait.reason)),
                None => "asking the hub what there is".to_owned(),
            }),
            Stage::Waiting => self.whole.set_message(WAITING),
            Stage::Placing => self.whole.set_message("putting the files into their place"),
            Stage::Checking | Stage::Fetching => {
                if let Some(total) = progress.total {
                    self.whole.set_style(style("{bar:20} {percent:>3} %  {wide_msg}"));
                    self.whole.set_length(total);
                    self.whole.set_position(progress.done);
                }
                let what = if progress.stage == Stage::Checking { "comparing what is there: " } else { "" };
                self.whole.set_message(format!("{what}{}", figures(progress)));
            }
        }
        for file in &progress.files {
            let busy = matches!(file.state, FileState::Fetching | FileState::Checking);
            match self.files.get(&file.path) {
                None if busy => {
                    let bar = match file.size {
                        // An empty one, or one of unknown size.
                        0 => ProgressBar::no_length().with_style(style("  {bytes:>24}  {wide_msg}")),
                        size => {
                            ProgressBar::new(size).with_style(style("  {bar:18} {percent:>3} %  {wide_msg}"))
                        }
                    };
                    let bar = self.all.insert_before(&self.whole, bar);
                    self.files.insert(file.path.clone(), bar);
                }
                Some(bar) if !busy => {
                    bar.finish_and_clear();
                    self.all.remove(bar);
                    self.files.remove(&file.path);
                }
                _ => {}
            }
            if let Some(bar) = self.files.get(&file.path) {
                bar.set_position(file.done);
                let wait = progress.waits.iter().find(|wait| wait.about == file.path);
                let what = match (file.state, wait) {
                    (FileState::Checking, _) => ", checking".to_owned(),
                    (_, Some(wait)) => format!(", {}", wait.when()),
                    _ => String::new(),
                };
                bar.set_message(format!("{}{what}", shortened(&escaped(&file.path))));
            }
        }
    }
}

/// A name that may be long by its end, which tells shards apart.
fn shortened(name: &str) -> String {
    let many = name.chars().count();
    match many > NAME {
        true => format!("…{}", name.chars().skip(many + 1 - NAME).collect::<String>()),
        false => name.to_owned(),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
