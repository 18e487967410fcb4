//! Jobs from names alone: model and data are found where the hubs' own tools keep them.

#[path = "../common/mod.rs"]
mod common;
mod queued;
mod served;
#[path = "../hub/server/mod.rs"]
mod server;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{Bench, Ended, rows};
use serde_json::Value;

const JOB: [&str; 17] = [
    "sft",
    "--model_type",
    "qwen-1_8b",
    "--dataset",
    "jd-sentiment-zh",
    "--max_steps",
    "2",
    "--eval_steps",
    "1",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--dtype",
    "fp32",
    "--output_dir",
    "out",
];
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The bench's model, put where a tool of a hub would have it.
fn put_model(bench: &Bench, place: &str) -> PathBuf {
    let dir = bench.path(place);
    fs::create_dir_all(&dir).unwrap();
    for file in fs::read_dir(bench.path("model")).unwrap().flatten() {
        fs::copy(file.path(), dir.join(file.file_name())).unwrap();
    }
    dir
}

/// JD's two files, as CSV.
fn put_data(bench: &Bench, place: &str) {
    for (file, count) in [("train.csv", 40), ("dev.csv", 6)] {
        let line = |row: &Value| format!("{},{},jd\n", row["sentence"].as_str().unwrap(), row["label"]);
        let text: String = rows(count).iter().map(line).collect();
        bench.write(&format!("{place}/{file}"), format!("sentence,label,dataset\n{text}"));
    }
}

fn sft(bench: &Bench, more: &[&str]) -> Ended {
    bench.words(&[&JOB[..], more].concat())
}

