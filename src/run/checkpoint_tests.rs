use super::super::checksums::{verify, verify_checkpoint};
use super::super::whole::put_in_two_steps;
use super::*;

fn run() -> (tempfile::TempDir, RunDir) {
    let out = tempfile::tempdir().unwrap();
    let run = RunDir::create(&out.path().join("run"), "", false).unwrap();
    // Only what checkpoints make is counted here.
    fs::remove_file(run.events_file()).unwrap();
    (out, run)
}

fn fill(text: &'static str) -> impl FnOnce(&Path) -> Result<()> {
    move |dir| {
        fs::create_dir(dir.join("default")).unwrap();
        fs::write(dir.join("default/adapter_model.safetensors"), text).unwrap();
        fs::write(dir.join("trainer_state.json"), "{}").unwrap();
        Ok(())
    }
}

fn names(run: &RunDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(run.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn steps(run: &RunDir) -> Vec<u64> {
    list_checkpoints(run).iter().map(|c| c.step).collect()
}

/// The id of a process that has ended.
fn dead_pid() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn a_checkpoint_is_listed_with_its_size_and_verifies() {
    let (_out, run) = run();
    let (path, bytes) = write_checkpoint(&run, 100, fill("abc")).unwrap();
    write_checkpoint(&run, 50, fill("abcd")).unwrap();
    assert_eq!(path, run.checkpoint(100));
    assert_eq!(names(&run), ["checkpoint-100", "checkpoint-50"]);
    let list = list_checkpoints(&run);
    assert_eq!(list.iter().map(|c| c.step).collect::<Vec<_>>(), [50, 100]);
    assert_eq!((list[1].bytes, &list[1].path, list[1].checksums), (bytes, &path, true));
    let json = fs::read_to_string(path.join(CHECKSUMS)).unwrap();
    assert_eq!(bytes, 3 + 2 + json.len() as u64);
    // sha256 of "abc", from FIPS 180-2.
    assert!(json.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), "{json}");
    assert!(json.contains("default/adapter_model.safetensors"), "{json}");
    verify_checkpoint(&path).unwrap();
    // Answers of an inference may be added.
    fs::write(path.join("infer_result.jsonl"), "{}").unwrap();
    verify_checkpoint(&path).unwrap();
}

#[test]
fn damage_is_found() {
    let (_out, run) = run();
    let (path, _) = write_checkpoint(&run, 1, fill("abc")).unwrap();
    let weights = path.join("default/adapter_model.safetensors");
    fs::write(&weights, "abd").unwrap();
    let e = verify_checkpoint(&path).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("adapter_model.safetensors is damaged"), "{e}");
    assert_eq!(steps(&run), [1], "of the right size, so only a full look finds it");
    let broken = |needed| {
        let (_, broken) = look_at_checkpoints(run.path(), needed);
        broken.iter().map(|(step, e)| format!("{step}: {e}")).collect::<String>()
    };
    fs::write(&weights, "ab").unwrap();
    assert!(steps(&run).is_empty());
    let told = broken(Needed::Weights);
    assert!(
        told.contains("1: ") && told.contains("safetensors is damaged: it has 2 bytes, written were 3"),
        "{told}"
    );
    fs::remove_file(&weights).unwrap();
    assert!(steps(&run).is_empty() && broken(Needed::All).contains("adapter_model.safetensors is missing"));
    // What the training alone knows is no part of the weights.
    fs::write(&weights, "abc").unwrap();
    fs::write(path.join("trainer_state.json"), "{ }").unwrap();
    assert!(broken(Needed::All).contains("trainer_state.json") && broken(Needed::Weights).is_empty());
    verify(&path, Needed::Weights).unwrap();
    assert!(verify_checkpoint(&path).is_err());
    fs::remove_file(&weights).unwrap();
    assert_eq!(verify_checkpoint(&path).unwrap_err().exit_code(), 2);
    fs::write(path.join(CHECKSUMS), r#"{"written":1,"files":{"../x":{"bytes":0,"sha256":""}}}"#).unwrap();
    let e = verify_checkpoint(&path).unwrap_err();
    assert!(e.to_string().contains("outside"), "{e}");
    fs::write(path.join(CHECKSUMS), "{").unwrap();
    assert_eq!(verify_checkpoint(&path).unwrap_err().exit_code(), 2);
    assert!(steps(&run).is_empty());
    assert_eq!(verify_checkpoint(&run.checkpoint(9)).unwrap_err().exit_code(), 2);
}

#[test]
fn an_error_while_filling_leaves_nothing_and_keeps_the_old() {
    let (_out, run) = run();
    write_checkpoint(&run, 5, fill("old")).unwrap();
    for step in [5, 6] {
        let e = write_checkpoint(&run, step, |dir| {
            fs::write(dir.join("half"), "x").unwrap();
            assert_eq!(steps(&run), [5], "not listed while it is being filled");
            Err(Error::user("disk full"))
        });
        assert_eq!(e.unwrap_err().to_string(), "disk full");
        assert_eq!(names(&run), ["checkpoint-5"]);
    }
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = write_checkpoint(&run, 6, |_| panic!("in fill"));
    }));
    assert!(panic.is_err());
    assert_eq!(names(&run), ["checkpoint-5"]);
    verify_checkpoint(&run.checkpoint(5)).unwrap();
}

