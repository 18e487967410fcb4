//! A run's logs: `events.jsonl` with all that reads it, up to the cockpit's picture, and `logging.jsonl`. The first byte
//! says in how many pieces the log grows, and which of its readers has it.

use std::cell::RefCell;
use std::fs;
use std::io::Write;

use crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use qwen_tui::job::curves::Curves;
use qwen_tui::job::event::Event;
use qwen_tui::job::lines::Lines;
use qwen_tui::job::runs::inspect;
use qwen_tui::job::standing::Standing;
use qwen_tui::run::{EVENTS, EventLog, Follower, LOGGING, Logging, Record, replay};
use qwen_tui::tui::app::App;
use qwen_tui::tui::message::Message;
use qwen_tui::tui::model::Worker;
use qwen_tui::tui::state::{Clock, State};
use qwen_tui::tui::theme::Theme;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::place::{choice, dir, for_people, write};

/// Screens that it is drawn on.
const SIZES: [(u16, u16); 4] = [(80, 24), (160, 48), (61, 17), (20, 5)];
/// Seconds since 1970: all of them are 14 November 2023.
const NOW: f64 = 1_700_000_000.0;

pub fn run(bytes: &[u8]) {
    let (how, rest) = choice(bytes);
    let log = write(&format!("run/{EVENTS}"), b"");
    let run = dir().join("run");

    // What a viewer sees piece by piece is what stands there at the end.
    let mut follower = Follower::<Event>::open(&log);
    let mut file = fs::File::options().append(true).open(&log).expect("the log");
    let mut seen = Vec::new();
    let pieces = 1 + usize::from(how % 4);
    for part in rest.chunks(rest.len() / pieces + 1) {
        file.write_all(part).expect("the log grows");
        seen.extend(for_people(follower.poll()).unwrap_or_default());
    }
    let all = replay::<Event>(&log).expect("any bytes are a log");
    assert_eq!(format!("{:?}", all.records), format!("{seen:?}"));
    assert_eq!(all.skipped, follower.skipped());
    let mut at_end = Follower::<Event>::at_end(&log).expect("any bytes are a log");
    assert!(at_end.poll().expect("the log").is_empty());

    match how / 4 % 8 {
        0 | 1 => {
            Curves::read(&run, None);
        }
        2 | 3 => logging(rest, u64::from(how)),
        4 => draw(&all.records, SIZES[usize::from(how / 32) % SIZES.len()]),
        _ => fold(&all.records, usize::from(how)),
    }

    // Whatever stands there, a worker can go on.
    let mut again = EventLog::open(&log).expect("any bytes are a log");
    let seq = again.append(&Event::Paused { step: 1 }).expect("there is room");
    assert_eq!(replay::<Event>(&log).expect("a log").records.last().map(|r| r.seq), Some(seq));
}

/// What lists of runs and plain lines make of it.
fn fold(records: &[Record<Event>], cells: usize) {
    let run = dir().join("run");
    inspect(&run);
    let mut standing = Standing::read(&run);
    let mut lines = Lines::default();
    for record in records {
        standing.see(record);
        lines.see(&record.event);
        for bar in [true, false] {
            lines.line(&record.event, bar);
        }
        lines.status(cells);
    }
    drop((standing.word(NOW), standing.seconds_left(), standing.trouble(NOW), standing.way_out()));
}

/// SWIFT's log: what the curves make of it, and where a run that goes on cuts it.
fn logging(bytes: &[u8], step: u64) {
    let folder = dir().join("logging");
    let log = write(&format!("logging/{LOGGING}"), bytes);
    Curves::read(&folder, None);
    inspect(&folder);
    Logging::cut(&log, step).expect("any bytes are a log");
    let left = fs::read(&log).expect("the log");
    assert!(bytes.starts_with(&left) && left.last().is_none_or(|b| *b == b'\n'));
}

/// The cockpit, that follows the run from a clean state.
fn draw(records: &[Record<Event>], (width, height): (u16, u16)) {
    thread_local! {
        static SCREEN: RefCell<Terminal<TestBackend>> =
            RefCell::new(Terminal::new(TestBackend::new(1, 1)).expect("a screen in memory"));
    }
    let mut app = App::new(State::new(Theme::colours(), Clock::Utc, "output".into(), NOW), false);
    let run = dir().join("run");
    app.message(&Message::Opened(run.clone()));
    app.message(&Message::Events { run: run.clone(), records: records.to_vec() });
    app.message(&Message::Worker { run, worker: Worker::Alive });
    SCREEN.with_borrow_mut(|screen| {
        screen.backend_mut().resize(width, height);
        for key in ["", "v", "x"] {
            app.message(&Message::Tick(NOW));
            if let Some(c) = key.chars().next() {
                app.input(Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
            }
            screen.draw(|frame| app.draw(frame)).expect("a picture");
        }
    });
}
