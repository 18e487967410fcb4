//! A merged model against base and adapter.

#[path = "../common/mod.rs"]
mod common;
mod place;
mod size;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use qwen_tui::args::load_infer;
use qwen_tui_engine::infer::Session;
use qwen_tui_engine::infer::merge::{Job, Merged, SHARD_BYTES, merge};
use qwen_tui_engine::model::KvCache;
use qwen_tui_engine::model::convert::convert;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use tch::{Kind, Tensor};

use common::{SMALL, json, one_thread, tensors, train, write_model, write_vocabulary};

/// A small model, rows, and room for runs.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        one_thread();
        let dir = tempfile::tempdir().unwrap();
        let vocabulary = dir.path().join("bytes.tiktoken");
        write_vocabulary(&vocabulary, &["positive", "negative"]);
        write_model(&dir.path().join("model"), SMALL, &vocabulary);
        for (name, content) in [
            ("modeling_qwen.py", "# code\n"),
            ("cpp_kernels.py", "# code\n"),
            ("generation_config.json", "{\"do_sample\": true}"),
            ("LICENSE", "terms\n"),
            ("notes.txt", "mine\n"),
        ] {
            std::fs::write(dir.path().join("model").join(name), content).unwrap();
        }
        let rows: String = (0..8)
            .map(|n| {
                let label = if n % 2 == 0 { "positive" } else { "negative" };
                format!("{}\n", json!({"query": format!("is {n} good?"), "response": label}))
            })
            .collect();
        std::fs::write(dir.path().join("rows.jsonl"), rows).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The checkpoint of two steps of training on `model`, with a rate that moves every weight well.
    fn checkpoint(&self, model: &Path, more: &[&str]) -> PathBuf {
        let text = |p: PathBuf| p.to_str().unwrap().to_owned();
        let (model, rows, out) =
            (text(model.to_owned()), text(self.path("rows.jsonl")), text(self.path("out")));
        #[rustfmt::skip]
        let mut flags = vec![
            "--model_type", "qwen-1_8b", "--model_id_or_path", &model, "--device", "cpu", "--dtype", "fp32",
            "--custom_train_dataset_path", &rows, "--custom_val_dataset_path", &rows, "--output_dir", &out,
            "--lora_rank", "4", "--lora_alpha", "12", "--lora_dropout_p", "0", "--learning_rate", "3e-2",
            "--gradient_accumulation_steps", "4", "--eval_steps", "2", "--save_steps", "2", "--max_length", "64",
        ];
        flags.extend(more);
        let (run, _) = train(&flags);
        run.checkpoint(2)
    }

    fn job(&self, base: &Path, checkpoint: &Path) -> Job {
        let target = checkpoint
            .with_file_name(format!("{}-merged", checkpoint.file_name().unwrap().to_str().unwrap()));
        Job {
            base: base.to_owned(),
            checkpoint: checkpoint.to_owned(),
            target,
            overwrite: false,
            kind: None,
            shard_bytes: SHARD_BYTES,
        }
    }
}

/// Makes a checkpoint like SWIFT's, which has no checksums: ours are not whole without them.
fn as_swifts(checkpoint: &Path) {
    for ours in ["checksums.json", "resume.json"] {
        let _ = std::fs::remove_file(checkpoint.join(ours));
    }
}

fn run(job: &Job) -> Merged {
    merge(job, &mut |_, _| true).unwrap()
}

/// Logits `[vocab]` after a few prompts, in fp32.
fn logits(flags: &[&str]) -> Tensor {
    let flags: Vec<String> =
        flags.iter().chain(&["--device", "cpu", "--dtype", "fp32"]).map(|f| (*f).to_owned()).collect();
    let session = Session::open(&load_infer(&flags).unwrap().args).unwrap();
    let each: Vec<Tensor> = ["is 3 good?", "a longer text, with more in it", "z"]
        .iter()
        .map(|text| tch::no_grad(|| session.model.step(&session.tokenizer.encode(text), &mut KvCache::new())))
        .collect();
    Tensor::cat(&each, 0)
}

/// Largest difference, and the norm of the difference over the norm.
fn apart(a: &Tensor, b: &Tensor) -> (f64, f64) {
    let gap = a - b;
    let norm = |t: &Tensor| t.to_kind(Kind::Double).norm().double_value(&[]);
    (gap.abs().max().double_value(&[]), norm(&gap) / norm(b))
}

