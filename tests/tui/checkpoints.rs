//! The Checkpoints tab.

use std::fs::File;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use super::home::{Home, Kind};
use super::{Cockpit, OUTPUT, RUN, listed, recorded, until_step};
use qwen_tui::job::Event;
use qwen_tui::job::checkpoints::{CheckpointSummary, RunDetails};
use qwen_tui::job::curves::Curves;
use qwen_tui::job::runs::{RunStatus, RunSummary};
use qwen_tui::run::{Record, RunDir};
use qwen_tui::tui::action::{Action, Notice};
use qwen_tui::tui::app::App;
use qwen_tui::tui::configs::ConfigWork;
use qwen_tui::tui::message::Message;
use qwen_tui::tui::model::Worker;
use qwen_tui::tui::state::{Clock, State};
use qwen_tui::tui::theme::Theme;

const OLD: &str = "/home/me/output/qwen-1_8b-chat/v11-20231101-090000";

fn summary(path: &str, status: RunStatus, step: u64, total: Option<u64>, newest: f64) -> RunSummary {
    RunSummary {
        path: path.into(),
        status,
        step,
        total_steps: total,
        began: newest - 60.0,
        newest,
        problem: None,
        stays: None,
        checkpoints_stay: None,
    }
}

/// What is read of a home with recorded runs: one that has got worse after its best checkpoint, one that has crashed, one
/// that another program has made.
struct Read {
    runs: Vec<RunSummary>,
    run: RunDetails,
    old: RunDetails,
}

const SWIFTS: &str = "/home/me/output/评论/v3-20231030-120000";

/// Lays them out, RUN as far as `wanted` says.
fn lay_out(wanted: impl Fn(&Record<Event>) -> bool) -> (Home, [RunDir; 2]) {
    let home = Home::new();
    let run = home.run(RUN, Some("overfit"), &wanted);
    home.checkpoint(&run, "overfit", 5, Kind::Damaged);
    home.checkpoint(&run, "overfit", 10, Kind::Whole);
    if recorded("overfit").iter().all(&wanted) {
        home.checkpoint(&run, "overfit", 25, Kind::WeightsOnly);
    }
    let old = home.run(OLD, Some("crashed"), |_| true);
    home.checkpoint(&old, "crashed", 5, Kind::Damaged);
    home.checkpoint(&old, "crashed", 10, Kind::Whole);
    home.run(SWIFTS, None, |_| true);
    (home, [run, old])
}

fn read() -> &'static Read {
    static READ: OnceLock<Read> = OnceLock::new();
    READ.get_or_init(|| {
        let (home, _) = lay_out(|_| true);
        Read { runs: home.runs(), run: home.details(RUN), old: home.details(OLD) }
    })
}

fn runs() -> Vec<RunSummary> {
    read().runs.clone()
}

fn details(run: &str) -> RunDetails {
    let details = if run == OLD { &read().old } else { &read().run };
    assert_eq!(details.path.as_os_str(), run);
    details.clone()
}

fn checkpoint(run: &str, step: u64, loss: Option<f64>, marks: &str) -> CheckpointSummary {
    CheckpointSummary {
        step,
        path: PathBuf::from(run).join(format!("checkpoint-{step}")),
        bytes: 13_400_000 + step,
        written: 1_700_000_000.0 + step as f64,
        eval_loss: loss,
        eval_acc: loss.map(|_| 0.8125),
        best: marks.contains("best"),
        last: marks.contains("last"),
        left: marks.contains("left"),
        whole: !marks.contains("damaged"),
        resumable: match marks.contains("weights only") {
            true => Err(format!("checkpoint-{step} holds weights and no state of the training")),
            false => Ok(()),
        },
    }
}

/// The tab on the recorded runs.
fn tab(width: u16, height: u16) -> Cockpit {
    let mut cockpit = Cockpit::new(width, height);
    let asked = cockpit.tell(listed(runs()));
    assert!(matches!(&asked[..], [Action::InspectRun(run)] if run.as_os_str() == RUN), "{asked:?}");
    cockpit.tell(Message::RunDetails(Box::new(details(RUN))));
    cockpit.press(&["3"]);
    cockpit
}

