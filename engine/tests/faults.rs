//! Runs whose numbers go wrong, and runs that want more memory than there is.

mod common;

use std::sync::mpsc;

use qwen_tui::error::Error;
use qwen_tui::job::event::Event;
use qwen_tui::run::{RunDir, list_checkpoints, verify_checkpoint};
use qwen_tui_engine::train::{SKIPPED_LIMIT, train};

use common::bench::Bench;

/// Trains until it ends in an error: the run, what it told, and the error.
fn failing(bench: &Bench, more: &[&str]) -> (RunDir, Vec<Event>, Error) {
    let args = bench.args(more).unwrap();
    let run = RunDir::create(&bench.path("run"), &args.model_type, true).unwrap();
    let (_keep, commands) = mpsc::channel();
    let mut events = Vec::new();
    let mut emit = |event: Event| {
        events.push(event);
        Ok(())
    };
    let e = train(&args, &run, None, &commands, &mut emit).unwrap_err();
    (run, events, e)
}

/// Weights that have become infinite themselves are noticed where they would be saved.
#[test]
fn weights_that_are_not_finite_are_not_saved() {
    let bench = Bench::new();
    let wild =
        ["--learning_rate", "1e300", "--max_steps", "40", "--evaluation_strategy", "no", "--save_steps", "4"];
    let (run, _, e) = failing(&bench, &wild);
    assert_eq!(e.exit_code(), 2);
    let e = e.to_string();
    assert!(
        e.contains("the trained weights are not finite at step 4") && e.contains("lower learning_rate"),
        "{e}"
    );
    assert!(!e.contains("in a row") && list_checkpoints(&run).is_empty(), "{e}");
}

/// The first step of a warm-up has a learning rate of 0 and changes nothing; the second one throws the weights where
/// no loss is finite.
#[test]
fn a_run_that_diverges_ends_and_keeps_the_last_good_checkpoint() {
    let bench = Bench::new();
    let wild = [
        "--learning_rate",
        "1e30",
        "--warmup_ratio",
        "0.1",
        "--max_steps",
        "40",
        "--evaluation_strategy",
        "no",
        "--save_steps",
        "1",
        "--save_total_limit",
        "2",
    ];
    let (run, events, e) = failing(&bench, &wild);
    let skipped: Vec<u64> = events
        .iter()
        .filter_map(|e| match e {
            Event::StepSkipped { step, .. } => Some(*step),
            _ => None,
        })
        .collect();
    // Steps 1 and 2 are computed with the weights of the beginning.
    let expected: Vec<u64> = (3..3 + u64::from(SKIPPED_LIMIT)).collect();
    assert_eq!(skipped, expected, "{e}");
    assert_eq!(e.exit_code(), 2);
    let e = e.to_string();
    assert!(e.contains("for 10 steps in a row (up to step 12)") && e.contains("lower learning_rate"), "{e}");
    assert!(e.contains("checkpoint-1 is kept"), "{e}");
    let kept = list_checkpoints(&run);
    assert_eq!(kept[0].step, 1);
    kept.iter().for_each(|c| verify_checkpoint(&c.path).unwrap());

    // Of a run whose first weights are wrong already nothing is good, and nothing is said to be.
    let (_, _, e) = failing(&bench, &[&wild[..], &["--warmup_ratio", "0"]].concat());
    assert!(!e.to_string().contains("is kept"), "{e}");
}
