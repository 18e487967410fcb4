//! The queue over the tabs, and the ways into it.

use std::path::PathBuf;

use super::config::{load, on};
use super::{Cockpit, OUTPUT, RUN, until_step};
use qwen_tui::job::queue::{Job, Listing, State, To, What};
use qwen_tui::tui::action::{Action, QueueWork};
use qwen_tui::tui::configs::{ConfigNews, ConfigWork};
use qwen_tui::tui::message::Message;
use qwen_tui::tui::model::Worker;

fn job(number: u64, state: State) -> Job {
    let args = serde_json::json!({
        "model_type": "qwen-1_8b", "model_id_or_path": "/home/me/models/Qwen-1_8B", "device": "cuda:0",
        "dataset": ["/home/me/data/京东/train.csv", "/home/me/data/更多的评论.jsonl"], "learning_rate": 0.001,
        "output_dir": "/home/me/output",
    });
    let what = What::of(args.as_object().unwrap().clone());
    let file = PathBuf::from(format!("/home/me/.local/state/qwen-tui/queue/box/job-{number}.json"));
    Job { number, file, put: 1_700_000_000.0 + number as f64, state: Ok(state), what: Ok(what) }
}

fn waiting(note: Option<&str>) -> State {
    State::Waiting { note: note.map(str::to_owned) }
}

fn taken(run: &str) -> State {
    State::Taken { run: Some(run.into()), new: true, log: Some(0), kept: "/home/me".into(), undone: false }
}

fn listing() -> Listing {
    let note = format!("waits for cuda:0, where {RUN} is trained");
    let failed =
        "dataset: /home/me/data/gone.csv: no such data file; give a .csv, .jsonl or .json file".to_owned();
    let jobs = vec![
        job(4, taken(RUN)),
        job(7, waiting(Some(&note))),
        job(5, waiting(None)),
        job(12, waiting(None)),
        job(3, State::Failed { message: failed }),
        Job {
            what: Err("job-9.json is empty".to_owned()),
            state: Err("job-9.state is damaged: whether it has been started is not known".to_owned()),
            ..job(9, waiting(None))
        },
    ];
    Listing { jobs, paused: false, trouble: None }
}

/// The page over the Train tab, with job 7 marked.
fn page(width: u16, height: u16) -> Cockpit {
    let mut cockpit = Cockpit::on_run(width, height, until_step("finished", 17), Worker::Alive);
    cockpit.tell(Message::Queue(listing()));
    cockpit.press(&["Q", "Down"]);
    cockpit
}

#[test]
fn the_queue_over_the_tabs() {
    for (width, height) in [(60, 16), (80, 24), (160, 48)] {
        page(width, height).assert_picture(&format!("queue-{width}x{height}"));
    }
    let mut empty = Cockpit::new(80, 24);
    empty.press(&["Q"]);
    empty.assert_picture("queue-empty-80x24");
    let mut paused = page(80, 24);
    let trouble =
        Some("/home/me/.local/state/qwen-tui/queue/box cannot be written: no job can be started".to_owned());
    paused.tell(Message::Queue(Listing { paused: true, trouble, ..listing() }));
    paused.press(&["End", "Up"]);
    paused.assert_picture("queue-paused-80x24");
}

#[test]
fn all_that_is_said_of_a_job_can_be_read_on_a_small_screen() {
    let why: String = (0..30).map(|n| format!("  line {n} of the reason\n")).collect();
    let mut cockpit = page(80, 24);
    let mut all = listing();
    all.jobs[1] = job(7, waiting(Some(&format!("it could not be fetched:\n{why}to bring it by hand"))));
    cockpit.tell(Message::Queue(all));
    let picture = cockpit.picture();
    assert!(picture.contains("line 2 ") && picture.contains("PgDn shows"), "{picture}");
    assert!(!picture.contains("by hand"), "{picture}");
    (0..9).for_each(|_| drop(cockpit.press(&["PageDown"])));
    let picture = cockpit.picture();
    assert!(picture.contains("learning_rate") && !picture.contains("PgDn shows"), "{picture}");
    cockpit.press(&["PageUp"]);
    assert!(cockpit.picture().contains("line 29 "), "{}", cockpit.picture());
    // Of another one from its beginning.
    cockpit.press(&["Down", "Up"]);
    assert!(cockpit.picture().contains("line 2 "), "{}", cockpit.picture());
}