#[test]
fn the_tree_with_a_run_marked_and_with_a_checkpoint() {
    for (width, height) in [(60, 16), (80, 24), (160, 48)] {
        let mut cockpit = tab(width, height);
        cockpit.assert_picture(&format!("checkpoints-run-{width}x{height}"));
        cockpit.press(&["Down", "Down"]);
        cockpit.assert_picture(&format!("checkpoints-best-{width}x{height}"));
    }
}

#[test]
fn the_readmes_picture() {
    let mut cockpit = tab(100, 30);
    cockpit.press(&["Down", "Down"]);
    cockpit.assert_readme_picture("checkpoints");
}

#[test]
fn the_mark_goes_through_everything_and_from_run_to_run() {
    let mut cockpit = tab(80, 24);
    let asked = cockpit.press(&["Down"; 5]);
    assert!(matches!(&asked[..], [Action::InspectRun(run)] if run.as_os_str() == OLD), "{asked:?}");
    let (home, [_, old]) = lay_out(|_| true);
    std::fs::write(old.args_file(), "{\"model_type\": ").unwrap();
    cockpit.tell(Message::RunDetails(Box::new(home.details(OLD))));
    cockpit.assert_picture("checkpoints-broken-80x24");
    assert!(matches!(&cockpit.press(&["l"])[..], [Action::InspectRun(_)]));
    // A run comes in above: the same one stays marked. It goes: its neighbour is.
    let mut more = runs();
    more.insert(0, summary("/home/me/output/new/v0", RunStatus::Running, 1, Some(9), 1_700_000_100.0));
    cockpit.tell(listed(more));
    assert!(cockpit.picture().contains(SWIFTS));
    cockpit.tell(listed(runs()[..2].to_vec()));
    assert!(cockpit.picture().contains(&format!(" {OLD}\n")), "{}", cockpit.picture());
    cockpit.press(&["h", "h", "k"]);
    assert!(cockpit.picture().contains(&format!(" {RUN}\n")), "{}", cockpit.picture());
    cockpit.tell(listed(Vec::new()));
    assert!(cockpit.picture().contains("There are no runs yet"));
    assert!(cockpit.press(&["Down", "Enter", "d", "o", "R", "c", "h"]).is_empty());
}

#[test]
fn what_is_marked_is_followed_or_tried_or_taken_over() {
    let is = |action: &Action, wanted: &str| match action {
        Action::OpenInRepl(path) | Action::OpenRun(path) | Action::Config(ConfigWork::Load(path)) => {
            assert_eq!(path.display().to_string(), wanted);
        }
        other => panic!("{other:?}"),
    };
    let on = |keys: &[&str]| tab(80, 24).press(keys);
    is(&on(&["Enter"])[0], RUN);
    is(&on(&["o"])[0], &format!("{RUN}/checkpoint-10"));
    is(&on(&["Down", "Enter"])[0], &format!("{RUN}/checkpoint-25"));
    is(&on(&["Down", "Down", "Down", "Down", "o"])[0], "/home/me/models/底座模型/qwen-demo");
    is(&on(&["Down", "c"])[0], &format!("{RUN}/sft_args.json"));
    assert!(on(&["Down", "Down", "Down", "Enter"]).is_empty());
    let mut damaged = tab(80, 24);
    damaged.press(&["Down", "Down", "Down", "Enter"]);
    assert!(damaged.picture().contains("checkpoint-5 is damaged"), "{}", damaged.picture());
}

#[test]
fn deletion_asks_and_names_what_goes() {
    let mut cockpit = tab(80, 24);
    assert!(cockpit.press(&["Down", "Down", "d"]).is_empty());
    cockpit.assert_picture("checkpoints-delete-80x24");
    assert!(cockpit.press(&["d", "d"]).is_empty(), "the key that asks does not answer");
    assert!(cockpit.press(&["Enter"]).is_empty(), "what is marked first changes nothing");
    let deleted = cockpit.press(&["d", "y"]);
    let best = format!("{RUN}/checkpoint-10");
    assert!(
        matches!(&deleted[..], [Action::Delete(path)] if path.as_os_str() == best.as_str()),
        "{deleted:?}"
    );
    cockpit.press(&["h", "d"]);
    cockpit.assert_picture("checkpoints-delete-run-80x24");
    assert!(matches!(&cockpit.press(&["y"])[..], [Action::Delete(path)] if path.as_os_str() == RUN));
    // The base model is nobody's to delete here.
    assert!(cockpit.press(&["Down", "Down", "Down", "Down", "d"]).is_empty());
    assert!(cockpit.picture().contains("it stays"), "{}", cockpit.picture());
}

