use std::fs::{create_dir_all, write};
use std::os::unix::fs::symlink;

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn caches(dir: &Path) -> Caches {
    let home = dir.as_os_str().to_owned();
    Caches::of(move |name| (name == "HOME").then(|| home.clone()))
}

fn repo(hub: Hub, id: &str, revision: Option<&str>) -> Repo {
    Repo { hub, sort: Sort::Model, id: id.into(), revision: revision.map(str::to_owned) }
}

/// A safetensors file without a tensor.
fn shard() -> Vec<u8> {
    [&2u64.to_le_bytes()[..], b"{}"].concat()
}

/// A model with two shards.
fn put_model(dir: &Path) {
    create_dir_all(dir).unwrap();
    write(dir.join("config.json"), "{}").unwrap();
    write(dir.join("qwen.tiktoken"), "").unwrap();
    let index =
        r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    write(dir.join("model.safetensors.index.json"), index).unwrap();
    for n in 1..=2 {
        write(dir.join(format!("model-0000{n}-of-00002.safetensors")), shard()).unwrap();
    }
}

/// The same in Hugging Face's layout: links to blobs.
fn put_hf(cache: &Path, commit: &str) -> PathBuf {
    let (blobs, snapshot) = (cache.join("blobs"), cache.join("snapshots").join(commit));
    put_model(&blobs);
    create_dir_all(&snapshot).unwrap();
    for file in fs::read_dir(&blobs).unwrap().flatten() {
        symlink(Path::new("../../blobs").join(file.file_name()), snapshot.join(file.file_name())).unwrap();
    }
    snapshot
}

#[test]
fn the_environment_says_where() {
    let of = |set: &'static [(&str, &str)]| {
        let caches =
            Caches::of(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).into()));
        [caches.modelscope, caches.hf].map(|path| path.display().to_string())
    };
    assert_eq!(of(&[("HOME", "/h")]), ["/h/.cache/modelscope", "/h/.cache/huggingface/hub"]);
    assert_eq!(
        of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("MODELSCOPE_CACHE", "")]),
        ["/h/.cache/modelscope", "/x/huggingface/hub"]
    );
    assert_eq!(
        of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf"), ("MODELSCOPE_CACHE", "~/ms")]),
        ["/h/ms", "/h/hf/hub"]
    );
    assert_eq!(of(&[("HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")])[1], "/old");
    assert_eq!(of(&[("HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")])[1], "/new");
}

#[test]
fn modelscopes_layouts_are_found_in_any_case() {
    for (place, id, layout, revision) in [
        (
            "modelscope/models/qwen--Qwen-1_8B/snapshots/master",
            "qwen/Qwen-1_8B",
            Layout::ModelScope,
            Some("master"),
        ),
        (
            "modelscope/models/Qwen--Qwen-1_8B/snapshots/v1.0.0",
            "qwen/Qwen-1_8B",
            Layout::ModelScope,
            Some("v1.0.0"),
        ),
        ("modelscope/hub/models/Qwen/Qwen-1_8B", "qwen/Qwen-1_8B", Layout::ModelScopeOld, None),
        ("modelscope/hub/models/a/b-0___5", "a/b-0.5", Layout::ModelScopeOld, None),
        ("modelscope/models/a/b-0___5", "a/b-0.5", Layout::ModelScopeOld, None),
        ("modelscope/hub/qwen/Qwen-1_8B", "qwen/qwen-1_8b", Layout::ModelScopeOld, None),
        ("modelscope/hub/a/b-0.5", "a/b-0.5", Layout::ModelScopeOld, None),
    ] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".cache").join(place);
        put_model(&dir);
        let found = caches(home.path()).find(&repo(Hub::ModelScope, id, None));
        assert_eq!(found, Some(Found { dir, revision: revision.map(str::to_owned), layout }), "{place}");
        assert_eq!(caches(home.path()).find(&repo(Hub::Hf, id, None)), None);
    }
}

#[test]
fn a_revision_that_is_asked_for_is_the_one_that_is_found() {
    let home = tempfile::tempdir().unwrap();
    let caches = caches(home.path());
    let old = home.path().join(".cache/modelscope/hub/qwen/Qwen-1_8B");
    put_model(&old);
    let tag = repo(Hub::ModelScope, "qwen/Qwen-1_8B", Some("v1.0.0"));
    let look = caches.look(&tag);
    assert_eq!(look.found, None);
    assert!(look.unusable[0].1.contains("not written down"), "{look:?}");
    write(old.join(".mv"), "Revision:v1.0.1,CreatedAt:1").unwrap();
    assert!(caches.look(&tag).unusable[0].1.contains("it is revision v1.0.1"));
    write(old.join(".mv"), "Revision:v1.0.0,CreatedAt:1").unwrap();
    assert_eq!(caches.find(&tag).unwrap().revision.as_deref(), Some("v1.0.0"));

    let snapshots = home.path().join(".cache/modelscope/models/qwen--Qwen-1_8B/snapshots");
    put_model(&snapshots.join("v1.0.0"));
    put_model(&snapshots.join("v2"));
    assert_eq!(caches.find(&tag).unwrap().dir, snapshots.join("v1.0.0"), "today's layout first");
    let any = caches.find(&repo(Hub::ModelScope, "qwen/Qwen-1_8B", None)).unwrap();
    assert_eq!(any.dir, old, "which of two revisions is not known");
    assert_eq!(caches.place(&tag, COMMIT), snapshots.join("v1.0.0"));
}

