//! The Train tab, and what is around every tab.

use super::{Cockpit, listed, recorded, until_step};
use qwen_tui::job::event::{Command, Event, Gpu};
use qwen_tui::run::{NlgScores, Record};
use qwen_tui::tui::action::{Action, Notice};
use qwen_tui::tui::message::Message;
use qwen_tui::tui::model::Worker;

fn gone(why: &str) -> Worker {
    Worker::Gone { why: why.to_owned() }
}

fn live(width: u16, height: u16) -> Cockpit {
    Cockpit::on_run(width, height, until_step("finished", 17), Worker::Alive)
}

#[test]
fn a_run_that_trains() {
    for (width, height) in [(60, 16), (80, 24), (160, 48)] {
        live(width, height).assert_picture(&format!("train-running-{width}x{height}"));
    }
}

#[test]
fn titles_before_and_after_the_first_step() {
    let mut records = until_step("finished", 1);
    let picture = Cockpit::on_run(80, 24, records.clone(), Worker::Alive).picture();
    assert!(picture.contains(" last step ─"), "{picture}");
    records.retain(|r| !matches!(r.event, Event::Step { .. }));
    let picture = Cockpit::on_run(80, 24, records, Worker::Alive).picture();
    assert!(picture.contains(" learning rate linear ─"), "{picture}");
}

#[test]
fn a_run_that_has_finished() {
    for (width, height) in [(80, 24), (160, 48), (200, 50)] {
        let mut cockpit = Cockpit::on_run(width, height, recorded("finished"), gone(""));
        cockpit.assert_picture(&format!("train-finished-{width}x{height}"));
    }
}

#[test]
fn answers_of_evaluations_are_told_with_their_rouge() {
    let mut records = recorded("finished");
    let (mut n, shares) = (0, [75.0, 62.5, 50.0, 40.0, 30.0]);
    for record in &mut records {
        if let Event::Eval { scores, .. } = &mut record.event {
            *scores = Some(NlgScores { rouge_1: 1.0, rouge_2: 2.0, rouge_l: shares[n], bleu_4: 3.0 });
            n += 1;
        }
    }
    let mut cockpit = Cockpit::on_run(160, 48, records, gone(""));
    let picture = cockpit.picture();
    let line = picture.lines().find(|line| line.contains(" rouge-l  ")).unwrap();
    assert!(n == 3 && line.contains("50.") && line.contains("(best 75"), "{picture}");
}

#[test]
fn the_readmes_picture() {
    live(100, 30).assert_readme_picture("train");
}

#[test]
fn a_run_that_has_failed_says_why() {
    for (width, height) in [(80, 24), (160, 48)] {
        let mut cockpit = Cockpit::on_run(width, height, recorded("failed"), gone("exit status 2"));
        cockpit.assert_picture(&format!("train-failed-{width}x{height}"));
    }
}

#[test]
fn a_crash_is_told_as_such_with_the_last_words() {
    let why = "the worker was ended by signal 9 (SIGKILL: most often the machine ran out of memory: `dmesg` tells); \
        the end of worker.log:\n  INFO 开始训练\n  OpenBLAS warning: precompiled NUM_THREADS exceeded";
    for (width, height) in [(80, 24), (160, 48)] {
        let mut cockpit = Cockpit::on_run(width, height, recorded("crashed"), gone(why));
        cockpit.assert_picture(&format!("train-crashed-{width}x{height}"));
    }
}