#[test]
fn what_lies_elsewhere_is_not_deleted_and_nothing_is_asked() {
    let mut cockpit = tab(80, 24);
    let mut linked = runs();
    let why = "it is not beneath the output directory /home/me/other";
    (linked[0].stays, linked[0].checkpoints_stay) = (Some(why.to_owned()), Some(why.to_owned()));
    cockpit.tell(listed(linked.clone()));
    for name in ["the run", "checkpoint-25"] {
        assert!(cockpit.press(&["d", "y"]).is_empty());
        cockpit.press(&["d"]);
        let picture = cockpit.picture();
        let said: Vec<&str> = picture.lines().rev().take(2).map(str::trim).collect();
        let said = format!("{} {}", said[1], said[0]);
        assert!(said.contains(&format!("{name} is not deleted: {why}")), "{picture}");
        assert!(!picture.contains("cannot be brought back"), "{picture}");
        cockpit.press(&["Down"]);
    }
    // Of a run that is the whole output directory the checkpoints can go.
    linked[0].checkpoints_stay = None;
    cockpit.tell(listed(linked));
    cockpit.press(&["d"]);
    assert!(cockpit.picture().contains("cannot be brought back"), "{}", cockpit.picture());
}

/// The run's details with its best checkpoint merged, or with something of somebody's where the merge would go.
fn merged(is_model: bool, is_ours: bool) -> RunDetails {
    let (home, [run, _]) = lay_out(|_| true);
    home.merged(&run, 10, is_model, is_ours);
    RunDetails { bytes: details(RUN).bytes, ..home.details(RUN) }
}

#[test]
fn merging_asks_and_says_where_the_model_goes() {
    let mut cockpit = tab(80, 24);
    assert!(cockpit.press(&["Down", "Down", "m"]).is_empty());
    cockpit.assert_picture("checkpoints-merge-80x24");
    assert!(cockpit.press(&["m", "Enter"]).is_empty(), "neither the key that asks nor what is marked first");
    let best = format!("{RUN}/checkpoint-10");
    // Of two answers only the one that fits is there.
    let with_merge = |is_model, is_ours| Message::RunDetails(Box::new(merged(is_model, is_ours)));
    for (key, other, anew) in [("y", "r", false), ("r", "y", true)] {
        assert!(cockpit.press(&["m", other, "Esc"]).is_empty());
        let merged = cockpit.press(&["m", key]);
        assert!(
            matches!(&merged[..], [Action::Merge { checkpoint, overwrite }]
                if checkpoint.as_os_str() == best.as_str() && *overwrite == anew),
            "{merged:?}"
        );
        cockpit.tell(with_merge(true, true));
    }
    cockpit.press(&["m"]);
    cockpit.assert_picture("checkpoints-merge-anew-80x24");
    cockpit.press(&["Esc"]);
    cockpit.tell(with_merge(false, false));
    cockpit.press(&["m"]);
    assert!(cockpit.picture().contains("checkpoint-10-merged is in the"), "{}", cockpit.picture());
    cockpit.tell(Message::RunDetails(Box::new(details(RUN))));
    // Of a run its best.
    let merged = cockpit.press(&["h", "m", "y"]);
    assert!(
        matches!(&merged[..], [Action::Merge { checkpoint, .. }] if checkpoint.ends_with("checkpoint-10"))
    );
    cockpit.press(&["Down", "Down", "Down", "m"]);
    assert!(cockpit.picture().contains("checkpoint-5 is damaged"), "{}", cockpit.picture());
    cockpit.press(&["Down", "m"]);
    assert!(cockpit.picture().contains("an adapter is merged"), "{}", cockpit.picture());
}