#[test]
fn a_checkpoint_is_replaced_as_a_whole() {
    let (_out, run) = run();
    let (path, _) = write_checkpoint(&run, 5, |dir| {
        fs::write(dir.join("only_in_the_old"), "x").unwrap();
        Ok(())
    })
    .unwrap();
    write_checkpoint(&run, 5, fill("new")).unwrap();
    assert_eq!(names(&run), ["checkpoint-5"]);
    assert!(!path.join("only_in_the_old").exists());
    assert_eq!(fs::read_to_string(path.join("default/adapter_model.safetensors")).unwrap(), "new");
    verify_checkpoint(&path).unwrap();
}

#[test]
fn without_exchange_a_checkpoint_is_replaced_in_two_steps() {
    let (_out, run) = run();
    write_checkpoint(&run, 5, fill("old")).unwrap();
    let (new, _) = write_checkpoint(&run, 6, fill("new")).unwrap();
    put_in_two_steps(&new, &run.checkpoint(5), &hidden(&run, 5, "old")).unwrap();
    assert_eq!(names(&run), ["checkpoint-5"]);
    let weights = run.checkpoint(5).join("default/adapter_model.safetensors");
    assert_eq!(fs::read_to_string(&weights).unwrap(), "new");
    // The second rename fails: the old one is back.
    assert!(put_in_two_steps(&new, &run.checkpoint(5), &hidden(&run, 5, "old")).is_err());
    assert_eq!(names(&run), ["checkpoint-5"]);
    assert_eq!(fs::read_to_string(&weights).unwrap(), "new");
}

/// A clock that was set back makes no older checkpoint the newest.
#[test]
fn a_checkpoint_is_written_after_the_ones_before_it() {
    let (_out, run) = run();
    let (first, _) = write_checkpoint(&run, 4, fill("abc")).unwrap();
    let list = first.join(CHECKSUMS);
    let mut sums: serde_json::Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
    // As written in 2096.
    sums["written"] = 4e9.into();
    fs::write(&list, sums.to_string()).unwrap();
    for step in [2, 6] {
        write_checkpoint(&run, step, fill("abc")).unwrap();
    }
    let mut all = list_checkpoints(&run);
    all.sort_by(|a, b| a.written.total_cmp(&b.written));
    assert_eq!(all.iter().map(|c| c.step).collect::<Vec<_>>(), [4, 2, 6]);
}

