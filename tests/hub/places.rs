//! Where a pull puts its files, and whose it leaves alone.

use std::fs;

use qwen_tui::hub::{Hub, PullOptions, Repo, Sort, pull};

use crate::server::{Fault, File, Repository};
use crate::tools::{Bench, MODEL, NEEDED, WEIGHTS, is_weights, model, names, noise, repo};

#[test]
fn what_is_there_and_right_is_not_fetched_again() {
    let bench = Bench::new(vec![model(200_000)]);
    for hub in [Hub::ModelScope, Hub::Hf] {
        let to = format!("{hub:?}");
        bench.pull(hub, &to).unwrap();
        bench.server.seen();
        bench.check(&bench.pull(hub, &to).unwrap());
        assert_eq!(bench.server.seen().len(), 1, "only the listing is asked for");
    }
    // Somebody else's copy, of which a file is missing.
    let dir = bench.path("theirs");
    fs::create_dir(&dir).unwrap();
    for name in [WEIGHTS, "LICENSE"] {
        fs::copy(bench.path("Hf").join(name), dir.join(name)).unwrap();
    }
    bench.server.seen();
    bench.check(&bench.pull(Hub::Hf, "theirs").unwrap());
    assert!(bench.server.seen().iter().all(|r| !is_weights(r)));
    assert!(!dir.join(".pull").exists());
}

#[test]
fn another_file_of_somebody_elses_is_never_changed_and_ours_is_brought_up_to_date() {
    let bench = Bench::new(vec![model(200_000)]);
    fs::create_dir(bench.path("theirs")).unwrap();
    fs::write(bench.path("theirs/config.json"), "theirs").unwrap();
    let e = bench.pull(Hub::ModelScope, "theirs").unwrap_err();
    assert!(e.to_string().contains("config.json is another file"), "{e}");
    assert_eq!(
        (bench.names("theirs"), fs::read(bench.path("theirs/config.json")).unwrap()),
        (vec!["config.json".into()], b"theirs".into())
    );

    bench.pull(Hub::ModelScope, "ours").unwrap();
    fs::write(bench.path("ours/notes.txt"), "mine").unwrap();
    bench.server.change(|all| {
        all[0].files.retain(|file| file.path != "config.json");
        all[0].files.push(File::new("config.json", b"{\"new\": 1}".to_vec()));
    });
    let dir = bench.pull(Hub::ModelScope, "ours").unwrap();
    assert_eq!(fs::read(dir.join("config.json")).unwrap(), b"{\"new\": 1}");
    assert_eq!(fs::read(dir.join("notes.txt")).unwrap(), b"mine");
    // What was ours and has been changed since is somebody's as well.
    fs::write(dir.join("config.json"), "{\"edited\": 1}").unwrap();
    let e = bench.pull(Hub::ModelScope, "ours").unwrap_err();
    assert!(e.to_string().contains("config.json is another file"), "{e}");
}

#[test]
fn two_names_of_one_file_are_fetched_once() {
    let mut twice = model(200_000);
    twice.files.push(File::new("model-copy.safetensors", noise(200_000, 2)));
    let bench = Bench::new(vec![twice]);
    let dir = bench.pull(Hub::ModelScope, "model").unwrap();
    assert!(fs::read(dir.join(WEIGHTS)).unwrap() == fs::read(dir.join("model-copy.safetensors")).unwrap());
    assert_eq!(bench.server.seen().iter().filter(|r| is_weights(r)).count(), 1);
}

