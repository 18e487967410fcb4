//! The command line where libtorch and the engine are missing, broken, or played by a shell script.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use qwen_tui::job::elf;

const PROGRAM: &str = env!("CARGO_BIN_EXE_qwen-tui");

/// Runs qwen-tui with `engine` as its engine.
fn qwen_tui(engine: &Path, args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).env("QWEN_TUI_ENGINE", engine).output().unwrap()
}

fn without_engine(args: &[&str]) -> Output {
    qwen_tui(Path::new("/nowhere/qwen-tui-engine"), args)
}

/// Runs qwen-tui with a shell script as its engine; tried again where another test forked while it was being written.
fn played(script: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let engine = dir.path().join("engine");
    std::fs::write(&engine, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
    loop {
        let output = qwen_tui(&engine, args);
        if !(stderr(&output) + &stdout(&output)).contains("Text file busy") {
            return output;
        }
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn qwen_tui_links_no_libtorch() {
    let needed = elf::dynamic(Path::new(PROGRAM)).unwrap().needed;
    assert!(needed.iter().any(|n| n.starts_with("libc.so")), "{needed:?}");
    let foreign = |n: &&String| ["torch", "c10", "stdc++", "cuda"].iter().any(|f| n.contains(f));
    assert_eq!(needed.iter().find(foreign), None);
}

#[test]
fn a_wrong_command_line_ends_in_exit_status_2() {
    for args in [&["no-such-thing"][..], &["doctor", "--no-such-flag"], &[], &["tokenize"]] {
        let output = without_engine(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("Usage"), "{args:?}: {}", stderr(&output));
    }
    let told = stderr(&without_engine(&[]));
    assert!(told.ends_with("no cockpit: standard input is no terminal\n"), "{told}");
    let output = without_engine(&["sft", "--dataset", "jd-sentiment-zh", "--lora_rnak", "8"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("lora_rnak") && stderr(&output).contains("lora_rank"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn help_and_version_need_no_engine() {
    for args in
        [&["--help"][..], &["--version"], &["sft", "--help"], &["infer", "-h"], &["classify", "--help"]]
    {
        let output = without_engine(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert!(stdout(&output).contains("qwen-tui"), "{args:?}");
    }
    let help = stdout(&without_engine(&["sft", "--help"]));
    assert!(help.contains("--config FILE") && help.contains("--lora_rank"), "{help}");
}

#[test]
fn help_can_be_asked_for_in_words_and_fits_a_page() {
    for (words, same) in [(&["help"][..], &["--help"][..]), (&["help", "sft"], &["sft", "--help"])] {
        assert_eq!(stdout(&without_engine(words)), stdout(&without_engine(same)));
    }
    for command in ["sft", "infer", "classify", "demo", "doctor", "tokenize"] {
        let help = stdout(&without_engine(&[command, "--help"]));
        let longest = help.lines().map(|l| l.chars().count()).max();
        assert!(longest.is_some_and(|n| n <= 100), "{command}: {help}");
    }
    // What `classify` makes no use of.
    assert!(!stdout(&without_engine(&["classify", "--help"])).contains("--top_k"));
}

#[test]
fn a_full_disk_is_told() {
    for words in ["--help", "--version", "sft --help", "doctor --help"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(PROGRAM).args(words.split(' ')).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(stderr(&output).contains("cannot write to standard output"), "{}", stderr(&output));
    }
}

#[test]
fn libtorch_of_another_version_is_told_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let args = training(dir.path());
    let said = "engine: symbol lookup error: engine: undefined symbol: _ZTVN5torch8autograd4NodeE";
    let output =
        played(&format!("echo '{said}' >&2; exit 127"), &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("another version") && told.contains("doctor") && !told.contains("_ZTV"), "{told}");
    assert!(stdout(&output).is_empty() && !dir.path().join("run").exists());
}

#[test]
fn doctor_asks_whether_the_named_engine_is_one() {
    let output = qwen_tui(Path::new("/bin/ls"), &["doctor"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stdout(&output);
    assert!(text.contains("unset QWEN_TUI_ENGINE") && !text.contains("make "), "{text}");
}

#[test]
fn doctor_works_without_an_engine() {
    let output = without_engine(&["doctor"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stdout(&output);
    assert!(text.contains("missing  engine") && text.contains("/nowhere/qwen-tui-engine"), "{text}");
    assert!(
        text.contains("unset QWEN_TUI_ENGINE") && text.contains("memory") && text.contains("cannot run here"),
        "{text}"
    );

    let output = without_engine(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ready"], false);
    assert_eq!(report["checks"][0]["name"], "engine");
    assert_eq!(report["checks"][0]["status"], "missing");
}

#[test]
fn doctor_names_the_library_that_the_loader_misses() {
    let said =
        "engine: error while loading shared libraries: libtorch_cpu.so: cannot open shared object file";
    let output = played(&format!("echo '{said}' >&2; exit 127"), &["doctor"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stdout(&output);
    assert!(
        text.contains("the loader does not find the library libtorch_cpu.so")
            && text.contains("make libtorch"),
        "{text}"
    );
}

#[test]
fn doctor_is_content_with_an_engine_that_runs() {
    let info = format!(
        r#"{{"version":"{}","libtorch":"2.11.0","devices":[{{"name":"A processor","kind":"cpu"}}],"threads":2}}"#,
        env!("CARGO_PKG_VERSION")
    );
    let output = played(&format!("echo '{info}'"), &["doctor"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("A processor"));
}

#[test]
fn the_engines_exit_status_is_passed_on() {
    let output = played("echo \"$@\"; exit 2", &["classify", "--ckpt_dir", "a dir", "不差"]);
    assert_eq!(
        (output.status.code(), stdout(&output).as_str()),
        (Some(2), "classify --ckpt_dir a dir 不差\n")
    );
    assert_eq!(played("exit 0", &["infer", "--ckpt_dir", "x"]).status.code(), Some(0));

    let output = played("exit 127", &["infer", "--ckpt_dir", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("qwen-tui doctor"), "{}", stderr(&output));
    assert_eq!(without_engine(&["infer", "--ckpt_dir", "x"]).status.code(), Some(2));
}

/// Arguments of a training run into `dir`.
fn training(dir: &Path) -> Vec<String> {
    let words = [
        "sft",
        "--model_type",
        "qwen-demo",
        "--model_id_or_path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/demo/base"),
        "--dataset",
        // It is looked for; no played engine reads it.
        concat!(env!("CARGO_MANIFEST_DIR"), "/demo/everyday.jsonl"),
        "--add_output_dir_suffix",
        "false",
    ];
    let out = dir.join("run").display().to_string();
    words.iter().map(|w| w.to_string()).chain(["--output_dir".to_string(), out]).collect()
}

#[test]
fn sft_shows_the_run_as_lines_and_tells_scripts_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let args = training(dir.path());
    let events = [
        r#"{"seq":1,"time":1.0,"kind":"plan","total_steps":50,"warmup_steps":2,"micro_batches":800,"accumulation":16,"learning_rate":0.0001,"scheduler":"linear"}"#,
        r#"{"seq":2,"time":2.0,"kind":"log","step":5,"epoch":0.1,"loss":"NaN","acc":0.75,"learning_rate":0.0001,"grad_norm":0.5}"#,
        r#"{"seq":3,"time":3.0,"kind":"finished","step":50,"seconds":61.0,"stopped":false,"last_checkpoint":"checkpoint-50","best_checkpoint":"checkpoint-40","best_metric":0.3}"#,
    ];
    let script = format!(
        "test -s $2/sft_args.json || exit 3\ncat >> $2/events.jsonl <<'END'\n{}\nEND",
        events.join("\n")
    );
    let output = played(&script, &args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let run = dir.path().join("run").display().to_string();
    assert_eq!(
        stdout(&output),
        format!(
            "run_dir: {run}\nlast_checkpoint: {run}/checkpoint-50\nbest_checkpoint: {run}/checkpoint-40\nstate: finished\n"
        )
    );
    let shown = stderr(&output);
    assert!(shown.contains("step 5/50  epoch 0.10  loss NaN  acc 0.750"), "{shown}");
    assert!(shown.contains("finished at step 50 after 1 min 01 s"), "{shown}");
}

#[test]
fn what_is_missing_is_told_before_anything_is_made_or_started() {
    let dir = tempfile::tempdir().unwrap();
    let began = dir.path().join("began");
    for (name, value) in
        [("--model_id_or_path", "/nowhere/模型"), ("--custom_val_dataset_path", "/nowhere/验证.csv")]
    {
        let mut args = training(dir.path());
        args.extend([name, value].map(str::to_owned));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // Asked for its version the script answers nothing, and is none the worse.
        let output = played(&format!("[ $1 != worker ] || touch {}", began.display()), &args);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let told = stderr(&output);
        assert!(told.contains(&name[2..]) && told.contains(value) && !told.contains("--"), "{told}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left there");
    }
}

#[test]
fn ctrl_c_is_the_workers_to_answer() {
    let dir = tempfile::tempdir().unwrap();
    let end = r#"{"seq":1,"time":3.0,"kind":"finished","step":7,"seconds":1.0,"stopped":true,"last_checkpoint":"checkpoint-7","best_checkpoint":null,"best_metric":null}"#;
    // It takes its time after the signal, as a worker that finishes a step and saves does.
    let script = format!(
        "trap '' TERM\ntrap 'sleep 0.5; echo '\\''{end}'\\'' >> $2/events.jsonl; exit 0' INT\ntouch $2/ready\nwhile :; do sleep 0.1; done\n"
    );
    let child = start_training(dir.path(), &script, "ready");
    // As the terminal does it: to the whole process group.
    let group = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("stopping") && stderr(&output).contains("stopped, with everything saved")
    );
    assert!(stdout(&output).contains("last_checkpoint: "), "{}", stdout(&output));
}

/// Starts a training run whose worker is a script, and waits until it has made the file `ready` in the run directory.
fn start_training(dir: &Path, script: &str, ready: &str) -> std::process::Child {
    let engine = dir.join("engine");
    std::fs::write(&engine, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
    let words = training(dir);
    start(dir, &words.iter().map(String::as_str).collect::<Vec<_>>(), ready)
}

/// Starts a command with the `engine` in `dir`, and waits until that has made `ready` in the run directory.
fn start(dir: &Path, words: &[&str], ready: &str) -> std::process::Child {
    let child = Command::new(PROGRAM)
        .args(words)
        .env("QWEN_TUI_ENGINE", dir.join("engine"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let (began, ready) = (Instant::now(), dir.join("run").join(ready));
    while !ready.exists() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn a_second_interrupt_of_the_front_program_alone_ends_the_worker() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'n=$((n+1)); test $n -ge 2 && exit 1' INT\ntrap '' TERM\ntouch $2/ready\nwhile :; do sleep 0.1; done";
    let child = start_training(dir.path(), script, "ready");
    let front = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    for _ in 0..2 {
        rustix::process::kill_process(front, rustix::process::Signal::INT).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("Ctrl-C again stops at once") && said.contains("stopping at once\n"), "{said}");
}

#[test]
fn a_signal_before_the_worker_has_begun_leaves_nothing() {
    use rustix::process::{Pid, Signal, kill_process_group};
    for signal in [Signal::INT, Signal::TERM] {
        let dir = tempfile::tempdir().unwrap();
        let child = start_training(dir.path(), "touch $2/worker.lock; exec sleep 20", "worker.lock");
        kill_process_group(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "state: stopped\n"), "{said}");
        assert!(said.contains("stopped before it began") && said.contains("the same command"), "{said}");
        assert!(!said.contains("run directory:") && !said.contains("error"), "{said}");
        assert!(!dir.path().join("run").exists());
    }
}

/// A run that goes on keeps its place, and says how to go on.
#[test]
fn a_signal_before_a_worker_goes_on_leaves_the_run() {
    use rustix::process::{Pid, Signal, kill_process_group};
    let dir = tempfile::tempdir().unwrap();
    let end = r#"{"seq":1,"time":3.0,"kind":"finished","step":0,"seconds":1.0,"stopped":true,"last_checkpoint":null,"best_checkpoint":null,"best_metric":null}"#;
    // The first one has begun, and is stopped before its first step.
    let script = format!(
        "test -e $2/once && {{ touch $2/again; exec sleep 20; }}; echo '{end}' >> $2/events.jsonl; touch $2/once"
    );
    let first = start_training(dir.path(), &script, "once").wait_with_output().unwrap();
    let run = dir.path().join("run").canonicalize().unwrap();
    let report = format!("run_dir: {}\nstate: stopped\n", run.display());
    let go_on = format!("to go on with it: qwen-tui sft --resume_from_checkpoint {}", run.display());
    assert_eq!((first.status.code(), stdout(&first)), (Some(0), report.clone()), "{}", stderr(&first));
    assert!(stderr(&first).contains("stopped before its first step"), "{}", stderr(&first));
    assert!(stderr(&first).contains(&go_on), "{}", stderr(&first));

    for signal in [Signal::INT, Signal::TERM] {
        let _ = std::fs::remove_file(run.join("again"));
        let child = start(dir.path(), &["sft", "--resume_from_checkpoint", run.to_str().unwrap()], "again");
        kill_process_group(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stdout(&output)), (Some(0), report.clone()), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.contains("stopped before it began") && said.contains(&go_on), "{said}");
    }
}

/// A message is a line of its own, whatever it quotes.
#[test]
fn what_is_not_seen_in_a_name_is_escaped() {
    let name = "a\u{202e}b\u{200b}\nc.json";
    for words in
        [&["sft", "--config", name][..], &["attach", name], &["sft", "--resume_from_checkpoint", name]]
    {
        let said = stderr(&without_engine(words));
        assert!(said.contains("a\\u{202e}b\\u{200b}\\nc.json") && said.lines().count() == 1, "{said:?}");
    }
    let said = stderr(&without_engine(&["sft", "\u{1b}[2Jx"]));
    assert!(said.contains("\"\\u{1b}[2Jx\""), "escaped once: {said:?}");
}

/// Before the demo's reviews are looked for.
#[test]
fn a_file_in_the_place_of_an_output_directory_is_told_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below")] {
        let place = place.to_str().unwrap();
        let environment = [("QWEN_TUI_REVIEWS", "/nowhere")];
        let mut command = Command::new(PROGRAM);
        let output =
            command.args(["demo", "--headless", "--output_dir", place]).envs(environment).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2));
        assert!(
            said.contains(&format!("cannot create the output directory {place}: Not a directory")),
            "{said}"
        );
    }
}

#[test]
fn sft_without_an_engine_leaves_no_run_behind() {
    let dir = tempfile::tempdir().unwrap();
    let args = training(dir.path());
    let output = without_engine(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(!dir.path().join("run").exists());
}

#[test]
fn a_reader_that_has_had_enough_is_no_panic() {
    let script = format!("{PROGRAM} sft --help | true; {PROGRAM} doctor | true; {PROGRAM} --help | true");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

#[test]
fn tokenize_says_what_is_wrong_with_the_model() {
    let output = without_engine(&["tokenize", "--model", "/nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nowhere/qwen.tiktoken"), "{}", stderr(&output));
}
