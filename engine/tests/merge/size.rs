//! What merging costs, for the table in docs/infer.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qwen_tui::bench::ShapeName;
use qwen_tui_engine::infer::merge::Job;
use qwen_tui_engine::model::convert::convert;
use qwen_tui_engine::model::create::create;
use qwen_tui_engine::model::weights;
use serde_json::json;
use tch::Tensor;

use super::common::{Normal, REFERENCE, shared, write_model};
use super::{Bench, apart, logits, run, str};

/// Writes a SWIFT adapter on `c_attn`, rank 8, alpha 32, but for its weights.
fn write_config(checkpoint: &Path) {
    std::fs::create_dir_all(checkpoint.join("default")).unwrap();
    let config = json!({"swift_type": "LORA", "r": 8, "lora_alpha": 32, "lora_dropout": 0.0, "bias": "none",
        "target_modules": ["c_attn"], "lora_dtype": "fp32"});
    std::fs::write(checkpoint.join("default/adapter_config.json"), config.to_string()).unwrap();
}

/// What rounding to bf16 costs, for docs/infer.md: the reference run's adapter over its base in bf16.
#[test]
fn the_reference_adapter_in_bf16() {
    let (Some(golden), Some(vocabulary)) = (shared("swift-golden"), shared("qwen1-tokenizer/qwen.tiktoken"))
    else {
        return;
    };
    let bench = Bench::new();
    let (wide, half) = (bench.path("wide"), bench.path("half"));
    write_model(&wide, REFERENCE, &vocabulary);
    convert(&wide, &half, "bf16").unwrap();
    let checkpoint = bench.path("checkpoint");
    write_config(&checkpoint);
    std::fs::copy(
        golden.join("adapter_last.safetensors"),
        checkpoint.join("default/adapter_model.safetensors"),
    )
    .unwrap();
    for (name, base, limit) in [("fp32", &wide, 2e-5), ("bf16", &half, 0.2)] {
        let job = Job { target: bench.path(name), ..bench.job(base, &checkpoint) };
        run(&job);
        let model = ["--model_type", "qwen-1_8b", "--model_id_or_path"];
        let (most, relative) = apart(
            &logits(&[&model[..], &[str(&job.target)]].concat()),
            &logits(&[&model[..], &[str(base), "--ckpt_dir", str(&checkpoint)]].concat()),
        );
        println!("{name} base: logits {most:.1e} apart, {relative:.1e} of their norm");
        assert!(most < limit, "{most}");
    }
}

/// The row of Qwen-1.8B's size: random weights of its shape in bf16, a random adapter on every `c_attn`. Takes minutes,
/// 8 GB of disk and 10 GB of memory:
///
/// ```sh
/// cargo test --release --workspace --test merge -- --ignored --nocapture of_qwen_1_8bs_size
/// ```
#[test]
#[ignore = "minutes, 8 GB of disk, 10 GB of memory"]
fn a_model_of_qwen_1_8bs_size() {
    let Some(vocabulary) = shared("qwen1-tokenizer/qwen.tiktoken") else { return };
    let bench = Bench::new();
    let (base, checkpoint) = (bench.path("base"), bench.path("checkpoint"));
    let shape = ShapeName::Qwen1_8b.shape();
    let (hidden, layers) = (shape.hidden, shape.layers);
    create(&base, Some(&vocabulary), &shape, shape.dtype, 42).unwrap();
    write_config(&checkpoint);
    let mut normal = Normal::new(9);
    let mut adapter: BTreeMap<String, Tensor> = BTreeMap::new();
    for layer in 0..layers {
        for (half, size, std) in [("A", [8, hidden], 0.02), ("B", [3 * hidden, 8], 0.002)] {
            let key = format!("transformer.h.{layer}.attn.c_attn.lora_{half}.default.weight");
            adapter.insert(key, normal.tensor(&size, std, 0.0));
        }
    }
    weights::save(&checkpoint.join("default/adapter_model.safetensors"), &adapter).unwrap();

    let model = ["--model_type", "qwen-1_8b", "--model_id_or_path"];
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_qwen-tui-engine"))
        .arg("merge-lora")
        .args(model)
        .args([str(&base), "--ckpt_dir", str(&checkpoint), "--output", str(&bench.path("merged"))])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Memory that is no mapped file.
    let mut most_kb = 0;
    let ended = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next());
        most_kb = most_kb.max(line.and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0));
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let seconds = began.elapsed().as_secs_f64();
    assert!(ended.success());
    println!("merged in {seconds:.0} s with {} MB beside the mapped files", most_kb / 1000);

    let merged = logits(&[&model[..], &[str(&bench.path("merged"))]].concat());
    let adapted = logits(&[&model[..], &[str(&base), "--ckpt_dir", str(&checkpoint)]].concat());
    let (most, relative) = apart(&merged, &adapted);
    println!("logits {most:.1e} apart, {relative:.1e} of their norm");
    let (moved, by) = apart(&adapted, &logits(&[&model[..], &[str(&base)]].concat()));
    println!("the adapter moves them by {moved:.1e}, {by:.1e} of their norm");
    // Rounding stays well below what was trained, and memory below any large tensor's.
    assert!(relative < by / 4.0 && most_kb < 600_000);
}