#[test]
fn files_that_are_named_are_fetched_alone() {
    let files =
        vec![("train.csv", b"a\n1\n".to_vec()), ("data/dev.csv", noise(80_000, 9)), ("x.jpg", vec![0])];
    let bench = Bench::new(vec![Repository::new("datasets", "a/rows", files)]);
    for hub in [Hub::ModelScope, Hub::Hf] {
        let rows = Repo { hub, sort: Sort::Dataset, id: "a/rows".into(), revision: None };
        let to = format!("{hub:?}");
        let options = |files: &[&str]| PullOptions {
            files: files.iter().map(|&f| f.into()).collect(),
            ..bench.options(&to)
        };
        let e = pull(&rows, &options(&["test.csv"]), &mut |_| {}, &|| false).unwrap_err();
        assert!(e.to_string().contains("no file test.csv") && e.to_string().contains("data/dev.csv"), "{e}");
        let dir = pull(&rows, &options(&["data/dev.csv"]), &mut |_| {}, &|| false).unwrap();
        assert_eq!(names(&dir), [".pulled.json", "data"]);
        assert!(fs::read(dir.join("data/dev.csv")).unwrap() == noise(80_000, 9));
        pull(&rows, &options(&[]), &mut |_| {}, &|| false).unwrap();
        assert_eq!(names(&dir), [".pulled.json", "data", "train.csv"]);
    }
}

#[test]
fn a_directory_that_a_killed_pull_had_gathered_is_taken_up() {
    let bench = Bench::new(vec![model(200_000)]);
    bench.pull(Hub::ModelScope, "model").unwrap();
    // As it stands a moment before the last rename.
    fs::create_dir(bench.path(".model.pull")).unwrap();
    fs::rename(bench.path("model"), bench.path(".model.pull/whole")).unwrap();
    bench.server.seen();
    bench.check(&bench.pull(Hub::ModelScope, "model").unwrap());
    assert_eq!(bench.server.seen().len(), 1);
}

#[test]
fn each_hub_finds_its_own_layout() {
    let mut bench = Bench::new(vec![model(200_000)]);
    let mut commit = String::new();
    bench.server.change(|all| commit = all[0].commit());
    let dir = bench.run(&["pull", MODEL, "--hub", "modelscope"]).dir();
    assert_eq!(dir, bench.path(".cache/modelscope/models/qwen--Qwen-1_8B/snapshots/master"));
    bench.check(&dir);
    assert_eq!(names(dir.parent().unwrap().parent().unwrap()), ["snapshots"]);

    bench.server.change(|all| all[0].id = "Qwen/Qwen-1_8B".into());
    let dir = bench.run(&["pull", "qwen-1_8b", "--hub", "hf"]).dir();
    let cache = bench.path(".cache/huggingface/hub/models--Qwen--Qwen-1_8B");
    assert_eq!(dir, cache.join("snapshots").join(&commit));
    bench.check(&dir);
    assert_eq!(names(&cache), ["blobs", "refs", "snapshots"]);
    assert_eq!(fs::read_to_string(cache.join("refs/main")).unwrap(), commit);
    bench.server.change(|all| {
        for name in NEEDED {
            let file = all[0].file(name).unwrap();
            let blob = if file.is_lfs() { &file.sha256 } else { &file.blob };
            assert_eq!(
                fs::read_link(dir.join(name)).unwrap(),
                std::path::Path::new("../../blobs").join(blob)
            );
        }
        // The next commit shares what has not changed.
        all[0].files.retain(|file| file.path != "LICENSE");
        all[0].files.push(File::new("LICENSE", b"another".to_vec()));
    });
    bench.server.seen();
    let next = bench.run(&["pull", "qwen-1_8b", "--hub", "hf"]).dir();
    assert!(next != dir && dir.is_dir());
    bench.check(&next);
    assert!(bench.server.seen().iter().all(|r| !is_weights(r)));
    // A tag is another name of the same.
    bench.server.fault(|request| {
        if is_weights(request) { Fault::Status(500, vec![], String::new()) } else { Fault::None }
    });
    assert_eq!(bench.run(&["pull", "qwen-1_8b", "--hub", "hf", "--revision", "v1.0"]).dir(), next);
    assert_eq!(names(&cache.join("refs")), ["main", "v1.0"]);

    bench.home = tempfile::tempdir().unwrap();
    let e = pull(&repo(Hub::Hf), &bench.options("x/y/z"), &mut |_| {}, &|| false).unwrap_err();
    assert!(e.to_string().contains("fault of its own"), "{e}");
    assert!(!bench.path("x/y/z").exists());
}

