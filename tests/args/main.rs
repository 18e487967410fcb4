//! Arguments from files and flags: what loads, what is derived, what is refused and how it is said.

mod draft;
mod infer;
mod refusals;
#[path = "../common/shared.rs"]
mod shared;

use std::path::{Path, PathBuf};

use qwen_tui::args::schedule::{self, Scheduler};
use qwen_tui::args::*;
use qwen_tui::error::Error;
use serde_json::{Map, Value, json};
use shared::shared;

fn root(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn sft(line: &str) -> Loaded {
    load_sft(None, &words(line)).unwrap()
}

/// The message of a refused load, which must be one that the user can mend.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::User(message)) => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in {message:?}");
    }
}

fn write(object: &Value) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_json::to_vec_pretty(object).unwrap()).unwrap();
    file
}

fn with(changes: Value) -> Value {
    let mut object = json!({"model_type": "qwen-1_8b", "dataset": ["a.csv"]});
    object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    object
}

#[track_caller]
fn load(changes: Value) -> Result<Loaded, Error> {
    load_sft(Some(write(&with(changes)).path()), &[])
}

fn swift_file() -> Map<String, Value> {
    let text = std::fs::read_to_string(root("tests/data/sft_args_swift.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_reference_job_loads() {
    let file = root("configs/jd-sentiment.json");
    let Loaded { args, warnings } = load_sft(Some(&file), &[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((args.lora_rank, args.lora_alpha, args.seed), (8, 32.0, 42));
    assert_eq!(args.model_id_or_path.as_deref(), Some("qwen/Qwen-1_8B"));
    // Every value of the file is found again in what a run writes.
    let given: Map<String, Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let written = args.to_json();
    for (key, value) in &given {
        assert_eq!(&written[key], value, "{key}");
    }
}

#[test]
fn swifts_own_file_loads_silently_and_comes_out_the_same() {
    let Loaded { args, warnings } = load_sft(Some(&root("tests/data/sft_args_swift.json")), &[]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let mut expected = swift_file();
    assert_eq!(expected.len(), 101);
    // A new run gets a folder beside the one the file was written for.
    expected["output_dir"] = "/data/output".into();
    expected["logging_dir"] = Value::Null;
    let written = args.to_json();
    for (key, value) in &expected {
        assert_eq!(&written[key], value, "{key}");
    }
    let ours: Vec<_> = written.keys().filter(|key| !expected.contains_key(*key)).collect();
    assert_eq!(
        ours,
        ["hub", "resume_only_model", "adam_epsilon", "save_minutes", "init_adapter", "device", "threads"]
    );

    // Flags change what the file's other values followed from: still nothing to warn about.
    let flags = words("--dtype fp32 --model_type qwen-7b --output_dir out");
    let Loaded { args, warnings } = load_sft(Some(&root("tests/data/sft_args_swift.json")), &flags).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(args.model_id_or_path.as_deref(), Some("qwen/Qwen-7B"));
    assert_eq!((args.output_dir.as_str(), &args.logging_dir), ("out", &None));
    assert_eq!(args.to_json()["torch_dtype"], "torch.float32");
}

/// `logging_dir` of a file is the one of the file's run, unless somebody chose it.
#[test]
fn a_logging_dir_that_was_chosen_stays() {
    let logging_dir = |file: Value, flags: &str| {
        let loaded = load_sft(Some(write(&file).path()), &words(flags)).unwrap();
        assert_eq!(loaded.warnings, Vec::<String>::new());
        loaded.args.logging_dir
    };
    let file = |output_dir: &str, logging_dir: &str| {
        let mut object = swift_file();
        object["output_dir"] = output_dir.into();
        object["logging_dir"] = logging_dir.into();
        Value::Object(object)
    };
    let run = "/data/m/v3-20240301-101500";
    for (output_dir, flags) in [(run, ""), ("out", ""), (run, "--output_dir b")] {
        assert_eq!(logging_dir(file(output_dir, &format!("{run}/runs")), flags), None);
    }
    assert_eq!(logging_dir(file("/out", "/out/runs/"), "--add_output_dir_suffix false"), None);
    assert_eq!(logging_dir(file("/out", "/out/runs"), "--output_dir /b"), None);
    assert_eq!(logging_dir(file(run, "/boards/jd"), "").as_deref(), Some("/boards/jd"));
    assert_eq!(logging_dir(file("out", "/boards/runs"), "").as_deref(), Some("/boards/runs"));
    let flags = format!("--logging_dir {run}/runs");
    assert_eq!(logging_dir(file(run, "x"), &flags), Some(format!("{run}/runs")));
}

#[test]
fn one_warning_for_all_that_is_without_effect() {
    let mut object = swift_file();
    object.insert("use_rslora".into(), false.into());
    object.insert("gamma".into(), json!({"deep": [1]}));
    object.insert("lora_rnk".into(), 4.into());
    object.insert("bf16".into(), false.into());
    object["dataloader_num_workers"] = 4.into();
    let warnings = load_sft(Some(write(&object.into()).path()), &[]).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    says(&warnings[0], &["accepted without effect: use_rslora (unknown", "gamma (unknown)"]);
    says(&warnings[0], &["lora_rnk (unknown; did you mean lora_rank?)"]);
    says(&warnings[0], &["dataloader_num_workers (", "bf16 (follows from dtype)"]);
    // A derived key that says something else than the argument it follows from.
    let warnings = load(json!({"dtype": "fp32", "bf16": true, "fp16": false})).unwrap().warnings;
    assert_eq!(warnings, ["accepted without effect: bf16 (follows from dtype)"]);
}

#[test]
fn table_and_struct_agree() {
    let written = sft("--model_type qwen-1_8b --dataset a.csv").args.to_json();
    let names: Vec<_> = FIELDS.iter().map(|f| f.name).collect();
    assert_eq!(written.keys().collect::<Vec<_>>(), names);
    for field in FIELDS.iter().chain(INFER_FIELDS) {
        assert!(!field.help.is_empty() && field.help.trim() == field.help, "{}", field.name);
        let default = field.default.value();
        let checked = field.check(&default).unwrap_or_else(|| panic!("{}: {default}", field.name));
        assert_eq!(checked.as_f64(), default.as_f64(), "{}", field.name);
        assert!(field.check(&json!({"an": "object"})).is_none() || field.kind == Kind::Any, "{}", field.name);
    }
    // Every key that SWIFT writes has its row.
    for key in swift_file().keys() {
        assert!(names.contains(&key.as_str()), "{key}");
    }
}

#[test]
fn what_is_written_loads_again() {
    let lines = [
        "--model_type qwen-demo --dataset a.csv b.csv --max_length -1 --save_total_limit -1",
        "--model_type qwen-7b-chat --custom_train_dataset_path x.jsonl --sft_type full --freeze_parameters 0.5",
        "--model_type qwen-1_8b --dataset a --lora_alpha 0.5 --gradient_checkpointing auto --threads 2 --device cuda:1 --do_sample false",
        "--model_type qwen-1_8b --dataset a --test_oom_error --val_dataset_sample -1 --system hi --lr_scheduler_type cosine",
    ];
    for line in lines {
        let args = sft(line).args;
        let object = args.to_json();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(ARGS_FILE);
        std::fs::write(&file, serde_json::to_vec(&object).unwrap()).unwrap();
        let again = load_sft(Some(&file), &[]).unwrap();
        assert_eq!((&again.args, again.warnings), (&args, vec![]), "{line}");
        assert_eq!(SftArgs::from_run_dir(dir.path()).unwrap(), args, "{line}");
        assert_eq!(again.args.to_json(), object, "{line}");
    }
}

#[test]
fn rules() {
    let args = sft("--model_type qwen-1_8b --dataset a,b").args;
    assert_eq!(args.dataset, ["a", "b"]);
    assert_eq!(args.template_type, "default-generation");
    assert_eq!((args.learning_rate, args.save_steps, args.eval_batch_size), (1e-4, 50, 1));
    assert_eq!((args.gradient_accumulation_steps, args.save_only_model), (16, false));
    assert_eq!(args.gradient_checkpointing, GradientCheckpointing::On);
    assert_eq!(args.lora_target_modules, ["c_attn"]);
    assert_eq!((args.max_length_limit(), args.val_dataset_sample), (Some(2048), None));
    assert!(args.train_sampler_random);
    assert_eq!(args.dtype, "AUTO");

    let args = sft("--model_id_or_path Qwen/Qwen-7B-Chat --dataset a --sft_type full --batch_size 3 --eval_steps 7 --test_oom_error true --max_length -1").args;
    assert_eq!((args.model_type.as_str(), args.template_type.as_str()), ("qwen-7b-chat", "qwen"));
    assert_eq!((args.learning_rate, args.save_steps, args.eval_batch_size), (1e-5, 7, 3));
    let answers = sft("--model_type qwen-1_8b --dataset a --batch_size 3 --predict_with_generate true").args;
    assert_eq!(answers.eval_batch_size, 1);
    assert_eq!((args.gradient_accumulation_steps, args.save_only_model), (6, true));
    assert!(!args.train_sampler_random);
    assert_eq!(args.max_length_limit(), None);

    let args = sft("--model_type qwen-1_8b --dataset a --do_sample false --template_type chatml --truncation_strategy ignore --lora_target_modules ALL").args;
    assert_eq!((args.temperature, args.top_p, args.top_k), (1.0, 1.0, 50));
    assert_eq!((args.template_type.as_str(), args.truncation_strategy.as_str()), ("qwen", "delete"));
    assert_eq!(args.lora_target_modules, ["c_attn", "c_proj", "w1", "w2"]);

    // Old names; a flag of the new name is stronger than the old name in a file.
    assert_eq!(load(json!({"per_device_train_batch_size": 4})).unwrap().args.batch_size, 4);
    let file = write(&with(json!({"per_device_train_batch_size": 4})));
    assert_eq!(load_sft(Some(file.path()), &words("--batch_size 2")).unwrap().args.batch_size, 2);

    let custom =
        load(json!({"dataset": ["_custom_dataset"], "custom_train_dataset_path": "a.csv"})).unwrap().args;
    assert_eq!((custom.dataset, custom.custom_train_dataset_path), (vec![], vec!["a.csv".to_owned()]));
    assert_eq!(load(json!({"lora_rank": 16.0, "lora_alpha": 64.0})).unwrap().args.lora_rank, 16);
    assert_eq!(
        load(json!({"max_length": null, "save_total_limit": null})).unwrap().args.save_total_limit,
        -1
    );
}

#[test]
fn flags() {
    let base = "--model_type qwen-1_8b --dataset a";
    let args = sft(&format!(
        "{base} --lora-rank=4 --max_steps -1 --add_output_dir_suffix --learning-rate 1e-3 --lora_modules_to_save --lora_target_modules c_attn c_proj --seed 1 --seed 2"
    ))
    .args;
    assert_eq!((args.lora_rank, args.max_steps, args.learning_rate, args.seed), (4, -1, 1e-3, 2));
    assert_eq!(args.lora_target_modules, ["c_attn", "c_proj"]);
    assert!(args.lora_modules_to_save.is_empty() && args.add_output_dir_suffix);
    assert_eq!(sft(&format!("{base} --learning_rate null")).args.learning_rate, 1e-4);

    let config = root("configs/jd-sentiment.json");
    let mut line =
        vec!["--seed".to_owned(), "7".to_owned(), "--config".to_owned(), config.display().to_string()];
    assert_eq!(load_sft(None, &line).unwrap().args.seed, 7, "a flag wins wherever it stands");
    line.extend(["--config".to_owned(), "b.json".to_owned()]);
    says(&refused(load_sft(None, &line)), &["--config", "twice"]);

    let wrong = |line: &str| refused(load_sft(None, &words(&format!("{base} {line}"))));
    says(&wrong("--lora_rnak 8"), &["command line", "--lora_rnak", "did you mean --lora_rank?"]);
    says(&wrong("--xyzzy 8"), &["unknown flag --xyzzy"]);
    assert!(!wrong("--xyzzy 8").contains("did you mean"));
    says(&wrong("--lora_rank 8 9"), &["\"9\"", "belongs to no flag"]);
    says(&wrong("--lora_rank --seed 3"), &["--lora_rank has no value", "whole number"]);
    says(&wrong("--do_sample maybe"), &["do_sample is \"maybe\"", "true or false"]);
    says(&wrong("--bf16 true"), &["--bf16 follows from --dtype"]);
    for (number, allowed) in [("max_steps", "-1 or more"), ("save_total_limit", "1 or more")] {
        let told = wrong(&format!("--{number} 99999999999999999999"));
        says(&told, &[allowed, "and at most 9223372036854775807"]);
        assert!(!wrong(&format!("--{number} -7")).contains("at most"));
    }
    says(&wrong("--lora_rank 2.0"), &["command line", "lora_rank is \"2.0\"", "whole number from 1"]);
    for number in ["nan", "inf", "-1", "1e999", "x", ""] {
        says(&wrong(&format!("--learning_rate={number}")), &["learning_rate is", "a number above 0"]);
    }
}

#[test]
fn the_reference_runs_learning_rates() {
    let Some(path) = shared("swift-golden/golden.json") else {
        eprintln!("skipped: ../shared/swift-golden is not there");
        return;
    };
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let warmup = schedule::warmup_steps(37, 0.05);
    let mut seen = 0;
    for line in golden["log"].as_array().unwrap() {
        let Some(expected) = line["learning_rate"].as_f64() else { continue };
        let step = line["step"].as_u64().unwrap();
        let lr = schedule::learning_rate(Scheduler::Linear, 1e-3, warmup, 37, step);
        assert!((lr - expected).abs() < 1e-12, "step {step}: {lr}, not {expected}");
        seen += 1;
    }
    assert_eq!(seen, 37);
}

#[test]
fn help_names_everything() {
    let text = help_text(FIELDS);
    for field in FIELDS.iter().filter(|f| !matches!(f.status, Status::Derived(_))) {
        assert!(text.contains(field.name), "{}", field.name);
    }
    says(&text, &["LoRA:\n", "  --lora_rank <N>\n", "default: 8"]);
}

#[test]
fn unknown_flags_are_left_out_where_that_is_asked_for() {
    let base = "--model_type qwen-7b --dataset a.csv";
    for ignore in ["--ignore_args_error true", "--ignore_args_error"] {
        let Loaded { args, warnings } =
            sft(&format!("{base} --xyzzy 8 9 --lora_rank 4 {ignore} --deep_speed=x --seed 7"));
        assert_eq!((args.lora_rank, args.seed, args.ignore_args_error), (4, 7, true));
        assert_eq!(warnings, ["left out, as ignore_args_error is true: --xyzzy 8 9 --deep_speed=x"]);
    }
    let file = write(&with(json!({"ignore_args_error": true})));
    let loaded = load_sft(Some(file.path()), &words("-f kernel.json")).unwrap();
    assert_eq!(loaded.warnings, ["left out, as ignore_args_error is true: -f kernel.json"]);
    // A flag outweighs the file, and a known flag's wrong value is refused all the same.
    let flags = words("--ignore_args_error false --xyzzy");
    says(&refused(load_sft(Some(file.path()), &flags)), &["unknown flag --xyzzy"]);
    says(&refused(load_sft(Some(file.path()), &words("--seed x"))), &["seed is \"x\""]);
}

#[test]
fn a_run_without_an_end_is_warned_of() {
    let told = |more: &str| sft(&format!("--model_type qwen-7b --dataset a.csv --max_steps {more}")).warnings;
    for quiet in ["-1", "10000000", "100000000"] {
        assert_eq!(told(quiet), Vec::<String>::new());
    }
    let warnings = told("1000000000");
    assert_eq!(warnings.len(), 1);
    let warmup =
        ["max_steps is 1000000000", "11574 days", "579 days warm up (warmup_ratio 0.05)", "num_train_epochs"];
    says(&warnings[0], &warmup);
    says(&told("9223372036854775807")[0], &["max_steps is 9223372036854775807", "days"]);
    for none in ["--warmup_ratio 0", "--lr_scheduler_type constant"] {
        let warnings = told(&format!("1000000000 {none}"));
        assert!(warnings[0].contains("11574 days;"), "{warnings:?}");
    }
}