fn str(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn logits_are_those_of_base_and_adapter_whatever_is_trained() {
    let bench = Bench::new();
    let base = bench.path("model");
    let plain = logits(&["--model_type", "qwen-1_8b", "--model_id_or_path", str(&base)]);
    #[rustfmt::skip]
    let cases: [(&[&str], usize, usize); 5] = [
        (&["--tuner_backend", "swift"], 2, 0),
        (&["--tuner_backend", "peft"], 2, 0),
        (&["--tuner_backend", "swift", "--lora_target_modules", "c_attn", "w1", "--lora_bias_trainable", "all"], 4, 2),
        (&["--tuner_backend", "peft", "--lora_target_modules", "c_attn", "attn.c_proj", "mlp.c_proj",
           "--lora_bias_trainable", "all"], 6, 2),
        (&["--lora_modules_to_save", "wte", "ln_f", "--lora_dtype", "bf16"], 2, 2),
    ];
    for (flags, modules, replaced) in cases {
        let checkpoint = bench.checkpoint(&base, flags);
        let job = bench.job(&base, &checkpoint);
        let merged = run(&job);
        assert_eq!((merged.modules, merged.replaced, merged.files), (modules, replaced, 1), "{flags:?}");
        let adapted = logits(&["--ckpt_dir", str(&checkpoint)]);
        let by_checkpoint = logits(&["--ckpt_dir", str(&job.target)]);
        let by_model = logits(&["--model_type", "qwen-1_8b", "--model_id_or_path", str(&job.target)]);
        let (most, relative) = apart(&by_checkpoint, &adapted);
        let (moved, _) = apart(&adapted, &plain);
        println!("{flags:?}: {most:.1e} apart ({relative:.1e}), the adapter moved them by {moved:.2}");
        // A bf16 adapter computes in bf16 over the base; merged it is added in fp32.
        let limit = if flags.contains(&"bf16") { 5e-2 } else { 1e-5 };
        assert!(most < limit && moved > 0.1, "{flags:?}: {most} of {moved}");
        assert_eq!(apart(&by_model, &by_checkpoint).0, 0.0);
    }
}

#[test]
fn a_merged_directory_is_a_whole_model_with_what_belongs_to_it() {
    let bench = Bench::new();
    let base = bench.path("model");
    let checkpoint = bench.checkpoint(&base, &[]);
    std::fs::write(checkpoint.join("generation_config.json"), "{\"do_sample\": false}").unwrap();
    as_swifts(&checkpoint);
    let job = bench.job(&base, &checkpoint);
    run(&job);
    let mut names: Vec<String> = std::fs::read_dir(&job.target)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    #[rustfmt::skip]
    assert_eq!(names, [
        "LICENSE", "config.json", "configuration.json", "cpp_kernels.py", "generation_config.json", "merged.json",
        "model.safetensors", "modeling_qwen.py", "qwen.tiktoken", "sft_args.json",
    ]);
    let file = |name: &str| json(&job.target.join(name));
    assert_eq!(file("generation_config.json")["do_sample"], false, "the checkpoint's");
    assert_eq!(file("config.json"), json(&base.join("config.json")));
    assert_eq!(file("configuration.json").get("adapter_cfg"), None);
    let (args, before) = (file("sft_args.json"), json(&checkpoint.join("sft_args.json")));
    assert_eq!((&args["sft_type"], &before["sft_type"]), (&json!("full"), &json!("lora")));
    assert_eq!(args["lora_rank"], before["lora_rank"]);
    // A merged model can be trained again.
    bench.checkpoint(&job.target, &[]);
}

#[test]
fn shards_and_their_index_hold_every_tensor_once() {
    let bench = Bench::new();
    let base = bench.path("model");
    let checkpoint = bench.checkpoint(&base, &[]);
    let whole = bench.job(&base, &checkpoint);
    run(&whole);
    // Beside the two embeddings of 64 kB each the tensors are smaller than the limit.
    let limit = 20_000;
    let job = Job { target: bench.path("shards"), shard_bytes: limit, ..whole.clone() };
    let merged = run(&job);
    let index = json(&job.target.join("model.safetensors.index.json"));
    let map = index["weight_map"].as_object().unwrap();
    let expected = tensors(&whole.target.join("model.safetensors"));
    assert!(map.keys().eq(expected.keys()));
    let (mut found, mut total) = (BTreeMap::new(), 0);
    for number in 1..=merged.files {
        let name = format!("model-{number:05}-of-{:05}.safetensors", merged.files);
        let bytes = std::fs::read(job.target.join(&name)).unwrap();
        let views = SafeTensors::deserialize(&bytes).unwrap();
        let size: usize = views.iter().map(|(_, v)| v.data().len()).sum();
        assert!(size as u64 <= limit || views.len() == 1, "{name}: {size} bytes of {} tensors", views.len());
        assert!(views.names().iter().all(|tensor| map[*tensor] == name));
        total += size;
        found.extend(tensors(&job.target.join(&name)));
    }
    assert!(merged.files > 4 && !job.target.join("model.safetensors").exists());
    assert_eq!(
        std::fs::read_dir(&job.target)
            .unwrap()
            .filter(|e| { e.as_ref().unwrap().path().extension().is_some_and(|e| e == "safetensors") })
            .count(),
        merged.files
    );
    assert_eq!(index["metadata"]["total_size"], total);
    assert_eq!(merged.bytes, total as u64);
    assert!(found.len() == expected.len() && found.iter().all(|(name, t)| t.equal(&expected[name])));
    let same = ["--ckpt_dir", str(&whole.target)];
    assert_eq!(apart(&logits(&["--ckpt_dir", str(&job.target)]), &logits(&same)).0, 0.0);
    // A merge of shards is a merge of the same weights: untouched tensors go from file to file as they are.
    let again = Job { base: job.target.clone(), target: bench.path("again"), ..whole };
    run(&again);
    let (twice, once) = (tensors(&again.target.join("model.safetensors")), expected);
    let name = "transformer.h.1.mlp.w1.weight";
    assert!(twice[name].equal(&once[name]));
}

/// Every weight of a bf16 base is the nearest bf16 of `W + alpha / r * B A`, computed in f64.
#[test]
fn a_bf16_base_is_rounded_once_to_the_nearest() {
    let bench = Bench::new();
    let half = bench.path("bf16");
    convert(&bench.path("model"), &half, "bf16").unwrap();
    let checkpoint =
        bench.checkpoint(&half, &["--lora_target_modules", "ALL", "--lora_bias_trainable", "all"]);
    let job = bench.job(&half, &checkpoint);
    run(&job);
    let file = job.target.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    assert!(SafeTensors::deserialize(&bytes).unwrap().iter().all(|(_, v)| v.dtype() == Dtype::BF16));
    let (merged, base) = (tensors(&file), tensors(&half.join("model.safetensors")));
    let adapter = tensors(&checkpoint.join("default/adapter_model.safetensors"));
    let mut adapted = 0;
    for (name, weight) in &base {
        let double = |t: &Tensor| t.to_kind(Kind::Double);
        let half = |which: &str| {
            adapter.get(&format!("{}.lora_{which}", name.strip_suffix(".weight").unwrap_or(""))).map(double)
        };
        let exact = match (half("A"), half("B"), adapter.get(name)) {
            (Some(a), Some(b), None) => double(weight) + b.matmul(&a) * 3.0,
            (None, None, Some(trained)) => double(trained),
            (None, None, None) => {
                assert!(merged[name].equal(weight), "{name}");
                continue;
            }
            other => panic!("{name}: {other:?}"),
        };
        adapted += 1;
        // bf16 has 8 bits: half a unit in the last place is 2^-9 of the power of two below, fp32 errs by far less.
        let gap = (double(&merged[name]) - &exact).abs();
        let unit = exact.abs().log2().floor().exp2() * 2f64.powi(-8) * (1.0 + 1e-3) + 1e-12;
        assert!((gap - unit).max().double_value(&[]) <= 0.0, "{name}");
    }
    assert_eq!(adapted, 2 * 5 + 2);
    // fp32 asked for: the base's bf16 and the update, not rounded.
    let wide = Job { target: bench.path("wide"), kind: Some(Kind::Float), ..job };
    run(&wide);
    let (most, _) =
        apart(&logits(&["--ckpt_dir", str(&wide.target)]), &logits(&["--ckpt_dir", str(&checkpoint)]));
    assert!(most < 1e-5, "{most}");
    assert_eq!(json(&wide.target.join("config.json"))["torch_dtype"], "float32");
}