#[test]
fn without_a_whole_checkpoint_there_is_nothing_to_try_or_merge() {
    let mut cockpit = tab(80, 24);
    cockpit.tell(Message::Engine(Ok("/engine".into())));
    let bar = |cockpit: &mut Cockpit| cockpit.picture().lines().last().unwrap().to_owned();
    assert!(bar(&mut cockpit).contains(" o REPL ") && bar(&mut cockpit).contains(" m merge "));
    let (five, six) = (checkpoint(RUN, 5, None, "damaged"), checkpoint(RUN, 6, None, "damaged"));
    for (checkpoints, told) in [
        (vec![], "the run has no checkpoint"),
        (vec![five.clone()], "checkpoint-5 is damaged"),
        (vec![five, six], "the run's 2 checkpoints are all damaged"),
    ] {
        cockpit.tell(Message::RunDetails(Box::new(RunDetails { checkpoints, ..details(RUN) })));
        for key in ["o", "m"] {
            assert!(cockpit.press(&[key]).is_empty());
            assert!(cockpit.picture().contains(told), "{}", cockpit.picture());
        }
        cockpit.tell(Message::Tick(1_700_000_100.0));
        assert!(!bar(&mut cockpit).contains(" o REPL "), "{}", bar(&mut cockpit));
        assert!(!bar(&mut cockpit).contains(" m merge "), "{}", bar(&mut cockpit));
    }
}

#[test]
fn a_merged_model_is_listed_tried_and_deleted() {
    for (width, height) in [(80, 24), (160, 48)] {
        let mut cockpit = tab(width, height);
        let path = format!("{RUN}/checkpoint-10-merged");
        let told = |is_ours| Message::RunDetails(Box::new(merged(true, is_ours)));
        cockpit.tell(told(true));
        cockpit.press(&["Down", "Down", "Down"]);
        cockpit.assert_picture(&format!("checkpoints-merged-{width}x{height}"));
        let tried = cockpit.press(&["o"]);
        assert!(
            matches!(&tried[..], [Action::OpenInRepl(dir)] if dir.as_os_str() == path.as_str()),
            "{tried:?}"
        );
        cockpit.press(&["Tab", "Tab", "Tab"]);
        let deleted = cockpit.press(&["d", "y"]);
        assert!(
            matches!(&deleted[..], [Action::Delete(dir)] if dir.as_os_str() == path.as_str()),
            "{deleted:?}"
        );
        for (key, why) in [("m", "it is merged already"), ("R", "mark one")] {
            assert!(cockpit.press(&[key]).is_empty());
            assert!(cockpit.picture().contains(why), "{}", cockpit.picture());
        }
        cockpit.press(&["h", "d"]);
        let picture = cockpit.picture();
        assert!(picture.contains("3 checkpoints, 1 merged"), "{picture}");
        cockpit.press(&["Esc", "Down", "Down", "Down"]);
        cockpit.tell(told(false));
        assert!(cockpit.press(&["d", "y"]).is_empty());
        assert!(cockpit.picture().contains("base model"), "the row above and below stay");
    }
}

#[test]
fn a_merge_at_work_is_shown_keeps_what_it_reads_and_is_asked_about_at_the_end() {
    let mut cockpit = tab(80, 24);
    let checkpoint = PathBuf::from(RUN).join("checkpoint-10");
    let merge = |percent| Message::Merge { checkpoint: checkpoint.clone(), percent };
    cockpit.tell(merge(Some(0)));
    cockpit.tell(merge(Some(40)));
    cockpit.press(&["Down", "Down"]);
    cockpit.assert_picture("checkpoints-merging-80x24");
    for keys in [&["d"][..], &["m"], &["h", "d"]] {
        assert!(cockpit.press(keys).is_empty() && cockpit.press(&["y"]).is_empty());
        cockpit.press(&[keys[keys.len() - 1]]);
        assert!(cockpit.picture().contains("checkpoint-10 is being merged"), "{}", cockpit.picture());
    }
    assert!(cockpit.press(&["q"]).is_empty());
    cockpit.assert_picture("quit-merging-80x24");
    assert!(cockpit.press(&["Esc", "q", "s"]).is_empty());
    assert!(matches!(cockpit.press(&["q", "l"])[..], [Action::Exit]));
    // Also where no question was asked: at a signal.
    let words = cockpit.parting_words().unwrap();
    assert!(
        words.contains("is merged on") && words.contains("checkpoint-10-merged is there when"),
        "{words}"
    );
    assert!(matches!(cockpit.press(&["q", "x"])[..], [Action::StopMergesAndExit]));
    assert!(cockpit.parting_words().unwrap().contains("leaves nothing behind"));
    cockpit.tell(merge(None));
    assert_eq!(cockpit.parting_words(), None);
    assert!(!cockpit.picture().contains("merging"));
    assert!(matches!(cockpit.press(&["q"])[..], [Action::Exit]));

    let mut both = Cockpit::on_run(80, 24, until_step("finished", 17), Worker::Alive);
    both.tell(merge(Some(0)));
    both.press(&["q"]);
    let picture = both.picture();
    assert!(picture.contains("checkpoint-10 is being merged too, which goes on"), "{picture}");
    both.press(&["l"]);
    assert_eq!(both.parting_words().unwrap().lines().count(), 2);
}

