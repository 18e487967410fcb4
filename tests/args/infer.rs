//! Arguments of `infer`.

use qwen_tui::args::*;

use crate::{refused, says, sft, words};

fn checkpoint() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    std::fs::create_dir(&base).unwrap();
    let flags = "--model_type qwen-demo --dataset a.csv --custom_val_dataset_path b.csv --dtype fp32 --dataset_seed 5 --top_k 9";
    let object = sft(&format!("{flags} --model_cache_dir {}", base.display())).args.to_json();
    std::fs::write(dir.path().join(ARGS_FILE), serde_json::to_vec(&object).unwrap()).unwrap();
    dir
}

#[test]
fn infer_takes_the_checkpoints_arguments() {
    let dir = checkpoint();
    let infer = |line: &str| load_infer(&words(&format!("--ckpt_dir {} {line}", dir.path().display())));
    let Loaded { args, warnings } = infer("").unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((args.model_type.as_str(), args.dtype.as_str()), ("qwen-demo", "fp32"));
    assert_eq!(args.model_cache_dir.as_deref(), dir.path().join("base").to_str());
    assert_eq!((args.sft_type.as_str(), args.template_type.as_str()), ("lora", "default-generation"));
    // Neither data sets nor the settings of generation are taken over.
    assert!(args.dataset.is_empty() && args.eval_human);
    assert_eq!(
        (args.top_k, args.temperature, args.max_new_tokens, args.val_dataset_sample),
        (20, 0.3, 2048, 10)
    );

    let args =
        infer("--load_dataset_config true --do_sample false --max_new_tokens 5 --dtype bf16").unwrap().args;
    assert_eq!(args.dataset, ["a.csv"]);
    assert_eq!(args.custom_val_dataset_path, ["b.csv"]);
    assert_eq!((args.dataset_seed, args.max_new_tokens, args.eval_human), (5, 5, false));
    assert_eq!((args.temperature, args.top_p, args.top_k), (1.0, 1.0, 50));
    assert_eq!(args.dtype, "bf16", "a flag wins over the checkpoint");

    let args =
        infer("--load_dataset_config --dataset c.csv --show_dataset_sample -1 --model_id_or_path /new")
            .unwrap()
            .args;
    assert_eq!((args.dataset, args.val_dataset_sample), (vec!["c.csv".to_owned()], -1));
    assert_eq!((args.model_id_or_path.as_deref(), args.model_cache_dir), (Some("/new"), None));
    let args = infer("--model_type qwen-7b").unwrap().args;
    assert_eq!(args.model_id_or_path.as_deref(), Some("qwen/Qwen-7B"));
}

