//! `merge-lora` from the command line: what it makes, refuses and leaves behind.

mod common;

use std::fs;
use std::path::PathBuf;

use common::Bench;
use qwen_tui::job::runs::list_runs;
use serde_json::Value;

/// A bench with a run, and the run's last checkpoint.
fn trained(more: &[&str]) -> (Bench, PathBuf) {
    let bench = Bench::new();
    let mut flags = vec!["--max_steps", "2", "--add_output_dir_suffix", "false", "--learning_rate", "1e-2"];
    flags.extend(more);
    bench.sft(&flags).ok();
    let checkpoint = bench.path("out/checkpoint-2");
    assert!(checkpoint.is_dir());
    (bench, checkpoint)
}

/// The label and its probability of two texts.
fn labels(bench: &Bench, model: &[&str]) -> Vec<(String, f64)> {
    let words =
        [&["classify", "--device", "cpu", "--dtype", "fp32"], model, &["--", "很好", "太差了"]].concat();
    let lines = bench.words(&words);
    lines
        .ok()
        .lines()
        .map(|line| {
            let verdict: Value = serde_json::from_str(line).unwrap();
            let label = verdict["label"].as_str().unwrap().to_owned();
            let probability = verdict["probabilities"][&label].as_f64().unwrap();
            (label, probability)
        })
        .collect()
}

#[test]
fn a_merged_model_answers_like_its_checkpoint_and_trains_on() {
    let (bench, checkpoint) = trained(&[]);
    let ckpt = checkpoint.to_str().unwrap();
    // A relative path with a slash at its end, as a shell completes it.
    let merged = bench.words(&["merge-lora", "--ckpt_dir", "out/checkpoint-2/"]);
    let target = bench.path("out/checkpoint-2-merged").canonicalize().unwrap();
    assert_eq!(merged.ok().trim(), target.to_str().unwrap());
    assert!(!merged.stderr.contains("warning"), "{}", merged.stderr);
    assert!(
        merged.stderr.contains("merging: 100 %") && merged.stderr.contains("merged 1 module"),
        "{merged:?}"
    );
    let target = target.to_str().unwrap();
    let expected = labels(&bench, &["--ckpt_dir", ckpt]);
    let as_model = ["--model_type", "qwen-1_8b", "--model_id_or_path", target];
    for model in [&["--ckpt_dir", target][..], &as_model] {
        for ((label, p), (wanted, q)) in labels(&bench, model).iter().zip(&expected) {
            assert!(label == wanted && (p - q).abs() < 1e-5, "{model:?}: {label} {p}, not {wanted} {q}");
        }
    }
    let more = ["--max_steps", "1", "--model_id_or_path", target, "--output_dir", "again"];
    bench.sft(&more).ok();
    let answers = ["infer", "--ckpt_dir", target, "--load_dataset_config", "true", "--max_new_tokens", "2"];
    assert!(bench.words(&answers).ok().contains("[LABELS]"));
    // The checkpoint itself is as it was.
    bench.words(&["merge-lora", "--ckpt_dir", ckpt, "--output", "elsewhere/deep"]).ok();
    assert!(bench.path("elsewhere/deep/model.safetensors").is_file());
    // It has a run's arguments and is none.
    let runs: Vec<PathBuf> = list_runs(&bench.path("")).into_iter().map(|run| run.path).collect();
    assert!(
        !runs.iter().any(|run| run.ends_with("deep")) && runs.iter().any(|run| run.ends_with("out")),
        "{runs:?}"
    );
}

