use super::*;
use crate::args::load_sft;
use crate::run::{OPTIMIZER, PROGRESS, write_checkpoint};

const STARTED: &str = r#"{"seq":1,"time":10,"kind":"started","pid":1,"version":"0","libtorch":"2","device":"cpu","device_name":"","threads":1}"#;
const FINISHED: &str = r#"{"seq":2,"time":20,"kind":"finished","step":9,"seconds":1,"stopped":false,"last_checkpoint":null,"best_checkpoint":null,"best_metric":null}"#;

fn args(out: &Path, more: &[&str]) -> SftArgs {
    let out = out.to_str().unwrap();
    let words = ["--model_type", "qwen-7b", "--dataset", "a", "--output_dir", out];
    let words: Vec<String> = words.iter().chain(more).map(|&s| s.to_owned()).collect();
    load_sft(None, &words).unwrap().args
}

/// A run of `args` with events and checkpoints, the last written last.
fn run(args: &SftArgs, events: &[&str], checkpoints: &[u64]) -> RunDir {
    let run =
        RunDir::create(Path::new(&args.output_dir), &args.model_type, args.add_output_dir_suffix).unwrap();
    run.write_args(&args.to_json()).unwrap();
    fs::write(run.events_file(), events.iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    checkpoints.iter().for_each(|step| checkpoint(&run, *step, &[OPTIMIZER, PROGRESS, "weights"]));
    run
}

fn checkpoint(run: &RunDir, step: u64, files: &[&str]) {
    let fill = |dir: &Path| {
        files.iter().for_each(|file| fs::write(dir.join(file), file).unwrap());
        Ok(())
    };
    write_checkpoint(run, step, fill).unwrap();
}

fn refused<T: std::fmt::Debug>(result: Result<T>, needles: &[&str]) {
    let e = result.unwrap_err();
    let text = e.to_string();
    assert!(e.exit_code() == 2 && needles.iter().all(|n| text.contains(n)), "{text}");
}

#[test]
fn the_last_run_is_the_newest_of_the_same_arguments() {
    let out = tempfile::tempdir().unwrap();
    let (mine, other) = (args(out.path(), &[]), args(out.path(), &["--learning_rate", "5e-4"]));
    assert!(Resume::last(&mine).unwrap().is_none());
    run(&mine, &[STARTED], &[5]);
    let newer = run(&mine, &[STARTED], &[5, 10]);
    assert_eq!(Resume::last(&mine).unwrap().unwrap().run, newer);
    // Another's runs are passed over; alone they are no reason to start anew in silence, unless they are done.
    refused(Resume::last(&other), &["learning_rate", "0.0005", "0.0001", newer.path().to_str().unwrap()]);
    let done = run(&other, &[STARTED, FINISHED], &[10]);
    assert_eq!(Resume::last(&mine).unwrap().unwrap().step, Some(10));
    let found = Resume::last(&other).unwrap().unwrap();
    assert!(found.finished && found.run == done);
    let elsewhere = tempfile::tempdir().unwrap();
    run(&args(elsewhere.path(), &[]), &[STARTED, FINISHED], &[10]);
    assert!(Resume::last(&args(elsewhere.path(), &["--seed", "1"])).unwrap().is_none());
    assert!(resume(done.path(), &mut crate::hub::find::nothing_is_fetched, &|| Ok(())).is_err());
}

#[test]
fn the_newest_whole_checkpoint_is_taken_and_the_rest_is_told() {
    let out = tempfile::tempdir().unwrap();
    let mine = args(out.path(), &["--add_output_dir_suffix", "false"]);
    let run = run(&mine, &[STARTED], &[5, 10, 15, 20]);
    let last = || Resume::last(&mine).unwrap().unwrap();
    assert_eq!((last().step, last().warnings.len()), (Some(20), 0));
    fs::write(run.checkpoint(20).join("weights"), "WEIGHTS").unwrap();
    fs::remove_file(run.checkpoint(15).join("weights")).unwrap();
    let found = last();
    assert_eq!(found.step, Some(10));
    let told = found.warnings.join("\n");
    assert!(
        told.contains("checkpoint-20") && told.contains("damaged") && told.contains("checkpoint-15"),
        "{told}"
    );
    assert!(told.contains("weights is missing"), "{told}");
    let e = Resume::of(&run.checkpoint(20)).unwrap_err().to_string();
    assert!(e.contains("damaged") && !e.contains("resume_only_model"), "its weights are no better: {e}");
    // One that only a training needs.
    fs::write(run.checkpoint(20).join("weights"), "weights").unwrap();
    fs::write(run.checkpoint(20).join(PROGRESS), "x").unwrap();
    refused(Resume::of(&run.checkpoint(20)), &["damaged", "resume_only_model true"]);
    assert_eq!(Resume::of(&run.checkpoint(5)).unwrap().step, Some(5));
    assert_eq!(Resume::of(run.path()).unwrap().step, Some(10));
    // Gone on from an earlier one, its checkpoint is the newest though its step is smaller.
    checkpoint(&run, 7, &[OPTIMIZER, PROGRESS]);
    assert_eq!(last().step, Some(7));
    refused(Resume::of(&out.path().join("none")), &["resume_from_checkpoint", "none"]);
}

#[test]
fn weights_alone_are_refused_and_no_checkpoint_is_the_beginning() {
    let out = tempfile::tempdir().unwrap();
    let mine = args(out.path(), &[]);
    let run = run(&mine, &[STARTED], &[]);
    assert_eq!(Resume::last(&mine).unwrap().unwrap().step, None);
    checkpoint(&run, 5, &["weights"]);
    refused(Resume::last(&mine), &["checkpoint-5", "save_only_model", "resume_only_model true"]);
    refused(Resume::of(&run.checkpoint(5)), &["save_only_model"]);
    checkpoint(&run, 5, &["weights", "optimizer.pt"]);
    refused(Resume::of(run.path()), &["pickle"]);
    let lock = fs::File::create(run.lock()).unwrap();
    lock.lock().unwrap();
    refused(Resume::of(run.path()), &["a worker is training"]);
}

#[test]
fn what_may_change_is_written_for_the_worker() {
    let out = tempfile::tempdir().unwrap();
    let run = run(&args(out.path(), &[]), &[STARTED], &[5]);
    let mut resume = Resume::of(run.path()).unwrap();
    let before = resume.args.output_dir.clone();
    refused(resume.take(args(out.path(), &["--lora_rank", "4"])), &["lora_rank is 4 here and was 8"]);
    let more = ["--save_total_limit", "7", "--resume_from_checkpoint", "last"];
    resume.take(args(Path::new("/elsewhere"), &more)).unwrap();
    let written = SftArgs::from_run_dir(run.path()).unwrap();
    assert_eq!((written.save_total_limit, written.output_dir), (7, before));
    assert_eq!(written.resume_from_checkpoint, None);
}

/// Gone on from 350 and cut at 353: what was saved at 358 before is not what the run comes from.
#[test]
fn a_checkpoint_that_the_run_went_back_from_is_not_the_newest() {
    let out = tempfile::tempdir().unwrap();
    let mine = args(out.path(), &["--add_output_dir_suffix", "false"]);
    let run = run(&mine, &[], &[350, 358]);
    let seconds =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let resumed = STARTED
        .replace("\"time\":10", &format!("\"time\":{}", seconds()))
        .replace("\"threads\":1", "\"threads\":1,\"step\":350");
    let saved = |step| {
        format!(
            r#"{{"seq":1,"time":11,"kind":"checkpoint","step":{step},"path":"checkpoint-{step}","bytes":1,"seconds":0,"best":false}}"#
        )
    };
    let log = [STARTED, &saved(350), &saved(358), &resumed].map(|line| format!("{line}\n")).concat();
    fs::write(run.events_file(), log).unwrap();
    let last = || Resume::last(&mine).unwrap().unwrap();
    assert_eq!((last().step, last().warnings.len()), (Some(350), 0));
    assert_eq!(Resume::of(run.path()).unwrap().step, Some(350));
    let shown = crate::job::checkpoints::RunDetails::read(run.path()).checkpoints;
    let shown: Vec<_> = shown.iter().map(|c| (c.step, c.last, c.left)).collect();
    assert_eq!(shown, [(350, true, false), (358, false, true)]);
    // By its own name it can be had, and where there is no other.
    assert_eq!(Resume::of(&run.checkpoint(358)).unwrap().step, Some(358));
    fs::remove_dir_all(run.checkpoint(350)).unwrap();
    assert!(last().step == Some(358) && last().warnings[0].contains("gone back from checkpoint-358"));
    // Written again it is the newest.
    checkpoint(&run, 350, &[OPTIMIZER, PROGRESS]);
    checkpoint(&run, 358, &[OPTIMIZER, PROGRESS]);
    assert_eq!((last().step, last().warnings.len()), (Some(358), 0));
}

#[test]
fn what_a_worker_could_not_begin_with_is_told_before_it_is_started() {
    let out = tempfile::tempdir().unwrap();
    let (base, rows) = (out.path().join("base"), out.path().join("rows.jsonl"));
    let words = format!(
        "--model_type qwen-demo --model_id_or_path {} --custom_train_dataset_path {} --output_dir {}",
        base.display(),
        rows.display(),
        out.path().display()
    );
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    let run = run(&load_sft(None, &words).unwrap().args, &[STARTED], &[]);
    refused(
        ready(run.path()),
        &[
            "no such model directory",
            "Put it there, or go on with where it is now",
            "--model_id_or_path PATH",
        ],
    );
    fs::create_dir(&base).unwrap();
    for file in ["config.json", "qwen.tiktoken", "model.safetensors"] {
        fs::write(base.join(file), "x").unwrap();
    }
    refused(ready(run.path()), &["custom_train_dataset_path", "no such data file"]);
    fs::write(&rows, "x").unwrap();
    ready(run.path()).unwrap();
    fs::write(run.args_file(), "{").unwrap();
    refused(ready(run.path()), &["sft_args.json, line 1", "not valid JSON"]);
    fs::remove_file(run.args_file()).unwrap();
    refused(ready(run.path()), &["there is no sft_args.json in", "put it back"]);
}

/// Adapters that are whole must not be written over because something beside them is not.
#[test]
fn where_no_checkpoint_is_whole_nothing_is_begun() {
    let out = tempfile::tempdir().unwrap();
    let mine = args(out.path(), &[]);
    let run = run(&mine, &[STARTED], &[4, 8]);
    fs::write(run.checkpoint(4).join("weights"), "WEIGHTS").unwrap();
    fs::remove_file(run.checkpoint(8).join(OPTIMIZER)).unwrap();
    for found in [Resume::last(&mine).map(drop), Resume::of(run.path()).map(drop)] {
        refused(
            found,
            &[
                "none of them is whole",
                "checkpoint-8/optimizer.safetensors is missing",
                "checkpoint-4/weights is damaged",
                "resume_only_model true",
            ],
        );
    }
    // Without any, the beginning is all there is.
    [4, 8].iter().for_each(|step| fs::remove_dir_all(run.checkpoint(*step)).unwrap());
    assert_eq!(Resume::of(run.path()).unwrap().step, None);
}

#[test]
fn arguments_that_were_edited_since_the_checkpoint_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let run = run(&args(out.path(), &[]), &[STARTED], &[]);
    let fill = |dir: &Path| {
        [OPTIMIZER, PROGRESS].iter().for_each(|file| fs::write(dir.join(file), file).unwrap());
        fs::copy(run.args_file(), dir.join(ARGS_FILE)).unwrap();
        Ok(())
    };
    write_checkpoint(&run, 5, fill).unwrap();
    let save = ["--save_total_limit", "9", "--model_id_or_path", "/elsewhere"];
    run.write_args(&args(out.path(), &save).to_json()).unwrap();
    assert_eq!(Resume::of(run.path()).unwrap().step, Some(5), "what may change");
    let edited = args(out.path(), &["--learning_rate", "3e-4", "--max_steps", "9"]);
    run.write_args(&edited.to_json()).unwrap();
    for found in
        [Resume::of(run.path()), Resume::of(&run.checkpoint(5)), Resume::last(&edited).map(Option::unwrap)]
    {
        refused(
            found,
            &[
                "sft_args.json: max_steps is 9 there and -1 in checkpoint-5 (1 more differ)",
                "put the old value back",
            ],
        );
    }
}

