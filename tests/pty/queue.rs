//! The queue in the cockpit, with real jobs.

use super::common::Bench;
use super::terminal::{self, Terminal};
use super::{CTRL_C, background_run, cockpit};
use qwen_tui::job::runs::{RunStatus, list_runs};

/// A cockpit with a job of two steps in its form.
fn open(bench: &Bench) -> Terminal {
    let path = |name: &str| bench.path(name).display().to_string();
    let job = serde_json::json!({
        "model_type": "qwen-1_8b", "model_id_or_path": path("model"), "device": "cpu", "threads": 1,
        "custom_train_dataset_path": [path("rows.jsonl")], "max_steps": 2, "output_dir": path("output"),
    });
    let mut command = cockpit(bench);
    command.arg("--config").arg(bench.write("job.json", job.to_string()));
    let mut terminal = Terminal::start(command, 120, 30);
    // The run is followed by then: the word alone stands on a screen without a run too.
    terminal.see(&["training 0 %"]);
    terminal.press("1");
    terminal.see(&["job.json", "starts the training"]);
    terminal
}

#[test]
fn two_cockpits_order_the_queue_and_its_jobs_start_by_themselves() {
    let bench = Bench::new();
    let first = background_run(&bench);
    let mut one = open(&bench);
    // Where a job runs, the start offers the queue.
    one.press("s");
    one.see(&["A job is running", "Put it into the queue"]);
    one.press("a");
    one.see(&["job 1 is in the queue, at place 1"]);
    one.press("a");
    one.see(&["job 2 is in the queue, at place 2"]);
    one.press("a");
    one.see(&["job 3 is in the queue, at place 3"]);
    one.press("Q");
    one.see(&["Queue: 3 jobs waiting", "1. job 1", "2. job 2", "3. job 3", "waits for cpu, where"]);
    let mut two = open(&bench);
    two.press("Q");
    two.see(&["1. job 1", "3. job 3"]);
    one.press("J");
    one.see(&["1. job 2", "2. job 1", "3. job 3"]);
    two.see(&["1. job 2", "2. job 1", "3. job 3"]);
    // The mark stays with the job: it is the second now.
    one.press("J");
    two.see(&["1. job 2", "2. job 3", "3. job 1"]);
    two.press("\x1b[H");
    two.press("d");
    two.see(&["Take job 2"]);
    two.press("y");
    two.see(&["Queue: 2 jobs waiting", "1. job 3", "2. job 1"]);
    one.see(&["Queue: 2 jobs waiting", "1. job 3", "2. job 1"]);
    // Of what another has taken out meanwhile it is said.
    bench.words(&["queue", "pause"]).ok();
    one.see(&["Queue, paused"]);
    one.press("p");
    two.wait("a queue that goes on", terminal::SOON, |text| text.contains("Queue: 2 jobs"));

    bench.words(&["stop", "last"]).ok();
    one.see(&["Nothing waits"]);
    two.see(&["Nothing waits"]);
    let ended =
        |status: RunStatus| list_runs(&bench.path("output")).iter().filter(|r| r.status == status).count();
    assert_eq!((ended(RunStatus::Finished), ended(RunStatus::Stopped)), (2, 1));
    assert!(first.exists());
    for terminal in [&mut one, &mut two] {
        terminal.press(CTRL_C);
        assert_eq!(terminal.ended().code(), Some(0), "what was put into the queue is not lost by quitting");
        terminal.assert_clean();
    }
}