#[test]
fn why_a_job_cannot_be_fetched_for_is_told_in_its_lines() {
    let why = "model_id_or_path: me/x is not on this machine and could not be fetched.\n  looked for me/x in ModelScope's \
               cache\n  cannot reach http://127.0.0.1:1: Connection refused";
    let mut cockpit = page(160, 48);
    let mut all = listing();
    all.jobs[1] = job(7, waiting(Some(why)));
    cockpit.tell(Message::Queue(all));
    let picture = cockpit.picture();
    for line in why.lines() {
        let shown = picture.lines().find(|shown| shown.contains(line.trim()));
        let alone =
            shown.is_some_and(|shown| why.lines().filter(|line| shown.contains(line.trim())).count() == 1);
        assert!(alone, "{line:?}: {picture}");
    }
}

#[test]
fn jobs_are_moved_removed_and_retried_by_their_numbers() {
    let mut cockpit = page(80, 24);
    let moves = |actions: Vec<Action>| match actions[..] {
        [Action::Queue(QueueWork::Move { job, to })] => (job, to),
        _ => panic!("{actions:?}"),
    };
    assert_eq!(moves(cockpit.press(&["J"])), (7, To::Down));
    assert_eq!(moves(cockpit.press(&["K"])), (7, To::Up));
    // It moves in the list, and stays marked.
    let mut moved = listing();
    moved.jobs.swap(1, 2);
    cockpit.tell(Message::Queue(moved.clone()));
    assert_eq!(moves(cockpit.press(&["J"])), (7, To::Down));
    assert!(cockpit.press(&["r"]).is_empty());
    assert!(cockpit.picture().contains("job 7 has not failed"), "{}", cockpit.picture());

    assert!(cockpit.press(&["d"]).is_empty());
    assert!(cockpit.picture().contains("Take job 7"), "{}", cockpit.picture());
    assert!(cockpit.press(&["Esc"]).is_empty());
    assert!(cockpit.picture().contains("Queue: 3 jobs waiting"), "it is shown again: {}", cockpit.picture());
    assert!(matches!(cockpit.press(&["d", "y"])[..], [Action::Queue(QueueWork::Remove(7))]));
    // Gone, by this or by another cockpit: what comes into its place is marked.
    moved.jobs.retain(|job| job.number != 7);
    cockpit.tell(Message::Queue(moved));
    cockpit.press(&["Home", "Down"]);
    assert_eq!(moves(cockpit.press(&["J"])), (5, To::Down));
    cockpit.press(&["End", "Up"]);
    assert!(matches!(cockpit.press(&["r"])[..], [Action::Queue(QueueWork::Retry(3))]));
    assert!(cockpit.press(&["K"]).is_empty());
    assert!(cockpit.picture().contains("job 3 does not wait: it is failed"), "{}", cockpit.picture());
    cockpit.press(&["Home"]);
    assert!(cockpit.press(&["d"]).is_empty());
    assert!(cockpit.picture().contains("job 4 is running"), "{}", cockpit.picture());
    assert!(matches!(cockpit.press(&["p"])[..], [Action::Queue(QueueWork::Pause(true))]));
    cockpit.tell(Message::Queue(Listing { paused: true, ..listing() }));
    assert!(matches!(cockpit.press(&["p"])[..], [Action::Queue(QueueWork::Pause(false))]));
    cockpit.press(&["Esc"]);
    assert!(!cockpit.picture().contains("waiting"), "{}", cockpit.picture());
}

