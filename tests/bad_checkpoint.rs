//! Wrong checkpoints, and what else `infer` and `classify` can be asked for in vain.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use common::{Bench, Ended, HIDDEN, Tensors, random, write_tensors};
use qwen_tui::run::{AdapterConfig, Bias, Layout, RunDir, write_checkpoint};
use rand_mt::Mt;
use serde_json::json;

const RANK: usize = 4;

fn adapter() -> Tensors {
    let mut mt = Mt::new(3);
    let mut put = |half: &str, shape: &[usize]| {
        random(&format!("transformer.h.0.attn.c_attn.{half}.default.weight"), shape, 0.0, 0.1, &mut mt)
    };
    vec![put("lora_A", &[RANK, HIDDEN]), put("lora_B", &[3 * HIDDEN, RANK])]
}

/// Writes `run/checkpoint-1` with `adapter` in it, as a run does.
fn checkpoint(bench: &Bench, adapter: &Tensors) -> PathBuf {
    let run = RunDir::create(&bench.path("run"), "qwen-1_8b", false).unwrap();
    let args = json!({
        "model_type": "qwen-1_8b", "model_id_or_path": bench.path("model"), "sft_type": "lora", "dtype": "fp32",
        "template_type": "default-generation", "dataset": [], "custom_train_dataset_path": [bench.path("rows.jsonl")],
    });
    let config = AdapterConfig {
        r: RANK as u64,
        lora_alpha: 32.0,
        lora_dropout: 0.05,
        target_modules: vec!["c_attn".into()],
        bias: Bias::None,
        modules_to_save: Vec::new(),
        lora_dtype: Some("fp32".into()),
        base_model_name_or_path: None,
    };
    let fill = |dir: &std::path::Path| {
        fs::write(dir.join("sft_args.json"), args.to_string()).unwrap();
        write_tensors(&config.write(dir, Layout::Swift)?, adapter);
        Ok(())
    };
    write_checkpoint(&run, 1, fill).unwrap().0
}

/// `classify` with a checkpoint whose files were changed by `change`; the checksums go first where `checked` is false.
fn changed(checked: bool, change: impl Fn(&Bench, &str)) -> Ended {
    let bench = Bench::new();
    let dir = checkpoint(&bench, &adapter());
    if !checked {
        fs::remove_file(dir.join("checksums.json")).unwrap();
    }
    change(&bench, "run/checkpoint-1");
    bench.words(&["classify", "--ckpt_dir", "run/checkpoint-1", "--device", "cpu", "好"])
}

#[test]
fn a_good_one_answers() {
    let ended = changed(true, |_, _| {});
    let verdict: serde_json::Value = serde_json::from_str(ended.ok()).unwrap();
    assert_eq!(verdict["text"], "好");
    // SWIFT's have no checksums.
    changed(false, |_, _| {}).ok();
}

#[test]
fn no_checkpoint() {
    let bench = Bench::new();
    for task in ["infer", "classify"] {
        bench.words(&[task, "--ckpt_dir", "/nowhere/checkpoint-1"]).refused(&[
            "ckpt_dir",
            "/nowhere/checkpoint-1",
            "none of this name",
        ]);
        bench.words(&[task, "--ckpt_dir", "rows.jsonl"]).refused(&["ckpt_dir", "rows.jsonl", "directory"]);
        bench.words(&[task]).refused(&["--ckpt_dir DIR"]);
        bench.words(&[task, "--ckpt_dri", "x"]).refused(&["--ckpt_dri", "did you mean --ckpt_dir"]);
        bench.words(&[task, "--ckpt_dir", "model"]).refused(&["model_type"]);
    }
    bench
        .words(&[
            "infer",
            "--ckpt_dir",
            "model",
            "--model_type",
            "qwen-1_8b",
            "--model_id_or_path",
            "model",
            "--load_dataset_config",
            "true",
        ])
        .refused(&["load_dataset_config", "sft_args.json"]);
    fs::create_dir(bench.path("empty")).unwrap();
    bench
        .words(&["infer", "--ckpt_dir", "empty", "--model_type", "qwen-1_8b", "--model_id_or_path", "model"])
        .refused(&["empty holds no adapter", "adapter_config.json"]);
}