#[test]
fn a_run_that_waits_for_room_says_for_what_and_how_to_go_on() {
    for (width, height) in [(80, 24), (160, 48)] {
        let mut cockpit = live(width, height);
        let tell = |cockpit: &mut Cockpit, event: Event| {
            let record = Record { seq: 99, time: 1.0, event };
            cockpit.tell(Message::Events { run: super::RUN.into(), records: vec![record] });
        };
        let message =
            "checkpoint-17 is not saved: cannot write /disk/run: No space left on device".to_owned();
        tell(&mut cockpit, Event::NoRoom { message });
        let picture = cockpit.picture();
        assert!(picture.matches("waiting for room").count() >= 2, "{picture}");
        assert!(picture.contains("checkpoint-17 is not saved") && picture.contains("at once"), "{picture}");
        assert!(matches!(cockpit.press(&["p"])[..], [Action::Send(Command::Resume)]));
        cockpit.press(&["x"]);
        let picture = cockpit.picture();
        assert!(picture.contains("waits for room") && picture.contains("last checkpoint"), "{picture}");
        cockpit.press(&["Esc"]);
        tell(&mut cockpit, Event::RoomAgain);
        let picture = cockpit.picture();
        assert!(picture.contains("training") && !picture.contains("waiting for room "), "{picture}");
    }
}

#[test]
fn a_log_that_tells_nothing_is_said_so_and_what_can_be_done() {
    let why = "events.jsonl is damaged: no line of it is an event.\n3, o: try its best checkpoint\n\
        3, R: go on from the last checkpoint"
        .to_owned();
    for (width, height) in [(60, 16), (80, 24), (160, 48)] {
        let untold = Worker::Untold { why: why.clone() };
        let mut cockpit = Cockpit::on_run(width, height, Vec::new(), untold);
        cockpit.assert_picture(&format!("train-untold-{width}x{height}"));
        assert!(!cockpit.picture().contains("opening"), "{}", cockpit.picture());
    }
    // Somebody trains it again: it is told as any other.
    let mut cockpit = Cockpit::on_run(80, 24, Vec::new(), Worker::Untold { why });
    let run = std::path::PathBuf::from(super::RUN);
    cockpit.tell(Message::Worker { run: run.clone(), worker: Worker::Alive });
    cockpit.tell(Message::Events { run, records: until_step("finished", 17) });
    assert!(cockpit.picture().contains("training"), "{}", cockpit.picture());
}

#[test]
fn what_is_not_finite_is_a_gap_and_counted() {
    for (width, height) in [(80, 24), (160, 48)] {
        let mut cockpit = Cockpit::on_run(width, height, recorded("not_finite"), Worker::Alive);
        cockpit.assert_picture(&format!("train-not-finite-{width}x{height}"));
    }
}

#[test]
fn a_card_takes_the_place_of_the_process() {
    let mut records = until_step("finished", 17);
    for record in &mut records {
        if let Event::Resources { gpu, .. } = &mut record.event {
            *gpu = Some(Gpu {
                name: "NVIDIA A100".to_owned(),
                memory_used: Some(12_100_000_000),
                memory_total: Some(80_000_000_000),
                utilization: Some(87),
                temperature: Some(54),
            });
        }
    }
    let picture = Cockpit::on_run(80, 24, records, Worker::Alive).picture();
    assert!(picture.contains("GPU memory") && picture.contains("12.1 GB of 80.0 GB"), "{picture}");
    assert!(picture.contains("87 % busy, 54 °C") && !picture.contains("process"), "{picture}");
}

