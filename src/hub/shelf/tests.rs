use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// Links to the demo's base in a directory of a cache.
fn put(dir: &Path, leave_out: &str) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join(DEMO);
    fs::create_dir_all(dir).unwrap();
    for file in files(&base).iter().filter(|file| !file.ends_with(leave_out)) {
        symlink(file, dir.join(file.file_name().unwrap())).unwrap();
    }
}

#[test]
fn what_is_here_comes_before_what_is_not() {
    let home = tempfile::tempdir().unwrap();
    let cache = |place: &str| home.path().join(place);
    put(&cache("modelscope/models/Qwen--Qwen-1_8B/snapshots/master"), "-");
    put(&cache("modelscope/hub/me/我的"), "-");
    put(&cache("modelscope/hub/models/me/my___qwen"), "-");
    put(&cache("modelscope/hub/qwen/Qwen-7B"), "model.safetensors");
    put(&cache(&format!("hf/models--me--hub-only/snapshots/{}", "a".repeat(40))), "-");
    // Another family's.
    fs::create_dir_all(cache("modelscope/hub/models/baichuan/b")).unwrap();
    fs::write(cache("modelscope/hub/models/baichuan/b/config.json"), r#"{"model_type":"baichuan"}"#).unwrap();
    let env = [("MODELSCOPE_CACHE", cache("modelscope")), ("HF_HUB_CACHE", cache("hf"))];
    let caches = Caches::of(|name| env.iter().find(|(n, _)| *n == name).map(|(_, path)| path.clone().into()));
    let items = of(&caches);
    let told = |item: &Item| {
        let place = match &item.place {
            Shelf::Cache(hub, _) => hub.to_string(),
            Shelf::Directory(_) => "directory".to_owned(),
            Shelf::Broken(_, why, _) => why.split(':').next_back().unwrap_or_default().trim().to_owned(),
            Shelf::Absent(repos) => format!("{} hubs", repos.len()),
        };
        format!("{} {} {} {place}", item.name, item.family, item.dtype.as_deref().unwrap_or("-"))
    };
    let all: Vec<String> = items.iter().map(told).collect();
    let here: Vec<&str> = all.iter().map(String::as_str).filter(|line| !line.contains(" hubs")).collect();
    assert_eq!(
        here[..4],
        [
            "me/my.qwen 4 layers of 256 bf16 ModelScope",
            "qwen/Qwen-1_8B Qwen-1.8B bf16 ModelScope",
            "me/hub-only 4 layers of 256 bf16 Hugging Face",
            "demo/base 4 layers of 256 bf16 directory",
        ],
        "{all:#?}"
    );
    assert!(here[4].starts_with("qwen/Qwen-7B Qwen-7B - ") && here.len() == 5, "{all:#?}");
    let base = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(DEMO)).iter().map(|file| size(file)).sum();
    assert_eq!(items[0].bytes, Some(base));
    // Every other name of the table, and the data set.
    assert!(all.contains(&"qwen/Qwen-72B-Chat Qwen-72B-Chat - 2 hubs".to_owned()), "{all:#?}");
    assert_eq!(all.last().unwrap(), "jd-sentiment-zh DAMO_NLP/jd - 1 hubs");
}

fn rows(dir: &Path, files: &[&str]) {
    for file in files {
        let file = dir.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "sentence,label\n很好,1\n").unwrap();
    }
}

/// `NAME PLACE: TRAINING FILES | VALIDATION FILES`
fn told_rows(item: &Item) -> String {
    let place = match &item.place {
        Shelf::Cache(hub, _) => hub.to_string(),
        other => format!("{other:?}"),
    };
    let names = |files: &[PathBuf]| {
        let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_string_lossy()).collect();
        names.join(" ")
    };
    let files = item
        .rows
        .as_ref()
        .map_or("by name".to_owned(), |rows| format!("{} | {}", names(&rows.train), names(&rows.validation)));
    format!("{} {place}: {files}", item.name)
}