#[test]
fn what_is_no_whole_checkpoint_is_not_listed() {
    let (_out, run) = run();
    for name in
        [".checkpoint-7.tmp-1", "checkpoint-", "checkpoint-7x", "checkpoint--7", "checkpoint-8-merged"]
    {
        fs::create_dir(run.path().join(name)).unwrap();
        fs::write(run.path().join(name).join("f"), "x").unwrap();
    }
    fs::create_dir(run.checkpoint(9)).unwrap();
    fs::write(run.checkpoint(10), "a file").unwrap();
    assert!(list_checkpoints(&run).is_empty());
    // SWIFT's have no checksums.
    fs::write(run.checkpoint(9).join("f"), "x").unwrap();
    let list = list_checkpoints(&run);
    assert_eq!((list.len(), list[0].step, list[0].bytes, list[0].checksums), (1, 9, 1, false));
    verify_checkpoint(&run.checkpoint(9)).unwrap();
    // Ours always have: without them nothing shows that the rest is whole.
    fs::write(run.checkpoint(9).join(PROGRESS), "{}").unwrap();
    assert!(list_checkpoints(&run).is_empty());
    let e = verify_checkpoint(&run.checkpoint(9)).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("checksums.json is missing"), "{e}");
}

#[test]
fn leftovers_of_the_dead_are_removed_and_those_of_the_living_kept() {
    let (_out, run) = run();
    let (dead, own) = (dead_pid(), std::process::id());
    write_checkpoint(&run, 1, fill("one")).unwrap();
    let alive = format!(".checkpoint-2.tmp-{}", rustix::process::getppid().unwrap().as_raw_nonzero());
    for name in [
        format!(".checkpoint-2.tmp-{dead}"),
        format!(".checkpoint-3.tmp-{own}"),
        format!(".checkpoint-1.old-{dead}"),
        format!(".checkpoint-4.rm-{dead}"),
        format!(".checkpoint-5.old-{dead}"),
        format!(".checkpoint-6.xx-{dead}"),
        alive.clone(),
    ] {
        fs::create_dir(run.path().join(&name)).unwrap();
        fs::write(run.path().join(&name).join("f"), "x").unwrap();
    }
    // Files that were to get their names.
    fs::create_dir(run.images_dir()).unwrap();
    let files = [
        run.path().join(format!(".training_args.json.tmp-{dead}")),
        run.path().join(format!(".sft_args.json.tmp-{dead}")),
        run.images_dir().join(format!(".train_loss.png.tmp-{dead}")),
    ];
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero();
    let written = run.path().join(format!(".sources.json.tmp-{parent}"));
    let others = run.path().join(".notes");
    files.iter().chain([&written, &others]).for_each(|file| fs::write(file, "x").unwrap());
    clean_partial(&run);
    assert!(files.iter().all(|file| !file.exists()) && written.exists() && others.exists());
    [&written, &others].iter().for_each(|file| fs::remove_file(file).unwrap());
    fs::remove_dir(run.images_dir()).unwrap();
    let mut expected =
        vec![alive, format!(".checkpoint-6.xx-{dead}"), "checkpoint-1".into(), "checkpoint-5".into()];
    expected.sort();
    assert_eq!(names(&run), expected);
    verify_checkpoint(&run.checkpoint(1)).unwrap();
}

#[test]
fn a_run_directory_that_is_gone_is_the_users_to_mend() {
    let (out, run) = run();
    drop(out);
    assert_eq!(write_checkpoint(&run, 1, fill("x")).unwrap_err().exit_code(), 2);
    assert!(list_checkpoints(&run).is_empty());
    clean_partial(&run);
}

#[test]
fn a_full_disk_is_told_by_the_checkpoints_name_and_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::create(dir.path(), "", false).unwrap();
    let full = || std::io::Error::from(rustix::io::Errno::NOSPC);
    // As this room says it, and as others do.
    let fills: [fn(&Path, &std::io::Error) -> Error; 2] = [
        |dir, e| file_error("write", &dir.join("trainer_state.json"), e),
        |dir, e| Error::user(format!("{}: {e}", dir.join("optimizer.safetensors").display())),
    ];
    for fill in fills {
        let e = write_checkpoint(&run, 6, |dir| Err(fill(dir, &full()))).unwrap_err().to_string();
        let place = run.checkpoint(6).display().to_string();
        assert!(e.starts_with("checkpoint-6 is not saved: ") && e.contains(&place), "{e}");
        assert!(!e.contains(".checkpoint-6") && e.matches("MB are left").count() == 1, "{e}");
    }
}