#[test]
fn commands_go_to_a_worker_that_lives_and_stop_asks_first() {
    let mut cockpit = live(80, 24);
    assert!(matches!(cockpit.press(&["p"])[..], [Action::Send(Command::Pause)]));
    assert!(cockpit.picture().contains("it pauses after the step at hand"));
    cockpit.press(&["q"]);
    assert!(
        cockpit.picture().contains("v0-20231114-221320 pauses after the step at hand"),
        "{}",
        cockpit.picture()
    );
    cockpit.press(&["Esc"]);
    assert!(cockpit.parting_words().unwrap().contains("pauses after its step and stays so"));
    let paused = serde_json::from_str::<Record<Event>>(r#"{"seq":99,"time":1,"kind":"paused","step":17}"#);
    let run = super::RUN.into();
    cockpit.tell(Message::Events { run, records: vec![paused.unwrap()] });
    assert!(cockpit.picture().contains("paused"), "{}", cockpit.picture());
    cockpit.press(&["q"]);
    let picture = cockpit.picture();
    assert!(
        picture.contains("v0-20231114-221320 is paused, and stays so") && picture.contains("Leave it paused"),
        "{picture}"
    );
    cockpit.press(&["Esc", "x"]);
    assert!(cockpit.picture().contains("Keep it paused"));
    cockpit.press(&["Esc"]);
    let words = cockpit.parting_words().unwrap();
    assert!(words.contains("is paused and stays so") && !words.contains("trains on"), "{words}");
    assert!(matches!(cockpit.press(&["p"])[..], [Action::Send(Command::Resume)]));
    assert!(matches!(cockpit.press(&["s"])[..], [Action::Send(Command::Save)]));
    let resumed = serde_json::from_str(r#"{"seq":100,"time":1,"kind":"resumed","step":17}"#);
    cockpit.tell(Message::Events { run: super::RUN.into(), records: vec![resumed.unwrap()] });
    assert!(cockpit.press(&["x"]).is_empty());
    assert!(cockpit.picture().contains("Keep it running"));
    assert!(cockpit.press(&["Enter"]).is_empty(), "what is marked first changes nothing");
    assert!(matches!(cockpit.press(&["x", "x"])[..], [Action::Send(Command::Stop)]));

    let mut over = Cockpit::on_run(80, 24, recorded("finished"), gone(""));
    assert!(over.press(&["p", "s", "x"]).is_empty());
    assert!(over.picture().contains("no job is running here"));
}

#[test]
fn a_pause_within_an_evaluation_is_told_once() {
    let mut cockpit = live(80, 24);
    for json in [
        r#""kind":"stage","stage":"evaluating""#,
        r#""kind":"eval_progress","step":17,"done":154,"rows":200"#,
        r#""kind":"paused","step":17"#,
    ] {
        let record = serde_json::from_str(&format!(r#"{{"seq":99,"time":1,{json}}}"#)).unwrap();
        cockpit.tell(Message::Events { run: super::RUN.into(), records: vec![record] });
    }
    let picture = cockpit.picture();
    assert!(picture.contains("paused at 154 of 200 rows of the evaluation"), "{picture}");
    assert!(!picture.contains("evaluating"), "{picture}");
}

#[test]
fn the_log_begins_with_an_entry_and_marks_what_it_cuts() {
    let long = "a line that is far longer than the panel of the log is wide, and has an end: here";
    for height in 16..40 {
        let mut cockpit = live(80, height);
        for _ in 0..40 {
            let json = format!(r#"{{"seq":99,"time":1,"kind":"warning","message":"{long}"}}"#);
            let record = serde_json::from_str(&json).unwrap();
            cockpit.tell(Message::Events { run: super::RUN.into(), records: vec![record] });
        }
        let picture = cockpit.picture();
        let rows: Vec<&str> = picture.lines().skip_while(|l| !l.contains(" log ")).skip(1).collect();
        let begun = |row: &&&str| row.contains("00:00:01");
        assert!(rows.first().iter().all(begun), "{picture}");
        // Every entry but the oldest is whole.
        let all = rows.iter().filter(begun).count();
        let whole = rows.iter().filter(|row| row.contains("end: here") || row.ends_with("here")).count();
        assert!(whole == all || (whole + 1 == all && picture.contains(" …")), "{picture}");
    }
}

#[test]
fn a_notice_goes_when_what_it_announces_has_come() {
    let news = |cockpit: &mut Cockpit, json: &str| {
        let record: Record<Event> =
            serde_json::from_str(&format!(r#"{{"seq":99,"time":1,{json}}}"#)).unwrap();
        cockpit.tell(Message::Events { run: super::RUN.into(), records: vec![record] });
        cockpit.picture()
    };
    let resources = r#""kind":"resources","rss":1,"available":1,"cores":1"#;
    let saved = r#""kind":"checkpoint","step":17,"path":"checkpoint-17","bytes":1,"seconds":1,"best":false"#;
    let finished = r#""kind":"finished","step":17,"seconds":1,"stopped":true,"last_checkpoint":null,"best_checkpoint":null,"best_metric":null"#;
    for (keys, told, other, awaited) in [
        (&["p"][..], "it pauses after", saved, r#""kind":"paused","step":17"#),
        (&["s"], "it saves after", resources, saved),
        (&["x", "x"], "it finishes the step", saved, finished),
    ] {
        let mut cockpit = live(80, 24);
        cockpit.press(keys);
        assert!(news(&mut cockpit, other).contains(told), "{}", cockpit.picture());
        assert!(!news(&mut cockpit, awaited).contains(told), "{}", cockpit.picture());
    }
    // What it has learned has no room.
    let mut cockpit = live(80, 24);
    news(&mut cockpit, r#""kind":"no_room","message":"no space left on device""#);
    cockpit.press(&["x", "x"]);
    let picture = cockpit.picture();
    assert!(picture.contains("it ends without saving") && !picture.contains("saves and ends"), "{picture}");
    let mut cockpit = live(80, 24);
    cockpit.press(&["s"]);
    cockpit.tell(Message::Worker { run: super::RUN.into(), worker: gone("killed") });
    assert!(!cockpit.picture().contains("it saves after"), "{}", cockpit.picture());
}

/// By whomever: another cockpit, `qwen-tui stop`, a signal.
#[test]
fn a_stop_that_another_has_asked_for_is_seen() {
    let run = std::path::PathBuf::from(super::RUN);
    for (width, height) in [(60, 16), (80, 24)] {
        let mut cockpit = live(width, height);
        assert!(!cockpit.picture().contains("told to stop"));
        let record = Record { seq: 99, time: 1.7e9, event: Event::Stopping };
        cockpit.tell(Message::Events { run: run.clone(), records: vec![record] });
        let picture = cockpit.picture();
        assert!(picture.contains("training, told to stop"), "{picture}");
        cockpit.tell(Message::Worker { run: run.clone(), worker: gone("") });
        assert!(!cockpit.picture().contains(", told to stop"), "{}", cockpit.picture());
    }
}

#[test]
fn a_long_notice_covers_nothing() {
    let mut cockpit = live(80, 24);
    let newest = "saved checkpoint-10";
    assert!(cockpit.picture().contains(newest));
    for times in [5, 12] {
        cockpit.tell(Message::Notice(Notice::error("everything is wrong here; ".repeat(times))));
        let picture = cockpit.picture();
        let log = picture.lines().position(|l| l.contains(newest)).unwrap();
        let notice = picture.lines().position(|l| l.starts_with(" everything")).unwrap();
        assert!(log < notice && notice < 23, "{picture}");
    }
}

#[test]
fn a_worker_that_says_nothing_is_told_and_how_it_is_ended() {
    for width in [60, 80, 160] {
        let mut cockpit = live(width, 24);
        let newest = until_step("finished", 17).last().unwrap().time;
        let pid = recorded("finished").into_iter().find_map(|r| match r.event {
            Event::Started { pid, .. } => Some(pid),
            _ => None,
        });
        let pid = pid.unwrap();
        cockpit.tell(Message::Tick(newest + 19.0));
        assert!(!cockpit.picture().contains("no word"), "{}", cockpit.picture());
        cockpit.tell(Message::Tick(newest + 40.0));
        let picture = cockpit.picture();
        assert!(picture.contains(&format!("no word from the worker for 40 s (pid {pid})")), "{picture}");
        assert!(width < 80 || picture.lines().next().unwrap().ends_with("hangs"), "{picture}");
        for key in ["x", "q"] {
            cockpit.press(&[key]);
            let picture = cockpit.picture();
            // The words of the question, which may wrap anywhere.
            let inside = picture.lines().filter_map(|l| l.split_once('│')?.1.rsplit_once('│'));
            let words = inside.map(|(words, _)| words.trim()).collect::<Vec<_>>().join(" ");
            assert!(
                words.contains(&format!("`kill -9 {pid}` ends it")) && words.contains("checkpoint-10"),
                "{picture}"
            );
            cockpit.press(&["Esc"]);
        }
    }
}

#[test]
fn quitting_while_a_job_runs_asks() {
    let mut cockpit = live(80, 24);
    assert!(cockpit.press(&["q"]).is_empty());
    cockpit.assert_picture("quit-question-80x24");
    assert!(cockpit.press(&["Esc"]).is_empty(), "it stays");
    assert!(cockpit.press(&["q", "s"]).is_empty(), "it stays");
    assert!(matches!(cockpit.press(&["Ctrl+c", "l"])[..], [Action::Exit]));
    assert!(matches!(cockpit.press(&["q", "x"])[..], [Action::StopAndExit(_)]));
    assert!(matches!(cockpit.press(&["q", "Up", "Enter"])[..], [Action::StopAndExit(_)]));
    let mut over = Cockpit::on_run(80, 24, recorded("finished"), gone(""));
    assert!(matches!(over.press(&["q"])[..], [Action::Exit]));
    // Another one has taken its place while the question stood.
    let mut cockpit = live(80, 24);
    cockpit.press(&["q"]);
    let other = std::path::PathBuf::from("/home/me/output/qwen-demo/v1-20231114-230000");
    cockpit.tell(Message::Opened(other.clone()));
    cockpit.tell(Message::Worker { run: other, worker: Worker::Alive });
    assert!(cockpit.press(&["x"]).is_empty());
    assert!(cockpit.picture().contains("is not the run that is followed any more"), "{}", cockpit.picture());
}

#[test]
fn the_page_of_keys_shows_those_of_the_place() {
    let mut cockpit = live(80, 24);
    cockpit.press(&["?"]);
    cockpit.assert_picture("help-train-80x24");
    cockpit.press(&["Esc"]);
    assert!(!cockpit.picture().contains("Everywhere"));
    // On a small screen it scrolls to its end.
    let mut small = live(60, 16);
    small.press(&["?"]);
    assert!(!small.picture().contains("Alt+4"));
    small.press(&["Down"; 30]);
    assert!(small.picture().contains("Alt+4"), "{}", small.picture());
}

#[test]
fn any_size_at_any_moment() {
    let mut cockpit = live(80, 24);
    cockpit.resize(59, 15);
    let picture = cockpit.picture();
    assert!(picture.contains("59x15") && picture.contains("60x16"), "{picture}");
    cockpit.press(&["q"]);
    assert!(cockpit.picture().contains("Stay"));
    cockpit.press(&["Esc"]);
    for width in (1..=210).step_by(7) {
        for height in [1, 2, 5, 15, 16, 17, 23, 31, 60] {
            cockpit.resize(width, height);
            cockpit.press(&["?"]);
            cockpit.picture();
            cockpit.press(&["Esc"]);
            cockpit.picture();
        }
    }
    cockpit.resize(80, 24);
    cockpit.assert_picture("train-running-80x24");
}

#[test]
fn without_a_run_the_tab_says_what_to_do_and_what_is_missing() {
    let mut cockpit = Cockpit::new(80, 24);
    cockpit.tell(listed(Vec::new()));
    cockpit.tell(Message::Engine(Err("the engine, which does the training, is not there".to_owned())));
    let picture = cockpit.picture();
    assert!(picture.contains("No run is open") && picture.contains("the engine, which"), "{picture}");
    cockpit.tell(Message::Notice(Notice::error("磁盘已满：free some space".repeat(5))));
    let picture = cockpit.picture();
    assert!(picture.lines().last().unwrap().ends_with("some space"), "all of it can be read: {picture}");
}

#[test]
fn late_news_of_another_run_change_nothing() {
    let mut cockpit = live(80, 24);
    let before = cockpit.picture();
    let run = "/home/me/output/other".into();
    cockpit.tell(Message::Events { run, records: recorded("failed") });
    cockpit.tell(Message::Worker { run: "/home/me/output/other".into(), worker: gone("killed") });
    assert_eq!(cockpit.picture(), before);
}

#[test]
fn keys_that_are_pressed_while_a_run_starts_wait_for_its_worker() {
    let run = std::path::PathBuf::from(super::RUN);
    let is_send = |actions: &[Action], command| matches!(actions, [Action::Send(sent)] if *sent == command);
    let worker = |worker| Message::Worker { run: run.clone(), worker };
    // Before there is a directory, and while its engine loads its libraries.
    for is_opened in [false, true] {
        let begin = || {
            let mut cockpit = Cockpit::new(80, 24);
            cockpit.begin_a_run();
            if is_opened {
                cockpit.tell(Message::Opened(run.clone()));
                cockpit.tell(worker(Worker::Starting));
            }
            cockpit
        };
        let open = |cockpit: &mut Cockpit| {
            let mut told = cockpit.tell(Message::Opened(run.clone()));
            told.extend(cockpit.tell(worker(Worker::Starting)));
            told.retain(|action| matches!(action, Action::Send(_) | Action::StopAndExit(_)));
            assert!(told.is_empty(), "{told:?}");
        };
        for (key, command) in [("p", Command::Pause), ("s", Command::Save)] {
            let mut cockpit = begin();
            assert!(cockpit.press(&[key]).is_empty());
            assert!(cockpit.picture().contains("after the step at hand"), "{}", cockpit.picture());
            if !is_opened {
                open(&mut cockpit);
            }
            assert!(is_send(&cockpit.tell(worker(Worker::Alive)), command));
            assert!(cockpit.picture().contains("after the step at hand"));
            assert!(cockpit.tell(worker(Worker::Alive)).is_empty(), "told once");
        }
        let mut cockpit = begin();
        assert!(cockpit.press(&["x"]).is_empty());
        assert!(cockpit.picture().contains("before its first step there is nothing to save"));
        assert!(cockpit.press(&["x"]).is_empty());
        if !is_opened {
            open(&mut cockpit);
        }
        assert!(is_send(&cockpit.tell(worker(Worker::Alive)), Command::Stop));
        // One that comes to nothing takes them with it.
        let mut cockpit = begin();
        cockpit.press(&["p"]);
        let not_started = qwen_tui::tui::configs::ConfigNews::NotStarted("no room".to_owned());
        if is_opened {
            cockpit.tell(Message::Deleted(run.clone()));
        }
        cockpit.tell(Message::Config(not_started));
        cockpit.tell(Message::Opened(run.clone()));
        assert!(cockpit.tell(worker(Worker::Alive)).is_empty());
    }
    // Quitting.
    let mut cockpit = Cockpit::new(80, 24);
    cockpit.tell(Message::Opened(run.clone()));
    cockpit.tell(worker(Worker::Starting));
    assert!(cockpit.press(&["q", "x"]).is_empty());
    assert!(matches!(cockpit.tell(worker(Worker::Alive))[..], [Action::StopAndExit(_)]));
    // A run that goes on: what its log tells is the earlier worker's.
    let mut cockpit = Cockpit::on_run(80, 24, recorded("finished"), Worker::Starting);
    assert!(cockpit.picture().contains("starting the engine"), "{}", cockpit.picture());
    assert!(cockpit.press(&["p"]).is_empty());
}

#[test]
fn the_question_before_the_end_follows_what_is() {
    let run = std::path::PathBuf::from(crate::RUN);
    let worker = |worker| Message::Worker { run: run.clone(), worker };
    let mut cockpit = live(80, 24);
    cockpit.press(&["q"]);
    assert!(cockpit.picture().contains("v0-20231114-221320 is running"), "{}", cockpit.picture());
    cockpit.tell(worker(gone("")));
    assert!(cockpit.picture().contains("has ended"), "{}", cockpit.picture());
    assert!(cockpit.press(&["x"]).is_empty() && cockpit.press(&["l"]).is_empty());
    assert!(matches!(cockpit.press(&["q"])[..], [Action::Exit]));
    // A pause of the worker before is none of the one that starts.
    let paused = |records: Vec<Record<Event>>| {
        let mut records = records;
        records.push(Record { seq: 900, time: 1_700_000_900.0, event: Event::Paused { step: 17 } });
        records
    };
    let mut cockpit = Cockpit::on_run(80, 24, paused(until_step("finished", 17)), Worker::Alive);
    cockpit.press(&["q"]);
    assert!(cockpit.picture().contains("is paused, and stays so"), "{}", cockpit.picture());
    cockpit.tell(worker(Worker::Starting));
    assert!(cockpit.picture().contains("is starting"), "{}", cockpit.picture());
    cockpit.press(&["l"]);
    let words = cockpit.parting_words().unwrap_or_default();
    assert!(words.contains("trains on"), "{words}");
}

/// What is promised of a job that is not started after all.
#[test]
fn a_promise_for_a_job_that_does_not_come_to_be_is_taken_back() {
    let mut cockpit = Cockpit::new(80, 24);
    cockpit.begin_a_run();
    cockpit.press(&["s"]);
    assert!(cockpit.picture().contains("it saves after the step at hand"), "{}", cockpit.picture());
    let args =
        qwen_tui::args::load_sft(None, &["--model_type=qwen-7b", "--dataset=a.csv"].map(str::to_owned));
    let others = qwen_tui::tui::configs::ConfigNews::Occupied(Box::new(args.unwrap().args));
    cockpit.tell(Message::Config(others));
    assert!(!cockpit.picture().contains("it saves"), "{}", cockpit.picture());
    assert!(cockpit.picture().contains("A job is running"), "{}", cockpit.picture());
}

#[test]
fn quitting_while_a_job_starts_asks_and_waits_for_its_beginning() {
    let run = std::path::PathBuf::from(crate::RUN);
    let begin = |keys: &[&str]| {
        let mut cockpit = Cockpit::new(80, 24);
        cockpit.begin_a_run();
        assert!(cockpit.press(&["q"]).is_empty());
        assert!(cockpit.picture().contains("A job is starting"), "{}", cockpit.picture());
        assert!(cockpit.press(keys).is_empty());
        cockpit
    };
    let ends = |actions: Vec<Action>| {
        actions.into_iter().filter(|a| matches!(a, Action::Exit | Action::StopAndExit(_))).collect::<Vec<_>>()
    };
    let mut cockpit = begin(&["l"]);
    assert!(cockpit.picture().contains("as soon as the job has begun"), "{}", cockpit.picture());
    assert!(matches!(ends(cockpit.tell(Message::Opened(run.clone())))[..], [Action::Exit]));
    // Where it comes to nothing there is something to be read.
    let not_started = qwen_tui::tui::configs::ConfigNews::NotStarted("no room".to_owned());
    for key in ["l", "x"] {
        let mut cockpit = begin(&[key]);
        assert!(ends(cockpit.tell(Message::Config(not_started.clone()))).is_empty());
        assert!(cockpit.picture().contains("no room"), "{}", cockpit.picture());
        cockpit.tell(Message::Opened(run.clone()));
        assert!(
            ends(cockpit.tell(Message::Worker { run: run.clone(), worker: Worker::Alive })).is_empty(),
            "of another one"
        );
    }
    // What is held for it is told before.
    let mut cockpit = Cockpit::new(80, 24);
    cockpit.begin_a_run();
    assert!(cockpit.press(&["p", "q", "l"]).is_empty());
    assert!(ends(cockpit.tell(Message::Opened(run.clone()))).is_empty());
    let told = cockpit.tell(Message::Worker { run: run.clone(), worker: Worker::Alive });
    assert!(matches!(told[..], [Action::Send(Command::Pause), Action::Exit]), "{told:?}");
    let mut cockpit = begin(&["x"]);
    assert!(ends(cockpit.tell(Message::Opened(run.clone()))).is_empty());
    let told = cockpit.tell(Message::Worker { run, worker: Worker::Alive });
    assert!(matches!(ends(told)[..], [Action::StopAndExit(_)]));
}

/// A cockpit on a live job, beside which another is started.
fn beside() -> Cockpit {
    let mut cockpit = live(80, 24);
    cockpit.begin_a_run();
    cockpit
}

/// What reaches a worker, or ends the cockpit's fetch.
fn sent(actions: Vec<Action>) -> Vec<Action> {
    actions.into_iter().filter(|a| matches!(a, Action::Send(_) | Action::CancelFetch)).collect()
}

#[test]
fn keys_after_a_start_beside_another_job_are_for_the_one_that_starts() {
    let new = std::path::PathBuf::from("/home/me/output/qwen-demo/v1-20231114-231320");
    let worker = |worker| Message::Worker { run: new.clone(), worker };
    for (keys, command) in
        [(&["x", "x"][..], Command::Stop), (&["p"], Command::Pause), (&["s"], Command::Save)]
    {
        let mut cockpit = beside();
        assert!(cockpit.press(keys).is_empty(), "the job that is shown is told nothing");
        assert!(sent(cockpit.tell(Message::Opened(new.clone()))).is_empty());
        assert!(sent(cockpit.tell(worker(Worker::Starting))).is_empty());
        let told = sent(cockpit.tell(worker(Worker::Alive)));
        assert!(matches!(&told[..], [Action::Send(got)] if *got == command), "{told:?}");
    }
    // One that does not come to be takes them with it; the other trains on.
    let mut cockpit = beside();
    assert!(cockpit.press(&["x", "x"]).is_empty());
    let why = qwen_tui::tui::configs::ConfigNews::NotStarted("no room".to_owned());
    assert!(sent(cockpit.tell(Message::Config(why))).is_empty());
}

#[test]
fn a_stop_question_names_its_run_and_never_stops_another() {
    let new = std::path::PathBuf::from("/home/me/output/qwen-demo/v1-20231114-231320");
    let mut cockpit = live(80, 24);
    cockpit.press(&["x"]);
    let picture = cockpit.picture();
    assert!(picture.contains("v0-20231114-221320\n") || picture.contains("v0-20231114-221320 "), "{picture}");
    // Another one takes its place behind the question.
    cockpit.tell(Message::Opened(new.clone()));
    cockpit.tell(Message::Worker { run: new.clone(), worker: Worker::Alive });
    let picture = cockpit.picture();
    assert!(picture.contains("is not the run that is followed any more"), "{picture}");
    assert!(sent(cockpit.press(&["x", "Enter"])).is_empty());
    // Asked of the one that starts, it stays with that one, whose name it has as soon as there is one.
    let mut cockpit = beside();
    cockpit.press(&["x"]);
    assert!(cockpit.picture().contains("the job that is to start"), "{}", cockpit.picture());
    cockpit.tell(Message::Opened(new.clone()));
    cockpit.tell(Message::Worker { run: new.clone(), worker: Worker::Alive });
    assert!(cockpit.picture().contains("v1-20231114-231320"), "{}", cockpit.picture());
    assert!(matches!(sent(cockpit.press(&["x"]))[..], [Action::Send(Command::Stop)]));
}

#[test]
fn a_stop_question_has_the_words_of_the_moment() {
    let mut cockpit = Cockpit::on_run(80, 24, Vec::new(), Worker::Starting);
    cockpit.press(&["x"]);
    assert!(cockpit.picture().contains("before its first step there is nothing to save"));
    let run = std::path::PathBuf::from(super::RUN);
    cockpit.tell(Message::Worker { run: run.clone(), worker: Worker::Alive });
    cockpit.tell(Message::Events { run: run.clone(), records: until_step("finished", 3) });
    let picture = cockpit.picture();
    assert!(
        picture.contains("The step at hand is finished") && !picture.contains("nothing to save"),
        "{picture}"
    );
    cockpit.tell(Message::Worker { run, worker: gone("") });
    assert!(cockpit.picture().contains("has ended"), "{}", cockpit.picture());
}
