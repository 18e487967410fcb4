//! Arguments of the training, each by what it does to a run: a test fails where it does nothing.

mod common;

use std::collections::BTreeSet;
use std::f64::consts::PI;

use qwen_tui::job::event::Event;

use common::bench::{Bench, Ran};
use common::tensors;

const FULL: [&str; 4] = ["--sft_type", "full", "--learning_rate", "1e-3"];

#[test]
fn each_optimizer_trains_and_no_two_alike() {
    let bench = Bench::new();
    let run = |flags: &[&str]| {
        let ran = bench.run(&[&FULL[..], flags].concat());
        let losses = ran.losses();
        assert!(losses.last() < losses.first(), "{flags:?}: {losses:?}");
        ran.weights()
    };
    let plain = run(&[]);
    assert!(run(&["--optim", "adamw_torch_fused"]) == plain);
    // Each argument of an optimizer changes what comes out.
    let others = [
        &["--optim", "adamw_hf", "--adam_epsilon", "1e-3"][..],
        &["--adam_epsilon", "1e-3"],
        &["--optim", "adafactor"],
        &["--optim", "sgd", "--learning_rate", "0.1"],
        &["--adam_beta1", "0.5"],
        &["--adam_beta2", "0.9"],
        &["--weight_decay", "0.5"],
        &["--optim", "adafactor", "--weight_decay", "0.5"],
        &["--optim", "sgd", "--learning_rate", "0.1", "--weight_decay", "0.5"],
    ];
    // An adapter's B is zero at first, and so is the gradient of its A.
    for optim in ["adamw_hf", "adafactor"] {
        let losses = bench.run(&["--optim", optim]).losses();
        assert!(losses.last() < losses.first(), "{optim}: {losses:?}");
    }
    let mut seen = vec![plain];
    for flags in others {
        let weights = run(flags);
        assert!(!seen.contains(&weights), "{flags:?} changed nothing");
        seen.push(weights);
    }
}

/// The logged rate is the one after the step. Twelve steps, two of them warm-up, from 1e-2.
#[test]
fn each_schedule_is_its_closed_form() {
    let bench = Bench::new();
    let (top, warmup, total) = (1e-2, 2.0, 12.0);
    let rising = |step: f64, then: f64| if step < warmup { top * step / warmup } else { then };
    let done = |step: f64| (step - warmup) / (total - warmup);
    type Form<'a> = &'a dyn Fn(f64) -> f64;
    let forms: [(&str, Form<'_>); 7] = [
        ("linear", &|s| rising(s, top * (1.0 - done(s)))),
        ("cosine", &|s| rising(s, top * 0.5 * (1.0 + (PI * done(s)).cos()))),
        // One cycle: at its end the rate is 0, as the cosine's.
        ("cosine_with_restarts", &|s| rising(s, top * 0.5 * (1.0 + (PI * done(s)).cos()))),
        ("polynomial", &|s| rising(s, (top - 1e-7) * (1.0 - done(s)) + 1e-7)),
        ("constant", &|_| top),
        ("constant_with_warmup", &|s| rising(s, top)),
        ("inverse_sqrt", &|s| rising(s, top * (warmup / s).sqrt())),
    ];
    for (name, form) in forms {
        let flags = ["--lr_scheduler_type", name, "--max_steps", "12", "--warmup_ratio", "0.15"];
        let ran = bench.run(&flags);
        let rates = ran.rates();
        assert_eq!(rates.len(), 12);
        let log = std::fs::read_to_string(ran.run.logging_file()).unwrap();
        let written: Vec<f64> = log
            .lines()
            .filter_map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["learning_rate"].as_f64()
            })
            .collect();
        let worst =
            (1..=12u32).map(|step| (rates[step as usize - 1] - form(step.into())).abs()).fold(0.0, f64::max);
        println!("{name}: largest difference from the closed form {worst:.1e}");
        assert!(worst < 1e-15, "{name}: {rates:?}");
        assert!(written.iter().zip(&rates).all(|(a, b)| (a - b).abs() < 1e-8) && written.len() == 12);
    }
}

