//! What is refused, and how it is said.

use qwen_tui::args::*;
use serde_json::json;

use crate::{load, refused, says, with, write};

/// A value of a wrong type for every argument: the file with its line, the key, the value, what is allowed.
#[test]
fn every_wrong_type_is_refused() {
    for field in FIELDS {
        let wrong = match field.kind {
            Kind::Any => continue,
            Kind::Bool | Kind::BoolOrAuto => vec![json!("yes"), json!(1)],
            Kind::Int { .. } | Kind::Limit { .. } => {
                vec![json!("8"), json!(1.5), json!(true), json!(-2), json!(1e300), json!(u64::MAX)]
            }
            Kind::IntChoice(_) => vec![json!(3), json!("4")],
            Kind::Number(_) => vec![json!("0.1"), json!(false), json!(-0.5), json!([1])],
            Kind::Choice(_) => vec![json!("no such"), json!(1), json!(["lora"]), json!("")],
            Kind::Text | Kind::Path => vec![json!(1), json!(["a"]), json!({"a": 1})],
            Kind::Device => vec![json!("gpu"), json!("cuda:"), json!("cuda:x"), json!(0)],
            Kind::List | Kind::Paths | Kind::Names => {
                vec![json!(1), json!([1]), json!({"a": 1}), json!([""])]
            }
        };
        for value in wrong {
            let file = write(&with(json!({ field.name: value })));
            let message = refused(load_sft(Some(file.path()), &[]));
            let place = format!("{}, line ", file.path().display());
            let fact = format!("{} is {value}", field.name);
            says(&message, &[&place, &fact, &field.allowed()]);
        }
        if !field.nullable() {
            let message = refused(load(json!({ field.name: null })));
            says(&message, &[&format!("{} is null", field.name)]);
        }
    }
}

#[test]
fn out_of_range_is_refused() {
    let cases = [
        ("lora_rank", json!(0), "a whole number from 1"),
        ("lora_dropout_p", json!(1.0), "from 0 to less than 1"),
        ("lora_alpha", json!(0), "above 0"),
        ("dataset_test_ratio", json!(1.01), "from 0 to 1"),
        ("warmup_ratio", json!(-0.1), "from 0 to 1"),
        ("batch_size", json!(0), "a whole number from 1"),
        ("learning_rate", json!(0), "above 0"),
        ("top_p", json!(0), "above 0 to 1"),
        ("train_dataset_sample", json!(0), "-1 for no limit"),
        ("seed", json!(4294967296u64), "to 4294967295"),
        ("max_length", json!(0), "-1 for no limit"),
    ];
    for (key, value, allowed) in cases {
        says(&refused(load(json!({ key: value }))), &[&format!("{key} is {value}"), allowed]);
    }
}

#[test]
fn what_is_not_supported_is_refused() {
    let cases = [
        ("sft_type", json!("longlora"), "one of lora, full"),
        ("optim", json!("lion_32bit"), "one of adamw_torch, adamw_torch_fused, adamw_hf, sgd, adafactor"),
        ("model_type", json!("qwen1half-7b"), "qwen-demo"),
        ("template_type", json!("llama"), "default-generation-bos"),
        ("quantization_bit", json!(4), "0: quantized"),
        ("deepspeed_config_path", json!("zero2.json"), "null: DeepSpeed"),
        ("push_to_hub", json!(true), "false: uploading"),
        ("self_cognition_sample", json!(100), "0: "),
        ("num_beams", json!(2), "1: beam search"),
        ("lr_scheduler_type", json!("reduce_lr_on_plateau"), "cosine_with_restarts"),
        (
            "report_to",
            json!(["tensorboard", "wandb"]),
            "all, tensorboard, none, and \"wandb\" is none of them",
        ),
        ("report_to", json!(["none", "tensorboard"]), "none without another"),
    ];
    for (key, value, allowed) in cases {
        says(&refused(load(json!({ key: value }))), &[&format!("{key} is {value}"), allowed]);
    }
}

