//! Wrong input: each mistake ends in one clear message, exit status 2, and leaves nothing behind.

mod common;

use std::fs;
use std::path::Path;

use common::{Bench, Ended, HIDDEN, config, rows, vocabulary, weights, write_rows, write_tensors};
use serde_json::{Value, json};

/// Nothing of a run that was refused before its first step is left.
#[track_caller]
fn left_nothing(bench: &Bench, ended: &Ended) {
    assert!(!bench.path("out").exists(), "{} left a run directory\n{}", ended.command, ended.stderr);
    assert_eq!(ended.stdout, "", "{}", ended.command);
}

/// `sft` is refused with a message that has all of `needles`, and nothing is left behind.
#[track_caller]
fn refused(bench: &Bench, more: &[&str], needles: &[&str]) {
    let ended = bench.sft(more);
    ended.refused(needles);
    left_nothing(bench, &ended);
}

/// A bench whose model's config has `key` changed.
fn with_config(key: &str, value: Value) -> Bench {
    let bench = Bench::new();
    let mut config = config();
    config[key] = value;
    bench.write("model/config.json", config.to_string());
    bench
}

#[test]
fn no_such_model_directory() {
    let bench = Bench::new();
    refused(
        &bench,
        &["--model_id_or_path", "/nowhere/model"],
        &["/nowhere/model", "no such model directory", "set model_id_or_path"],
    );
    refused(&bench, &["--model_cache_dir", "/nowhere/cache"], &["/nowhere/cache", "no such model directory"]);
    refused(&bench, &["--model_id_or_path", "rows.jsonl"], &["rows.jsonl", "directory"]);
    refused(
        &bench,
        &["--model_id_or_path", "qwen/Qwen-1_8B"],
        &["qwen/Qwen-1_8B", "not on this machine", "--model_id_or_path DIR"],
    );
    for file in ["config.json", "qwen.tiktoken", "model.safetensors"] {
        let bench = Bench::new();
        fs::remove_file(bench.path("model").join(file)).unwrap();
        refused(&bench, &[], &["model", file]);
    }
}

#[test]
fn a_truncated_shard() {
    let bench = Bench::new();
    let whole = fs::read(bench.path("model/model.safetensors")).unwrap();
    for cut in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
        bench.write("model/model.safetensors", &whole[..cut]);
        refused(&bench, &[], &["model.safetensors", "truncated", "fetch it again"]);
    }
}

