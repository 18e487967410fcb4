//! What a merge leaves behind, replaces and refuses.

use std::collections::BTreeMap;

use qwen_tui_engine::infer::merge::{Job, merge};
use qwen_tui_engine::model::weights;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::common::json;
use super::{Bench, as_swifts, run, str};

#[test]
fn nothing_is_left_of_a_merge_that_ends_early_and_nothing_is_lost() {
    let bench = Bench::new();
    let base = bench.path("model");
    let checkpoint = bench.checkpoint(&base, &[]);
    let job = bench.job(&base, &checkpoint);
    let beside = || {
        let mut names: Vec<_> = std::fs::read_dir(checkpoint.parent().unwrap())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = beside();
    let refused = |job: &Job, words: &[&str]| {
        let e = merge(job, &mut |_, _| true).unwrap_err();
        assert_eq!(e.exit_code(), 2, "{e}");
        words.iter().for_each(|word| assert!(e.to_string().contains(word), "{word}: {e}"));
    };
    let mut parts = 0;
    let e = merge(&job, &mut |done, total| {
        parts += 1;
        done < total / 2
    })
    .unwrap_err();
    assert!(parts > 1 && e.to_string().contains("nothing is left"), "{e}");
    assert_eq!(beside(), before);

    run(&job);
    let made = std::fs::read(job.target.join("merged.json")).unwrap();
    refused(&job, &["--overwrite", "is there already"]);
    let over = Job { overwrite: true, ..job.clone() };
    merge(&over, &mut |_, _| false).unwrap_err();
    assert_eq!(std::fs::read(job.target.join("merged.json")).unwrap(), made);
    // A file of the merge that the new one has not goes.
    std::fs::rename(base.join("LICENSE"), bench.path("LICENSE")).unwrap();
    run(&over);
    assert!(!job.target.join("LICENSE").exists() && job.target.join("model.safetensors").is_file());
    assert_eq!(beside().len(), before.len() + 1);
    // Only a merge is ever replaced, and never what it is made of.
    std::fs::write(bench.path("precious"), "").unwrap();
    std::fs::create_dir(bench.path("mine")).unwrap();
    std::fs::write(bench.path("mine/thesis"), "").unwrap();
    refused(&Job { target: bench.path("mine"), ..over.clone() }, &["has not made it"]);
    refused(&Job { target: base.clone(), ..over.clone() }, &["base model"]);
    refused(&Job { target: checkpoint.clone(), ..over.clone() }, &["checkpoint"]);
    refused(&Job { target: checkpoint.join("default"), ..over.clone() }, &["checkpoint"]);
    refused(&Job { target: bench.dir.path().to_owned(), ..over.clone() }, &["base model"]);
    refused(&Job { checkpoint: job.target.clone(), ..over.clone() }, &["nothing to merge"]);

    // An adapter that diverged.
    let weights_file = checkpoint.join("default/adapter_model.safetensors");
    let shard = weights::Shard::open(&weights_file).unwrap();
    let broken: BTreeMap<String, Tensor> = shard
        .tensors()
        .unwrap()
        .iter()
        .map(|(name, view)| {
            let tensor = weights::to_tensor(&view, Kind::Float, Device::Cpu).unwrap();
            (name.to_owned(), if name.contains("lora_B") { tensor * f64::NAN } else { tensor })
        })
        .collect();
    weights::save(&weights_file, &broken).unwrap();
    refused(&over, &["damaged"]);
    as_swifts(&checkpoint);
    refused(&over, &["not finite", "c_attn"]);
    assert!(job.target.join("model.safetensors").is_file());
}

#[test]
fn a_merge_takes_the_place_of_a_merge_and_of_nothing_that_came_into_it() {
    let bench = Bench::new();
    let base = bench.path("model");
    let checkpoint = bench.checkpoint(&base, &[]);
    let job = bench.job(&base, &checkpoint);
    run(&job);
    let over = Job { overwrite: true, ..job.clone() };
    let (saved, notes) = (job.target.join("output/checkpoint-2"), job.target.join("NOTES.txt"));
    let answers = job.target.join("infer_result_20261126-101500.jsonl");
    std::fs::create_dir_all(&saved).unwrap();
    std::fs::write(saved.join("model.safetensors"), "").unwrap();
    std::fs::write(&notes, "mine").unwrap();
    std::fs::write(job.target.join("train.py"), "mine").unwrap();
    std::fs::write(&answers, "{}").unwrap();
    let refused = |words: &str| {
        let e = merge(&over, &mut |_, _| true).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains(words), "{e}");
        assert!(saved.join("model.safetensors").is_file() || !words.contains("output"));
    };
    refused("also holds NOTES.txt, output, train.py: move");
    std::fs::remove_file(&notes).unwrap();
    std::fs::remove_file(job.target.join("train.py")).unwrap();
    refused("also holds output: move");
    // A training that begins while the merge is under way.
    std::fs::rename(job.target.join("output"), bench.path("aside")).unwrap();
    let e = merge(&over, &mut |_, _| {
        std::fs::create_dir_all(&saved).unwrap();
        true
    })
    .unwrap_err();
    assert!(e.to_string().contains("output came into it"), "{e}");
    assert!(saved.is_dir() && answers.is_file());
    std::fs::remove_dir_all(job.target.join("output")).unwrap();
    run(&over);
    assert_eq!(std::fs::read_to_string(&answers).unwrap(), "{}", "answers of infer go along");

    // A merge made before the record told its files.
    let record = job.target.join("merged.json");
    let mut older = json(&record);
    older.as_object_mut().unwrap().remove("files");
    let older = older.to_string();
    std::fs::write(&record, &older).unwrap();
    std::fs::write(&notes, "mine").unwrap();
    refused("also holds NOTES.txt: move");
    std::fs::remove_file(&notes).unwrap();
    run(&over);
    assert!(json(&record)["files"].as_array().unwrap().contains(&json!("model.safetensors")));
    // A record names files of its own directory, whatever stands in it.
    let outside = job.target.with_file_name("outside");
    std::fs::write(&outside, "mine").unwrap();
    let mut odd = json(&record);
    odd["files"].as_array_mut().unwrap().push(json!("../outside"));
    std::fs::write(&record, odd.to_string()).unwrap();
    run(&over);
    assert!(outside.is_file());
}