#[test]
fn hugging_faces_branches_and_commits_are_found() {
    let home = tempfile::tempdir().unwrap();
    let caches = caches(home.path());
    let cache = home.path().join(".cache/huggingface/hub/models--Qwen--Qwen-1_8B");
    let main = repo(Hub::Hf, "Qwen/Qwen-1_8B", None);
    assert_eq!(caches.place(&main, COMMIT), cache.join("snapshots").join(COMMIT));
    let snapshot = put_hf(&cache, COMMIT);
    let found = |revision| caches.find(&Repo { revision, ..main.clone() }).map(|found| found.dir);
    assert_eq!(found(None), Some(snapshot.clone()), "the only one");
    assert_eq!(found(Some(COMMIT.into())), Some(snapshot.clone()));
    assert_eq!(found(Some("main".into())), None);
    let other = put_hf(&cache, &"f".repeat(40));
    assert_eq!(found(None), None, "one of two");
    create_dir_all(cache.join("refs/pr")).unwrap();
    write(cache.join("refs/main"), COMMIT).unwrap();
    write(cache.join("refs/pr/1"), "f".repeat(40) + "\n").unwrap();
    assert_eq!(found(None), Some(snapshot.clone()));
    assert_eq!(found(Some("pr/1".into())), Some(other));

    // A link to a blob that is gone, or not there yet.
    fs::remove_file(cache.join("blobs/model-00002-of-00002.safetensors")).unwrap();
    let look = caches.look(&main);
    assert_eq!(look.found, None);
    assert!(look.unusable[0].1.contains("1 of 2 shards"), "{look:?}");
    fs::rename(&cache, cache.with_file_name("models--qwen--qwen-1_8b")).unwrap();
    assert!(caches.look(&main).unusable[0].0.ends_with(COMMIT), "in any case");
}

#[test]
fn what_is_wrong_with_hugging_faces_links_is_told() {
    let home = tempfile::tempdir().unwrap();
    let (caches, main) = (caches(home.path()), repo(Hub::Hf, "Qwen/Qwen-1_8B", None));
    let cache = home.path().join(".cache/huggingface/hub/models--Qwen--Qwen-1_8B");
    let snapshot = put_hf(&cache, COMMIT);
    let told = || {
        let look = caches.look(&main);
        assert_eq!(look.found, None);
        let [(dir, why)] = &look.unusable[..] else { panic!("{look:?}") };
        (dir.clone(), why.clone())
    };
    create_dir_all(cache.join("refs")).unwrap();
    let main_ref = cache.join("refs/main");
    for (garbage, what) in [
        (&b"not a commit"[..], r#"names the commit "not a commit", which is not in"#),
        (b"../../..", "names the commit"),
        (b"", "names no commit: it is empty"),
        (b"\xff\0", "names no commit: it is not UTF-8 text"),
        (&[b'f'; 5000], "names no commit: it is too long"),
    ] {
        write(&main_ref, garbage).unwrap();
        let (dir, why) = told();
        assert!(dir == cache && why.contains(&format!("refs/main {what}")) && why.len() < 1000, "{why}");
    }
    fs::remove_file(&main_ref).unwrap();
    // What is no file is no less broken.
    create_dir_all(&main_ref).unwrap();
    assert!(told().1.contains("refs/main names no commit: Is a directory"), "{}", told().1);
    fs::remove_dir(&main_ref).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &main_ref, fifo, mode, 0).unwrap();
    assert!(told().1.contains("refs/main names no commit: it is no regular file"), "{}", told().1);
    fs::remove_file(&main_ref).unwrap();
    std::os::unix::fs::symlink("gone", &main_ref).unwrap();
    assert!(told().1.contains("refs/main names no commit: No such file"), "{}", told().1);
    fs::remove_file(&main_ref).unwrap();
    write(cache.join("refs/main"), COMMIT).unwrap();
    assert_eq!(caches.find(&main).unwrap().dir, snapshot);
    let blob = "model-00002-of-00002.safetensors";
    fs::remove_file(cache.join("blobs").join(blob)).unwrap();
    let (dir, why) = told();
    assert!(dir == snapshot && why.contains(&format!("{blob} is a link to ")), "{why}");
    assert!(why.contains(&format!("blobs/{blob}, which is not there")), "{why}");
}