/// The noise is in the training's losses and not in the evaluation's of the same weights.
#[test]
fn neftune_is_noise_in_training_alone() {
    let bench = Bench::new();
    bench.copy("rows.jsonl", "val.jsonl");
    let validation = bench.path("val.jsonl").display().to_string();
    let run = |flags: &[&str]| {
        let still =
            ["--learning_rate", "1e-12", "--eval_steps", "6", "--custom_val_dataset_path", &validation];
        let ran = bench.run(&[&still[..], flags].concat());
        let evaluation = ran.events.iter().find_map(|e| match e {
            Event::Eval { loss, .. } => Some(*loss),
            _ => None,
        });
        (ran.losses(), evaluation.unwrap())
    };
    let (plain, evaluated) = run(&[]);
    let (noisy, noisy_evaluated) = run(&["--neftune_noise_alpha", "5"]);
    assert!(plain.iter().zip(&noisy).all(|(a, b)| (a - b).abs() > 1e-4 * a), "{plain:?} {noisy:?}");
    assert!((evaluated - noisy_evaluated).abs() < 1e-9 * evaluated);
    assert_eq!(run(&["--neftune_alpha", "5"]).0, noisy, "its other name");
    assert_eq!(run(&["--neftune_noise_alpha", "0"]).0, plain);
    assert_ne!(run(&["--neftune_noise_alpha", "5", "--seed", "43"]).0, noisy);
}

/// Names of the weights in which `ran` differs from the base model.
fn changed(bench: &Bench, ran: &Ran) -> BTreeSet<String> {
    let base = tensors(&bench.path("model/model.safetensors"));
    ran.weights().into_iter().filter(|(name, tensor)| base[name] != *tensor).map(|(name, _)| name).collect()
}

/// Of 50,528 weights the first 0.4 are 20,211: the embedding (16,384) and the beginning of the first block, up to
/// c_attn's bias (19,584); c_proj, which ends at 20,608, is trained, as SWIFT's `freeze_model_parameters` has it.
#[test]
fn a_share_of_the_weights_stays_frozen() {
    let bench = Bench::new();
    let all: BTreeSet<String> = tensors(&bench.path("model/model.safetensors")).into_keys().collect();
    let without = |names: &[&str]| -> BTreeSet<String> {
        all.iter().filter(|name| !names.iter().any(|n| name.ends_with(n))).cloned().collect()
    };
    let run = |flags: &[&str]| changed(&bench, &bench.run(&[&FULL[..], flags].concat()));
    assert_eq!(run(&[]), all);
    let frozen = ["wte.weight", "h.0.ln_1.weight", "h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias"];
    let share = ["--freeze_parameters", "0.4"];
    assert_eq!(run(&share), without(&frozen));
    let more = ["--additional_trainable_parameters", "transformer.h.0.ln_1", "transformer.wte"];
    assert_eq!(run(&[&share[..], &more].concat()), without(&frozen[2..]));
    let none = ["--freeze_parameters", "1"];
    let lone = ["--additional_trainable_parameters", "transformer.ln_f"];
    let only = run(&[&none[..], &lone].concat());
    assert_eq!(only.into_iter().collect::<Vec<_>>(), ["transformer.ln_f.weight"]);
    let refused = |flags: &[&str]| bench.refused(&[&FULL[..], flags].concat());
    let e = refused(&none);
    assert!(e.contains("freeze_parameters 1 freezes everything"), "{e}");
    let e = refused(&[&share[..], &["--additional_trainable_parameters", "transformer.ln_x"]].concat());
    assert!(e.contains("additional_trainable_parameters") && e.contains("ln_x"), "{e}");
}

/// Which modules an adapter's file names, without block and half.
fn modules(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let part = |name: String| name.split_once(".h.").map_or(name.clone(), |(_, rest)| rest[2..].to_owned());
    names.into_iter().map(part).map(|n| n.replace(".lora_A", "").replace(".lora_B", "")).collect()
}