#[test]
fn what_is_there_is_replaced_only_where_that_is_asked_for() {
    let (bench, checkpoint) = trained(&[]);
    let ckpt = checkpoint.to_str().unwrap();
    bench.words(&["merge-lora", "--ckpt_dir", ckpt]).ok();
    bench.words(&["merge-lora", "--ckpt_dir", ckpt]).refused(&["checkpoint-2-merged", "--overwrite"]);
    bench.words(&["merge-lora", "--ckpt_dir", ckpt, "--overwrite"]).ok();
    let model = bench.path("model");
    let model = model.to_str().unwrap();
    bench
        .words(&["merge-lora", "--ckpt_dir", ckpt, "--output", model, "--overwrite"])
        .refused(&["base model"]);
    bench.write("mine/thesis.txt", "years");
    bench
        .words(&["merge-lora", "--ckpt_dir", ckpt, "--output", "mine", "--overwrite"])
        .refused(&["mine", "remove it"]);
    assert!(bench.path("mine/thesis.txt").is_file() && bench.path("model/config.json").is_file());
    bench.words(&["merge-lora"]).refused(&["--ckpt_dir"]);
    bench.words(&["merge-lora", "--ckpt_dir", "none"]).refused(&["ckpt_dir", "none of this name"]);
    bench.words(&["merge-lora", "--ckpt_dir", "out"]).refused(&["directory of a run", "checkpoint-2"]);
    let merged = bench.path("out/checkpoint-2-merged");
    bench.words(&["merge-lora", "--ckpt_dir", merged.to_str().unwrap()]).refused(&["nothing to merge"]);
    bench.words(&["merge-lora", "--ckpt_dir", ckpt, "--output", "/proc/x"]).refused(&["/proc"]);
    fs::rename(bench.path("model"), bench.path("moved")).unwrap();
    let told = bench.words(&["merge-lora", "--ckpt_dir", ckpt, "--output", "b"]);
    told.refused(&["no such model directory", "model_id_or_path"]);
    bench.words(&["merge-lora", "--ckpt_dir", ckpt, "--output", "b", "--model_id_or_path", "moved"]).ok();
    let hidden = fs::read_dir(bench.path("out"))
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0);
}

#[test]
fn a_whole_models_checkpoint_has_nothing_to_merge() {
    let (bench, checkpoint) = trained(&["--sft_type", "full"]);
    let ckpt = checkpoint.to_str().unwrap();
    bench.words(&["merge-lora", "--ckpt_dir", ckpt]).refused(&["nothing to merge", "whole model"]);
}

#[test]
fn infer_merges_first_where_it_is_asked_to_and_uses_a_merge_again() {
    let (bench, checkpoint) = trained(&["--tuner_backend", "peft"]);
    let ckpt = checkpoint.to_str().unwrap();
    let words = [
        "infer",
        "--ckpt_dir",
        ckpt,
        "--merge_lora_and_save",
        "true",
        "--load_dataset_config",
        "true",
        "--max_new_tokens",
        "1",
    ];
    let first = bench.words(&words);
    first.ok();
    assert!(first.stderr.contains("merged model: "), "{}", first.stderr);
    let merged = bench.path("out/checkpoint-2-merged");
    let written = || fs::metadata(merged.join("model.safetensors")).unwrap().modified().unwrap();
    let before = written();
    let second = bench.words(&words);
    second.ok();
    assert!(second.stderr.contains("merged already") && written() == before, "{}", second.stderr);
    let answers = fs::read_dir(&merged).unwrap().flatten();
    assert!(answers.into_iter().any(|e| e.file_name().to_string_lossy().starts_with("infer_result_")));
    // Trained anew into the same place.
    fs::remove_dir_all(bench.path("out")).ok();
    let fresh =
        ["--max_steps", "2", "--add_output_dir_suffix", "false", "--seed", "7", "--tuner_backend", "peft"];
    let kept = bench.path("kept");
    fs::create_dir(&kept).unwrap();
    bench.words(&words[..]).refused(&["ckpt_dir"]);
    bench.sft(&fresh).ok();
    bench.words(&words).ok();
    fs::rename(&merged, kept.join("m")).unwrap();
    fs::remove_dir_all(bench.path("out")).unwrap();
    bench.sft(&[&fresh[..], &["--learning_rate", "1e-3"]].concat()).ok();
    fs::rename(kept.join("m"), &merged).unwrap();
    bench.words(&words).refused(&["other adapter weights", "--overwrite"]);
}