#[test]
fn a_path_in_a_question_stays_whole_on_a_wide_screen() {
    let mut cockpit = tab(200, 50);
    let run = format!("/home/me/{}/output/qwen-demo/v0-20231114-221320", "a-long-name".repeat(7));
    let mut long = runs();
    long[0].path = run.clone().into();
    cockpit.tell(listed(long));
    cockpit.press(&["Home", "d"]);
    assert!(cockpit.picture().contains(&format!("│ {run} ")), "{}", cockpit.picture());
}

#[test]
fn a_running_run_is_left_alone() {
    let mut cockpit = Cockpit::on_run(80, 24, until_step("overfit", 22), Worker::Alive);
    let until = until_step("overfit", 22).len() as u64;
    let (home, dirs) = lay_out(|record| record.seq <= until);
    let locks = dirs.each_ref().map(Home::lock);
    let running = home.runs();
    assert!(running[..2].iter().all(|r| r.status == RunStatus::Running), "{running:?}");
    drop(locks);
    cockpit.tell(listed(running));
    cockpit.tell(Message::RunDetails(Box::new(home.details(RUN))));
    cockpit.press(&["3", "Down"]);
    cockpit.assert_picture("checkpoints-running-80x24");
    for key in ["d", "R"] {
        assert!(cockpit.press(&[key, "y"]).is_empty());
        cockpit.press(&[key]);
        assert!(cockpit.picture().contains("being trained"), "{}", cockpit.picture());
    }
    // What it saves is looked at, and so is how the others stand, now and then.
    let saved = recorded("overfit");
    let news = cockpit.tell(Message::Events { run: RUN.into(), records: saved });
    assert!(matches!(&news[..], [Action::InspectRun(run)] if run.as_os_str() == RUN), "{news:?}");
    assert!(matches!(cockpit.tell(Message::Tick(1_700_000_040.0))[..], [Action::ListRuns]));
    assert!(cockpit.tell(Message::Tick(1_700_000_041.0)).is_empty());
    let gone = Message::Worker { run: RUN.into(), worker: Worker::Gone { why: String::new() } };
    assert!(matches!(cockpit.tell(gone)[..], [Action::ListRuns]));
}

