//! The same seed gives the same run, to the last byte.

use serde_json::json;

use crate::common::train;
use crate::{Small, dice};

#[test]
fn a_seed_decides_a_run_to_the_last_byte() {
    let _dice = dice();
    let small = Small::new(&[]);
    let path = |name: &str| small.dir.path().join(name).to_str().unwrap().to_owned();
    let lines: String = (0..40)
        .map(|i| {
            let response = if i % 2 == 0 { "good" } else { "bad" };
            json!({"query": format!("query {}", i * i), "response": response}).to_string() + "\n"
        })
        .collect();
    std::fs::write(path("train.jsonl"), lines).unwrap();
    let run = |seed: &str, dropout: &str, recompute: &str| {
        #[rustfmt::skip]
        let (run, _) = train(&[
            "--model_type", "qwen-1_8b", "--model_id_or_path", &path("model"),
            "--template_type", "default-generation", "--dtype", "fp32", "--device", "cpu",
            "--custom_train_dataset_path", &path("train.jsonl"), "--train_dataset_sample", "-1",
            "--lora_target_modules", "c_attn", "--lora_dropout_p", dropout, "--learning_rate", "1e-3",
            "--gradient_accumulation_steps", "8", "--seed", seed, "--gradient_checkpointing", recompute,
            "--output_dir", &path("out"),
        ]);
        std::fs::read(run.checkpoint(4).join("default/adapter_model.safetensors")).unwrap()
    };
    let first = run("42", "0.1", "false");
    assert!(first == run("42", "0.1", "false"), "the same seed gave another adapter");
    assert!(first != run("43", "0.1", "false"), "another seed gave the same adapter");
    assert!(first != run("42", "0", "false"), "dropout changed nothing");
}