#[test]
fn combinations_are_checked() {
    let cases = [
        (json!({"freeze_parameters": 0.5}), "freeze_parameters is 0.5; allowed is 0 with sft_type lora"),
        (json!({"additional_trainable_parameters": ["lm_head"]}), "additional_trainable_parameters is"),
        (json!({"sft_type": "full", "dtype": "fp16"}), "dtype is \"fp16\"; allowed is bf16 or fp32"),
        (json!({"lora_target_modules": ["DEFAULT", "c_proj"]}), "DEFAULT (or AUTO) or ALL alone"),
        (json!({"lora_target_modules": ["ALL", "c_proj"]}), "ALL alone"),
        (json!({"lora_target_modules": []}), "at least one name"),
        (json!({"lora_target_modules": ["c_attn", "xyz"]}), "DEFAULT (c_attn) or ALL; \"xyz\" is none"),
        (json!({"lora_modules_to_save": ["ln_1", "评论"]}), "attn.c_attn; \"评论\" is none"),
        (json!({"dataset": []}), "in dataset or custom_train_dataset_path"),
        (json!({"model_type": null}), "model_type is null"),
        (json!({"model_id_or_path": "qwen/Qwen-7B"}), "set one of the two"),
        (json!({"save_strategy": "no", "save_minutes": 5}), "save_minutes"),
        (json!({"save_minutes": 0}), "save_minutes"),
        (
            json!({"eval_steps": 50, "save_steps": 20}),
            "save_steps as a multiple of eval_steps (here 20 and 50)",
        ),
        (json!({"lr_scheduler_type": "polynomial", "learning_rate": 1e-8}), "more than 1e-7"),
    ];
    for (changes, message) in cases {
        says(&refused(load(changes)), &[message]);
    }
    for (report_to, tensorboard) in
        [(json!(["all"]), true), (json!("tensorboard"), true), (json!(["none"]), false), (json!([]), false)]
    {
        let args = load(json!({"report_to": report_to})).unwrap().args;
        assert_eq!(args.reports_to_tensorboard(), tensorboard, "{report_to}");
    }
    // A model's own directory goes with its type.
    assert!(load(json!({"model_id_or_path": "/models/qwen"})).is_ok());
    assert!(load(json!({"lora_target_modules": ["h.3.attn.c_proj", "w1"]})).is_ok());
    assert!(load(json!({"lora_target_modules": ["xyz"], "sft_type": "full"})).is_ok(), "it looks at none");
    assert!(load(json!({"eval_steps": 50, "save_steps": 20, "evaluation_strategy": "no"})).is_ok());
}

#[test]
fn broken_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let try_text = |text: &[u8]| {
        let path = dir.path().join("a.json");
        std::fs::write(&path, text).unwrap();
        refused(load_sft(Some(&path), &[]))
    };
    says(
        &try_text(b"{\n \"seed\": 1,\n \"dtype\" \"bf16\"}"),
        &["a.json, line 3, column 10", "not valid JSON"],
    );
    says(&try_text(b""), &["a.json is empty", "a JSON object"]);
    says(&try_text(b"[1]"), &["a.json", "a JSON object", "[1]"]);
    says(&try_text(b"{\"learning_rate\": NaN}"), &["line 1", "not valid JSON"]);
    says(&try_text(b"{\n\"system\": \"\xff\"}"), &["a.json, line 2", "not UTF-8"]);
    says(&try_text(&b"[".repeat(100_000)), &["recursion limit"]);
    says(&refused(load_sft(Some(dir.path()), &[])), &["directory"]);
    says(
        &refused(load_sft(Some(&dir.path().join("none.json")), &[])),
        &["none.json", "no such file", "give a JSON file"],
    );
    says(&refused(SftArgs::from_run_dir(dir.path())), &["there is no sft_args.json in ", "put it back"]);

    let path = dir.path().join("bom.json");
    std::fs::write(&path, format!("\u{feff}{}", with(json!({"seed": 3})))).unwrap();
    assert_eq!(load_sft(Some(&path), &[]).unwrap().args.seed, 3);
    let path = dir.path().join("twice.json");
    std::fs::write(
        &path,
        "{\n\"seed\": 1,\n\"model_type\": \"qwen-7b\",\n\"dataset\": \"a\",\n\"seed\": -1\n}",
    )
    .unwrap();
    says(&refused(load_sft(Some(&path), &[])), &["twice.json, line 5", "seed is -1"]);
    let whole = with(json!({"dtype": "fp32"})).to_string();
    std::fs::write(&path, whole.replacen('{', "{\"seed\": 1, \"seed\": 2, ", 1)).unwrap();
    let loaded = load_sft(Some(&path), &[]).unwrap();
    assert_eq!(loaded.args.seed, 2);
    says(&loaded.warnings.join("\n"), &["twice.json: set more than once", "seed"]);
    let flag = refused(load_sft(None, &["--threads".to_owned(), "x".to_owned()]));
    assert!(flag.contains("threads is \"x\"") && !flag.contains("null"), "{flag}");
}