#[test]
fn data_sets_of_every_layout_are_found_with_their_files() {
    let home = tempfile::tempdir().unwrap();
    let cache = |place: &str| home.path().join("缓存").join(place);
    let both = ["train.csv", "dev.csv"];
    rows(&cache("ms/datasets/DAMO_NLP--jd/snapshots/master"), &both);
    rows(&cache("ms/datasets/me--new.one/snapshots/master"), &["data/train.jsonl", "README.md"]);
    rows(&cache("ms/datasets/me/middle___aged"), &["test.json", "train.json", "dataset_infos.json"]);
    rows(&cache("ms/hub/datasets/me/old/master/meta"), &["train.csv", "old.json"]);
    rows(&cache("ms/hub/datasets/downloads/extracted"), &both);
    rows(&cache("ms/datasets/me/pictures"), &["a.png", "b.parquet"]);
    // A model of an owner of that name is no data set.
    rows(&cache("ms/me/model"), &both);
    // Links into blobs, one of them into nowhere.
    let commit = "a".repeat(40);
    let snapshot = cache("hf/datasets--me--hf/snapshots").join(&commit);
    rows(&cache("hf/datasets--me--hf/blobs"), &["1.csv"]);
    fs::create_dir_all(&snapshot).unwrap();
    symlink("../../blobs/1.csv", snapshot.join("评论.csv")).unwrap();
    symlink("../../blobs/2.csv", snapshot.join("lost.csv")).unwrap();
    // The one that the table knows on ModelScope alone.
    rows(&cache("hf/datasets--DAMO_NLP--jd/snapshots").join(&commit), &both);
    rows(&cache("hf/models--me--hf/snapshots").join(&commit), &both);
    let env = [("MODELSCOPE_CACHE", cache("ms")), ("HF_HUB_CACHE", cache("hf"))];
    let caches = Caches::of(|name| env.iter().find(|(n, _)| *n == name).map(|(_, path)| path.clone().into()));
    let items = of(&caches);
    let sets: Vec<String> = items.iter().filter(|item| item.sort == Sort::Dataset).map(told_rows).collect();
    assert_eq!(
        sets,
        [
            "jd-sentiment-zh ModelScope: by name",
            "me/middle.aged ModelScope: train.json | test.json",
            "me/new.one ModelScope: train.jsonl | ",
            "me/old ModelScope: train.csv | ",
            "DAMO_NLP/jd Hugging Face: train.csv | dev.csv",
            "me/hf Hugging Face: 评论.csv | ",
        ]
    );
    assert!(items.iter().all(|item| item.sort == Sort::Model || item.bytes.unwrap() > 0));
    // What is cut is told, and can be chosen: it is fetched.
    fs::remove_file(cache("ms/datasets/DAMO_NLP--jd/snapshots/master/dev.csv")).unwrap();
    let items = of(&caches);
    let jd = items.iter().find(|item| item.name == "jd-sentiment-zh").unwrap();
    assert!(matches!(&jd.place, Shelf::Broken(_, why, _) if why.contains("dev.csv is missing")), "{jd:?}");
    assert!(jd.repos().len() == 1 && jd.can_be_named());
}

#[test]
fn what_is_broken_is_there_once_and_can_be_fetched_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    let cache = |place: &str| home.path().join(place);
    put(&cache("ms/hub/qwen/Qwen-7B"), "model.safetensors");
    put(&cache(&format!("hf/models--Qwen--Qwen-7B/snapshots/{}", "a".repeat(40))), "qwen.tiktoken");
    // Whole on the other hub.
    put(&cache("ms/models/qwen--Qwen-14B/snapshots/master"), "model.safetensors");
    put(&cache(&format!("hf/models--Qwen--Qwen-14B/snapshots/{}", "b".repeat(40))), "-");
    let env = [("MODELSCOPE_CACHE", cache("ms")), ("HF_HUB_CACHE", cache("hf"))];
    let caches = Caches::of(|name| env.iter().find(|(n, _)| *n == name).map(|(_, path)| path.clone().into()));
    let items = of(&caches);
    let all = |model_type: &str| {
        let all = items.iter().filter(|item| item.model_type.as_deref() == Some(model_type));
        all.collect::<Vec<_>>()
    };
    match &all("qwen-7b")[..] {
        [item @ Item { place: Shelf::Broken(dir, why, _), .. }] => {
            assert!(dir.ends_with("hub/qwen/Qwen-7B") && why.contains("model.safetensors"), "{item:?}");
            assert_eq!((item.repos().len(), item.is_here()), (2, false));
        }
        other => panic!("{other:#?}"),
    }
    assert!(matches!(&all("qwen-14b")[..], [Item { place: Shelf::Cache(Hub::Hf, _), .. }]));
}

