//! The cockpit's REPL on a real engine: orders in, news out.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Bench, PROGRAM};
use qwen_tui::job::runs::list_runs;
use qwen_tui::run::{RunDir, list_checkpoints};
use qwen_tui::tui::action::{Action, Notice};
use qwen_tui::tui::effects::Effects;
use qwen_tui::tui::message::Message;
use qwen_tui::tui::repl::{Ask, Model, News, Order};
use qwen_tui::tui::state::{Clock, State};
use qwen_tui::tui::theme::Theme;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

struct Desk {
    effects: Effects,
    state: State,
    messages: UnboundedReceiver<Message>,
}

impl Desk {
    fn new() -> Desk {
        let (sender, messages) = unbounded_channel();
        let mut state = State::new(Theme::plain(), Clock::Utc, "output".into(), 0.0);
        state.engine = Some(Ok(Path::new(PROGRAM).with_file_name("qwen-tui-engine")));
        Desk { effects: Effects::new(sender), state, messages }
    }

    fn order(&mut self, order: Order) {
        self.effects.act(Action::Repl(order), &self.state);
    }

    fn hear(&mut self) -> News {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(120) {
            match self.messages.try_recv() {
                Ok(Message::Repl(news)) => return news,
                Ok(other) => panic!("{other:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        panic!("no news");
    }

    /// Has `model` opened.
    fn open(&mut self, model: &Model) {
        self.order(Order::Open(model.clone()));
        assert_eq!(self.hear(), News::Loading(model.clone()));
        self.loaded(model);
    }

    fn loaded(&mut self, model: &Model) {
        match self.hear() {
            News::Loaded(loaded) if loaded.model == *model => {
                assert!(loaded.warnings.is_empty() && loaded.seconds > 0.0, "{loaded:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    /// Merges a checkpoint; the notice that ends it. Progress comes before it, and the run is looked at.
    fn merge(&mut self, checkpoint: &Path, overwrite: bool) -> Notice {
        self.effects.act(Action::Merge { checkpoint: checkpoint.to_owned(), overwrite }, &self.state);
        let (began, mut told, mut looked) = (Instant::now(), Vec::new(), false);
        while began.elapsed() < Duration::from_secs(120) {
            match self.messages.try_recv() {
                Ok(Message::Merge { checkpoint: of, percent }) if of == checkpoint => told.push(percent),
                Ok(Message::RunDetails(_)) => looked = true,
                Ok(Message::Notice(notice)) => {
                    assert!(looked && told[0] == Some(0) && told[told.len() - 1].is_none(), "{told:?}");
                    return notice;
                }
                Ok(other) => panic!("{other:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        panic!("no end");
    }

    fn ask(&mut self, id: u64, text: &str) {
        self.order(Order::Ask { id, ask: Ask::Classify(text.to_owned()) });
    }

    /// P(positive) of the question that is being answered.
    fn positive(&mut self, id: u64) -> f64 {
        assert_eq!(self.hear(), News::Begun { id });
        match self.hear() {
            News::Label { id: of, label, probabilities, .. } if of == id => {
                let p = probabilities["positive"].as_f64().unwrap();
                assert_eq!(label, if p > 0.5 { "positive" } else { "negative" });
                p
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The REPL servers that this process has started.
fn servers() -> Vec<Pid> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let is_server = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // What stands behind the name: state and parent.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1).map(str::to_owned));
        parent.as_deref() == Some(&own) && line.split(|b| *b == 0).any(|word| word == b"repl")
    };
    pids.filter(is_server).filter_map(Pid::from_raw).collect()
}

#[test]
fn base_and_checkpoint_answer_a_killed_server_comes_back_and_none_outlives_the_cockpit() {
    let bench = Bench::new();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/base");
    let words =
        ["--model_type", "qwen-demo", "--model_id_or_path", base.to_str().unwrap(), "--max_steps", "4"];
    let more =
        ["--learning_rate", "0.01", "--train_dataset_sample", "-1", "--gradient_accumulation_steps", "4"];
    bench.sft(&[&words[..], &more[..]].concat()).ok();
    let run: PathBuf = list_runs(&bench.path("out")).remove(0).path;
    let checkpoint = list_checkpoints(&RunDir::open(&run).unwrap()).pop().unwrap().path;
    let (plain, tuned) = (Model::At(base), Model::Checkpoint(checkpoint));

    let text = "房间很干净，\n早餐也好";
    let mut desk = Desk::new();
    desk.open(&plain);
    desk.ask(1, text);
    let of_base = desk.positive(1);

    desk.order(Order::Ask { id: 2, ask: Ask::Generate("酒店".to_owned()) });
    assert_eq!(desk.hear(), News::Begun { id: 2 });
    let mut pieces = String::new();
    let whole = loop {
        match desk.hear() {
            News::Piece { id: 2, text } => {
                pieces += &text;
                desk.order(Order::Cancel { id: 2 });
            }
            News::Done { id: 2, text, .. } => break text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pieces, whole);

    desk.open(&tuned);
    desk.ask(3, text);
    let of_checkpoint = desk.positive(3);
    assert!((of_base - of_checkpoint).abs() > 1e-4, "{of_base} {of_checkpoint}");
    assert_eq!(servers().len(), 1, "one server for all of it");

    kill_process(servers()[0], Signal::KILL).unwrap();
    match desk.hear() {
        News::Ended { why: Some(why) } => assert!(why.contains("SIGKILL"), "{why}"),
        other => panic!("{other:?}"),
    }
    desk.ask(4, text);
    assert_eq!(desk.hear(), News::Loading(tuned.clone()));
    desk.loaded(&tuned);
    assert!((desk.positive(4) - of_checkpoint).abs() < 1e-6);

    // The base as the run names it.
    desk.open(&Model::BaseOf(run.clone()));
    desk.ask(5, text);
    assert!((desk.positive(5) - of_base).abs() < 1e-4);
    let missing = Model::Checkpoint(run.join("checkpoint-999"));
    desk.order(Order::Open(missing.clone()));
    assert_eq!(desk.hear(), News::Loading(missing.clone()));
    assert!(matches!(desk.hear(), News::Refused { model, .. } if model == missing));

    // Merged by an engine of its own, and answered with by its path.
    let Model::Checkpoint(checkpoint) = &tuned else { panic!() };
    let merged = desk.merge(checkpoint, false);
    let directory = format!("{}-merged", checkpoint.display());
    assert!(
        !merged.is_error && merged.text.contains("merged 4 modules") && merged.text.contains(&directory),
        "{merged:?}"
    );
    desk.open(&Model::At(directory.into()));
    desk.ask(6, text);
    let of_merged = desk.positive(6);
    assert!(
        (of_merged - of_checkpoint).abs() < 0.1 * (of_base - of_checkpoint).abs(),
        "{of_merged} {of_checkpoint}"
    );
    let again = desk.merge(checkpoint, false);
    assert!(again.is_error && again.text.contains("is there already"), "{again:?}");
    assert!(!desk.merge(checkpoint, true).is_error);

    desk.order(Order::Unload);
    assert_eq!(desk.hear(), News::Ended { why: None });
    assert!(servers().is_empty());
    desk.open(&tuned);
    drop(desk);
    assert!(servers().is_empty());
}