#[test]
fn a_damaged_checkpoint() {
    let weights = "default/adapter_model.safetensors";
    let cut = |bench: &Bench, dir: &str, file: &str| {
        let path = bench.path(dir).join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(path, &whole[..whole.len() - 9]).unwrap();
    };
    changed(true, |b, dir| cut(b, dir, weights)).refused(&[weights, "is damaged", "use another checkpoint"]);
    changed(false, |b, dir| cut(b, dir, weights)).refused(&[weights, "truncated"]);
    changed(true, |b, dir| cut(b, dir, "checksums.json")).refused(&["checksums.json"]);
    changed(true, |b, dir| fs::remove_file(b.path(dir).join(weights)).unwrap()).refused(&[weights]);
    changed(false, |b, dir| fs::remove_file(b.path(dir).join(weights)).unwrap())
        .refused(&["weights are missing", weights]);
    changed(false, |b, dir| fs::remove_dir_all(b.path(dir).join("default")).unwrap())
        .refused(&["holds no adapter"]);
    changed(true, |b, dir| fs::remove_file(b.path(dir).join("sft_args.json")).unwrap())
        .refused(&["sft_args.json is missing", "use another checkpoint"]);
    changed(true, |b, dir| cut(b, dir, "sft_args.json"))
        .refused(&["sft_args.json, line 1", "not valid JSON"]);
    changed(false, |b, dir| {
        let from = b.path(dir).join(weights);
        fs::rename(&from, from.with_file_name("adapter_model.bin")).unwrap();
    })
    .refused(&["adapter_model.bin", "pickle"]);
}

#[test]
fn weights_that_do_not_fit_their_config() {
    let with = |adapter: &Tensors| {
        let bench = Bench::new();
        checkpoint(&bench, adapter);
        bench.words(&["classify", "--ckpt_dir", "run/checkpoint-1", "--device", "cpu", "好"])
    };
    let mut other = adapter();
    (other[0].1, other[0].2) = (vec![2, HIDDEN], vec![0.0; 2 * HIDDEN]);
    with(&other).refused(&[
        "adapter_model.safetensors",
        "c_attn.lora_A has shape [2, 16]",
        "expected [4, 16]",
    ]);
    let mut foreign = adapter();
    foreign.push(("model.layers.0.q_proj.lora_A.weight".into(), vec![1], vec![0.0]));
    with(&foreign).refused(&[
        "adapter_model.safetensors",
        "model.layers.0.q_proj.lora_A",
        "none of the trained modules",
    ]);
    with(&adapter()[..1].to_vec()).refused(&["adapter_model.safetensors", "c_attn.lora_B is missing"]);
    with(&Vec::new()).refused(&["adapter_model.safetensors", "is missing"]);
    let mut number = adapter();
    (number[0].1, number[0].2) = (vec![], vec![0.0]);
    with(&number).refused(&["adapter_model.safetensors", "c_attn.lora_A has shape []"]);
}

#[test]
fn the_adapters_config() {
    let with = |key: &str, value: serde_json::Value| {
        changed(false, |bench, dir| {
            let path = bench.path(dir).join("default/adapter_config.json");
            let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            config[key] = value.clone();
            fs::write(path, config.to_string()).unwrap();
        })
    };
    for (key, value, needle) in [
        ("r", json!(0), "r is 0"),
        ("r", json!(1i64 << 60), "r is 1152921504606846976"),
        ("r", json!(8), "has shape"),
        ("lora_alpha", json!("x"), "lora_alpha is \"x\""),
        ("target_modules", json!(["no_such"]), "\"no_such\" matches no linear layer"),
        ("target_modules", json!([]), "target_modules"),
        ("target_modules", json!("c_attn|c_proj"), "target_modules"),
        ("swift_type", json!("ADAPTER"), "swift_type is \"ADAPTER\""),
        ("use_dora", json!(true), "use_dora"),
    ] {
        with(key, value).refused(&["default/adapter_", needle]);
    }
}

