use serde_json::json;

use super::*;
use crate::args::load_sft;
use crate::run::{AdapterConfig, Layout, write_checkpoint};

fn args(out: &Path, more: &str) -> SftArgs {
    let words = format!("--model_type qwen-7b --dataset a --output_dir {} {more}", out.display());
    load_sft(None, &words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap().args
}

fn from(dir: &Path, more: &str) -> String {
    format!("--resume_from_checkpoint {} --resume_only_model true {more}", dir.display())
}

/// A run with adapters of rank 8 and alpha 32, without the training's state, written in this order.
fn run(out: &Path, steps: &[u64]) -> RunDir {
    let mine = args(out, "");
    let run = RunDir::create(out, &mine.model_type, true).unwrap();
    run.write_args(&mine.to_json()).unwrap();
    fs::write(run.events_file(), "").unwrap();
    for step in steps {
        let fill = |dir: &Path| {
            let config = AdapterConfig {
                r: 8,
                lora_alpha: 32.0,
                lora_dropout: 0.0,
                target_modules: vec!["c_attn".to_owned()],
                bias: crate::run::Bias::None,
                modules_to_save: Vec::new(),
                lora_dtype: None,
                base_model_name_or_path: None,
            };
            fs::write(config.write(dir, Layout::Swift).unwrap(), "weights").unwrap();
            Ok(())
        };
        write_checkpoint(&run, *step, fill).unwrap();
    }
    run
}

/// A checkpoint of full training.
fn whole_model(run: &RunDir, step: u64) -> PathBuf {
    let fill = |dir: &Path| {
        for file in ["config.json", "qwen.tiktoken", "model.safetensors"] {
            fs::write(dir.join(file), file).unwrap();
        }
        Ok(())
    };
    write_checkpoint(run, step, fill).unwrap();
    run.checkpoint(step)
}

#[track_caller]
fn new(args: SftArgs) -> (SftArgs, String) {
    match Begin::from(args).unwrap() {
        Begin::New { args, notes } => (*args, notes.join("\n")),
        Begin::Resume { resume, .. } => panic!("{resume:?}"),
    }
}

#[track_caller]
fn refused(args: SftArgs, needles: &[&str]) {
    let e = Begin::from(args).unwrap_err();
    let text = e.to_string();
    assert!(e.exit_code() == 2 && needles.iter().all(|n| text.contains(n)), "{text}");
}

#[test]
fn without_a_wish_a_run_is_new() {
    let out = tempfile::tempdir().unwrap();
    let mine = args(out.path(), "");
    assert_eq!(new(mine.clone()), (mine, String::new()));
    // The newest run, where there is none.
    let (begun, notes) = new(args(out.path(), "--resume_from_checkpoint last"));
    assert!(
        begun.resume_from_checkpoint.is_none() && notes.contains("starting from the beginning"),
        "{notes}"
    );
}

#[test]
fn an_adapter_comes_from_a_checkpoint_a_run_or_the_newest_run() {
    let out = tempfile::tempdir().unwrap();
    let root = out.path().canonicalize().unwrap();
    run(&root, &[5]);
    let newer = run(&root, &[10, 20]);
    let weights = |step| newer.checkpoint(step).join("default/adapter_model.safetensors");
    for (dir, step) in [
        (newer.checkpoint(10), 10),
        (newer.checkpoint(10).join("default"), 10),
        (newer.path().to_owned(), 20),
        (PathBuf::from("last"), 20),
    ] {
        // Another learning rate is no reason against it: it is a new run.
        let (begun, notes) = new(args(&root, &from(&dir, "--learning_rate 7e-4")));
        assert_eq!(begun.init_adapter.as_deref(), weights(step).to_str(), "{dir:?}");
        assert!(begun.resume_from_checkpoint.is_none() && !begun.resume_only_model);
        assert!(
            begun.learning_rate == 7e-4 && notes.contains("starting a new run from the weights of"),
            "{notes}"
        );
    }
    // What else would have been begun with is not left out in silence.
    let (begun, notes) = new(args(&root, &from(&newer.checkpoint(10), "--init_adapter mine.safetensors")));
    assert_eq!(begun.init_adapter.as_deref(), weights(10).to_str());
    assert!(notes.contains("init_adapter mine.safetensors is left out"), "{notes}");
    // A damaged one is passed over, or refused where it is named.
    fs::write(weights(20), "weighty").unwrap();
    let (begun, notes) = new(args(&root, &from(newer.path(), "")));
    assert_eq!(begun.init_adapter.as_deref(), weights(10).to_str());
    assert!(notes.contains("checkpoint-20 is not whole"), "{notes}");
    refused(args(&root, &from(&newer.checkpoint(20), "")), &["damaged"]);
}

#[test]
fn a_whole_model_takes_the_bases_place() {
    let out = tempfile::tempdir().unwrap();
    let run = run(out.path(), &[]);
    let model = whole_model(&run, 30);
    for dir in [run.path(), &model] {
        let (begun, _) = new(args(out.path(), &from(dir, "--sft_type full --model_cache_dir /base")));
        assert_eq!(begun.model_id_or_path.as_deref(), model.to_str());
        assert_eq!((begun.model_cache_dir, begun.init_adapter), (None, None));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let (empty, adapter) = (run(out.path(), &[]), run(out.path(), &[3]));
    let checkpoint = adapter.checkpoint(3);
    let mine = |dir: &Path, more: &str| args(out.path(), &from(dir, more));
    refused(mine(empty.path(), ""), &["no whole checkpoint yet"]);
    refused(mine(Path::new("/nowhere"), ""), &["resume_from_checkpoint: /nowhere"]);
    refused(mine(&checkpoint, "--sft_type full"), &["no whole model", "sft_type lora"]);
    refused(mine(&whole_model(&empty, 4), ""), &["is a whole model", "model_id_or_path"]);
    refused(mine(&checkpoint, "--lora_rank 4"), &["lora_rank is 4 here and 8", "give lora_rank 8"]);
    refused(mine(adapter.path(), "--lora_alpha 16"), &["lora_alpha is 16 here and 32"]);
    let config = checkpoint.join("default/adapter_config.json");
    fs::write(&config, json!({"r": "many"}).to_string()).unwrap();
    refused(mine(&checkpoint.join("default"), ""), &["adapter_config.json"]);
    let nothing = tempfile::tempdir().unwrap();
    refused(args(nothing.path(), &from(Path::new("last"), "")), &["no run in", "has a checkpoint"]);
    let words =
        "--model_type qwen-7b --dataset a --resume_only_model true".split_whitespace().map(str::to_owned);
    let e = load_sft(None, &words.collect::<Vec<_>>()).unwrap_err().to_string();
    assert!(e.contains("resume_only_model") && e.contains("resume_from_checkpoint"), "{e}");
}