#[test]
fn infer_refuses_what_makes_no_sense() {
    let dir = checkpoint();
    let infer = |line: &str| refused(load_infer(&words(line)));
    says(&infer("--ckpt_dir nowhere/checkpoint-1"), &["ckpt_dir is \"nowhere/checkpoint-1\""]);
    says(
        &infer("--model_type qwen-7b --load_dataset_config true"),
        &["load_dataset_config is true", "--ckpt_dir"],
    );
    says(&infer("--model_type qwen-7b --eval_human false"), &["eval_human is false", "data set"]);
    says(&infer(""), &["ckpt_dir is missing", "--ckpt_dir DIR"]);
    says(&infer("--model_id_or_path DIR"), &["model_type is missing: give one of qwen-1_8b"]);
    says(&infer("--lora_rank 8"), &["unknown flag --lora_rank"]);
    says(&infer("--model_type qwen-7b --num_beams 3"), &["num_beams is 3"]);
    says(&infer(&format!("--ckpt_dir {} x", dir.path().display())), &["\"x\" belongs to no flag"]);

    // The base model has been moved.
    std::fs::remove_dir(dir.path().join("base")).unwrap();
    let moved = format!("--ckpt_dir {}", dir.path().display());
    says(&infer(&moved), &["base: no such model directory", "sft_args.json names it", "as model_id_or_path"]);
    assert!(load_infer(&words(&format!("{moved} --model_id_or_path DIR"))).is_ok());

    // A base model without a checkpoint.
    let args = load_infer(&words("--model_type qwen-7b")).unwrap().args;
    assert_eq!((args.sft_type.as_str(), args.load_args_from_ckpt_dir), ("full", false));

    // A checkpoint without its arguments.
    let empty = tempfile::tempdir().unwrap();
    let line = format!("--ckpt_dir {} --model_type qwen-7b", empty.path().display());
    let loaded = load_infer(&words(&line)).unwrap();
    assert_eq!((loaded.args.sft_type.as_str(), loaded.warnings.len()), ("lora", 1));
    let bare = format!("--ckpt_dir {}", empty.path().display());
    says(&infer(&bare), &["ckpt_dir", "there is none in it"]);
    std::fs::create_dir(empty.path().join("default")).unwrap();
    std::fs::write(empty.path().join("default/adapter_config.json"), "{}").unwrap();
    says(&infer(&bare), &["model_type is missing", "sft_args.json is not there"]);
    std::fs::write(empty.path().join("checksums.json"), "{\"sft_args.json\": \"00\"}").unwrap();
    says(&infer(&line), &["sft_args.json is missing", "use another checkpoint"]);
    std::fs::remove_file(empty.path().join("checksums.json")).unwrap();
    std::fs::remove_dir_all(empty.path().join("default")).unwrap();
    says(&infer(&format!("--ckpt_dir {}/default", dir.path().display())), &["none of this name"]);
    std::fs::create_dir(dir.path().join("default")).unwrap();
    says(
        &infer(&format!("--ckpt_dir {}/default", dir.path().display())),
        &["adapter in it", "give --ckpt_dir"],
    );
    says(&infer(&format!("--ckpt_dir {}/{ARGS_FILE}", dir.path().display())), &["this is a file"]);
    // A run instead of a checkpoint.
    for step in [9, 10] {
        std::fs::create_dir(empty.path().join(format!("checkpoint-{step}"))).unwrap();
    }
    says(&infer(&bare), &["directory of a run", "/checkpoint-10"]);
    std::fs::write(empty.path().join("configuration.json"), "{}").unwrap();
    // One with a broken value.
    std::fs::write(empty.path().join(ARGS_FILE), "{\"quantization_bit\": 4}").unwrap();
    says(&infer(&line), &["sft_args.json, line 1", "quantization_bit is 4"]);
}

#[test]
fn texts_after_the_flags() {
    let dir = checkpoint();
    let mut line = words(&format!("--do_sample false --ckpt_dir {}", dir.path().display()));
    line.extend(["很好".to_owned(), "--".to_owned(), "--不好".to_owned()]);
    let (loaded, texts) = load_infer_texts(&line).unwrap();
    assert_eq!(texts, ["很好", "--不好"]);
    assert!(!loaded.args.do_sample);
    assert_eq!(loaded.warnings, ["accepted without effect: do_sample (of no use to classify)"]);
}

#[test]
fn a_merge_wants_a_checkpoint_and_suggests_no_base_alone() {
    let base = "--model_type qwen-demo --model_id_or_path base";
    for line in ["", base] {
        let message = refused(load_merge(&words(line)));
        says(&message, &["ckpt_dir", "the checkpoint whose adapter is merged (--ckpt_dir DIR)"]);
        assert!(!message.contains("model_id_or_path DIR"), "{message}");
    }
}

#[test]
fn answers_that_no_evaluation_would_write_are_warned_of() {
    let flags = "--model_type qwen-demo --dataset a.csv --predict_with_generate true";
    assert_eq!(sft(flags).warnings, Vec::<String>::new());
    let warnings = sft(&format!("{flags} --evaluation_strategy no")).warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("evaluation_strategy no"), "{warnings:?}");
}
