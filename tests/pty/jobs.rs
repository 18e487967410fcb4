//! Terminals that go away under a job, and several cockpits on one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use qwen_tui::job::runs::{RunStatus, inspect, list_runs, worker_alive};
use qwen_tui::run::{list_checkpoints_in, verify_checkpoint};

use super::common::{Bench, PROGRAM};
use super::terminal::{SOON, Terminal};
use super::{background_run, cockpit, recorded};

/// Waits until it is so.
#[track_caller]
fn wait(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The worker of `run` lives and goes on by more steps.
#[track_caller]
fn trains_on(run: &Path) {
    let step = inspect(run).step;
    wait("it trains no more", || inspect(run).step > step + 5);
    assert!(worker_alive(run));
}

/// Ends it from another terminal; what it has learned is saved.
#[track_caller]
fn stop(bench: &Bench, run: &Path) {
    bench.words(&["stop", run.to_str().unwrap()]).ok();
    assert_eq!(inspect(run).status, RunStatus::Stopped);
    verify_checkpoint(&list_checkpoints_in(run).pop().expect("a checkpoint").path).unwrap();
}

fn only_run(bench: &Bench) -> PathBuf {
    let runs = list_runs(&bench.path("out"));
    assert_eq!(runs.len(), 1);
    runs[0].path.clone()
}

/// `sft` with a worker in the terminal's own process group: SIGHUP reaches both.
#[test]
fn a_terminal_that_is_closed_under_sft_leaves_the_training() {
    let bench = Bench::new();
    for bar in ["false", "true"] {
        let mut command = Command::new(PROGRAM);
        let more = ["--max_steps", "1000000", "--logging_steps", "1", "--disable_tqdm", bar];
        command.args(bench.sft_words(&more)).env_remove("QWEN_TUI_ENGINE");
        command.env("XDG_STATE_HOME", bench.path("state"));
        let mut terminal = Terminal::start(command, 100, 30);
        terminal.see(&["/1000000", "loss"]);
        let run = only_run(&bench);
        terminal.hang_up();
        trains_on(&run);
        stop(&bench, &run);
        terminal.ended();
        std::fs::remove_dir_all(bench.path("out")).unwrap();
    }
}

/// A cockpit in which a job has been started that lasts, with a file of arguments and a key, and its run: in `out`, where
/// no cockpit looks by itself.
fn start(bench: &Bench) -> (Terminal, PathBuf) {
    let mut terminal = config_tab(bench);
    terminal.press("s");
    terminal.see(&["training", "/1000000"]);
    let run = only_run(bench);
    (terminal, run)
}

/// A cockpit with such a job in its form.
fn config_tab(bench: &Bench) -> Terminal {
    let mut terminal = open(bench);
    terminal.see(&["job.json", "starts the training"]);
    terminal
}

/// A cockpit that is about to have such a job in its form.
fn open(bench: &Bench) -> Terminal {
    let path = |name: &str| bench.path(name).display().to_string();
    let job = serde_json::json!({
        "model_type": "qwen-1_8b", "model_id_or_path": path("model"), "device": "cpu", "threads": 1,
        "custom_train_dataset_path": [path("rows.jsonl")], "max_steps": 1_000_000, "output_dir": path("out"),
    });
    let config = bench.write("job.json", job.to_string());
    let mut command = cockpit(bench);
    command.args(["--config", &config]);
    Terminal::start(command, 100, 30)
}

/// Keys that are quicker than the first look at what runs start nothing beside it unasked.
#[test]
fn a_start_before_anything_is_seen_is_asked_about_where_a_job_runs() {
    let bench = Bench::new();
    let (first, run) = start(&bench);
    let mut second = open(&bench);
    second.press("s");
    second.see(&["A job is running", "Start this one beside it"]);
    assert_eq!(only_run(&bench), run);
    second.press("n");
    drop((first, second));
    stop(&bench, &run);
}

/// A key that comes before the worker is there is not lost.
#[test]
fn a_job_is_commanded_from_its_first_moment_on() {
    for (keys, told) in [("sp", "paused at step"), ("ss", "saved checkpoint-"), ("sxx", "stopped")] {
        let bench = Bench::new();
        let mut terminal = config_tab(&bench);
        terminal.press(keys);
        terminal.see(&[told]);
        let run = only_run(&bench);
        match keys {
            "sxx" => assert_eq!(inspect(&run).status, RunStatus::Stopped),
            "sp" => terminal.press("p"),
            _ => {}
        }
        if keys != "sxx" {
            stop(&bench, &run);
        }
    }
}

/// The end of the cockpit that comes before the worker is there.
#[test]
fn a_job_that_is_left_at_once_is_started() {
    for (keys, then) in [("sq", "l"), ("s\x03", "x")] {
        let bench = Bench::new();
        let mut terminal = config_tab(&bench);
        terminal.press(keys);
        terminal.see(&["Leave it running", "Stop it"]);
        terminal.press(then);
        assert_eq!(terminal.ended().code(), Some(0));
        terminal.assert_clean();
        let run = only_run(&bench);
        match then {
            "l" => {
                trains_on(&run);
                stop(&bench, &run);
            }
            _ => wait("it is not stopped", || inspect(&run).status == RunStatus::Stopped),
        }
    }
}

/// Keys after the answer that lets a run go on are for it.
#[test]
fn a_run_that_goes_on_is_commanded_from_its_first_moment_on() {
    let bench = Bench::new();
    let (mut terminal, run) = start(&bench);
    stop(&bench, &run);
    let times_begun = || {
        let log = std::fs::read_to_string(run.join("events.jsonl")).unwrap();
        log.matches(r#""kind":"started""#).count()
    };
    for (n, keys) in ["yxx", "yp"].iter().enumerate() {
        terminal.press("3");
        terminal.see(&["checkpoint-", "stopped", "R resume"]);
        terminal.press("R");
        terminal.see(&["Go on training"]);
        terminal.press(keys);
        wait("it does not begin", || times_begun() == n + 2);
        match *keys {
            "yp" => drop(terminal.see(&["paused at step"])),
            _ => wait("it is not stopped", || inspect(&run).status == RunStatus::Stopped),
        }
    }
    stop(&bench, &run);
}

#[test]
fn a_job_that_is_left_is_found_by_the_next_cockpit_wherever_it_lies() {
    let bench = Bench::new();
    let old = recorded(&bench, "finished");
    let (mut terminal, run) = start(&bench);
    let names = [&run, &old].map(|run| run.file_name().unwrap().to_str().unwrap().to_owned());
    std::fs::create_dir(bench.path("别处")).unwrap();
    for (dir, listed) in [(".", &names[..]), ("别处", &names[..1])] {
        terminal.press("q");
        terminal.see(&["Leave it running: the next qwen-tui finds it"]);
        terminal.press("l");
        assert_eq!(terminal.ended().code(), Some(0));
        terminal.assert_clean();
        let mut command = cockpit(&bench);
        command.current_dir(bench.path(dir));
        terminal = Terminal::start(command, 100, 30);
        terminal.see(&[&names[0], "training", "/1000000"]);
        // Its own runs stay where they are, beside what runs elsewhere.
        terminal.press("3");
        let words: Vec<&str> = listed.iter().map(String::as_str).chain(["running"]).collect();
        terminal.see(&words);
    }
    // When it has ended it is still there.
    stop(&bench, &run);
    terminal.see(&[&names[0], "stopped"]);
    terminal.press("r");
    terminal.see(&[&names[0], "stopped"]);
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn what_another_shell_starts_is_shown_where_nothing_is() {
    let bench = Bench::new();
    let mut terminal = Terminal::start(cockpit(&bench), 100, 30);
    terminal.see(&["The defaults"]);
    terminal.press("2");
    terminal.see(&["No run is open"]);
    let run = background_run(&bench);
    terminal.see(&[run.file_name().unwrap().to_str().unwrap(), "training"]);
    let old = recorded(&bench, "crashed");
    terminal.press("3");
    terminal.see(&[old.file_name().unwrap().to_str().unwrap(), "crashed", "running"]);
    stop(&bench, &run);
}

#[test]
fn a_run_elsewhere_is_listed_with_its_neighbours() {
    let bench = Bench::new();
    recorded(&bench, "finished");
    std::fs::rename(bench.path("output"), bench.path("别处")).unwrap();
    let neighbour = bench.path("别处/qwen-demo/v1-20231115-080000");
    std::fs::create_dir(&neighbour).unwrap();
    std::fs::write(neighbour.join("sft_args.json"), "{}").unwrap();
    for words in [&["--run"][..], &["attach"]] {
        for _ in 0..6 {
            let mut command = cockpit(&bench);
            command.args(words).arg("别处/qwen-demo/v0-20231114-221320");
            let mut terminal = Terminal::start(command, 100, 30);
            terminal.see(&["v0-20231114-221320", "finished"]);
            terminal.press("3");
            terminal.see(&["v0-20231114-221320  ", "v1-20231115-080000  ", "finished"]);
            terminal.press("q");
            assert_eq!(terminal.ended().code(), Some(0));
        }
    }
}

/// The cockpit that started the job goes, and another one finds it.
#[test]
fn a_terminal_that_is_closed_under_the_cockpit_leaves_the_training() {
    let bench = Bench::new();
    let (mut terminal, run) = start(&bench);
    terminal.hang_up();
    assert_eq!(terminal.ended().code(), Some(128 + 1), "it ends by SIGHUP as a program does");
    trains_on(&run);

    let mut command = cockpit(&bench);
    command.args(["attach", "last"]);
    let mut terminal = Terminal::start(command, 100, 30);
    terminal.see(&[run.file_name().unwrap().to_str().unwrap(), "training"]);
    // Nor does one that nothing could stop.
    terminal.kill();
    terminal.ended();
    trains_on(&run);
    stop(&bench, &run);
}

/// Of what a path has that a terminal would obey.
#[test]
fn a_terminal_is_told_of_odd_paths_in_words() {
    let bench = Bench::new();
    let dir = bench.path("wp/\u{1b}[31mred\u{202e} 评");
    let out = dir.to_str().unwrap();
    let more = ["--output_dir", out, "--add_output_dir_suffix", "false", "--max_steps", "1000000"];
    let started = bench.start(&bench.sft_words(&more), "");
    wait("no step", || inspect(&dir).step > 0);
    let mut command = cockpit(&bench);
    command.args(["stop", "last"]);
    let mut terminal = Terminal::start(command, 240, 30);
    terminal.see(&["\\u{1b}[31mred\\u{202e} 评 has stopped at step"]);
    assert!(terminal.ended().success());
    assert!(started.wait().ok().contains(out), "scripts read the path as it is");
}

#[test]
fn two_cockpits_on_one_run_see_the_same_and_either_commands() {
    let bench = Bench::new();
    let run = background_run(&bench);
    let name = run.file_name().unwrap().to_str().unwrap().to_owned();
    let open = || {
        let mut command = cockpit(&bench);
        command.arg("--run").arg(&run);
        let mut terminal = Terminal::start(command, 100, 30);
        terminal.see(&[&name, "training"]);
        terminal
    };
    let (mut one, mut other) = (open(), open());
    one.press("p");
    for cockpit in [&mut one, &mut other] {
        cockpit.see(&["paused at step"]);
    }
    other.press("s");
    for cockpit in [&mut one, &mut other] {
        cockpit.see(&["saved checkpoint-"]);
    }
    other.press("p");
    for cockpit in [&mut one, &mut other] {
        cockpit.see(&["going on at step"]);
    }
    one.kill();
    one.ended();
    trains_on(&run);
    let mut third = open();
    other.press("x");
    other.see(&["Stop it"]);
    other.press("x");
    for cockpit in [&mut third, &mut other] {
        cockpit.see(&["stopped, with everything saved"]);
        cockpit.press("q");
        assert_eq!(cockpit.ended().code(), Some(0), "nothing runs any more, so nothing is asked");
        cockpit.assert_clean();
    }
    verify_checkpoint(&list_checkpoints_in(&run).pop().unwrap().path).unwrap();
}
