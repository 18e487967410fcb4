//! Against figures that SWIFT 1.5.3 really computed on a tiny Qwen-1 (fp32, CPU).

mod common;

use std::path::Path;
use std::sync::mpsc;

use qwen_tui::args::load_sft;
use qwen_tui::job::event::Event;
use qwen_tui::run::{RunDir, canonical_key};
use qwen_tui_engine::model::{KvCache, QwenConfig, Trainable, weights};
use qwen_tui_engine::train;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use common::{REFERENCE, json, shared, write_model};

fn relative(a: f64, b: f64) -> f64 {
    (a - b).abs() / b.abs().max(1e-12)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn base_logits() {
    let (Some(golden), Some(vocabulary)) = (shared("swift-golden"), shared("qwen1-tokenizer/qwen.tiktoken"))
    else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    write_model(dir.path(), REFERENCE, &vocabulary);
    let config = QwenConfig::load(dir.path()).unwrap();
    let base = weights::load(dir.path(), &config, Kind::Float, Device::Cpu).unwrap();
    let model =
        qwen_tui_engine::model::Qwen::assemble(&config, &base, &Default::default(), Default::default());
    let cases = json(&golden.join("golden.json"));
    for case in cases["base_logits"].as_array().unwrap() {
        let ids: Vec<u32> = numbers(&case["input_ids"]).iter().map(|&x| x as u32).collect();
        tch::no_grad(|| {
            let logits = model.step(&ids, &mut KvCache::new());
            let expected = numbers(&case["top10_logits"]);
            let mut worst = 0f64;
            for (id, want) in numbers(&case["top10_ids"]).iter().zip(&expected) {
                worst = worst.max((logits.double_value(&[0, *id as i64]) - want).abs());
            }
            let lse = logits.logsumexp([-1i64].as_slice(), false).double_value(&[0]);
            worst = worst.max((lse - case["logsumexp"].as_f64().unwrap()).abs());
            println!("base logits, {} tokens: largest difference {worst:.2e}", ids.len());
            assert!(worst < 1e-4, "{worst}");
        });
    }
}

/// The whole run: loss, gradient norm and learning rate of each step, evaluations, the last adapter.
#[test]
fn the_run() {
    let (Some(golden), Some(vocabulary)) = (shared("swift-golden"), shared("qwen1-tokenizer/qwen.tiktoken"))
    else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    write_model(&model, REFERENCE, &vocabulary);
    let path = |p: &Path| p.to_str().unwrap().to_owned();
    let flags: Vec<String> = [
        "--model_type",
        "qwen-1_8b",
        "--model_id_or_path",
        &path(&model),
        "--dtype",
        "fp32",
        "--device",
        "cpu",
        "--custom_train_dataset_path",
        &path(&golden.join("train.jsonl")),
        "--custom_val_dataset_path",
        &path(&golden.join("val.jsonl")),
        "--train_dataset_sample",
        "-1",
        "--val_dataset_sample",
        "-1",
        "--train_sampler_random",
        "false",
        "--init_adapter",
        &path(&golden.join("adapter_step0.safetensors")),
        "--lora_target_modules",
        "c_attn",
        "--lora_dropout_p",
        "0",
        "--learning_rate",
        "1e-3",
        "--gradient_accumulation_steps",
        "16",
        "--eval_steps",
        "10",
        "--save_steps",
        "10",
        "--logging_steps",
        "1",
        "--gradient_checkpointing",
        "false",
        "--output_dir",
        &path(&dir.path().join("out")),
    ]
    .map(str::to_owned)
    .to_vec();
    let args = load_sft(None, &flags).unwrap().args;
    let run = RunDir::create(Path::new(&args.output_dir), &args.model_type, true).unwrap();
    let mut events = Vec::new();
    let mut emit = |event: Event| {
        events.push(event);
        Ok(())
    };
    let (_keep, commands) = mpsc::channel();
    train::train(&args, &run, &commands, &mut emit).unwrap();

    let figures = json(&golden.join("golden.json"));
    let norms = numbers(&figures["grad_norm"]);
    let log = figures["log"].as_array().unwrap();
    let steps: Vec<_> =
        log.iter().filter(|l| l.get("loss").is_some() && l.get("eval_loss").is_none()).collect();
    let evals: Vec<_> = log.iter().filter(|l| l.get("eval_loss").is_some()).collect();
    let (mut worst_loss, mut worst_norm, mut worst_rate, mut worst_eval) = (0f64, 0f64, 0f64, 0f64);
    let (mut seen, mut evaluated) = (0, 0);
    for event in &events {
        match event {
            Event::Step { step, loss, acc, learning_rate, grad_norm, .. } => {
                let want = steps[*step as usize - 1];
                worst_loss = worst_loss.max(relative(*loss, want["loss"].as_f64().unwrap()));
                worst_norm = worst_norm.max(relative(*grad_norm, norms[*step as usize - 1]));
                worst_rate = worst_rate.max((learning_rate - want["learning_rate"].as_f64().unwrap()).abs());
                assert!((acc - want["acc"].as_f64().unwrap()).abs() < 1e-6, "step {step}: acc {acc}, {want}");
                seen += 1;
            }
            Event::Eval { step, loss, acc, .. } => {
                let want = evals[evaluated];
                assert_eq!(want["step"].as_u64(), Some(*step));
                worst_eval = worst_eval.max(relative(*loss, want["eval_loss"].as_f64().unwrap()));
                assert!(
                    (acc - want["eval_acc"].as_f64().unwrap()).abs() < 1e-6,
                    "step {step}: eval_acc {acc}, {want}"
                );
                evaluated += 1;
            }
            _ => {}
        }
    }
    println!(
        "over {seen} steps and {evaluated} evaluations, largest differences: loss {worst_loss:.1e}, gradient norm \
         {worst_norm:.1e}, learning rate {worst_rate:.1e}, eval_loss {worst_eval:.1e}"
    );
    assert_eq!((seen, evaluated), (steps.len(), evals.len()));
    assert!(worst_loss < 1e-5 && worst_norm < 1e-4 && worst_rate < 1e-8 && worst_eval < 1e-5);

    // The adapter of the last step, not of the best: read it from its checkpoint.
    let ours = adapter(&run.checkpoint(37).join("default/adapter_model.safetensors"));
    let theirs = adapter(&golden.join("adapter_last.safetensors"));
    assert_eq!(
        ours.iter().map(|x| &x.0).collect::<Vec<_>>(),
        theirs.iter().map(|x| &x.0).collect::<Vec<_>>()
    );
    let flat = |all: &[(String, Tensor)]| {
        Tensor::cat(&all.iter().map(|x| x.1.flatten(0, -1)).collect::<Vec<_>>(), 0)
    };
    let (ours, theirs) = (flat(&ours), flat(&theirs));
    let distance = (&ours - &theirs).norm().double_value(&[]) / theirs.norm().double_value(&[]);
    println!("last adapter: relative distance {distance:.1e}");
    assert!(distance < 1e-4);
}

fn adapter(path: &Path) -> Vec<(String, Tensor)> {
    let shard = weights::Shard::open(path).unwrap();
    let tensors = shard.tensors().unwrap();
    let mut all: Vec<_> = tensors
        .iter()
        .map(|(name, view)| {
            (canonical_key(name), weights::to_tensor(&view, Kind::Float, Device::Cpu).unwrap())
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let _: Option<Trainable> = None;
    all
}