#[test]
fn an_adapter_stands_where_it_is_asked_for() {
    let bench = Bench::new();
    let all = ["attn.c_attn", "attn.c_proj", "mlp.c_proj", "mlp.w1", "mlp.w2"];
    for (targets, wanted) in [
        (&["DEFAULT"][..], &["attn.c_attn"][..]),
        (&["ALL"], &all),
        (&["w1", "attn.c_proj"], &["attn.c_proj", "mlp.w1"]),
        (&["c_proj"], &["attn.c_proj", "mlp.c_proj"]),
    ] {
        let ran = bench.run(&[&["--lora_target_modules"][..], targets].concat());
        let (names, wanted) = (ran.weights().into_keys(), wanted.iter().map(|&m| m.to_owned()).collect());
        assert_eq!(modules(names), wanted, "{targets:?}");
        assert!(ran.weights().values().all(|t| t.abs().max().double_value(&[]) > 0.0));
    }
    let e = bench.refused(&["--lora_target_modules", "c_attn", "q_proj"]);
    assert!(e.contains("lora_target_modules") && e.contains("q_proj"), "{e}");
}

/// Biases and whole modules beside an adapter are trained, saved with it, and read back.
#[test]
fn biases_and_whole_modules_are_trained_beside_an_adapter() {
    let bench = Bench::new();
    let base = tensors(&bench.path("model/model.safetensors"));
    let whole = |flags: &[&str]| -> Vec<String> {
        let weights = bench.run(flags).weights();
        let whole: Vec<_> = weights.iter().filter(|(name, _)| base.contains_key(*name)).collect();
        assert!(whole.iter().all(|(name, tensor)| base[*name] != **tensor), "{flags:?}");
        whole.into_iter().map(|(name, _)| name.clone()).collect()
    };
    assert!(whole(&[]).is_empty());
    let biases = ["transformer.h.0.attn.c_attn.bias", "transformer.h.1.attn.c_attn.bias"];
    assert_eq!(whole(&["--lora_bias_trainable", "all"]), biases);
    let saved = ["lm_head.weight", "transformer.ln_f.weight"];
    assert_eq!(whole(&["--lora_modules_to_save", "ln_f", "lm_head"]), saved);
    let e = bench.refused(&["--lora_modules_to_save", "ln_3"]);
    assert!(e.contains("lora_modules_to_save") && e.contains("ln_3"), "{e}");
}

#[test]
fn max_steps_outweighs_the_epochs() {
    let bench = Bench::new();
    assert_eq!(bench.run(&[]).steps(), 6);
    assert_eq!(bench.run(&["--max_steps", "0"]).steps(), 6);
    for (steps, end) in [("4", 4), ("9", 9)] {
        let ran = bench.run(&["--max_steps", steps]);
        // The schedule is as long.
        assert_eq!((ran.steps(), *ran.rates().last().unwrap()), (end, 0.0));
    }
}

/// Tokens of each step.
fn tokens(ran: &Ran) -> Vec<u64> {
    let tokens = |e: &Event| match e {
        Event::Step { tokens, .. } => Some(*tokens),
        _ => None,
    };
    ran.events.iter().filter_map(tokens).collect()
}

#[test]
fn the_longest_rows_come_first_where_memory_is_tried() {
    let bench = Bench::new();
    let falling = |tokens: &[u64]| tokens.windows(2).all(|w| w[0] >= w[1]);
    let (usual, tried) = (tokens(&bench.run(&[])), tokens(&bench.run(&["--test_oom_error", "true"])));
    println!("tokens of each step: {usual:?}; longest first: {tried:?}");
    assert!(falling(&tried) && !falling(&usual) && tried[0] > tried[5]);
    assert_eq!(tried.iter().sum::<u64>(), usual.iter().sum::<u64>());
    // Also where the order would be that of the file.
    let file = tokens(&bench.run(&["--train_sampler_random", "false"]));
    assert!(file != usual && file != tried);
}

#[test]
fn broken_rows_are_left_out_or_end_the_run() {
    let bench = Bench::new();
    let rows = std::fs::read_to_string(bench.path("rows.jsonl")).unwrap();
    std::fs::write(bench.path("rows.jsonl"), rows + "{\"query\": \"a\", \"response\": 5}\n").unwrap();
    for strategy in ["none", "discard", "warning"] {
        let ran = bench.run(&["--check_dataset_strategy", strategy]);
        let skipped = ran
            .events
            .iter()
            .any(|e| matches!(e, Event::Dataset { train, .. } if train.skipped == 1 && train.rows == 24));
        let told = ran
            .events
            .iter()
            .any(|e| matches!(e, Event::Warning { message } if message.contains("rows.jsonl, line 25")));
        assert!(skipped && told, "{strategy}");
    }
    let e = bench.refused(&["--check_dataset_strategy", "error"]);
    assert!(e.contains("rows.jsonl, line 25"), "{e}");
}

