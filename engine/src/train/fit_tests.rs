//! A device with little memory: passes of more than so many tokens fail in libtorch's words, with half of their work done.

#[path = "../../tests/common/mod.rs"]
pub(crate) mod common;

use std::cell::Cell;

use qwen_tui::job::event::Event;
use qwen_tui::run::{PROGRESS, read_json};
use tch::{Device, Kind, Tensor};

use super::super::resume::Progress;
use super::super::step::WeightedRow;
use super::*;
use common::bench::{Bench, Ran};

/// Tokens, padding counted, that fit in one pass.
struct Memory {
    tokens: usize,
    /// Where blocks are computed again on the way back.
    with_recompute: usize,
}

thread_local! {
    static MEMORY: Cell<Option<&'static Memory>> = const { Cell::new(None) };
}

/// Fails where the rows of a pass do not fit: after it has added to the gradient.
pub fn hold(rows: &[WeightedRow<'_>], recompute: bool) {
    let Some(memory) = MEMORY.get() else { return };
    let tokens = rows.len() * rows.iter().map(|r| r.ids.len()).max().unwrap_or(0);
    if tokens > if recompute { memory.with_recompute } else { memory.tokens } {
        panic!("CUDA out of memory. Tried to allocate {tokens} GiB.\nException raised from malloc");
    }
}

fn with<T>(memory: &'static Memory, train: impl FnOnce() -> T) -> T {
    MEMORY.set(Some(memory));
    let done = train();
    MEMORY.set(None);
    done
}

fn warnings(ran: &Ran) -> Vec<&str> {
    let text = |e: &'_ Event| matches!(e, Event::Warning { .. });
    let texts = ran.events.iter().filter(|e| text(e));
    texts.map(|e| if let Event::Warning { message } = e { message.as_str() } else { "" }).collect()
}

fn progress(ran: &Ran) -> Progress {
    read_json(&ran.run.checkpoint(ran.steps()).join(PROGRESS)).unwrap()
}

/// The gradient norms of the steps, and the losses and evaluation losses.
fn figures(ran: &Ran) -> Vec<f64> {
    let figures = |e: &Event| match e {
        Event::Step { loss, grad_norm, .. } => vec![*loss, *grad_norm],
        Event::Eval { loss, .. } => vec![*loss],
        _ => Vec::new(),
    };
    ran.events.iter().flat_map(figures).collect()
}

#[test]
fn a_step_that_does_not_fit_is_split_and_has_the_same_gradient() {
    let bench = Bench::new();
    bench.copy("rows.jsonl", "val.jsonl");
    let validation = bench.path("val.jsonl").display().to_string();
    let always = [
        "--custom_val_dataset_path",
        &validation,
        "--val_dataset_sample",
        "-1",
        "--eval_steps",
        "3",
        "--gradient_accumulation_steps",
        "8",
        "--num_train_epochs",
        "2",
        "--save_only_model",
        "false",
        "--lora_dropout_p",
        "0.1",
        "--save_steps",
        "6",
        // Adam's steps are as large where a gradient is nothing but rounding.
        "--optim",
        "sgd",
        "--learning_rate",
        "1",
    ];
    for (kind, memory) in [
        (&["--gradient_checkpointing", "false"][..], &Memory { tokens: 60, with_recompute: 0 }),
        (&["--gradient_checkpointing", "true"], &Memory { tokens: 60, with_recompute: 60 }),
        // One row does not fit unless blocks are computed again; the evaluation keeps nothing to compute again.
        (
            &["--gradient_checkpointing", "auto", "--evaluation_strategy", "no"],
            &Memory { tokens: 30, with_recompute: 90 },
        ),
    ] {
        let flags = [&always[..], kind].concat();
        let whole = bench.run(&flags);
        let split = with(memory, || bench.run(&flags));
        assert!(warnings(&whole).iter().all(|w| !w.contains("memory")), "{:?}", warnings(&whole));
        let told = warnings(&split);
        assert!(told.iter().any(|w| w.contains("in one pass do not fit the memory of cpu")), "{told:?}");
        assert!(told.iter().any(|w| w.contains("CUDA out of memory. Tried to allocate")), "{told:?}");
        assert!(told.len() < 12, "what fits is remembered: {told:?}");

        let (wanted, found) = (figures(&whole), figures(&split));
        assert_eq!(found.len(), wanted.len());
        let worst = found.iter().zip(&wanted).map(|(x, y)| (x - y).abs() / y.abs()).fold(0.0, f64::max);
        println!("{kind:?}: figures differ by {worst:.1e} at most, told: {told:#?}");
        assert!(worst < 1e-6, "{worst}");
        let (a, b) = (whole.weights(), split.weights());
        for (name, weight) in &a {
            let far = (weight - &b[name]).abs().max().double_value(&[]);
            let size = weight.abs().max().double_value(&[]);
            assert!(far < 1e-4 * size, "{name}: {far} of {size}");
        }

        // What fits is remembered with the checkpoint.
        let (whole, kept) = (progress(&whole).passes, progress(&split).passes);
        assert!(kept.training.tokens <= memory.tokens.max(memory.with_recompute), "{kept:?}");
        assert!(kept.training.tokens < whole.training.tokens);
        assert_eq!(kept.recompute, kind[1] != "false");
        if kind[1] != "auto" {
            assert!(kept.evaluation.tokens < whole.evaluation.tokens, "{kept:?}");
        }
    }
}

#[test]
fn a_row_that_does_not_fit_by_itself_is_named() {
    let bench = Bench::new();
    let memory = &Memory { tokens: 20, with_recompute: 20 };
    let e = with(memory, || bench.refused(&["--gradient_checkpointing", "false"]));
    println!("{e}");
    assert!(e.starts_with("training row ") && e.contains(" tokens, \"") && e.contains("太差了"), "{e}");
    assert!(e.contains("the memory of cpu by itself, of which") && e.contains("CUDA out of memory"), "{e}");
    assert!(e.contains("lower max_length") && e.contains("gradient_checkpointing true"), "{e}");
    // After that gradients are taken as before.
    assert_eq!(bench.run(&[]).steps(), 6);
}

/// libtorch's own words, where there is no such memory; other errors of its are not taken for it.
#[test]
fn errors_of_memory_are_told_from_others() {
    let large = || Tensor::zeros([1 << 25, 1 << 25], (Kind::Float, Device::Cpu));
    let OutOfMemory(words) = caught(large).unwrap_err();
    println!("{words}");
    assert!(!words.contains("frame #"), "{words}");
    let other = || {
        Tensor::zeros([2, 3], (Kind::Float, Device::Cpu))
            .matmul(&Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)))
    };
    assert!(std::panic::catch_unwind(|| caught(other).is_ok()).is_err(), "it goes on its way");
}
