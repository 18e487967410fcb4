//! Against figures that SWIFT 1.5.3 really computed on a tiny Qwen-1 (fp32, CPU).

mod common;

use std::path::Path;

use qwen_tui::args::load_infer;
use qwen_tui::data::Row;
use qwen_tui::job::event::Event;
use qwen_tui_engine::infer::Session;
use qwen_tui_engine::infer::generate::Generation;
use qwen_tui_engine::model::{KvCache, Qwen, QwenConfig, weights};
use rand_mt::Mt;
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use common::{REFERENCE, json, one_thread, shared, tensors, train, write_model};

fn relative(a: f64, b: f64) -> f64 {
    (a - b).abs() / b.abs().max(1e-12)
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The reference run from its base model to its answers, in one test: the model is made and trained only once.
#[test]
fn the_reference_run() {
    let (Some(golden), Some(vocabulary)) = (shared("swift-golden"), shared("qwen1-tokenizer/qwen.tiktoken"))
    else {
        return;
    };
    one_thread();
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    write_model(&model, REFERENCE, &vocabulary);
    let figures = json(&golden.join("golden.json"));
    base_logits(&model, &figures);

    let path = |p: &Path| p.to_str().unwrap().to_owned();
    #[rustfmt::skip]
    let (run, events) = train(&[
        "--model_type", "qwen-1_8b", "--model_id_or_path", &path(&model), "--dtype", "fp32", "--device", "cpu",
        "--custom_train_dataset_path", &path(&golden.join("train.jsonl")),
        "--custom_val_dataset_path", &path(&golden.join("val.jsonl")),
        "--train_dataset_sample", "-1", "--val_dataset_sample", "-1", "--train_sampler_random", "false",
        "--init_adapter", &path(&golden.join("adapter_step0.safetensors")),
        "--lora_target_modules", "c_attn", "--lora_dropout_p", "0", "--learning_rate", "1e-3",
        "--gradient_accumulation_steps", "16", "--eval_steps", "10", "--save_steps", "10", "--logging_steps", "1",
        "--gradient_checkpointing", "false", "--output_dir", &path(&dir.path().join("out")),
    ]);
    steps_and_evaluations(&events, &figures);
    // The adapter of the last step, not of the best: read it from its checkpoint.
    let last = run.checkpoint(37);
    last_adapter(&last, &golden);
    greedy_answers(&last, &golden);
}

fn base_logits(model: &Path, figures: &Value) {
    let config = QwenConfig::load(model).unwrap();
    let base = weights::load(model, &config, Kind::Float, Device::Cpu).unwrap();
    let model = Qwen::assemble(&config, &base, &Default::default(), Default::default());
    for case in figures["base_logits"].as_array().unwrap() {
        let ids: Vec<u32> = numbers(&case["input_ids"]).iter().map(|&x| x as u32).collect();
        let logits = tch::no_grad(|| model.step(&ids, &mut KvCache::new()));
        let mut worst = 0f64;
        for (id, want) in numbers(&case["top10_ids"]).iter().zip(numbers(&case["top10_logits"])) {
            worst = worst.max((logits.double_value(&[0, *id as i64]) - want).abs());
        }
        let lse = logits.logsumexp([-1i64].as_slice(), false).double_value(&[0]);
        worst = worst.max((lse - case["logsumexp"].as_f64().unwrap()).abs());
        println!("base logits, {} tokens: largest difference {worst:.2e}", ids.len());
        assert!(worst < 1e-4, "{worst}");
    }
}

/// Loss, accuracy, gradient norm and learning rate of each step, and the evaluations.
fn steps_and_evaluations(events: &[Event], figures: &Value) {
    let norms = numbers(&figures["grad_norm"]);
    let log = figures["log"].as_array().unwrap();
    let steps: Vec<_> =
        log.iter().filter(|l| l.get("loss").is_some() && l.get("eval_loss").is_none()).collect();
    let evals: Vec<_> = log.iter().filter(|l| l.get("eval_loss").is_some()).collect();
    let (mut worst_loss, mut worst_norm, mut worst_rate, mut worst_eval) = (0f64, 0f64, 0f64, 0f64);
    let (mut seen, mut evaluated) = (0, 0);
    for event in events {
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
}

fn last_adapter(checkpoint: &Path, golden: &Path) {
    let ours = tensors(&checkpoint.join("default/adapter_model.safetensors"));
    let theirs = tensors(&golden.join("adapter_last.safetensors"));
    assert!(ours.keys().eq(theirs.keys()));
    let flat = |all: std::collections::BTreeMap<String, Tensor>| {
        Tensor::cat(&all.values().map(|t| t.flatten(0, -1)).collect::<Vec<_>>(), 0)
    };
    let (ours, theirs) = (flat(ours), flat(theirs));
    let distance = (&ours - &theirs).norm().double_value(&[]) / theirs.norm().double_value(&[]);
    let largest = |t: Tensor| t.abs().max().double_value(&[]);
    let single = largest(&ours - &theirs) / largest(theirs);
    println!(
        "last adapter: norm of the difference {distance:.1e} of the norm, largest difference of a weight {single:.1e} of \
         the largest weight"
    );
    assert!(distance < 1e-4 && single < 1e-4);
}

/// The answers to the validation rows, at most 5 tokens each; one may differ, where two tokens are as good as even.
fn greedy_answers(checkpoint: &Path, golden: &Path) {
    let ckpt_dir = checkpoint.to_str().unwrap();
    let flags = ["--ckpt_dir", ckpt_dir, "--do_sample", "false", "--max_new_tokens", "5", "--device", "cpu"];
    let args = load_infer(&flags.map(str::to_owned)).unwrap().args;
    let session = Session::open(&args).unwrap();
    let how = Generation::from(&args);
    let rows = json(&golden.join("infer.json"));
    let rows = rows["result"].as_array().unwrap();
    let mut equal = 0;
    for row in rows {
        let row = Row::new(row["query"].as_str().unwrap(), row["response"].as_str().unwrap());
        let prompt = session.template.encode_prompt(&session.tokenizer, &row);
        let answer = session.generate(&prompt, &how, &mut Mt::new(0), &mut |_| Ok(())).unwrap();
        if answer == row.response {
            equal += 1;
            continue;
        }
        let gap = gap(&session, prompt, &row.response);
        println!("{:?}: {answer:?}, not {:?}; logits {gap:.1e} apart", row.query, row.response);
        assert!(gap < 1e-3);
    }
    println!("greedy answers: {equal} of {} equal", rows.len());
    assert_eq!(rows.len(), 60);
    assert!(equal >= 59);
}

/// How far the logit of the first token of `expected` that the model would not choose is below the chosen one's.
fn gap(session: &Session, mut ids: Vec<u32>, expected: &str) -> f64 {
    for id in session.tokenizer.encode(expected).into_iter().chain([session.tokenizer.eos()]) {
        let logits = tch::no_grad(|| session.model.step(&ids, &mut KvCache::new()));
        let gap = logits.max().double_value(&[]) - logits.double_value(&[0, i64::from(id)]);
        if gap > 0.0 {
            return gap;
        }
        ids.push(id);
    }
    0.0
}