#[test]
fn infer_uses_a_merge_again_only_if_it_was_made_of_the_same() {
    let (bench, checkpoint) = trained(&[]);
    let ckpt = checkpoint.to_str().unwrap();
    let ask = |more: &[&str]| {
        let words = ["infer", "--ckpt_dir", ckpt, "--merge_lora_and_save", "true", "--max_new_tokens", "1"];
        bench.words(&[&words[..], &["--load_dataset_config", "true"], more].concat())
    };
    let merged = bench.path("out/checkpoint-2-merged");
    // What lies in the merge's place and is none.
    fs::create_dir(&merged).unwrap();
    fs::write(merged.join("thesis.txt"), "years").unwrap();
    ask(&[]).refused(&["checkpoint-2-merged", "thesis.txt", "--output DIR", "--ckpt_dir"]);
    fs::remove_file(merged.join("thesis.txt")).unwrap();
    let first = ask(&[]);
    first.ok();
    assert!(first.stderr.contains("merged model: "), "an empty directory is filled: {}", first.stderr);
    assert!(ask(&[]).stderr.contains("merged already"));

    // Another base, of the same shape.
    let other = bench.path("other");
    fs::create_dir(&other).unwrap();
    for file in fs::read_dir(bench.path("model")).unwrap().flatten() {
        fs::copy(file.path(), other.join(file.file_name())).unwrap();
    }
    let other = other.to_str().unwrap();
    ask(&["--model_id_or_path", other]).refused(&["the base model", "/model (now", "/other)", "--overwrite"]);

    // Another alpha.
    let config = checkpoint.join("default/adapter_config.json");
    let text = fs::read_to_string(&config).unwrap();
    // As a checkpoint of SWIFT's: ours are not whole without their checksums.
    for ours in ["checksums.json", "resume.json"] {
        fs::remove_file(checkpoint.join(ours)).unwrap();
    }
    fs::write(&config, text.replace("\"lora_alpha\": 32", "\"lora_alpha\": 16")).unwrap();
    ask(&[]).refused(&["another adapter_config.json", "--overwrite"]);
    fs::write(&config, text).unwrap();
    ask(&[]).ok();

    // A record that cannot be read, and none, as SWIFT leaves it.
    let record = merged.join("merged.json");
    let told = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    ask(&[]).refused(&["cannot be told", "merged.json"]);
    fs::remove_file(&record).unwrap();
    let unknown = ask(&[]);
    unknown.ok();
    assert!(unknown.stderr.contains("has no merged.json"), "{}", unknown.stderr);
    fs::write(&record, told).unwrap();
    fs::remove_file(merged.join("model.safetensors")).unwrap();
    ask(&[]).refused(&["checkpoint-2-merged", "model.safetensors"]);
}

#[test]
fn a_training_in_a_merged_model_outlives_a_merge_over_it() {
    let (bench, checkpoint) = trained(&[]);
    let ckpt = checkpoint.to_str().unwrap();
    let again = ["merge-lora", "--ckpt_dir", ckpt, "--output", "m2", "--overwrite"];
    bench.words(&again).ok();
    let (model, output) = (bench.path("m2"), bench.path("m2/output"));
    #[rustfmt::skip]
    bench.sft(&["--model_id_or_path", model.to_str().unwrap(), "--output_dir", output.to_str().unwrap(),
        "--add_output_dir_suffix", "false", "--max_steps", "2"]).ok();
    bench.words(&again).refused(&["m2", "also holds output", "move that elsewhere"]);
    assert!(output.join("checkpoint-2/default/adapter_model.safetensors").is_file());
    assert!(model.join("model.safetensors").is_file());
}

#[test]
fn of_merges_to_one_place_at_the_same_time_one_stands() {
    let (bench, checkpoint) = trained(&[]);
    let words: Vec<String> =
        ["merge-lora", "--ckpt_dir", checkpoint.to_str().unwrap(), "--output", "m"].map(str::to_owned).into();
    let started: Vec<_> = (0..4).map(|_| bench.start(&words, "")).collect();
    let ended: Vec<_> = started.into_iter().map(|s| s.wait()).collect();
    assert_eq!(ended.iter().filter(|e| e.code == Some(0)).count(), 1, "{ended:?}");
    for late in ended.iter().filter(|e| e.code != Some(0)) {
        late.refused(&["/m: "]);
        assert!(late.stderr.contains("already") || late.stderr.contains("another process"), "{late:?}");
    }
    assert!(bench.path("m/model.safetensors").is_file());
    let hidden = fs::read_dir(bench.path("")).unwrap().flatten();
    assert_eq!(hidden.filter(|e| e.file_name().to_string_lossy().starts_with(".m.")).count(), 0);

    // Before infer it does not matter which of them made it.
    let words: Vec<String> =
        ["infer", "--ckpt_dir", checkpoint.to_str().unwrap(), "--merge_lora_and_save", "true"]
            .into_iter()
            .chain(["--load_dataset_config", "true", "--max_new_tokens", "1"])
            .map(str::to_owned)
            .collect();
    let started: Vec<_> = (0..3).map(|_| bench.start(&words, "")).collect();
    for one in started {
        one.wait().ok();
    }
}
