//! What a run's seed decides: the same seed gives the same run, to the last byte.

use qwen_tui::job::event::Event;
use qwen_tui_engine::model::{Trainable, weights};
use serde_json::json;
use tch::{Device, Kind};

use crate::common::train;
use crate::{ALPHA, RANK, Small, dice, lora_options};

/// Trains on 40 rows, 8 a step; the bytes of the last adapter and the loss of each step.
fn run(small: &Small, query: impl Fn(usize) -> String, flags: &[&str]) -> (Vec<u8>, Vec<f64>) {
    let path = |name: &str| small.dir.path().join(name).to_str().unwrap().to_owned();
    let lines: String =
        (0..40).map(|i| json!({"query": query(i), "response": "good"}).to_string() + "\n").collect();
    std::fs::write(path("train.jsonl"), lines).unwrap();
    let (model, data, out) = (path("model"), path("train.jsonl"), path("out"));
    #[rustfmt::skip]
    let always = [
        "--model_type", "qwen-1_8b", "--model_id_or_path", &model, "--template_type", "default-generation",
        "--dtype", "fp32", "--device", "cpu", "--custom_train_dataset_path", &data,
        "--train_dataset_sample", "-1", "--dataset_test_ratio", "0", "--lora_target_modules", "c_attn",
        "--gradient_accumulation_steps", "8", "--output_dir", &out,
    ];
    let (run, events) = train(&[&always[..], flags].concat());
    let losses = events.iter().filter_map(|e| match e {
        Event::Step { loss, .. } => Some(*loss),
        _ => None,
    });
    let adapter = run.checkpoint(5).join("default/adapter_model.safetensors");
    (std::fs::read(adapter).unwrap(), losses.collect())
}

#[test]
fn a_seed_decides_a_run_to_the_last_byte() {
    let _dice = dice();
    let small = Small::new(&[]);
    let run = |seed: &str, dropout: &str| {
        let flags = ["--learning_rate", "1e-3", "--seed", seed, "--lora_dropout_p", dropout];
        run(&small, |i| format!("query {}", i * i), &flags).0
    };
    let first = run("42", "0.1");
    assert!(first == run("42", "0.1"), "the same seed gave another adapter");
    assert!(first != run("43", "0.1"), "another seed gave the same adapter");
    assert!(first != run("42", "0"), "dropout changed nothing");
}

/// libtorch has one generator for a process.
#[test]
fn adapters_that_are_made_at_the_same_time_are_the_same() {
    let _dice = dice();
    let small = Small::new(&[]);
    let (config, dir) = (small.config.clone(), small.model_dir());
    let drawn = |seeds: &[u64]| -> Vec<Vec<f32>> {
        // Tensors stay on their thread.
        let base = weights::load(&dir, &config, Kind::Float, Device::Cpu).unwrap();
        let options = lora_options(&["c_attn", "c_proj", "w1", "w2"]);
        let one = |&seed| {
            let made = Trainable::lora(&config, &base, &options, seed, Device::Cpu).unwrap();
            Vec::try_from(made.theta().0).unwrap()
        };
        seeds.iter().map(one).collect()
    };
    let [one, two]: [Vec<f32>; 2] = drawn(&[1, 2]).try_into().unwrap();
    assert!(one != two);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert!(drawn(&[1; 100]).iter().all(|a| *a == one), "another thread drew in between")
            });
        }
    });
}

/// Equal rows and hardly a learning rate: what differs between steps, or between seeds, is dropout alone.
#[test]
fn each_step_and_each_seed_drops_other_elements() {
    let _dice = dice();
    let small = Small::new(&[]);
    let adapter = small.dir.path().join("start.safetensors");
    weights::save(&adapter, &small.lora(&["c_attn"]).export(Kind::Float)).unwrap();
    let (rank, alpha) = (RANK.to_string(), ALPHA.to_string());
    let run = |seed: &str, dropout: &str| {
        #[rustfmt::skip]
        let flags = [
            "--init_adapter", adapter.to_str().unwrap(), "--lora_rank", &rank, "--lora_alpha", &alpha,
            "--learning_rate", "1e-12", "--seed", seed, "--lora_dropout_p", dropout,
        ];
        run(&small, |_| "the same query".to_owned(), &flags).1
    };
    let apart = |a: f64, b: f64| (a - b).abs() > 1e-4 * b;
    let (drawn, other, still) = (run("42", "0.2"), run("43", "0.2"), run("42", "0"));
    println!("losses of equal steps: {drawn:?}, of another seed {other:?}, without dropout {still:?}");
    assert_eq!(drawn.len(), 5);
    assert!(still.iter().all(|&loss| !apart(loss, still[0])));
    assert!(drawn.windows(2).all(|w| apart(w[0], w[1])));
    assert!(drawn.iter().zip(&other).all(|(&a, &b)| apart(a, b)));
}