#[test]
fn a_job_is_opened_as_it_stands() {
    let mut cockpit = page(80, 24);
    match &cockpit.press(&["Enter"])[..] {
        [Action::Config(ConfigWork::Load(file))] => assert!(file.ends_with("job-7.json")),
        other => panic!("{other:?}"),
    }
    assert!(cockpit.picture().contains("1 Config"));
    // The run that is followed already; then another.
    assert!(cockpit.press(&["Q", "Enter"]).is_empty());
    assert!(cockpit.picture().contains("step 17"), "{}", cockpit.picture());
    let mut other = listing();
    other.jobs[0] = job(4, taken("/home/me/output/v9"));
    cockpit.tell(Message::Queue(other));
    match &cockpit.press(&["Q", "Enter"])[..] {
        [Action::OpenRun(run)] => assert!(run.ends_with("v9")),
        other => panic!("{other:?}"),
    }
    cockpit.press(&["Q", "End"]);
    assert!(cockpit.press(&["Enter"]).is_empty());
    assert!(cockpit.picture().contains("job-9.json is empty"), "{}", cockpit.picture());
}

#[test]
fn what_the_queue_starts_and_puts_aside_is_said() {
    let mut cockpit = Cockpit::new(80, 24);
    let all = Listing { jobs: vec![job(7, waiting(None)), job(8, waiting(None))], ..Listing::default() };
    assert!(cockpit.tell(Message::Queue(all)).is_empty());
    assert!(!cockpit.picture().contains("job 7"), "{}", cockpit.picture());
    assert!(cockpit.picture().contains("Q queue"), "the bar names it: {}", cockpit.picture());
    let now = Listing { jobs: vec![job(7, taken("/out/v1")), job(8, waiting(None))], ..Listing::default() };
    assert!(matches!(cockpit.tell(Message::Queue(now))[..], [Action::ListRuns]));
    assert!(cockpit.picture().contains("job 7 of the queue is trained in /out/v1"), "{}", cockpit.picture());
    let failed = State::Failed { message: "the model is gone".to_owned() };
    let now = Listing { jobs: vec![job(7, taken("/out/v1")), job(8, failed)], ..Listing::default() };
    assert!(cockpit.tell(Message::Queue(now)).is_empty());
    assert!(cockpit.picture().contains("job 8 was not started: the model is gone"), "{}", cockpit.picture());
}

#[test]
fn a_training_is_put_into_the_queue() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    match &cockpit.press(&["a"])[..] {
        [Action::Queue(QueueWork::Put(args))] => assert_eq!(args.output_dir, OUTPUT),
        other => panic!("{other:?}"),
    }
    // Changed, put into the queue: nothing would be lost by quitting.
    super::config::go_to(&mut cockpit, "lora_rank");
    cockpit.press(&["Enter", "Ctrl+u", "4", "Enter"]);
    assert!(cockpit.press(&["q"]).is_empty(), "it is asked");
    cockpit.press(&["Esc"]);
    assert!(matches!(cockpit.press(&["a"])[..], [Action::Queue(QueueWork::Put(_))]));
    cockpit.tell(Message::Config(ConfigNews::Queued));
    assert!(matches!(cockpit.press(&["q"])[..], [Action::Exit]));

    // Where one runs, the start offers it.
    let mut live = Cockpit::on_run(80, 24, until_step("finished", 17), Worker::Alive);
    live.press(&["1"]);
    load(&mut live, "configs/jd-sentiment.json");
    assert!(live.press(&["s"]).is_empty());
    live.assert_picture("queue-start-80x24");
    assert!(matches!(live.press(&["a"])[..], [Action::Queue(QueueWork::Put(_))]));
    // So it does where the worker of the run that is shown has not been looked for yet.
    let mut early = Cockpit::on_run(80, 24, until_step("finished", 17), Worker::Unknown);
    early.press(&["1"]);
    load(&mut early, "configs/jd-sentiment.json");
    assert!(early.press(&["s"]).is_empty());
    assert!(early.picture().contains("Put it into the queue"), "{}", early.picture());
    // And where only the queue knows of one.
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    cockpit.tell(Message::Queue(listing()));
    assert!(cockpit.press(&["s"]).is_empty());
    assert!(cockpit.picture().contains("Put it into the queue"), "{}", cockpit.picture());
    // Quitting tells what goes on.
    live.tell(Message::Queue(listing()));
    live.press(&["q"]);
    assert!(live.picture().contains("3 wait in the queue, and start in any case"), "{}", live.picture());
}