/// What a command printed as its run's directory.
fn run_dir(ended: &Ended) -> PathBuf {
    ended.ok().lines().find_map(|line| line.strip_prefix("run_dir: ")).unwrap().into()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Every file below `dir`, with its length and time of change.
fn state(dir: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let meta = entry.path().symlink_metadata().unwrap();
        all.push((entry.path(), meta.len(), meta.modified().unwrap()));
        if meta.is_dir() {
            all.extend(state(&entry.path()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_model_type_and_a_data_sets_name_are_enough_from_training_to_merging() {
    let bench = Bench::new();
    let model = put_model(&bench, "modelscope/hub/qwen/Qwen-1_8B");
    put_data(&bench, "modelscope/hub/datasets/DAMO_NLP/jd");
    let before = state(&bench.path("modelscope"));
    let trained = sft(&bench, &[]);
    let run = run_dir(&trained);
    for line in ["qwen/Qwen-1_8B: found in ModelScope's cache", "DAMO_NLP/jd: found in ModelScope's cache"] {
        assert_eq!(trained.stderr.matches(line).count(), 1, "{}", trained.stderr);
    }
    // 40 rows, and the validation rows of the data set's own file.
    assert!(trained.stderr.contains("training 40 rows"), "{}", trained.stderr);
    let checkpoint = run.join("checkpoint-2");
    for file in [run.join("sft_args.json"), checkpoint.join("sft_args.json")] {
        let args = json(&file);
        assert_eq!(args["model_id_or_path"], "qwen/Qwen-1_8B");
        assert_eq!(
            (&args["model_cache_dir"], &args["custom_val_dataset_path"]),
            (&Value::Null, &Value::Array(vec![]))
        );
        assert_eq!(args["dataset"], serde_json::json!(["jd-sentiment-zh"]));
    }
    assert_eq!(json(&run.join("sources.json"))["model"], model.to_str().unwrap());

    let at = checkpoint.to_str().unwrap();
    let cpu = ["--device", "cpu", "--threads", "1"];
    let answered = bench.words(
        &[&["infer", "--ckpt_dir", at, "--load_dataset_config", "true", "--max_new_tokens", "2"], &cpu[..]]
            .concat(),
    );
    assert_eq!(answered.ok().matches("[LABELS]").count(), 6);
    let labelled = bench.words(&[&["classify", "--ckpt_dir", at], &cpu[..], &["很好用"]].concat());
    assert!(labelled.ok().contains(r#""text":"很好用""#), "{}", labelled.stdout);
    bench.words(&["merge-lora", "--ckpt_dir", at, "--threads", "1"]).ok();
    let merged = format!("{at}-merged");
    bench.words(&[&["classify", "--ckpt_dir", &merged], &cpu[..], &["很好用"]].concat()).ok();
    assert_eq!(state(&bench.path("modelscope")), before, "what a tool has put there is left as it was");
}

#[test]
fn a_run_goes_on_with_what_it_was_given_whatever_the_caches_have_since() {
    let bench = Bench::new();
    let cache = bench.path("huggingface/hub/models--Qwen--Qwen-1_8B");
    put_data(&bench, "modelscope/datasets/DAMO_NLP--jd/snapshots/master");
    put_model(&bench, "huggingface/hub/models--Qwen--Qwen-1_8B/blobs");
    let snapshot = cache.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    for file in fs::read_dir(cache.join("blobs")).unwrap().flatten() {
        symlink(Path::new("../../blobs").join(file.file_name()), snapshot.join(file.file_name())).unwrap();
    }
    bench.write("huggingface/hub/models--Qwen--Qwen-1_8B/refs/main", COMMIT);
    let words = ["--num_train_epochs", "50", "--max_steps", "-1", "--gradient_accumulation_steps", "1"];
    let words = [&JOB[..], &words].concat().iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let started = bench.start(&words, "");
    started.wait_to_hear("saved checkpoint-3");
    started.signal_group(rustix::process::Signal::INT);
    let stopped = started.wait();
    assert!(stopped.ok().contains("state: stopped"), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("Qwen/Qwen-1_8B: found in Hugging Face's cache"), "{}", stopped.stderr);
    let run = run_dir(&stopped);

    // The branch has moved on to something else, of which nothing is here.
    bench.write("huggingface/hub/models--Qwen--Qwen-1_8B/refs/main", "f".repeat(40));
    let at = run.to_str().unwrap();
    let again = bench.start(&["sft", "--resume_from_checkpoint", at].map(str::to_owned), "");
    again.wait_to_hear("going on from");
    again.wait_to_hear("saved checkpoint-");
    again.signal_group(rustix::process::Signal::INT);
    let again = again.wait();
    again.ok();
    assert!(again.stderr.contains("qwen/Qwen-1_8B: as before, from"), "{}", again.stderr);
    // A new run finds no whole one.
    sft(&bench, &[]).refused(&["qwen/Qwen-1_8B is not on this machine"]);

    // What is given by its path needs no name any more.
    let model = bench.path("model");
    let words = ["sft", "--resume_from_checkpoint", at, "--model_id_or_path", model.to_str().unwrap()];
    let moved = bench.start(&words.map(str::to_owned), "");
    moved.wait_to_hear("saved checkpoint-");
    moved.signal_group(rustix::process::Signal::INT);
    moved.wait().ok();
    assert_eq!(json(&run.join("sources.json"))["model"], model.to_str().unwrap());
}

#[test]
fn either_hub_can_be_first_and_any_repository_is_found() {
    let bench = Bench::new();
    put_data(&bench, "modelscope/hub/datasets/DAMO_NLP/jd");
    put_model(&bench, "modelscope/models/qwen/Qwen-1_8B");
    put_model(&bench, &format!("huggingface/hub/models--Qwen--Qwen-1_8B/snapshots/{COMMIT}"));
    put_model(&bench, "modelscope/models/me--My.Qwen/snapshots/v2");
    let from = |more: &[&str]| {
        let ended = sft(&bench, &[more, &["--max_steps", "1"]].concat());
        ended.ok();
        ended.stderr.lines().find(|l| l.contains("Qwen") && l.contains("found in")).unwrap().to_owned()
    };
    assert!(from(&[]).contains("ModelScope's cache"));
    assert!(from(&["--hub", "hf"]).contains("Hugging Face's cache"));
    assert!(from(&["--model_revision", COMMIT]).contains("Hugging Face's cache"));
    assert!(from(&["--model_id_or_path", "me/My.Qwen", "--model_revision", "v2"]).contains("snapshots/v2"));
    assert!(from(&["--model_id_or_path", "me/My.Qwen"]).contains("snapshots/v2"), "the only one");
    // A directory of that name comes first.
    put_model(&bench, "me/My.Qwen");
    let ended = sft(&bench, &["--model_id_or_path", "me/My.Qwen", "--max_steps", "1"]);
    assert!(!ended.stderr.contains("My.Qwen: found"), "{}", ended.stderr);
    assert_eq!(
        json(&run_dir(&ended).join("sources.json"))["model"],
        bench.path("me/My.Qwen").to_str().unwrap()
    );
}

/// `MsDataset` of modelscope 1.11 names files by checksums.
#[test]
fn rows_that_msdataset_has_loaded_are_trained_on_in_place() {
    let bench = Bench::new();
    put_model(&bench, "modelscope/hub/qwen/Qwen-1_8B");
    put_data(&bench, "rows");
    for (hash, file) in [("0a", "train.csv"), ("1b", "dev.csv")] {
        let hash = format!("loaded/DAMO_NLP/jd/master/data_files/{}", hash.repeat(32));
        let url = format!("https://host/api/v1/datasets/DAMO_NLP/jd/repo?Revision=master&FilePath={file}");
        bench.write(&hash, fs::read(bench.path("rows").join(file)).unwrap());
        bench.write(&format!("{hash}.json"), serde_json::json!({"url": url, "etag": null}).to_string());
    }
    let before = state(&bench.path("loaded"));
    let trained = sft(&bench, &["--max_steps", "1"]);
    run_dir(&trained);
    assert!(trained.stderr.contains("DAMO_NLP/jd: found in ModelScope's cache"), "{}", trained.stderr);
    assert!(trained.stderr.contains("training 40 rows"), "{}", trained.stderr);
    assert_eq!(state(&bench.path("loaded")), before);
}

#[test]
fn what_is_nowhere_is_told_in_one_message_with_what_to_do() {
    let bench = Bench::new();
    let message = sft(&bench, &[]).refused(&[
        "jd-sentiment-zh (DAMO_NLP/jd) is not on this machine",
        "qwen/Qwen-1_8B is not on this machine",
        "looked for Qwen/Qwen-1_8B in Hugging Face's cache",
        "MODELSCOPE_CACHE",
        "HF_HUB_CACHE or HF_HOME",
        "--model_id_or_path DIR",
        "--custom_val_dataset_path DIR/dev.csv",
    ]);
    assert!(message.contains(bench.path("modelscope").to_str().unwrap()), "{message}");
    assert!(!bench.path("out").exists(), "nothing is left of it");

    // A data set that does not exist is told before a model is looked for on a network.
    sft(&bench, &["--dataset", "jd-sentiment-hz"]).refused(&["dataset", "jd-sentiment-hz"]);
    sft(&bench, &["--dataset", "DAMO_NLP/jd"]).refused(&["DAMO_NLP/jd is called jd-sentiment-zh here"]);
    let page = "https://huggingface.co/Qwen/Qwen-1_8B/tree/v2";
    let message = sft(&bench, &["--model_id_or_path", page])
        .refused(&["--model_id_or_path Qwen/Qwen-1_8B --hub hf --model_revision v2"]);
    assert_eq!(message.matches("model_id_or_path:").count(), 1, "{message}");
    for (argument, page) in [
        ("--model_id_or_path", "https://huggingface.co/datasets/you/rows/tree/refs%2Fpr%2F1"),
        ("--dataset", "https://huggingface.co/datasets/you/rows/blob/refs%2Fpr%2F1/rows.csv"),
    ] {
        let message = sft(&bench, &[argument, page]).refused(&[
            "is the address of a data set's page",
            "`qwen-tui pull you/rows --dataset --hub hf --revision refs/pr/1 --to DIR`",
            "--dataset DIR/FILE",
        ]);
        let key = format!("{}:", &argument[2..]);
        assert_eq!(message.matches(&key).count(), 1, "{message}");
    }
    sft(&bench, &["--model_id_or_path", "jd-sentiment-zh"]).refused(&[
        "model_id_or_path: jd-sentiment-zh is the name of a data set",
        "--dataset jd-sentiment-zh trains on it",
    ]);
    sft(&bench, &["--model_id_or_path", "https://huggingface.co/spaces/you/x"])
        .refused(&["model_id_or_path: https://huggingface.co/spaces/you/x is the address of a space"]);
    sft(&bench, &["--dataset", "you/rows"]).refused(&["`qwen-tui pull you/rows --dataset --to DIR`"]);
    let message = bench.start_with(&JOB.map(str::to_owned), "", &[("USE_HF", "maybe")]).wait();
    let message = message.refused(&["USE_HF=maybe says neither yes nor no"]);
    assert!(!message.contains("model_id_or_path"), "{message}");
    // Half of a download.
    let half = put_model(&bench, "modelscope/hub/models/qwen/Qwen-1_8B");
    fs::remove_file(half.join("model.safetensors")).unwrap();
    fs::write(half.join("pytorch_model.bin"), "").unwrap();
    put_data(&bench, "modelscope/hub/datasets/DAMO_NLP/jd");
    let message = sft(&bench, &[]).refused(&["of no use", "safe_serialization=True"]);
    assert!(message.contains(half.to_str().unwrap()), "{message}");
    let dir = half.to_str().unwrap();
    sft(&bench, &["--model_id_or_path", dir]).refused(&["pickles", "safe_serialization=True"]);
    let labels = ["classify", "--model_type", "qwen-1_8b", "--device", "cpu", "好"];
    bench.words(&labels).refused(&["qwen/Qwen-1_8B is not on this machine"]);
}
