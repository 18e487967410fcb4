//! The cockpit's screens: recorded event logs and keys in, pictures of the buffer out.
//!
//! Pictures are text under `tests/snapshots/`. With `UPDATE_SNAPSHOTS=1` they are written anew; read the diff.

mod checkpoints;
mod config;
mod fetch;
mod home;
mod opening;
mod queue;
mod random;
mod repl;
mod svg;
mod train;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use qwen_tui::job::Event;
use qwen_tui::job::runs::RunSummary;
use qwen_tui::run::{Record, read_events};
use qwen_tui::tui::action::Action;
use qwen_tui::tui::app::App;
use qwen_tui::tui::message::Message;
use qwen_tui::tui::model::Worker;
use qwen_tui::tui::state::{Clock, State};
use qwen_tui::tui::theme::Theme;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

/// The run directory of all recorded logs.
const RUN: &str = "/home/me/output/qwen-demo/v0-20231114-221320";

/// Where its runs are looked for.
const OUTPUT: &str = "/home/me/output";

/// The cockpit on a screen of its own.
pub struct Cockpit {
    app: App,
    terminal: Terminal<TestBackend>,
}

impl Cockpit {
    /// Nothing is known to it yet.
    pub fn new(width: u16, height: u16) -> Cockpit {
        let state = State::new(Theme::colours(), Clock::Utc, OUTPUT.into(), 1_700_000_000.0);
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        Cockpit { app: App::new(state, false), terminal }
    }

    /// It follows a recorded run, as far as `records` go.
    pub fn on_run(width: u16, height: u16, records: Vec<Record<Event>>, worker: Worker) -> Cockpit {
        let mut cockpit = Cockpit::new(width, height);
        let run = PathBuf::from(RUN);
        let newest = records.last().map_or(0.0, |r| r.time);
        cockpit.tell(Message::Opened(run.clone()));
        cockpit.tell(Message::Events { run: run.clone(), records });
        cockpit.tell(Message::Worker { run, worker });
        cockpit.tell(Message::Tick(newest));
        cockpit
    }

    /// A job is asked for, as by the Config tab.
    pub fn begin_a_run(&mut self) {
        let args =
            qwen_tui::args::load_sft(None, &["--model_type=qwen-7b", "--dataset=a.csv"].map(str::to_owned));
        self.app.act(vec![Action::StartJob { args: Box::new(args.unwrap().args), beside: false }]);
    }

    pub fn tell(&mut self, message: Message) -> Vec<Action> {
        self.app.message(&message)
    }

    /// Presses keys, as in `"p"` or `"Enter"`; returns what the effects were asked for.
    pub fn press(&mut self, keys: &[&str]) -> Vec<Action> {
        let code = |name: &str| match name {
            "Enter" => KeyCode::Enter,
            "Esc" => KeyCode::Esc,
            "Tab" => KeyCode::Tab,
            "Left" => KeyCode::Left,
            "Up" => KeyCode::Up,
            "Down" => KeyCode::Down,
            "Home" => KeyCode::Home,
            "End" => KeyCode::End,
            "PageUp" => KeyCode::PageUp,
            "PageDown" => KeyCode::PageDown,
            name => KeyCode::Char(name.chars().next().unwrap()),
        };
        let press = |name: &&str| match name.strip_prefix("Ctrl+") {
            Some(name) => KeyEvent::new(code(name), KeyModifiers::CONTROL),
            None => KeyEvent::new(code(name), KeyModifiers::NONE),
        };
        keys.iter().flat_map(|name| self.app.input(Input::Key(press(name)))).collect()
    }

    /// What is told on the shell's screen at the end.
    pub fn parting_words(&self) -> Option<String> {
        self.app.parting_words()
    }

    pub fn resize(&mut self, width: u16, height: u16) {
        self.terminal.backend_mut().resize(width, height);
        self.app.input(Input::Resize(width, height));
    }

    /// Whether the terminal's caret is shown.
    pub fn has_caret(&self) -> bool {
        !format!("{:?}", self.terminal).contains("hidden_cursor: true")
    }

    /// The screen as text, a line a row; a wide character stands for its two cells.
    pub fn picture(&mut self) -> String {
        // Not the backend's: that keeps what a wide character covers, as no terminal does.
        let buffer = self.terminal.draw(|frame| self.app.draw(frame)).unwrap().buffer;
        let mut text = String::new();
        for y in 0..buffer.area.height {
            let (mut row, mut x) = (String::new(), 0);
            while x < buffer.area.width {
                let symbol = buffer[(x, y)].symbol();
                row += symbol;
                x += (unicode_width::UnicodeWidthStr::width(symbol) as u16).max(1);
            }
            writeln!(text, "{}", row.trim_end()).unwrap();
        }
        text
    }

    /// Holds the picture to the one on disk.
    #[track_caller]
    pub fn assert_picture(&mut self, name: &str) {
        let picture = self.picture();
        let path = root().join(format!("tests/snapshots/{name}.txt"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(&path, &picture).unwrap();
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(picture == wanted, "{} differs; now it is\n{picture}\nand was\n{wanted}", path.display());
    }
}

impl Cockpit {
    /// Holds one of the README's pictures to what the screen shows.
    #[track_caller]
    pub fn assert_readme_picture(&mut self, name: &str) {
        self.picture();
        let picture = svg::svg(self.terminal.backend().buffer());
        let path = root().join(format!("docs/pictures/{name}.svg"));
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &picture).unwrap();
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(picture == wanted, "{} is old: run `make pictures`", path.display());
    }
}

/// The runs where the cockpit looks for them.
pub fn listed(runs: Vec<RunSummary>) -> Message {
    Message::Runs { output_dir: OUTPUT.into(), runs }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A recorded log: `tests/data/events/NAME.jsonl`.
pub fn recorded(name: &str) -> Vec<Record<Event>> {
    read_events(&root().join(format!("tests/data/events/{name}.jsonl"))).unwrap()
}

/// A recorded log up to and with step `step`.
pub fn until_step(name: &str, step: u64) -> Vec<Record<Event>> {
    let mut records = recorded(name);
    let end = records.iter().position(|r| matches!(r.event, Event::Step { step: s, .. } if s == step));
    records.truncate(end.unwrap() + 1);
    records
}
