//! A start from names in the cockpit: what the job needs is fetched first, from a hub on loopback.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::common::Bench;
use super::server::{Fault, Repository, Request, Server};
use super::terminal::{SOON, Terminal};
use super::{CTRL_C, PROGRAM, cockpit};

const WEIGHTS: &str = "model.safetensors";

/// A hub with the bench's model, whose weights come slowly.
fn hub(bench: &Bench) -> Server {
    let server = Server::start(vec![Repository::of("models", "qwen/Qwen-1_8B", &bench.path("model"))]);
    slow(&server);
    server
}

/// 2 kB a second: nobody waits for the end of that.
fn slow(server: &Server) {
    server.fault(|request| if request.is_weights() { Fault::Slow(100, 50) } else { Fault::None });
}

/// A cockpit with a job of two steps that names its model.
fn open(bench: &Bench, server: &Server) -> Terminal {
    let job = serde_json::json!({
        "model_type": "qwen-1_8b", "device": "cpu", "threads": 1, "max_steps": 2,
        "custom_train_dataset_path": [bench.path("rows.jsonl")], "output_dir": bench.path("输出"),
    });
    let mut command = cockpit(bench);
    for name in ["MODELSCOPE_CACHE", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "USE_HF"] {
        command.env_remove(name);
    }
    command.env("HOME", bench.path("家"));
    command.env("MODELSCOPE_DOMAIN", server.address()).env("HF_ENDPOINT", server.address());
    command.arg("--config").arg(bench.write("作业.json", job.to_string()));
    let mut terminal = Terminal::start(command, 80, 24);
    terminal.see(&["作业.json", "starts the training"]);
    terminal
}

/// Starts, and waits until some of the weights have come; bytes of them on the disk.
fn fetches(bench: &Bench, terminal: &mut Terminal) -> u64 {
    terminal.press("s");
    terminal.see(&["Fetching qwen/Qwen-1_8B", WEIGHTS, "Esc cancel"]);
    let before = weights(bench);
    terminal.wait("more bytes", SOON, |_| weights(bench) > before + 200);
    weights(bench)
}

fn staging(bench: &Bench) -> PathBuf {
    bench.path("家/.cache/modelscope/models/qwen--Qwen-1_8B/.pull")
}

/// Bytes of the weights that have come.
fn weights(bench: &Bench) -> u64 {
    let model = Repository::of("models", "", &bench.path("model"));
    let part = format!("{}.part", model.file(WEIGHTS).unwrap().sha256);
    std::fs::metadata(staging(bench).join(part)).map_or(0, |meta| meta.len())
}