#[test]
fn shards_and_their_index() {
    let bench = Bench::new();
    fs::remove_file(bench.path("model/model.safetensors")).unwrap();
    let all = weights();
    let (first, second) = all.split_at(5);
    write_tensors(&bench.path("model/a.safetensors"), &first.to_vec());
    write_tensors(&bench.path("model/b.safetensors"), &second.to_vec());
    let map = |second_file: &str| -> Value {
        let names = |part: &[(String, Vec<usize>, Vec<f32>)], file: &str| -> Vec<(String, Value)> {
            part.iter().map(|(n, ..)| (n.clone(), file.into())).collect()
        };
        names(first, "a.safetensors")
            .into_iter()
            .chain(names(second, second_file))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let index = |map: Value| {
        bench.write("model/model.safetensors.index.json", json!({"weight_map": map}).to_string())
    };

    index(map("b.safetensors"));
    assert!(
        bench.sft(&["--max_steps", "1", "--save_strategy", "no"]).ok().contains("run_dir: "),
        "two shards make a model"
    );
    fs::remove_dir_all(bench.path("out")).unwrap();

    index(map("c.safetensors"));
    refused(&bench, &[], &["c.safetensors", "is missing", "1 of 2 shards", "fetch it again"]);
    index(map("a.safetensors"));
    refused(&bench, &[], &["a.safetensors", "the index says", "is in it, and it is not"]);
    index(map("../model/b.safetensors"));
    refused(&bench, &[], &["index.json", "not a file name"]);
    index(json!({}));
    refused(&bench, &[], &["model", "is missing", "11 of 11"]);
    index(json!([1, 2]));
    refused(&bench, &[], &["index.json"]);
    bench.write("model/model.safetensors.index.json", "<html>");
    refused(&bench, &[], &["index.json"]);
}

#[test]
fn weights_of_another_shape_or_none_at_all() {
    let bench = Bench::new();
    let file = bench.path("model/model.safetensors");
    let mut all = weights();
    (all[2].1, all[2].2) = (vec![HIDDEN, HIDDEN], vec![0.0; HIDDEN * HIDDEN]);
    write_tensors(&file, &all);
    refused(
        &bench,
        &[],
        &["model.safetensors", "transformer.h.0.attn.c_attn.weight", "[16, 16]", "[48, 16]"],
    );
    all.remove(2);
    write_tensors(&file, &all);
    refused(&bench, &[], &["transformer.h.0.attn.c_attn.weight is missing", "1 of 11"]);

    fs::write(&file, "<!DOCTYPE html><html><body>404 Not Found</body></html>").unwrap();
    refused(&bench, &[], &["model.safetensors", "not a whole safetensors file", "fetch it again"]);
    // As git has it where git-lfs is not installed.
    fs::write(&file, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n").unwrap();
    refused(&bench, &[], &["model.safetensors", "fetch it again"]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused(&bench, &[], &["no weights"]);
    fs::remove_dir(&file).unwrap();
    bench.write("model/pytorch_model.bin", "PK");
    refused(&bench, &[], &["no weights", ".bin", "safe_serialization=True"]);
}

#[test]
fn weights_in_integers() {
    let bench = Bench::new();
    let views: Vec<_> =
        weights().into_iter().map(|(name, shape, values)| (name, shape, vec![0u8; values.len()])).collect();
    let views = views.iter().map(|(n, s, b)| {
        (n, safetensors::tensor::TensorView::new(safetensors::Dtype::I8, s.clone(), b).unwrap())
    });
    safetensors::serialize_to_file(views, None, &bench.path("model/model.safetensors")).unwrap();
    refused(&bench, &[], &["model.safetensors", "I8", "F32, BF16"]);
}

#[test]
fn the_vocabulary() {
    let bench = Bench::new();
    let lines = vocabulary();
    let write = |text: String| bench.write("model/qwen.tiktoken", text);
    for (text, needle) in [
        (lines[..200].join("\n"), "0xc8 is missing"),
        (String::new(), "no token in it"),
        ("<html>\n".to_owned(), "line 1"),
        (lines.join("\n") + "\nIQ== 256\n", "line 257: the same token"),
        (lines.join("\n").replace(" 65\n", " 66\n"), "line 66: rank 66 where 65 was expected"),
        (lines.join("\n") + &format!("\n{} 256\n", "YWJj".repeat(100_000)), "line 257"),
    ] {
        write(text);
        refused(&bench, &[], &["qwen.tiktoken", needle, "fetch it again"]);
    }
    // More tokens than the embedding has rows.
    let many: Vec<String> = (0..60u8)
        .map(|n| {
            format!(
                "{} {}",
                base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [b'a', n]),
                256 + u32::from(n)
            )
        })
        .collect();
    write(lines.join("\n") + "\n" + &many.join("\n"));
    refused(&bench, &[], &["qwen.tiktoken has 524 tokens", "512 rows", "vocab_size"]);
    // Cut at a line's end: the special tokens would have the ids of others.
    let bench = with_config("vocab_size", json!(2000));
    refused(&bench, &[], &["qwen.tiktoken has 464 tokens", "far fewer", "2000 rows", "cut short"]);
    bench.words(&["tokenize", "--model", "model"]).refused(&["far fewer", "fetch it again"]);
}

#[test]
fn absurd_sizes_in_the_models_config() {
    for key in [
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "kv_channels",
        "intermediate_size",
        "vocab_size",
        "seq_length",
    ] {
        for value in [json!(1i64 << 62), json!(0), json!(-16)] {
            let needle = format!("{key} is {value}");
            refused(&with_config(key, value), &[], &["config.json", &needle, "expected 1 to"]);
        }
    }
    for value in [json!("many"), json!(1.5), json!(1e300), json!(null), json!([16]), json!(u64::MAX)] {
        refused(&with_config("hidden_size", value), &[], &["config.json", "hidden_size"]);
    }
    refused(
        &with_config("num_attention_heads", json!(3)),
        &[],
        &["config.json", "3 x 8 = 24", "hidden_size is 16"],
    );
    refused(&with_config("num_hidden_layers", json!(1024)), &[], &["transformer.h.1.ln_1.weight is missing"]);
    refused(&with_config("vocab_size", json!(513)), &[], &["weight has shape [512, 16]", "[513, 16]"]);
    refused(&with_config("vocab_size", json!(1 << 22)), &[], &["464 tokens", "far fewer", "4194304 rows"]);
    refused(&with_config("layer_norm_epsilon", json!(0)), &[], &["config.json", "layer_norm_epsilon is 0"]);
    refused(
        &with_config("rotary_emb_base", json!(0)),
        &[],
        &["config.json", "rotary_emb_base is 0", "above 1"],
    );
    refused(&with_config("emb_dropout_prob", json!(1)), &[], &["config.json", "emb_dropout_prob is 1"]);
    let bench = Bench::new();
    let mut deeper = weights();
    deeper.push(("transformer.h.3.ln_1.weight".into(), vec![16], vec![1.0; 16]));
    write_tensors(&bench.path("model/model.safetensors"), &deeper);
    refused(&bench, &[], &["model.safetensors", "transformer.h.3", "num_hidden_layers is 1"]);
    refused(&with_config("no_bias", json!(false)), &[], &["config.json", "no_bias"]);
    refused(&with_config("model_type", json!("qwen2")), &[], &["config.json", "qwen2", "first Qwen"]);
    for text in ["", "{", "[]", "null", "\u{feff}{}", "{\"hidden_size\": 16}"] {
        let bench = Bench::new();
        bench.write("model/config.json", text);
        refused(&bench, &[], &["config.json"]);
    }
    let bench = Bench::new();
    bench.write("model/config.json", b"\xff\xfe{}");
    refused(&bench, &[], &["config.json"]);
}

#[test]
fn broken_rows_are_refused_or_skipped_as_asked() {
    let bench = Bench::new();
    let good = fs::read_to_string(bench.path("rows.jsonl")).unwrap();
    for (broken, needle) in [
        ("{\"sentence\": \"好\", \"label\": 1.0", "broken JSON"),
        ("{\"sentence\": \"好\", \"label\": 7}", "label"),
        ("{\"sentence\": \"好\", \"label\": \"perhaps\"}", "label"),
        ("[1, 2]", "not a JSON object"),
    ] {
        let lines: Vec<&str> = good.lines().collect();
        let file = bench.write(
            "broken.jsonl",
            format!("{}\n{broken}\n{}\n", lines[..9].join("\n"), lines[9..].join("\n")),
        );
        let data = ["--custom_train_dataset_path", &file];
        refused(
            &bench,
            &[&data[..], &["--check_dataset_strategy", "error"]].concat(),
            &["broken.jsonl, line 10", needle, "check_dataset_strategy warning"],
        );

        let ended =
            bench.sft(&[&data[..], &["--check_dataset_strategy", "none", "--max_steps", "1"]].concat());
        ended.ok();
        let warned = ended
            .stderr
            .lines()
            .filter(|l| l.contains("warning: ") && l.contains("line 10") && l.contains(needle));
        assert_eq!(warned.count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains("1 broken left out"), "{}", ended.stderr);
        fs::remove_dir_all(bench.path("out")).unwrap();
    }
}

#[test]
fn data_without_a_usable_row() {
    let bench = Bench::new();
    let with = |name: &str, content: &[u8], needles: &[&str]| {
        let file = bench.write(name, content);
        refused(&bench, &["--custom_train_dataset_path", &file], &[&[name], needles].concat());
    };
    with("empty.jsonl", b"", &["no row in it"]);
    with("blank.jsonl", b"\n\n  \n", &["no row in it: the file is empty"]);
    with("header.csv", b"sentence,label\n", &["no row in it: there is only a header"]);
    with("list.json", b"[]", &["no row in it: its list is empty"]);
    let row = "{\"query\": \"问\", \"response\": \"答\", \"history\": [[\"一\", \"二\"]]}\n".repeat(9);
    with(
        "chat.jsonl",
        ("\n".to_owned() + &row).as_bytes(),
        &["line 2 has a history", "template_type to qwen"],
    );
    with(
        "unknown.jsonl",
        "{\"sentence\": \"好\", \"label\": 7}\n".as_bytes(),
        &["no usable row", "line 1", "label"],
    );
    with("unlabelled.csv", "sentence,label\n好,\n".as_bytes(), &["none of its 1 has a label"]);
    with("other.csv", b"a,b\n1,2\n", &["line 1", "columns not understood: a, b"]);
    with("gbk.csv", b"sentence,label\n\xba\xc3,1\n", &["line 2", "not UTF-8", "iconv"]);
    with("utf16.csv", b"\xff\xfes\0e\0", &["UTF-16"]);
    with("object.json", b"{}", &["not a list of objects"]);
    with("rows.parquet", b"PAR1", &[".csv, .jsonl or .json"]);
    refused(
        &bench,
        &["--custom_train_dataset_path", "/nowhere/rows.csv"],
        &["/nowhere/rows.csv", "no such data file"],
    );
    refused(&bench, &["--custom_train_dataset_path", "model"], &["model is a directory"]);
    refused(&bench, &["--dataset", "no-such-set"], &["no-such-set", "name its file"]);
    refused(&bench, &["--custom_val_dataset_path", "/nowhere/dev.csv"], &["/nowhere/dev.csv"]);
    refused(
        &bench,
        &["--custom_train_dataset_path="],
        &["dataset", "in dataset or custom_train_dataset_path"],
    );
    write_rows(&bench.path("one.jsonl"), &rows(1));
    refused(
        &bench,
        &["--custom_train_dataset_path", "one.jsonl"],
        &["no training rows", "dataset_test_ratio"],
    );
}

#[test]
fn every_row_longer_than_max_length() {
    let bench = Bench::new();
    refused(&bench, &["--max_length", "5"], &["max_length 5", "rows are longer", "truncation_left"]);
    // One token has none before it from which it could be predicted.
    refused(
        &bench,
        &["--max_length", "1", "--truncation_strategy", "truncation_left"],
        &["max_length 1", "nothing to predict"],
    );
    bench.sft(&["--max_length", "5", "--truncation_strategy", "truncation_left", "--max_steps", "1"]).ok();
}

#[test]
fn an_output_directory_that_cannot_be_written() {
    let bench = Bench::new();
    let file = bench.write("in-the-way", "");
    for place in [file.as_str(), &format!("{file}/deeper"), "/proc/qwen-tui"] {
        for suffix in ["true", "false"] {
            let ended = bench.sft(&["--output_dir", place, "--add_output_dir_suffix", suffix]);
            ended.refused(&[place, "output directory"]);
        }
    }
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn what_was_in_the_output_directory_before_stays() {
    let bench = Bench::new();
    fs::create_dir(bench.path("mine")).unwrap();
    bench.write("mine/notes.txt", "mine");
    let ended = bench.sft(&["--output_dir", "mine", "--add_output_dir_suffix", "false", "--max_length", "5"]);
    ended.refused(&["max_length"]);
    let left: Vec<_> = fs::read_dir(bench.path("mine")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);

    fs::create_dir(bench.path("empty")).unwrap();
    bench.sft(&["--output_dir", "empty", "--max_length", "5"]).refused(&["max_length"]);
    assert_eq!(fs::read_dir(bench.path("empty")).unwrap().count(), 0, "it was there, and it was empty");

    // A run that got further is never touched.
    bench.sft(&["--output_dir", "run", "--add_output_dir_suffix", "false", "--max_steps", "1"]).ok();
    let again = bench.sft(&["--output_dir", "run", "--add_output_dir_suffix", "false"]);
    again.refused(&["run", "already holds a run"]);
    assert!(bench.path("run/checkpoint-1").is_dir() && bench.path("run/events.jsonl").is_file());
}

#[test]
fn the_command_line() {
    let bench = Bench::new();
    for (more, needles) in [
        (&["--lora_rnak", "8"][..], &["--lora_rnak", "did you mean --lora_rank"][..]),
        (&["--lora_rank", "eight"], &["lora_rank", "\"eight\"", "a whole number"]),
        (&["--lora_rank", "0"], &["lora_rank is 0", "1"]),
        (&["--lora_rank", "1.5"], &["lora_rank", "1.5"]),
        (&["--lora_rank"], &["--lora_rank has no value"]),
        (&["--max_length", "0"], &["max_length is 0"]),
        (&["--batch_size", "-1"], &["batch_size is -1"]),
        (&["--batch_size", "99999999999999999999"], &["batch_size", "99999999999999999999"]),
        (&["--learning_rate", "NaN"], &["learning_rate", "NaN"]),
        (&["--learning_rate", "inf"], &["learning_rate", "inf"]),
        (&["--learning_rate", "0"], &["learning_rate is 0"]),
        (&["--num_train_epochs", "0"], &["num_train_epochs is 0"]),
        (&["--warmup_ratio", "2"], &["warmup_ratio is 2"]),
        (&["--lora_dropout_p", "1"], &["lora_dropout_p is 1"]),
        (&["--save_steps", "3", "--eval_steps", "2"], &["save_steps", "multiple of eval_steps"]),
        (&["--dtype", "int8"], &["dtype", "\"int8\"", "bf16"]),
        (&["--dtype", "fp16"], &["dtype", "fp16 needs a GPU", "bf16 or fp32"]),
        (&["--lora_dtype", "fp16"], &["lora_dtype", "fp16 needs a GPU"]),
        (&["--device", "tpu"], &["device", "\"tpu\"", "cuda:N"]),
        (&["--device", "cuda:99"], &["device", "cuda:99"]),
        (&["--device", "cuda:99999999999999999999"], &["device", "cuda:99999999999999999999"]),
        (&["--lora_target_modules", "no_such"], &["lora_target_modules", "\"no_such\"", "c_attn"]),
        (&["--lora_target_modules", "c_attn", "q_proj"], &["lora_target_modules", "\"q_proj\""]),
        (&["--lora_target_modules="], &["lora_target_modules"]),
        (&["--lora_modules_to_save", "no_such"], &["lora_modules_to_save", "\"no_such\"", "lm_head"]),
        (&["--sft_type", "full", "--freeze_parameters", "1"], &["freeze_parameters"]),
        (&["--sft_type", "qlora"], &["sft_type", "\"qlora\""]),
        (&["--quantization_bit", "4"], &["quantization_bit is 4", "not supported"]),
        (&["--model_type", "qwen9"], &["model_type", "\"qwen9\"", "qwen-1_8b"]),
        (&["--system", "你是", "--template_type", "default-generation"], &["system"]),
        (&["--init_adapter", "/nowhere/a.safetensors"], &["init_adapter", "/nowhere/a.safetensors"]),
        (&["--init_adapter", "rows.jsonl"], &["init_adapter", "rows.jsonl", "not a whole safetensors file"]),
        (
            &["--init_adapter", "model/model.safetensors"],
            &["model.safetensors", "none of the trained modules"],
        ),
        (&["--resume_from_checkpoint", "/nowhere/checkpoint-1"], &["/nowhere/checkpoint-1"]),
        (&["stray"], &["stray"]),
    ] {
        refused(&bench, more, needles);
    }
}

#[test]
fn cuda_where_there_is_none() {
    let bench = Bench::new();
    if Path::new("/proc/driver/nvidia/version").exists() {
        eprintln!("skipped: this machine has an NVIDIA driver");
        return;
    }
    refused(
        &bench,
        &["--device", "cuda"],
        &["device: cuda was asked for", "device to cpu", "qwen-tui doctor"],
    );
    let ckpt = bench.words(&[
        "infer",
        "--model_type",
        "qwen-1_8b",
        "--model_id_or_path",
        "model",
        "--device",
        "cuda:0",
    ]);
    ckpt.refused(&["device: cuda:0 was asked for"]);
}

#[test]
fn files_of_arguments() {
    let bench = Bench::new();
    let config = |content: &[u8], needles: &[&str]| {
        let file = bench.write("args.json", content);
        refused(&bench, &["--config", &file], needles);
    };
    config(b"", &["args.json is empty", "a JSON object"]);
    config(b"\xef\xbb\xbf \n", &["args.json is empty"]);
    config(b"{\"model_type\": \"qwen-1_8b\"", &["args.json, line 1", "not valid JSON"]);
    let faults = b"{\"lora_rank\": -1,\n\"batch_size\": 4,\n\"seed\": \"x\",\n\"eval_steps\": 0}";
    config(faults, &["args.json, line 1: lora_rank is -1", "; also wrong: seed, eval_steps"]);
    config(b"{\n  \"lora_rank\": 8,\n}", &["args.json, line 3", "not valid JSON"]);
    config(b"[]", &["args.json", "a JSON object"]);
    config(b"{\n  \"lora_rank\": \"8\"\n}", &["args.json, line 2", "lora_rank is \"8\"", "a whole number"]);
    config(b"{\"learning_rate\": NaN}", &["args.json, line 1", "not valid JSON"]);
    config(b"{\"seed\": \xff}", &["args.json, line 1", "not UTF-8"]);
    config("[".repeat(100_000).as_bytes(), &["args.json"]);
    refused(&bench, &["--config", "/nowhere/args.json"], &["/nowhere/args.json", "no such file"]);
    refused(&bench, &["--config", "model"], &["model", "directory"]);
    refused(&bench, &["--config"], &["--config wants a file"]);
}

#[test]
fn no_engine() {
    let bench = Bench::new();
    for words in [
        bench.sft_words(&[]),
        vec!["infer".into(), "--ckpt_dir".into(), "x".into()],
        vec!["classify".into(), "好".into()],
    ] {
        let output = std::process::Command::new(common::PROGRAM)
            .args(&words)
            .env("QWEN_TUI_ENGINE", "/nonexistent")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.starts_with("error: ") && text.matches("error: ").count() == 1, "{text}");
        assert!(text.contains("QWEN_TUI_ENGINE=/nonexistent") && text.contains("make build"), "{text}");
    }
    assert!(!bench.path("out").exists());
}

#[test]
fn tokenize_says_where() {
    let bench = Bench::new();
    let tokenize = |input: &str| bench.run(&["tokenize", "--model", "model"].map(str::to_owned), input);
    tokenize("\"a\"\n\nnot json\n").refused(&["standard input, line 3", "JSON string"]);
    tokenize("[1]\n").refused(&["line 1", "JSON string"]);
    assert_eq!(tokenize("\"ab\"\n").ok(), "[97,98]\n");
    bench.words(&["tokenize", "--model", "/nowhere"]).refused(&["/nowhere/qwen.tiktoken"]);
}

/// A path in a message is one line, whatever it holds.
#[test]
fn a_line_break_in_a_path_makes_no_line_of_its_own() {
    let bench = Bench::new();
    let bad = "x\nerror: fake";
    let at = |name: String| bench.path(&name).display().to_string();
    fs::create_dir(bench.path(bad)).unwrap();
    let empty = bench.write(&format!("{bad}.csv"), "");
    let cases: Vec<Vec<String>> = [
        ("--custom_train_dataset_path", at(format!("no/{bad}.csv"))),
        ("--custom_train_dataset_path", at(format!("no/{bad}.txt"))),
        ("--custom_train_dataset_path", empty),
        ("--custom_val_dataset_path", at(format!("no/{bad}.csv"))),
        ("--model_id_or_path", at(format!("no/{bad}"))),
        ("--model_id_or_path", at(bad.to_owned())),
        ("--model_cache_dir", at(bad.to_owned())),
        ("--init_adapter", at(bad.to_owned())),
        ("--resume_from_checkpoint", at(bad.to_owned())),
        ("--output_dir", at(bad.to_owned())),
        ("--logging_dir", at(format!("{bad}.csv/in"))),
        ("--config", at(bad.to_owned())),
        (&format!("--{bad}"), "1".to_owned()),
    ]
    .map(|(flag, value)| vec![flag.to_owned(), value])
    .into();
    for case in cases {
        let words: Vec<&str> = case.iter().map(String::as_str).collect();
        let message = bench.sft(&words).refused(&["x\\nerror: fake"]);
        assert!(!message.contains("\nerror: "), "{message}");
    }
}