#[test]
fn a_run_whose_model_and_data_have_moved_goes_on_with_the_new_places() {
    let out = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        let dir = out.path().join(name);
        fs::create_dir(&dir).unwrap();
        for file in ["config.json", "qwen.tiktoken", "model.safetensors", "rows.jsonl"] {
            fs::write(dir.join(file), "x").unwrap();
        }
        let path = |file: &str| dir.join(file).display().to_string();
        args(out.path(), &["--model_id_or_path", &path(""), "--dataset", &path("rows.jsonl")])
    };
    let (old, new) = (place("old"), place("new"));
    let mine = run(&old, &[STARTED], &[5]);
    let mut resume = Resume::last(&new).unwrap().unwrap();
    assert_eq!((&resume.run, resume.step), (&mine, Some(5)));
    let nowhere = args(out.path(), &["--model_id_or_path", "/nowhere"]);
    refused(resume.take(nowhere), &["/nowhere: no such model directory", "--model_id_or_path PATH"]);
    assert_eq!(SftArgs::from_run_dir(mine.path()).unwrap(), old);
    resume.take(new.clone()).unwrap();
    let written = SftArgs::from_run_dir(mine.path()).unwrap();
    assert_eq!((&written.model_id_or_path, &written.dataset), (&new.model_id_or_path, &new.dataset));

    // One of the very places comes first, though it is older.
    let newer = run(&old, &[STARTED], &[5]);
    assert_eq!(Resume::last(&new).unwrap().unwrap().run, mine);
    assert_eq!(Resume::last(&old).unwrap().unwrap().run, newer);
    // Of a run that begins anew nothing shows whether the data are the same, and a finished one is another's.
    fs::remove_dir_all(newer.checkpoint(5)).unwrap();
    refused(
        Resume::of(newer.path()).unwrap().take(new.clone()),
        &["model_id_or_path is", "a run goes on as it began"],
    );
    let done = tempfile::tempdir().unwrap();
    let of = |args: &SftArgs| SftArgs { output_dir: done.path().display().to_string(), ..args.clone() };
    let finished = run(&of(&old), &[STARTED, FINISHED], &[5]);
    assert!(Resume::last(&of(&new)).unwrap().is_none());
    Resume::of(finished.path()).unwrap().take(of(&new)).unwrap();
    assert_eq!(SftArgs::from_run_dir(finished.path()).unwrap(), of(&old));
}

