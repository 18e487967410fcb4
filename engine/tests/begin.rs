//! What a run begins from, and that the same beginning leads to the same end.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use qwen_tui::args::SftArgs;
use qwen_tui::job::Begin;
use qwen_tui::job::event::Event;
use qwen_tui::run::{OPTIMIZER, RunDir};

use common::bench::{Bench, Ran};
use common::{tensors, train_as};

const FULL: [&str; 4] = ["--sft_type", "full", "--learning_rate", "1e-3"];

/// A new run of `more`, with the weights of `from` alone.
fn from_weights(bench: &Bench, from: &str, more: &[&str]) -> (SftArgs, Ran) {
    let flags = ["--resume_from_checkpoint", from, "--resume_only_model", "true"];
    let Begin::New { args, .. } = Begin::from(bench.args(&[&flags[..], more].concat()).unwrap()).unwrap()
    else {
        panic!("{from} was gone on with")
    };
    let (run, events) = train_as(&args).unwrap();
    (*args, Ran { run, events })
}

/// The loss of all rows in the first step, before it has changed anything, is the loss that the checkpoint was evaluated
/// with; step, schedule and optimizer begin anew.
#[test]
fn weights_alone_begin_a_new_run() {
    let bench = Bench::new();
    bench.copy("rows.jsonl", "val.jsonl");
    let validation = bench.path("val.jsonl").display().to_string();
    for kind in [&[][..], &FULL, &["--lora_bias_trainable", "all", "--lora_modules_to_save", "ln_f"]] {
        let evaluated =
            ["--custom_val_dataset_path", &validation, "--val_dataset_sample", "-1", "--eval_steps", "3"];
        let flags = [&evaluated[..], &["--num_train_epochs", "3"], kind].concat();
        let first = bench.run(&flags);
        let losses = |ran: &Ran| -> BTreeMap<u64, f64> {
            let loss = |e: &Event| match e {
                Event::Eval { step, loss, .. } => Some((*step, *loss)),
                _ => None,
            };
            ran.events.iter().filter_map(loss).collect()
        };
        let last = first.run.checkpoint(18);
        let all_rows = ["--gradient_accumulation_steps", "24", "--max_steps", "3"];
        let again = [kind, &all_rows].concat();
        for from in [&last, first.run.path()] {
            let (_, ran) = from_weights(&bench, from.to_str().unwrap(), &again);
            let (begun, wanted) = (ran.losses()[0], losses(&first)[&18]);
            println!("{kind:?}: first loss {begun}, checkpoint's eval_loss {wanted}");
            assert!((begun - wanted).abs() < 1e-6 * wanted, "{kind:?}");
            assert!((bench.run(&again).losses()[0] - begun).abs() > 0.01 * begun, "as from the beginning");
            let fresh = bench.run(&again);
            assert_eq!(ran.rates(), fresh.rates());
            assert_eq!(ran.steps(), 3);
        }
    }
}

/// A run that began from weights goes on as any other; it does not begin from them again.
#[test]
fn a_run_that_began_from_weights_is_gone_on_with() {
    let bench = Bench::new();
    let first = bench.run(&[]);
    let from = first.run.path().to_str().unwrap();
    let (args, whole) =
        from_weights(&bench, from, &["--save_steps", "2", "--eval_steps", "2", "--save_total_limit", "-1"]);
    whole.run.write_args(&args.to_json()).unwrap();
    let kept = std::fs::read(whole.weights_file()).unwrap();
    std::fs::remove_dir_all(whole.run.checkpoint(6)).unwrap();
    std::fs::remove_dir_all(whole.run.checkpoint(4)).unwrap();
    work(&whole.run, Some(2));
    assert!(kept == std::fs::read(whole.weights_file()).unwrap());
    assert!(tensors(&first.weights_file()) != whole.weights());
}

/// Trains in a process of its own.
fn work(run: &RunDir, from: Option<u64>) {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_qwen-tui-engine"));
    // Not into the register of whoever runs the tests.
    worker.arg("worker").arg(run.path()).env_remove("HOME").env_remove("XDG_STATE_HOME");
    if let Some(step) = from {
        worker.arg("--resume-at").arg(step.to_string());
    }
    let output = worker.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The same seed, machine and number of threads: the same weights, optimizer and figures, from one process to another.
#[test]
fn the_same_beginning_has_the_same_end_to_the_last_byte() {
    let bench = Bench::new();
    // Dropout of every kind there is.
    let file = bench.path("model/config.json");
    let mut config = common::json(&file);
    (config["attn_dropout_prob"], config["emb_dropout_prob"]) = (0.1.into(), 0.1.into());
    std::fs::write(file, config.to_string()).unwrap();
    #[rustfmt::skip]
    let chance = [
        "--lora_dropout_p", "0.1", "--neftune_noise_alpha", "5", "--threads", "2", "--save_only_model", "false",
        "--num_train_epochs", "2",
    ];
    let adafactor = ["--optim", "adafactor"];
    for kind in [&["--lora_target_modules", "ALL"][..], &FULL, &[&FULL[..], &adafactor].concat()] {
        let result = |seed: &str| {
            let args = bench.args(&[&chance[..], kind, &["--seed", seed]].concat()).unwrap();
            let run = RunDir::create(args.output_dir.as_ref(), &args.model_type, true).unwrap();
            run.write_args(&args.to_json()).unwrap();
            work(&run, None);
            let last = run.checkpoint(12);
            let weights =
                ["default/adapter_model.safetensors", "model.safetensors"].map(|name| last.join(name));
            let weights = weights.iter().find(|file| file.is_file()).unwrap();
            let log = std::fs::read_to_string(run.logging_file()).unwrap();
            // The last line has clock times.
            let figures: String = log.lines().filter(|line| line.contains("\"loss\"")).collect();
            assert!(figures.contains("grad_norm"));
            [
                std::fs::read(weights).unwrap(),
                std::fs::read(last.join(OPTIMIZER)).unwrap(),
                figures.into_bytes(),
            ]
        };
        let first = result("42");
        assert!(first == result("42"), "{kind:?}: the same seed ended otherwise");
        assert!(first != result("43"), "{kind:?}: another seed changed nothing");
    }
}