#[test]
fn the_model_that_a_checkpoint_names_is_gone() {
    changed(true, |bench, _| fs::remove_dir_all(bench.path("model")).unwrap()).refused(&[
        "model",
        "no such model directory",
        "as model_id_or_path",
    ]);
}

#[test]
fn texts_to_classify() {
    let bench = Bench::new();
    checkpoint(&bench, &adapter());
    let words = ["classify", "--ckpt_dir", "run/checkpoint-1", "--device", "cpu"].map(str::to_owned);
    for nothing in ["", "\n \n"] {
        bench.run(&words, nothing).refused(&["no text to classify", "standard input"]);
    }
    let long = "好".repeat(2000);
    let told = bench.run(&words, &format!("好\n\n{long}\n"));
    told.refused(&["standard input, line 3", "context is 1024", "shorten it"]);
    // What stands before it has its answer.
    assert_eq!(told.stdout.lines().count(), 1, "{}", told.stdout);
    // 300 lines are more than one batch.
    let many = "好\n".repeat(300) + &long;
    let told = bench.run(&words, &many);
    told.refused(&["standard input, line 301"]);
    assert_eq!(told.stdout.lines().count(), 300);
    let args = [&words[..], &["好".to_owned(), long.clone()]].concat();
    bench.run(&args, "").refused(&["text 2", "context is 1024"]);
    assert!(bench.run(&words, "\u{feff}好\n").ok().starts_with("{\"text\":\"好\""));
    let mut input = Vec::from("好\n".as_bytes());
    input.extend(b"\xba\xc3\n");
    fs::write(bench.path("gbk.txt"), input).unwrap();
    let script = format!("{} {} < gbk.txt", common::PROGRAM, words.join(" "));
    let output =
        std::process::Command::new("sh").args(["-c", &script]).current_dir(bench.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("standard input, line 2: not UTF-8") && said.contains("iconv"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    for task in ["infer", "classify"] {
        let mut command = std::process::Command::new(common::PROGRAM);
        let output = command.arg(task).arg(OsStr::from_bytes(b"\xff")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("argument 1") && said.contains("not UTF-8") && !said.contains("Usage"),
            "{said}"
        );
    }
}

/// `infer` at a prompt whose input is `input`, with `more`; how it ended, and the answer files in the checkpoint.
fn talk(bench: &Bench, input: &str, more: &[&str]) -> (Ended, usize) {
    let how = ["infer", "--ckpt_dir", "run/checkpoint-1", "--device", "cpu", "--max_new_tokens", "2"];
    let words: Vec<String> = how.iter().chain(more).map(|w| w.to_string()).collect();
    let ended = bench.run(&words, input);
    let files = fs::read_dir(bench.path("run/checkpoint-1")).unwrap().flatten();
    let count = files.filter(|f| f.file_name().to_string_lossy().starts_with("infer_result_")).count();
    (ended, count)
}

#[test]
fn a_conversation_is_saved_from_its_first_answer_on() {
    let bench = Bench::new();
    checkpoint(&bench, &adapter());
    for input in ["", "exit\n", "clear\nquit\n"] {
        let (ended, files) = talk(&bench, input, &[]);
        assert!(ended.ok().ends_with("<<< \n"), "{:?}", ended.stdout);
        assert_eq!(files, 0);
    }
    let (ended, files) = talk(&bench, "好\n", &[]);
    ended.ok();
    assert!(
        files == 1 && ended.stderr.contains("answers: run/checkpoint-1/infer_result_"),
        "{}",
        ended.stderr
    );
}

#[test]
fn ctrl_c_stops_the_answer_and_not_the_conversation() {
    let bench = Bench::new();
    checkpoint(&bench, &adapter());
    let words = "infer --ckpt_dir run/checkpoint-1 --device cpu --threads 1 --do_sample false --max_new_tokens 100000";
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    // `exit` comes after the answer, which goes on for long.
    let started = bench.start(&words, "好\nexit\n");
    started.wait_for("<<< ");
    std::thread::sleep(std::time::Duration::from_millis(500));
    started.signal_group(rustix::process::Signal::INT);
    let ended = started.wait();
    assert!(ended.ok().ends_with("<<< \n") && ended.stdout.contains("-----"), "{:?}", ended.stdout);
    assert!(ended.stderr.contains("answers: run/checkpoint-1/infer_result_"), "{}", ended.stderr);
}

#[test]
fn prompts_that_are_too_long() {
    let bench = Bench::new();
    checkpoint(&bench, &adapter());
    let (ended, files) = talk(&bench, "好好好\n", &["--max_length", "8"]);
    assert!(ended.ok().ends_with("<<< <<< \n") && files == 0, "{:?}", ended.stdout);
    assert!(ended.stderr.contains("9 tokens, more than max_length 8"), "{}", ended.stderr);
    let cut = ["--max_length", "8", "--truncation_strategy", "truncation_left"];
    assert_eq!(talk(&bench, "好好好\n", &cut).1, 1);
    // Dynamic NTK goes beyond the context of 1024; a model without it does not.
    let rows =
        ["infer", "--ckpt_dir", "run/checkpoint-1", "--load_dataset_config", "true", "--device", "cpu"];
    let rows = |more: &[&str]| bench.words(&[&rows[..], &["--val_dataset_sample", "2"], more].concat());
    rows(&["--max_length", "10"]).refused(&["every validation row is longer than max_length"]);
    let (ended, _) = talk(&bench, &format!("{}\n", "a".repeat(1023)), &[]);
    ended.ok();
    assert!(
        ended.stderr.contains("1023 tokens") && ended.stderr.contains("context of 1024"),
        "{}",
        ended.stderr
    );
    let mut config = common::config();
    config["use_dynamic_ntk"] = json!(false);
    bench.write("model/config.json", config.to_string());
    rows(&["--max_new_tokens", "1024"]).refused(&[
        "validation row 1",
        "context of 1024",
        "lower max_new_tokens",
    ]);
}

#[test]
fn answers_that_cannot_be_saved_are_told_all_the_same() {
    if rustix::process::getuid().is_root() {
        eprintln!("skipped: root may write anywhere");
        return;
    }
    let bench = Bench::new();
    let dir = checkpoint(&bench, &adapter());
    let mode = |bits| fs::set_permissions(&dir, fs::Permissions::from_mode(bits)).unwrap();
    mode(0o555);
    let (ended, files) = talk(&bench, "好\n不好\n", &[]);
    mode(0o755);
    ended.ok();
    assert_eq!((files, ended.stderr.matches("answers are not saved").count()), (0, 1), "{}", ended.stderr);
}

#[test]
fn asked_for_in_vain() {
    let bench = Bench::new();
    checkpoint(&bench, &adapter());
    for (more, needles) in [
        (&["--max_new_tokens", "0"][..], &["max_new_tokens is 0"][..]),
        (&["--temperature", "0"], &["temperature is 0"]),
        (&["--top_p", "1.5"], &["top_p is 1.5"]),
        (&["--do_sample", "perhaps"], &["do_sample", "\"perhaps\""]),
        (&["--dtype", "fp16"], &["dtype", "fp16 needs a GPU"]),
        (&["--device", "cuda:99"], &["device", "cuda:99"]),
        (&["--num_beams", "4"], &["num_beams is 4", "not supported"]),
        (&["--template_type", "nonsense"], &["template_type", "\"nonsense\""]),
        (&["--val_dataset_sample", "0", "--load_dataset_config", "true"], &["val_dataset_sample is 0"]),
        (&["--eval_human", "false"], &["eval_human", "--load_dataset_config true"]),
        (&["--custom_val_dataset_path", "/nowhere/dev.csv"], &["/nowhere/dev.csv"]),
        (&["stray"], &["stray"]),
    ] {
        bench.words(&[&["infer", "--ckpt_dir", "run/checkpoint-1"], more].concat()).refused(needles);
    }
}