#[test]
fn what_holds_weights_itself_is_no_run_without_checkpoints() {
    let out = tempfile::tempdir().unwrap();
    let mine = args(out.path(), &[]);
    for (file, told) in [
        ("adapter_config.json", "checkpoint without its run"),
        ("trainer_state.json", "resume_only_model true"),
        ("config.json", "model_id_or_path"),
    ] {
        let kept = run(&mine, &[], &[]);
        fs::write(kept.path().join(file), "{}").unwrap();
        refused(Resume::of(kept.path()), &[told, kept.path().to_str().unwrap()]);
        fs::remove_file(kept.path().join(file)).unwrap();
        assert_eq!(Resume::of(kept.path()).unwrap().step, None);
    }
    fs::create_dir_all(out.path().join("odd/checkpoint-6")).unwrap();
    refused(Resume::of(&out.path().join("odd/checkpoint-6")), &["resume_only_model true"]);
}

#[test]
fn a_run_whose_arguments_are_lost_is_named_before_another_is_begun() {
    let out = tempfile::tempdir().unwrap();
    let mine = args(out.path(), &[]);
    let lost = run(&mine, &[STARTED], &[5]);
    let older = Resume::last(&mine).unwrap().unwrap().run;
    assert_eq!(older, lost);
    for content in [None, Some(""), Some("{")] {
        match content {
            None => fs::remove_file(lost.args_file()).unwrap(),
            Some(text) => fs::write(lost.args_file(), text).unwrap(),
        }
        refused(Resume::last(&mine), &["sft_args.json", "checkpoint-5", "copy it back"]);
    }
    let newer = run(&mine, &[STARTED], &[10]);
    assert_eq!(Resume::last(&mine).unwrap().unwrap().run, newer);
}