/// The cockpit pulls on a blocking thread of its runtime.
#[test]
fn a_pull_is_at_home_in_a_blocking_task() {
    let bench = Bench::new(vec![model(200_000)]);
    let (repo, options) = (repo(Hub::ModelScope), bench.options("model"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let pulled = runtime.block_on(async {
        tokio::task::spawn_blocking(move || pull(&repo, &options, &mut |_| {}, &|| false)).await.unwrap()
    });
    bench.check(&pulled.unwrap());
}

#[test]
fn what_can_be_no_directory_is_told_before_anything_is_fetched() {
    let bench = Bench::new(vec![model(200_000)]);
    std::os::unix::fs::symlink("nowhere", bench.path("dl")).unwrap();
    std::fs::write(bench.path("file"), "x").unwrap();
    for (link, to) in [("loop", "back"), ("back", "loop")] {
        std::os::unix::fs::symlink(to, bench.path(link)).unwrap();
    }
    let long = "x".repeat(300);
    let link = "dl is a link to nowhere, which is not there: make that directory, take the link away, or name another";
    for (to, told) in [
        ("dl", link),
        ("dl/in/it", link),
        (
            "loop",
            "loop is a link that leads back to itself: take it away, or name another directory with --to",
        ),
        ("/proc/x", "; no directory can be made there: name another with --to"),
        (&long, "; name a directory with a shorter name with --to"),
        ("file", "file is a file, and no directory: name another directory with --to"),
        ("file/in/it", "file is a file, and no directory: name another directory with --to"),
    ] {
        let said = bench.run(&["pull", MODEL, "--to", &bench.path(to).display().to_string()]);
        assert!(said.status == Some(2) && said.err.contains(told), "{to}: {said:?}");
        assert!(said.err.contains("with --to"), "{to}: {said:?}");
        assert!(bench.server.seen().iter().all(|request| !request.is_weights()), "{to}");
        assert_eq!(bench.names(""), ["back", "dl", "file", "loop"], "{to}");
    }
    // What a link leads to may be there.
    std::fs::create_dir(bench.path("nowhere")).unwrap();
    let said = bench.run(&["pull", MODEL, "--to", &bench.path("dl").display().to_string()]);
    bench.check(&said.dir());
}

#[test]
fn what_the_hub_tells_no_size_of_is_not_shown_as_nothing() {
    let bench = Bench::new(vec![model(200_000)]);
    let (mut files, mut sum) = (Vec::new(), String::new());
    bench.server.change(|all| {
        sum = all[0].file(WEIGHTS).unwrap().sha256.clone();
        files.extend(all[0].files.iter().map(|file| {
            serde_json::json!({"Path": file.path, "Type": "blob", "Size": null, "Sha256": file.sha256})
        }));
    });
    let listing = serde_json::json!({"Code": 200, "Data": {"Files": files}}).to_string();
    bench.server.fault(move |request| match request.path.ends_with("/repo/files") {
        true => Fault::Status(200, vec![], listing.clone()),
        false => Fault::None,
    });
    // What was left of an earlier pull.
    std::fs::create_dir(bench.path(".to.pull")).unwrap();
    std::fs::write(bench.path(".to.pull").join(format!("{sum}.part")), noise(100, 7)).unwrap();
    let said = bench.run(&["pull", MODEL, "--to", &bench.path("to").display().to_string()]);
    bench.check(&said.dir());
    assert!(said.err.contains("fetching 4 files, of which the hub does not tell all sizes"), "{said:?}");
    assert!(said.err.contains("4/4 files, 203 kB"), "{said:?}");
    assert!(!said.err.contains("0 B") && !said.err.contains(" of 2"), "{said:?}");
}