/// As `sft` tells them: a cache in which nothing can be used is listed with the reason.
#[test]
fn what_is_broken_in_huggingfaces_cache_is_listed_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let cache = |place: &str| home.path().join("hf").join(place);
    let commit = "a".repeat(40);
    let snapshot = |name: &str| cache(&format!("models--me--{name}/snapshots/{commit}"));
    let reference = |place: &str, text: &str| {
        fs::create_dir_all(cache(place)).unwrap();
        fs::write(cache(place).join("main"), text).unwrap();
    };
    reference("models--me--EmptyRef/refs", "");
    reference("models--me--BadRef/refs", &"b".repeat(40));
    put(&snapshot("BadRef"), "-");
    put(&snapshot("Loop"), "config.json");
    symlink("config.json", snapshot("Loop").join("config.json")).unwrap();
    put(&snapshot("Pipe"), "config.json");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        snapshot("Pipe").join("config.json"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    put(&snapshot("Torn"), "config.json");
    fs::write(snapshot("Torn").join("config.json"), "{").unwrap();
    reference("datasets--me--rows/refs", "b");
    // Other families' are not this program's to judge.
    reference("models--me--bert/refs", &"b".repeat(40));
    for other in ["bert", "llama"] {
        fs::create_dir_all(snapshot(other)).unwrap();
        let told = format!(r#"{{"model_type":"{other}"}}"#);
        fs::write(snapshot(other).join("config.json"), told).unwrap();
    }
    fs::create_dir_all(snapshot("weights-alone")).unwrap();
    let env = [("MODELSCOPE_CACHE", home.path().join("ms")), ("HF_HUB_CACHE", home.path().join("hf"))];
    let caches = Caches::of(|name| env.iter().find(|(n, _)| *n == name).map(|(_, path)| path.clone().into()));
    let items = of(&caches);
    let told: Vec<(&str, &str)> = items
        .iter()
        .filter_map(|item| match &item.place {
            Shelf::Broken(_, why, repos) => {
                assert!(!repos.is_empty(), "{item:?}");
                Some((item.name.as_str(), why.as_str()))
            }
            _ => None,
        })
        .collect();
    let expected = [
        ("me/BadRef", "refs/main names the commit \"bbbb"),
        ("me/EmptyRef", "refs/main names "),
        ("me/Loop", "config.json: missing"),
        ("me/Pipe", "config.json: is no regular file"),
        ("me/Torn", "not valid JSON"),
        ("me/rows", "refs/main names the commit \"b\""),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for ((name, why), (expected, words)) in told.iter().zip(expected) {
        assert!(*name == expected && why.contains(words), "{name}: {why}");
    }
    // The one that is typed is the one that is there.
    assert!(typed("me/BadRef", &items).iter().all(|item| item.sort == Sort::Dataset));
}

#[test]
fn a_data_set_whose_files_lead_nowhere_is_listed_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let at = |place: &str| home.path().join(place);
    let commit = "a".repeat(40);
    let lost = |place: &str, file: &str| {
        fs::create_dir_all(at(place)).unwrap();
        symlink("nowhere", at(place).join(file)).unwrap();
    };
    lost(&format!("hf/datasets--me--dead/snapshots/{commit}"), "train.csv");
    fs::create_dir_all(at("hf/datasets--me--dead/refs")).unwrap();
    fs::write(at("hf/datasets--me--dead/refs/main"), &commit).unwrap();
    lost("ms/datasets/me--new/snapshots/master/data", "train.jsonl");
    lost("ms/hub/datasets/me/old", "train.csv");
    lost("ms/datasets/me/oldest/master/meta", "train.json");
    // What is left is not for training.
    rows(&at("ms/datasets/me--half/snapshots/master"), &["dev.csv"]);
    lost("ms/datasets/me--half/snapshots/master", "train.csv");
    // What is lost is no rows; what is whole elsewhere is there.
    rows(&at("ms/datasets/me--whole/snapshots/master"), &["train.csv"]);
    lost("ms/datasets/me--whole/snapshots/master", "README.md");
    lost("ms/datasets/me--twice/snapshots/master", "train.csv");
    rows(&at("ms/datasets/me/twice"), &["train.csv"]);
    let env = [("MODELSCOPE_CACHE", at("ms")), ("HF_HUB_CACHE", at("hf"))];
    let caches = Caches::of(|name| env.iter().find(|(n, _)| *n == name).map(|(_, path)| path.clone().into()));
    let items = of(&caches);
    let named = |name: &str| items.iter().find(|item| item.name == name).unwrap();
    for name in ["me/dead", "me/new", "me/old", "me/oldest", "me/half"] {
        match &named(name).place {
            Shelf::Broken(dir, why, repos) => {
                assert!(why.starts_with("train.") && why.ends_with("/nowhere, which is not there"), "{why}");
                assert!(why.contains(dir.to_str().unwrap()) && repos.len() == 1, "{why}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(named("me/whole").is_here() && named("me/twice").is_here());
    assert!(typed("me/dead", &items).iter().all(|item| item.sort == Sort::Model));
}

#[test]
fn a_typed_name_is_a_model_or_a_data_set_that_is_not_listed() {
    let items = [
        absent("qwen/Qwen-7B", Vec::new()),
        Item { family: "DAMO_NLP/jd".into(), sort: Sort::Dataset, ..absent("jd", Vec::new()) },
    ];
    let told = |name: &str| {
        let typed = typed(name, &items);
        typed.iter().map(|item| (item.sort, item.repos().len(), item.can_be_named())).collect::<Vec<_>>()
    };
    assert_eq!(told("me/My-Qwen"), [(Sort::Model, 2, true), (Sort::Dataset, 2, false)]);
    assert_eq!(told("Qwen/qwen-7b"), [(Sort::Dataset, 2, false)]);
    assert_eq!(told("damo_nlp/JD"), [(Sort::Model, 2, true)]);
    for none in ["", "qwen", "a/b/c", "~/模型", "/models/x", "模型/底座"] {
        assert!(told(none).is_empty(), "{none}");
    }
}

#[test]
fn a_page_at_a_revision_names_that_revision_alone() {
    let home = tempfile::tempdir().unwrap();
    let cache = |place: &str| home.path().join(place);
    let commit = "a".repeat(40);
    put(&cache(&format!("hf/models--me--Good/snapshots/{commit}")), "-");
    fs::create_dir_all(cache("hf/models--me--Good/refs")).unwrap();
    fs::write(cache("hf/models--me--Good/refs/main"), &commit).unwrap();
    let env = [("MODELSCOPE_CACHE", cache("ms")), ("HF_HUB_CACHE", cache("hf"))];
    let caches = Caches::of(|name| env.iter().find(|(n, _)| *n == name).map(|(_, path)| path.clone().into()));
    let page = repo_of("https://huggingface.co/me/Good/tree/v1.0").unwrap();
    let item = paged::of(&caches, &page);
    assert!(!item.is_here() && item.page.as_ref() == Some(&page), "{item:?}");
    assert_eq!((item.repos()[0].hub, item.repos()[0].revision()), (Hub::Hf, "v1.0"));
    // Where that one is here it is found.
    fs::write(cache("hf/models--me--Good/refs/v1.0"), &commit).unwrap();
    let item = paged::of(&caches, &page);
    assert!(item.is_here() && item.page.as_ref() == Some(&page), "{item:?}");
    assert!(at_revision("https://huggingface.co/me/Good").is_none());
}