/// The status of a run in the list, and its steps.
fn told(cockpit: &mut Cockpit, run: &str) -> String {
    let name = run.rsplit('/').next().unwrap();
    let picture = cockpit.picture();
    let line = picture.lines().find(|l| l.contains(name)).unwrap();
    line.split_once(name).unwrap().1.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_run_is_told_as_it_is_though_the_list_was_made_before_its_worker_came() {
    let mut cockpit = Cockpit::on_run(80, 24, until_step("finished", 22), Worker::Alive);
    let mut early = runs();
    (early[0].status, early[0].step, early[0].total_steps) = (RunStatus::Idle, 0, None);
    cockpit.tell(listed(early.clone()));
    cockpit.press(&["3"]);
    assert_eq!(told(&mut cockpit, RUN), "running 22/25");
    cockpit.tell(Message::Events { run: RUN.into(), records: recorded("finished").split_off(22) });
    let gone = Message::Worker { run: RUN.into(), worker: Worker::Gone { why: String::new() } };
    assert!(matches!(cockpit.tell(gone)[..], [Action::ListRuns]));
    assert_eq!(told(&mut cockpit, RUN), "finished 25/25");
    // An answer that says the same asks for nothing more.
    cockpit.tell(listed(runs()));
    let gone = Message::Worker { run: RUN.into(), worker: Worker::Gone { why: String::new() } };
    assert!(cockpit.tell(gone).is_empty());
    assert_eq!(told(&mut cockpit, RUN), "finished 25/25");
}

#[test]
fn a_run_without_a_checkpoint_begins_again_after_a_question() {
    let mut cockpit = tab(80, 24);
    cockpit.press(&["l", "l", "h"]);
    let mut bare = details(OLD);
    bare.checkpoints.retain(|c| !c.whole);
    cockpit.tell(Message::RunDetails(Box::new(bare)));
    assert!(cockpit.picture().contains("R resume"), "{}", cockpit.picture());
    assert!(cockpit.press(&["R"]).is_empty());
    cockpit.assert_picture("checkpoints-begin-again-80x24");
    assert!(cockpit.press(&["Esc"]).is_empty());
    let asked = cockpit.press(&["R", "y"]);
    assert!(matches!(&asked[..], [Action::Resume(path)] if path.as_os_str() == OLD), "{asked:?}");
    cockpit.press(&["3"]);
    // Its arguments are what it would begin with.
    let said = "arguments file sft_args.json: not valid JSON";
    let broken = RunDetails { args: Err(said.to_owned()), ready: Err(said.to_owned()), ..details(OLD) };
    let mut none = broken.clone();
    none.checkpoints.clear();
    let whole = RunDetails { checkpoints: vec![checkpoint(OLD, 10, None, "best last")], ..broken };
    for broken in [none, whole] {
        cockpit.tell(Message::RunDetails(Box::new(broken)));
        for keys in [&["R", "y"][..], &["R"]] {
            let asked = cockpit.press(keys);
            assert!(matches!(&asked[..], [Action::InspectRun(run)] if run.as_os_str() == OLD), "{asked:?}");
        }
        assert!(cockpit.picture().contains("not valid JSON"), "{}", cockpit.picture());
    }
    // Without an engine nothing is asked.
    cockpit.tell(Message::RunDetails(Box::new(details(OLD))));
    cockpit.tell(Message::Engine(Err("the engine is not beside qwen-tui".to_owned())));
    cockpit.press(&["R"]);
    let picture = cockpit.picture();
    assert!(picture.contains("There is no engine to train with"), "{picture}");
    assert!(picture.contains("the engine is not beside qwen-tui") && !picture.contains("Go on training"));
}

#[test]
fn what_cannot_be_read_is_a_line_that_says_so() {
    for (width, height) in [(80, 24), (160, 48)] {
        let mut cockpit = Cockpit::new(width, height);
        let (home, _) = lay_out(|_| true);
        let hidden = home.run("/home/me/output/评论/v4-20231114-080000", None, |_| true);
        // Root may read what is forbidden, but no directory as a file.
        std::fs::create_dir(hidden.events_file()).unwrap();
        let later = UNIX_EPOCH + Duration::from_secs(1_700_000_100);
        File::open(hidden.args_file()).unwrap().set_modified(later).unwrap();
        cockpit.tell(listed(home.runs()));
        cockpit.press(&["3"]);
        cockpit.assert_picture(&format!("checkpoints-unreadable-{width}x{height}"));
        assert!(cockpit.press(&["Enter", "o", "c", "R", "m", "d", "y"]).is_empty());
        for key in ["R", "m"] {
            cockpit.press(&[key]);
            let picture = cockpit.picture();
            assert!(picture.lines().rev().take(3).any(|l| l.contains(" cannot be read: ")), "{picture}");
        }
    }
    // At the start the newest run is opened, and not what cannot be read.
    let state = State::new(Theme::plain(), Clock::Utc, OUTPUT.into(), 0.0);
    let mut app = App::new(state, true);
    let mut hidden = runs();
    hidden[0].status = RunStatus::Unreadable;
    let opened = app.message(&listed(hidden));
    assert!(opened.iter().any(|a| matches!(a, Action::OpenRun(run) if run.as_os_str() == OLD)), "{opened:?}");
}

#[test]
fn the_mark_stays_near_a_checkpoint_that_is_removed() {
    let mut cockpit = tab(80, 24);
    let left = |steps: &[u64]| {
        let mut left = details(RUN);
        left.checkpoints.retain(|c| steps.contains(&c.step));
        Message::RunDetails(Box::new(left))
    };
    let marked = |cockpit: &mut Cockpit, wanted: &str| {
        let picture = cockpit.picture();
        assert!(picture.contains(&format!(" {RUN}/{wanted}\n")), "{picture}");
    };
    cockpit.press(&["Down", "Down"]);
    cockpit.tell(left(&[5, 25]));
    marked(&mut cockpit, "checkpoint-5");
    cockpit.tell(left(&[5, 10, 25]));
    marked(&mut cockpit, "checkpoint-5");
    cockpit.tell(left(&[10, 25]));
    marked(&mut cockpit, "checkpoint-10");
    cockpit.tell(left(&[]));
    assert!(cockpit.picture().contains(&format!(" {RUN}\n")), "{}", cockpit.picture());
}

#[test]
fn a_run_without_a_log_says_what_it_does() {
    let mut cockpit = Cockpit::on_run(80, 24, until_step("finished", 1), Worker::Alive);
    let mut early = runs();
    early[0].status = RunStatus::Running;
    early[1].status = RunStatus::Running;
    cockpit.tell(listed(early));
    for run in [RUN, OLD] {
        cockpit.tell(Message::RunDetails(Box::new(RunDetails { curves: Curves::default(), ..details(run) })));
    }
    cockpit.press(&["3"]);
    let picture = cockpit.picture();
    assert!(picture.contains("Now: training, step 1 of 25."), "{picture}");
    cockpit.press(&["l"]);
    assert!(cockpit.picture().contains("It is being trained:"), "{}", cockpit.picture());
}

#[test]
fn the_ends_of_the_list_are_a_key_away() {
    let mut cockpit = tab(80, 24);
    cockpit.press(&["End"]);
    assert!(cockpit.picture().contains(&format!(" {SWIFTS}\n")), "{}", cockpit.picture());
    cockpit.press(&["PageUp"]);
    assert!(cockpit.picture().contains(&format!(" {RUN}\n")), "{}", cockpit.picture());
    cockpit.press(&["PageDown", "Home", "Down"]);
    assert!(cockpit.picture().contains(&format!(" {RUN}/checkpoint-25\n")), "{}", cockpit.picture());
}

#[test]
fn a_checkpoint_that_the_run_went_back_from_is_told_as_left() {
    let mut cockpit = tab(80, 24);
    let mut stopped = runs();
    stopped[0].status = RunStatus::Crashed;
    cockpit.tell(listed(stopped));
    let mut back = details(RUN);
    back.checkpoints = vec![checkpoint(RUN, 10, Some(0.5), "best last"), checkpoint(RUN, 24, None, "left")];
    cockpit.tell(Message::RunDetails(Box::new(back)));
    assert!(cockpit.picture().contains("checkpoint-24    left"), "{}", cockpit.picture());
    cockpit.press(&["R"]);
    assert!(matches!(&cockpit.press(&["y"])[..], [Action::Resume(path)] if path.ends_with("checkpoint-10")));
    cockpit.press(&["3", "Down", "R"]);
    assert!(cockpit.picture().contains("gone back from it"), "{}", cockpit.picture());
}

#[test]
fn resuming_asks_and_only_where_it_can_be() {
    let mut cockpit = tab(80, 24);
    assert!(!cockpit.picture().contains(" R resume"), "{}", cockpit.picture());
    assert!(cockpit.press(&["R"]).is_empty());
    assert!(cockpit.picture().contains("the run is finished"), "{}", cockpit.picture());
    let mut stopped = runs();
    stopped[0].status = RunStatus::Stopped;
    cockpit.tell(listed(stopped));
    cockpit.press(&["Down", "Down"]);
    assert!(cockpit.picture().contains(" R resume"), "{}", cockpit.picture());
    cockpit.press(&["R"]);
    let picture = cockpit.picture();
    assert!(picture.contains("The 15 steps"), "{picture}");
    assert!(matches!(&cockpit.press(&["y"])[..], [Action::Resume(path)] if path.ends_with("checkpoint-10")));
    // What is pressed next is for it; where it is refused, that is told here again.
    assert!(cockpit.picture().contains("Starting the job"), "{}", cockpit.picture());
    cockpit.tell(Message::Notice(Notice::error("the disk is full".to_owned())));
    assert!(cockpit.picture().contains("Runs under"), "{}", cockpit.picture());
    assert!(cockpit.picture().contains("the disk is full"), "{}", cockpit.picture());
    cockpit.press(&["R", "y"]);
    cockpit.tell(Message::Opened(RUN.into()));
    assert!(!cockpit.picture().contains("Runs under"), "{}", cockpit.picture());
    cockpit.press(&["3", "Up", "R"]);
    assert!(cockpit.picture().contains("no state of the training"), "{}", cockpit.picture());
    cockpit.press(&["h", "R"]);
    assert!(cockpit.picture().contains("checkpoint-25 holds weights"), "{}", cockpit.picture());
    cockpit.press(&["l", "k", "R"]);
    assert!(cockpit.picture().contains("mark one"), "{}", cockpit.picture());
}

#[test]
fn a_new_run_is_marked_also_where_the_list_has_it_first() {
    let mut cockpit = tab(80, 24);
    let mut new = runs();
    let path = format!("{}-new", RUN.replace("/v0", "/v9"));
    new.insert(0, RunSummary { path: path.clone().into(), status: RunStatus::Running, ..new[0].clone() });
    cockpit.tell(listed(new));
    assert!(!cockpit.picture().contains(&format!(" {path}")), "{}", cockpit.picture());
    let asked = cockpit.tell(Message::Opened(path.clone().into()));
    assert!(matches!(&asked[..], [Action::InspectRun(run)] if run.to_str() == Some(&path)), "{asked:?}");
    cockpit.press(&["3"]);
    assert!(cockpit.picture().contains(&format!(" {path}")), "{}", cockpit.picture());
}

#[test]
fn what_is_deleted_is_followed_no_more() {
    let mut cockpit = Cockpit::on_run(160, 48, recorded("finished"), Worker::Gone { why: String::new() });
    assert!(cockpit.picture().contains("checkpoint-25"), "{}", cockpit.picture());
    let mut left = details(RUN);
    left.checkpoints.retain(|c| c.step == 20);
    cockpit.tell(listed(runs()));
    cockpit.tell(Message::RunDetails(Box::new(left)));
    cockpit.tell(Message::Deleted(OLD.into()));
    assert!(!cockpit.picture().contains("No run is open"), "{}", cockpit.picture());
    cockpit.tell(Message::Deleted(RUN.into()));
    let picture = cockpit.picture();
    assert!(
        picture.contains("No run is open") && picture.contains("has been deleted:") && picture.contains(RUN),
        "{picture}"
    );
    cockpit.tell(Message::Opened(OLD.into()));
    assert!(!cockpit.picture().contains("has been deleted"), "{}", cockpit.picture());
}

#[test]
fn long_arguments_lose_nothing_where_they_are_wrapped() {
    let mut cockpit = tab(80, 48);
    let mut long = details(RUN);
    let path = ('a'..='z').cycle().take(60).collect::<String>();
    long.curves = Curves::default();
    long.args = Ok(vec![("an_argument_with_a_long_name", path.clone())]);
    cockpit.tell(Message::RunDetails(Box::new(long)));
    let picture = cockpit.picture();
    let (_, arguments) = picture.split_once("… ").unwrap();
    let letters: String = arguments.lines().map(str::trim).take_while(|l| !l.is_empty()).collect();
    assert_eq!(letters, path, "{picture}");
}

#[test]
fn the_quit_question_counts_the_jobs_that_are_not_shown() {
    let mut cockpit = Cockpit::on_run(80, 24, until_step("finished", 17), Worker::Alive);
    let mut running = runs();
    running.iter_mut().for_each(|r| r.status = RunStatus::Running);
    cockpit.tell(listed(running));
    cockpit.press(&["q"]);
    assert!(cockpit.picture().contains("2 others run too"), "{}", cockpit.picture());
}

#[test]
fn any_key_at_any_moment_and_any_size() {
    let mut cockpit = tab(80, 24);
    let keys = [
        "Up", "Down", "Home", "End", "PageUp", "PageDown", "h", "l", "Enter", "o", "R", "c", "m", "d", "y",
        "k", "Esc", "r", "?", "3", "3", "3",
    ];
    // A fixed sequence that looks like none.
    let mut seed = 7u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for i in 0..2000 {
        cockpit.press(&[keys[next() % keys.len()]]);
        match next() % 40 {
            0 => drop(cockpit.tell(listed(runs()[..next() % 4].to_vec()))),
            1 => {
                drop(cockpit.tell(Message::RunDetails(Box::new(details(if i % 2 == 0 { RUN } else { OLD })))))
            }
            2 => cockpit.resize((next() % 200) as u16 + 1, (next() % 60) as u16 + 1),
            _ => {}
        }
        cockpit.picture();
    }
}