/// Answers of several tokens: some of them are right long before all are.
#[test]
fn accuracy_is_of_tokens_or_of_whole_answers() {
    let bench = Bench::new();
    let acc = |strategy: &str| -> Vec<f64> {
        let flags = ["--acc_strategy", strategy, "--lora_target_modules", "ALL", "--num_train_epochs", "5"];
        let acc = |e: &Event| match e {
            Event::Log { acc, .. } => Some(*acc),
            _ => None,
        };
        bench.run(&flags).events.iter().filter_map(acc).collect()
    };
    let (token, sentence) = (acc("token"), acc("sentence"));
    println!("acc by token {token:.2?}, by sentence {sentence:.2?}");
    // Of four rows of nine label tokens each.
    assert!(token.iter().all(|a| (a * 36.0 - (a * 36.0).round()).abs() < 1e-9));
    assert!(sentence.iter().all(|a| (a * 4.0 - (a * 4.0).round()).abs() < 1e-9));
    assert!(sentence.iter().zip(&token).all(|(s, t)| s <= t) && sentence != token);
}

#[test]
fn checkpoints_are_as_many_and_as_much_as_asked_for() {
    let bench = Bench::new();
    bench.copy("rows.jsonl", "val.jsonl");
    let validation = bench.path("val.jsonl").display().to_string();
    let run = |more: &[&str]| {
        let flags =
            ["--custom_val_dataset_path", &validation, "--val_dataset_sample", "4", "--eval_steps", "1"];
        bench.run(&[&flags[..], more].concat())
    };
    let kept = |ran: &Ran| (1..=6).filter(|&step| ran.run.checkpoint(step).is_dir()).collect::<Vec<u64>>();
    let all = run(&["--save_total_limit", "-1"]);
    assert_eq!(kept(&all), [1, 2, 3, 4, 5, 6]);
    let best = all.events.iter().rev().find_map(|e| match e {
        Event::Finished { best_checkpoint: Some(best), .. } => Some(best.clone()),
        _ => None,
    });
    let best: u64 = best.unwrap().trim_start_matches("checkpoint-").parse().unwrap();
    let mut two = vec![best, 6];
    two.dedup();
    let limited = kept(&run(&["--save_total_limit", "2"]));
    assert!(two.iter().all(|step| limited.contains(step)) && limited.len() == 2, "{limited:?}, best {best}");
    let state =
        |ran: &Ran| ["optimizer.safetensors", "resume.json"].map(|f| ran.run.checkpoint(6).join(f).is_file());
    assert_eq!(state(&all), [true, true]);
    let light = run(&["--save_only_model", "true"]);
    assert_eq!(state(&light), [false, false]);
    // Full training saves weights alone unless told otherwise.
    assert_eq!(state(&run(&FULL)), [false, false]);
    assert_eq!(state(&run(&[&FULL[..], &["--save_only_model", "false"]].concat())), [true, true]);
}

/// What comes out small is a step of fewer micro-batches than it is divided by, whatever rows the last of them lacks.
#[test]
fn an_epoch_of_fewer_micro_batches_than_a_step_is_warned_of() {
    let bench = Bench::new();
    let small = |batch: &str, accumulation: &str| {
        let flags =
            ["--batch_size", batch, "--gradient_accumulation_steps", accumulation, "--max_steps", "1"];
        let ran = bench.run(&flags);
        ran.events.into_iter().find_map(|event| match event {
            Event::Warning { message } if message.contains("come out small") => Some(message),
            _ => None,
        })
    };
    // 24 rows.
    assert_eq!(small("13", "2"), None);
    assert_eq!(small("6", "4"), None);
    let told = small("13", "3").unwrap();
    assert!(
        told.starts_with("24 training rows make 2 micro-batches of batch_size 13, and a step takes 3"),
        "{told}"
    );
    let told = small("30", "2").unwrap();
    assert!(told.starts_with("24 training rows make 1 micro-batch of"), "{told}");
}