#[test]
fn what_is_cut_or_pickled_is_not_whole() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join(".cache/modelscope/hub/models/qwen/Qwen-1_8B");
    let why = || {
        let look = caches(home.path()).look(&repo(Hub::ModelScope, "qwen/Qwen-1_8B", None));
        assert_eq!(look.found, None);
        look.unusable[0].1.clone()
    };
    put_model(&dir);
    write(dir.join("model-00002-of-00002.safetensors"), &shard()[..5]).unwrap();
    assert!(why().contains("not a whole safetensors file"), "{}", why());
    fs::remove_file(dir.join("model-00002-of-00002.safetensors")).unwrap();
    assert!(why().contains("is missing (1 of 2"), "{}", why());
    fs::remove_file(dir.join("model.safetensors.index.json")).unwrap();
    write(dir.join("pytorch_model.bin"), "").unwrap();
    assert!(why().contains("safe_serialization=True"), "{}", why());
    // What stands in the place of a file is told as what it is.
    fs::remove_file(dir.join("config.json")).unwrap();
    create_dir_all(dir.join("config.json")).unwrap();
    assert!(why().contains("config.json: is a directory, and no file"), "{}", why());
    fs::remove_dir(dir.join("config.json")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("config.json"), fifo, mode, 0).unwrap();
    assert!(why().contains("config.json: is no regular file"), "{}", why());
    // In flight.
    let temp = home.path().join(".cache/modelscope/hub/temp/tmpab12");
    put_model(&temp);
    put_model(&home.path().join(".cache/modelscope/hub/models/._____temp/qwen/Qwen-1_8B"));
    why();
}

#[test]
fn data_sets_are_whole_with_both_files() {
    for place in [
        "modelscope/datasets/DAMO_NLP--jd/snapshots/master",
        "modelscope/hub/datasets/DAMO_NLP/jd",
        "modelscope/hub/datasets/DAMO_NLP/jd/master/meta",
    ] {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".cache").join(place);
        create_dir_all(&dir).unwrap();
        let jd = Repo { hub: Hub::ModelScope, sort: Sort::Dataset, id: "DAMO_NLP/jd".into(), revision: None };
        write(dir.join("train.csv"), "").unwrap();
        let look = caches(home.path()).look(&jd);
        assert!(look.unusable.last().unwrap().1.contains("dev.csv is missing"), "{look:?}");
        write(dir.join("dev.csv"), "").unwrap();
        assert_eq!(caches(home.path()).find(&jd).map(|found| found.dir), Some(dir), "{place}");
    }
}

/// As `datasets` 2.15 lays it out for `modelscope` 1.11.
fn put_loaded(dir: &Path, host: &str, file: &str, text: &str) {
    let url = format!("https://{host}/api/v1/datasets/DAMO_NLP/jd/repo?Revision=master&FilePath={file}");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&url);
    let hash = digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
    create_dir_all(dir).unwrap();
    write(dir.join(&hash), text).unwrap();
    write(dir.join(format!("{hash}.json")), format!("{{\"url\": \"{url}\", \"etag\": null}}")).unwrap();
    write(dir.join(format!("{hash}.lock")), "").unwrap();
}

#[test]
fn what_msdataset_has_loaded_is_found_under_its_checksums() {
    let home = tempfile::tempdir().unwrap();
    let caches = caches(home.path());
    let files = home.path().join(".cache/modelscope/hub/datasets/DAMO_NLP/jd/master/data_files");
    let jd = Repo { sort: Sort::Dataset, ..repo(Hub::ModelScope, "DAMO_NLP/jd", None) };
    put_loaded(&files, "www.modelscope.cn", "train.csv", "rows");
    write(files.join("broken.json"), "{").unwrap();
    let links = home.path().join(".cache/qwen-tui");
    assert_eq!(caches.find(&jd), None);
    assert!(!links.exists(), "half of it is nothing");
    put_loaded(&files, "www.modelscope.cn", "dev.csv", "few");
    let found = caches.find(&jd).unwrap();
    assert_eq!(found.dir, links.join("datasets/DAMO_NLP--jd/master"));
    let read = |name: &str| fs::read_to_string(found.dir.join(name)).unwrap();
    assert_eq!((read("train.csv"), read("dev.csv")), ("rows".to_owned(), "few".to_owned()));
    // A later one from elsewhere counts, and a look changes nothing that is right.
    std::thread::sleep(std::time::Duration::from_millis(20));
    put_loaded(&files, "www.modelscope.ai", "dev.csv", "newer");
    assert_eq!(caches.find(&jd), Some(found.clone()));
    assert_eq!(read("dev.csv"), "newer");
    assert_eq!(fs::read_dir(&found.dir).unwrap().count(), 2);
    assert_eq!(caches.find(&Repo { revision: Some("v1".into()), ..jd }), None);
}

#[test]
fn a_name_never_leads_out_of_the_cache() {
    let home = tempfile::tempdir().unwrap();
    put_model(&home.path().join("x"));
    put_hf(&home.path().join(".cache/huggingface/hub/models--a--b"), COMMIT);
    for (id, revision) in
        [("../../x", None), ("..", None), ("/x", None), ("a/../../../x", None), ("a/b", Some("../../../x"))]
    {
        for hub in [Hub::ModelScope, Hub::Hf] {
            let look = caches(home.path()).look(&repo(hub, id, revision));
            assert!(look.found.is_none() && look.unusable.is_empty(), "{id} {look:?}");
        }
    }
}