#[test]
fn a_link_is_followed_and_one_that_leads_nowhere_is_named() {
    let bench = Bench::new();
    let base = bench.path("model");
    let checkpoint = bench.checkpoint(&base, &[]);
    let (link, disk) = (bench.path("link"), bench.path("disk/deep"));
    std::fs::create_dir_all(&disk).unwrap();
    std::os::unix::fs::symlink(&disk, &link).unwrap();
    let job = Job { target: link.clone(), overwrite: true, ..bench.job(&base, &checkpoint) };
    for _ in 0..2 {
        run(&job);
        assert!(link.is_symlink() && disk.join("model.safetensors").is_file());
        assert_eq!(std::fs::read_dir(bench.path("disk")).unwrap().count(), 1);
    }
    std::fs::remove_dir_all(&disk).unwrap();
    for target in [link.clone(), link.join("m")] {
        let e = merge(&Job { target, ..job.clone() }, &mut |_, _| true).unwrap_err().to_string();
        assert!(e.contains("link: is a link to") && e.contains("disk/deep, which is not there"), "{e}");
    }
}

#[test]
fn what_lies_beside_the_weights_is_read_before_it_is_copied() {
    let bench = Bench::new();
    let base = bench.path("model");
    let checkpoint = bench.checkpoint(&base, &[]);
    let job = bench.job(&base, &checkpoint);
    for (dir, name) in [
        (&base, "qwen.tiktoken"),
        (&base, "generation_config.json"),
        (&base, "tokenizer_config.json"),
        (&checkpoint, "generation_config.json"),
    ] {
        as_swifts(&checkpoint);
        let good = std::fs::read(dir.join(name)).ok();
        std::fs::write(dir.join(name), "{\"top_p\": ").unwrap();
        let e = merge(&job, &mut |_, _| true).unwrap_err();
        assert!(e.exit_code() == 2 && e.to_string().contains(str(&dir.join(name))), "{e}");
        assert!(!job.target.exists());
        match good {
            Some(bytes) => std::fs::write(dir.join(name), bytes).unwrap(),
            None => std::fs::remove_file(dir.join(name)).unwrap(),
        }
    }
    run(&job);
}