/// Nobody holds what is being fetched.
#[track_caller]
fn assert_free(dir: &Path) {
    let lock = File::open(dir.join("lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
}

#[test]
fn a_fetch_is_cancelled_and_gone_on_with_at_the_next_start() {
    let bench = Bench::new();
    let server = hub(&bench);
    let mut terminal = open(&bench, &server);
    fetches(&bench, &mut terminal);
    terminal.press("\x1b");
    terminal.see(&["cancelled: ", "the next start goes on from there", "作业.json"]);
    let kept = weights(&bench);
    assert!(kept > 200 && !bench.path("输出").exists());
    assert_free(&staging(&bench));
    server.well();
    server.seen();
    terminal.press("s");
    terminal.see(&["finished at step 2"]);
    let from = server.seen().iter().filter(|r| r.is_weights()).filter_map(Request::range).next();
    assert_eq!(from.map(|(from, _)| from), Some(kept), "from where it was cut");
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}

/// A wait stays in sight, beyond the moment in which it is told who else is asked.
fn counts(terminal: &mut Terminal) {
    let left = |text: &str| {
        // What was said when it began stands above.
        let (_, rest) = text.rsplit_once("trying again in ")?;
        rest.split(' ').next()?.parse::<u32>().ok()
    };
    for seconds in [55, 52] {
        terminal.wait("how long it is still", SOON, |text| {
            left(text).is_some_and(|left| left <= seconds) && text.contains("too many requests")
        });
    }
}

/// `qwen-tui pull NAME` in a terminal of this width.
fn pulls(bench: &Bench, server: &Server, name: &str, columns: u16) -> Terminal {
    let mut command = std::process::Command::new(PROGRAM);
    command.args(["pull", name]).env("HOME", bench.path("家"));
    for name in ["MODELSCOPE_CACHE", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "USE_HF"] {
        command.env_remove(name);
    }
    command.env("MODELSCOPE_DOMAIN", server.address()).env("HF_ENDPOINT", server.address());
    command.env("TERM", "xterm-256color");
    Terminal::start(command, columns, 24)
}

#[test]
fn no_bar_is_left_of_a_pull_that_is_stopped() {
    let bench = Bench::new();
    let server = hub(&bench);
    // Two files wait, the others come.
    server.fault(|request| match request.asked("FilePath") {
        Some("config.json" | "qwen.tiktoken") => {
            Fault::Status(429, vec![("Retry-After", "15".into())], String::new())
        }
        _ => Fault::None,
    });
    for columns in [160, 80] {
        let mut terminal = pulls(&bench, &server, "qwen/Qwen-1_8B", columns);
        for bar in ["config.json, trying again in 1", "qwen.tiktoken, trying again in 1"] {
            terminal.see(&[bar]);
        }
        terminal.press(CTRL_C);
        assert_eq!(terminal.ended().code(), Some(130));
        terminal.see(&["the same command goes on from there"]);
        let text = terminal.text();
        for left in ["░", "█", " %  "] {
            assert!(!text.contains(left), "a bar is left:\n{text}");
        }
    }
}

#[test]
fn a_busy_hub_stays_in_sight_beneath_a_pull() {
    let bench = Bench::new();
    let server = hub(&bench);
    server.fault(|_| Fault::Status(429, vec![("Retry-After", "60".into())], String::new()));
    let mut terminal = pulls(&bench, &server, "me/Small", 160);
    counts(&mut terminal);
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(130));
}

#[test]
fn a_hub_that_is_busy_is_told_of_before_anything_comes() {
    let bench = Bench::new();
    let server = hub(&bench);
    server.fault(|_| Fault::Status(429, vec![("Retry-After", "60".into())], String::new()));
    let mut terminal = open(&bench, &server);
    terminal.press("s");
    terminal.see(&["Fetching qwen/Qwen-1_8B", "too many requests", "trying again in "]);
    counts(&mut terminal);
    terminal.press("\x1b");
    terminal.see(&["cancelled: "]);
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}

#[test]
fn why_the_first_hub_is_left_stands_above_what_the_second_sends() {
    let bench = Bench::new();
    let server = hub(&bench);
    server.fault(|request| match request.path.starts_with("/api/v1/") {
        true => Fault::Status(404, vec![], String::new()),
        false if request.is_weights() => Fault::Slow(100, 50),
        false => Fault::None,
    });
    let mut terminal = open(&bench, &server);
    terminal.press("s");
    terminal.see(&["ModelScope has no model qwen/Qwen-1_8B; asking Hugging Face", WEIGHTS]);
    terminal.press("\x1b");
    terminal.see(&["cancelled: "]);
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn an_end_during_a_fetch_is_asked_about_and_leaves_what_has_come() {
    let bench = Bench::new();
    let server = hub(&bench);
    let mut terminal = open(&bench, &server);
    let mut kept = fetches(&bench, &mut terminal);
    terminal.press("q");
    terminal.see(&["Quitting ends the fetch", "the job is not started"]);
    terminal.press("s");
    terminal.wait("a fetch that goes on", SOON, |text| {
        !text.contains("Quitting") && weights(&bench) > kept + 200
    });
    terminal.press("q");
    terminal.see(&["Quitting ends the fetch"]);
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
    terminal.see(&["was being fetched", "the next start goes on from there"]);
    assert_free(&staging(&bench));

    // Nor does a signal, or a terminal that goes, lose anything.
    for signal in [Some(Signal::TERM), None] {
        kept = weights(&bench);
        let mut terminal = open(&bench, &server);
        fetches(&bench, &mut terminal);
        match signal {
            Some(signal) => {
                terminal.signal(signal);
                assert_eq!(terminal.ended().code(), Some(128 + signal.as_raw()));
                terminal.assert_clean();
                terminal.see(&["was being fetched"]);
            }
            None => {
                terminal.hang_up();
                assert_eq!(terminal.ended().code(), Some(128 + Signal::HUP.as_raw()));
            }
        }
        assert!(weights(&bench) > kept, "it went on from there");
        assert_free(&staging(&bench));
    }
    assert!(!bench.path("输出").exists());
    server.well();
    let mut terminal = open(&bench, &server);
    terminal.press("s");
    terminal.see(&["finished at step 2"]);
    terminal.press(CTRL_C);
    terminal.ended();
}

#[test]
fn a_hub_that_says_no_is_told_whole() {
    let bench = Bench::new();
    let server = hub(&bench);
    server.fault(|_| Fault::Status(403, vec![], "{}".into()));
    let mut terminal = open(&bench, &server);
    terminal.press("s");
    terminal.see(&["The training did not start", "qwen/Qwen-1_8B", "c  Close"]);
    // The end of it too: how to bring the files by hand.
    terminal.press("\x1b[6~\x1b[6~\x1b[6~");
    terminal.see(&["--model_id_or_path DIR"]);
    terminal.press("c");
    terminal.see(&["作业.json", "starts the training"]);
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}

#[test]
fn a_typed_name_is_asked_about_and_keys_are_heard_meanwhile() {
    let bench = Bench::new();
    let server = hub(&bench);
    let rows = vec![("train.csv", b"sentence,label\n".to_vec()), ("dev.csv", b"sentence,label\n".to_vec())];
    server.change(|all| {
        all.push(Repository::new("datasets", "me/waimai", rows));
        all.push(Repository::of("models", "me/My-Qwen", &bench.path("model")));
    });
    let mut terminal = open(&bench, &server);
    terminal.press("m");
    terminal.see(&["Models and data", "jd-sentiment-zh"]);
    terminal.press("/me/My-Qwen\r");
    terminal.see(&["a model, ", " from ModelScope: starting a job fetches it", WEIGHTS, "config.json"]);
    terminal.press("/\x15me/waimai\x1b[B\r");
    terminal.see(&["a data set, 30 B in 2 files from ModelScope", "15 B  dev.csv", "15 B  train.csv"]);
    assert!(!bench.path("家/.cache/modelscope/models").exists(), "nothing is fetched");
    // A hub that says nothing is left alone as soon as the list is left.
    server.fault(|_| Fault::Silence);
    server.seen();
    terminal.press("/\x15me/other\r");
    terminal.see(&["asking the hubs: me/other on ModelScope"]);
    terminal.wait("a request", SOON, |_| !server.seen().is_empty());
    terminal.press("\x1b");
    terminal.wait("the list", SOON, |text| text.contains("qwen/Qwen-1_8B") && !text.contains("me/other"));
    terminal.press("\x1b");
    terminal.wait("the form", SOON, |text| {
        text.contains("starts the training") && !text.contains("Models and data")
    });
    terminal.press("m");
    terminal.see(&["Models and data", "jd-sentiment-zh"]);
    terminal.press("/me/other\r");
    terminal.see(&["has not answered", "y hand", "me/other on Hugging Face"]);
    let asked = server.seen().iter().filter(|request| request.path.contains("me/other")).count();
    assert_eq!(asked, 2, "the other hub is asked the second time alone");
    terminal.press(CTRL_C);
    assert_eq!(terminal.ended().code(), Some(0));
    terminal.assert_clean();
}
