//! Choosing model and data.

use crossterm::event::KeyCode;
use qwen_tui::hub::shelf::{Item, Offer, Rows, Shelf};
use qwen_tui::hub::{Hub, Repo, Sort};
use qwen_tui::tui::action::{Action, QueueWork};
use qwen_tui::tui::configs::{ConfigNews, ConfigWork};
use qwen_tui::tui::message::Message;

use super::super::Cockpit;
use super::{SIZES, key, keys, on};

fn item(name: &str, model_type: Option<&str>, family: &str, bytes: u64, dtype: &str, place: Shelf) -> Item {
    Item {
        sort: Sort::Model,
        name: name.to_owned(),
        model_type: model_type.map(str::to_owned),
        family: family.to_owned(),
        bytes: (bytes > 0).then_some(bytes),
        dtype: (!dtype.is_empty()).then(|| dtype.to_owned()),
        place,
        rows: None,
        page: None,
    }
}

const ROWS: &str = "/home/me/.cache/huggingface/hub/datasets--me--waimai-comments/snapshots/0123456789abcdef0123456789abcdef01234567";

fn items() -> Vec<Item> {
    let repos = qwen_tui::hub::names::model_repos("qwen-7b", None, Hub::ModelScope);
    let cache = |path: &str| Shelf::Cache(Hub::ModelScope, path.into());
    let hf = "/home/me/.cache/huggingface/hub/models--某人--微调/snapshots/0123456789abcdef0123456789abcdef01234567";
    let broken = Shelf::Broken(
        "/home/me/.cache/modelscope/hub/qwen/Qwen-14B".into(),
        "/home/me/.cache/modelscope/hub/qwen/Qwen-14B/model-00003-of-00015.safetensors is missing, which \
         model.safetensors.index.json names (2 of 15 shards are there): a download was cut, and this is a long reason"
            .into(),
        qwen_tui::hub::names::model_repos("qwen-14b", None, Hub::ModelScope),
    );
    vec![
        item(
            "qwen/Qwen-1_8B",
            Some("qwen-1_8b"),
            "Qwen-1.8B",
            3_673_000_000,
            "bf16",
            cache("/home/me/.cache/modelscope/models/qwen--Qwen-1_8B/snapshots/master"),
        ),
        item(
            "me/我的微调模型-评论情感分类-第三版",
            None,
            "24 layers of 2048",
            7_346_000_000,
            "fp32",
            Shelf::Cache(Hub::Hf, hf.into()),
        ),
        item(
            "demo/base",
            Some("qwen-demo"),
            "4 layers of 256",
            10_418_000,
            "fp16",
            Shelf::Directory("demo/base".into()),
        ),
        item("qwen/Qwen-14B", Some("qwen-14b"), "Qwen-14B", 4_000_000_000, "bf16", broken),
        item("qwen/Qwen-7B", Some("qwen-7b"), "Qwen-7B", 0, "", Shelf::Absent(repos)),
        Item {
            sort: Sort::Dataset,
            ..item(
                "jd-sentiment-zh",
                None,
                "DAMO_NLP/jd",
                6_200_000,
                "",
                cache("/home/me/.cache/modelscope/datasets/DAMO_NLP--jd/snapshots/master"),
            )
        },
        Item {
            sort: Sort::Dataset,
            rows: Some(Rows {
                train: vec![format!("{ROWS}/训练 train.jsonl").into()],
                validation: vec![format!("{ROWS}/dev.jsonl").into()],
            }),
            ..item("me/waimai-comments", None, "", 1_200_000, "", Shelf::Cache(Hub::Hf, ROWS.into()))
        },
    ]
}

/// The page with all of it.
fn page(width: u16, height: u16) -> Cockpit {
    let mut cockpit = on(width, height, "configs/jd-sentiment.json");
    assert!(matches!(&cockpit.press(&["m"])[..], [Action::Config(ConfigWork::Shelves)]));
    cockpit.tell(Message::Config(ConfigNews::Shelves(items())));
    cockpit
}

fn offer(files: usize) -> Offer {
    let mut all = vec![("config.json".to_owned(), Some(911)), ("qwen.tiktoken".to_owned(), None)];
    let shard = |n| (format!("model-{n:05}-of-{files:05}.safetensors"), Some(1_000_000_000));
    all.extend((1..=files).map(shard));
    Offer { hub: Hub::ModelScope, files: all, problem: None }
}

/// What the hubs are asked.
#[track_caller]
fn asked(actions: &[Action]) -> Vec<Repo> {
    match actions {
        [Action::Config(ConfigWork::Ask(repos))] => repos.clone(),
        other => panic!("{other:?}"),
    }
}

fn answer(cockpit: &mut Cockpit, repos: Vec<Repo>, told: Result<Offer, String>) {
    assert!(cockpit.tell(Message::Config(ConfigNews::Offer { repos, told })).is_empty());
}

#[test]
fn model_and_data_are_chosen_from_what_is_there() {
    for (width, height) in SIZES {
        let mut cockpit = page(width, height);
        key(&mut cockpit, KeyCode::Down);
        cockpit.assert_picture(&format!("config-models-{width}x{height}"));
        // One that is not whole has its whole reason, and can be chosen: it is fetched.
        keys(&mut cockpit, "jj");
        cockpit.assert_picture(&format!("config-models-broken-{width}x{height}"));
        keys(&mut cockpit, "j");
        let repos = asked(&cockpit.press(&["i"]));
        assert_eq!(
            repos.iter().map(|repo| repo.id.as_str()).collect::<Vec<_>>(),
            ["qwen/Qwen-7B", "Qwen/Qwen-7B"]
        );
        assert!(cockpit.press(&["i"]).is_empty(), "it is being asked for");
        answer(&mut cockpit, repos, Ok(offer(8)));
        cockpit.assert_picture(&format!("config-models-asked-{width}x{height}"));
        assert!(
            key(&mut cockpit, KeyCode::Enter)
                .iter()
                .all(|a| !matches!(a, Action::Config(ConfigWork::StopAsking)))
        );
        let picture = cockpit.picture();
        assert!(picture.contains("qwen-7b") && picture.contains("qwen/Qwen-7B"), "{picture}");
        cockpit.press(&["m"]);
        cockpit.tell(Message::Config(ConfigNews::Shelves(items())));
        cockpit.press(&["End", "Up", "Enter"]);
        assert!(cockpit.picture().contains("jd-sentiment-zh"), "{}", cockpit.picture());
    }
}

#[test]
fn a_data_set_of_the_caches_is_named_by_its_files() {
    let mut cockpit = page(160, 48);
    cockpit.press(&["End"]);
    assert!(cockpit.picture().contains("validation rows: dev.jsonl"), "{}", cockpit.picture());
    let actions = cockpit.press(&["Enter"]);
    assert!(!actions.is_empty(), "they are looked for");
    let picture = cockpit.picture();
    assert!(
        picture.contains("dataset is 1 file of me/waimai-comments, custom_val_dataset_path is 1 file"),
        "{picture}"
    );
    match &cockpit.press(&["a"])[..] {
        [Action::Queue(QueueWork::Put(args)), ..] => {
            assert_eq!(args.dataset, [format!("{ROWS}/训练 train.jsonl")]);
            assert_eq!(args.custom_val_dataset_path, [format!("{ROWS}/dev.jsonl")]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_typed_name_is_asked_about_before_anything_is_fetched() {
    for (width, height) in SIZES {
        let mut cockpit = page(width, height);
        cockpit.press(&["/"]);
        keys(&mut cockpit, "me/My-Qwen");
        cockpit.assert_picture(&format!("config-models-typed-{width}x{height}"));
        // Keys of the list are text here.
        assert!(cockpit.picture().contains("me/My-Qwen") && cockpit.has_caret());
        let repos = asked(&cockpit.press(&["Enter"]));
        assert!(repos.iter().all(|repo| repo.sort == Sort::Model && repo.id == "me/My-Qwen"), "{repos:?}");
        assert!(cockpit.picture().contains("asking the hubs"), "{}", cockpit.picture());
        answer(
            &mut cockpit,
            repos.clone(),
            Err("cannot reach modelscope.cn: no route; cannot reach hf.co".to_owned()),
        );
        assert!(cockpit.picture().contains("cannot reach modelscope.cn"), "{}", cockpit.picture());
        // Again, and all of very many files can be read.
        assert_eq!(asked(&cockpit.press(&["i"])), repos);
        answer(&mut cockpit, repos, Ok(offer(82)));
        let mut seen = cockpit.picture();
        assert!(seen.contains("82.0 GB in 84 files"), "{seen}");
        for _ in 0..20 {
            cockpit.press(&["PageDown"]);
            seen += &cockpit.picture();
        }
        for n in 1..=82 {
            assert!(seen.contains(&format!("model-{n:05}-of")), "{n}: {seen}");
        }
        cockpit.press(&["Enter"]);
        let picture = cockpit.picture();
        assert!(picture.contains("model_id_or_path is me/My-Qwen"), "{picture}");
    }
}

#[test]
fn the_same_name_may_be_that_of_a_data_set() {
    let mut cockpit = page(80, 24);
    cockpit.press(&["/"]);
    keys(&mut cockpit, "me/rows");
    let repos = asked(&cockpit.press(&["Down", "Enter"]));
    assert!(repos.len() == 2 && repos.iter().all(|repo| repo.sort == Sort::Dataset), "{repos:?}");
    let problem = Some("it has no rows in a format that is read here (.csv, .jsonl, .json)");
    answer(&mut cockpit, repos, Ok(Offer { problem, files: Vec::new(), hub: Hub::Hf }));
    let picture = cockpit.picture();
    assert!(picture.contains("Hugging Face has a data set of this name: it has no rows"), "{picture}");
    // Arguments cannot name one that is not here.
    assert!(cockpit.press(&["Enter"]).is_empty());
    let picture = cockpit.picture();
    assert!(picture.contains("`qwen-tui pull me/rows --dataset --hub hf` fetches it"), "{picture}");
}

#[test]
fn what_is_on_this_machine_comes_before_what_a_name_might_be() {
    let mut cockpit = page(160, 48);
    cockpit.press(&["/"]);
    keys(&mut cockpit, "Me/Waimai-Comments");
    let picture = cockpit.picture();
    let at = |words: &str| picture.find(words).unwrap_or_else(|| panic!("{words:?}: {picture}"));
    assert!(at("me/waimai-comments") < at("not here"), "{picture}");
    assert!(cockpit.press(&["Enter"]).is_empty(), "it is here: nobody is asked");
    cockpit.press(&["Enter"]);
    let picture = cockpit.picture();
    assert!(picture.contains("dataset is 1 file of me/waimai-comments"), "{picture}");
    // A name of the table before a data set of the same name.
    let mut cockpit = page(160, 48);
    cockpit.press(&["/"]);
    keys(&mut cockpit, "qwen/Qwen-7B");
    let repos = asked(&cockpit.press(&["Enter"]));
    assert!(repos.iter().all(|repo| repo.sort == Sort::Model), "{repos:?}");
}

#[test]
fn the_address_of_a_page_names_what_it_is_of() {
    let typed = |address: &str| {
        let mut cockpit = page(160, 48);
        cockpit.press(&["/"]);
        keys(&mut cockpit, address);
        cockpit
    };
    let mut cockpit = typed("https://huggingface.co/me/My-Qwen/tree/v2");
    let repos = asked(&cockpit.press(&["Enter"]));
    assert!(repos.iter().all(|repo| repo.sort == Sort::Model && repo.id == "me/My-Qwen"), "{repos:?}");
    assert!(repos[0].hub == Hub::Hf && repos[0].revision.as_deref() == Some("v2"), "{repos:?}");
    cockpit.press(&["Enter"]);
    match &cockpit.press(&["a"])[..] {
        [Action::Queue(QueueWork::Put(args)), ..] => {
            assert_eq!(args.model_id_or_path.as_deref(), Some("me/My-Qwen"));
            assert_eq!((args.hub.as_deref(), args.model_revision.as_deref()), (Some("hf"), Some("v2")));
        }
        other => panic!("{other:?}"),
    }
    // A copy of another revision is not what it names.
    let mut cockpit = typed("https://huggingface.co/Qwen/Qwen-1_8B/tree/v1.0");
    let repos = asked(&cockpit.press(&["Enter"]));
    assert!(repos[0].hub == Hub::Hf && repos.iter().all(|repo| repo.revision() == "v1.0"), "{repos:?}");
    let picture = cockpit.picture();
    let is_it = |line: &&str| line.contains("qwen/Qwen-1_8B at v1.0") && line.contains("not here");
    assert_eq!(picture.lines().filter(is_it).count(), 1, "the row says of which revision it is: {picture}");
    cockpit.press(&["Enter"]);
    let picture = cockpit.picture();
    assert!(picture.contains("hub is Hugging Face, model_revision is v1.0"), "{picture}");
    match &cockpit.press(&["a"])[..] {
        [Action::Queue(QueueWork::Put(args)), ..] => {
            assert_eq!(args.model_id_or_path.as_deref(), Some("qwen/Qwen-1_8B"));
            assert_eq!(args.model_type, "qwen-1_8b");
            assert_eq!((args.hub.as_deref(), args.model_revision.as_deref()), (Some("hf"), Some("v1.0")));
        }
        other => panic!("{other:?}"),
    }
    // What is here, and what is not, with the hub of the page.
    for (address, id) in [("hf.co/Qwen/Qwen-1_8B", "qwen/Qwen-1_8B"), ("hf.co/Qwen/Qwen-7B", "qwen/Qwen-7B")]
    {
        let mut cockpit = typed(address);
        let actions = cockpit.press(&["Enter"]);
        assert!(actions.is_empty() || asked(&actions)[0].hub == Hub::Hf, "{actions:?}");
        cockpit.press(&["Enter"]);
        match &cockpit.press(&["a"])[..] {
            [Action::Queue(QueueWork::Put(args)), ..] => {
                assert_eq!(args.model_id_or_path.as_deref(), Some(id));
                assert_eq!((args.hub.as_deref(), args.model_revision.as_deref()), (Some("hf"), None));
            }
            other => panic!("{other:?}"),
        }
    }
    // What is here is found by it, and a data set's page is no model's.
    let picture = typed("https://www.modelscope.cn/models/qwen/Qwen-1_8B/summary").picture();
    assert!(picture.contains("in ModelScope's cache") && !picture.contains("not here"), "{picture}");
    let mut cockpit = typed("https://huggingface.co/datasets/me/rows");
    let repos = asked(&cockpit.press(&["Enter"]));
    assert!(repos[0].hub == Hub::Hf && repos.iter().all(|repo| repo.sort == Sort::Dataset), "{repos:?}");
    cockpit.press(&["Enter"]);
    let picture = cockpit.picture();
    assert!(picture.contains("`qwen-tui pull me/rows --dataset --hub hf` fetches it"), "{picture}");
}

#[test]
fn sizes_that_a_hub_does_not_tell_are_not_shown_as_nothing() {
    let mut cockpit = page(160, 48);
    cockpit.press(&["/"]);
    keys(&mut cockpit, "me/dan");
    let repos = asked(&cockpit.press(&["Enter"]));
    for (size, told) in [(Some(7), "more than 7 B in 2 files from"), (None, "2 files of unknown size from")] {
        let files = vec![("config.json".to_owned(), size), ("model.safetensors".to_owned(), None)];
        answer(&mut cockpit, repos.clone(), Ok(Offer { hub: Hub::Hf, files, problem: None }));
        let picture = cockpit.picture();
        assert!(picture.contains(told) && picture.contains("?  model.safetensors"), "{told:?}: {picture}");
        assert!(!picture.contains(" 0 B"), "{picture}");
    }
}

#[test]
fn the_address_of_what_is_no_repository_is_told_as_that() {
    for (address, told) in [
        ("https://huggingface.co/spaces/me/x", "is the address of a space"),
        ("modelscope.cn/studios/me/x", "is the address of a studio"),
        ("hf.co/Qwen", "names no model and no data set"),
        ("ssh://u:seKret@hf.co/a/b", "ssh://…@hf.co/a/b is no address of a hub that is known here"),
    ] {
        let mut cockpit = page(160, 48);
        cockpit.press(&["/"]);
        keys(&mut cockpit, address);
        assert!(cockpit.press(&["Enter"]).is_empty(), "{address}: nobody is asked");
        let picture = cockpit.picture();
        assert!(picture.contains(told), "{told:?}: {picture}");
        assert!(!picture.contains("seKret"), "{picture}");
    }
}

#[test]
fn what_each_hub_says_has_lines_of_its_own() {
    let mut cockpit = page(160, 48);
    cockpit.press(&["/"]);
    keys(&mut cockpit, "me/dan");
    let repos = asked(&cockpit.press(&["Enter"]));
    let why = "there is no model me/dan on ModelScope. It says: not found\nthere is no model me/dan on Hugging Face. It \
               says: Repository not found\nBy hand: docs/hub.md";
    answer(&mut cockpit, repos, Err(why.to_owned()));
    let picture = cockpit.picture();
    for line in why.lines() {
        let shown = picture.lines().find(|shown| shown.contains(line));
        let alone = shown.is_some_and(|shown| why.lines().filter(|line| shown.contains(line)).count() == 1);
        assert!(alone, "{line:?}: {picture}");
    }
}

#[test]
fn words_narrow_the_list_and_leaving_stops_what_is_asked() {
    let mut cockpit = page(80, 24);
    cockpit.press(&["/"]);
    keys(&mut cockpit, "微调");
    let picture = cockpit.picture();
    assert!(picture.contains("第三版") && !picture.contains("demo/base"), "{picture}");
    keys(&mut cockpit, "没有");
    assert!(cockpit.picture().contains("Nothing here is called that"), "{}", cockpit.picture());
    for nothing in ["Enter", "Enter", "i", "Down", "End"] {
        assert!(cockpit.press(&[nothing]).is_empty());
    }
    // Esc takes the words back, then closes.
    cockpit.press(&["Esc"]);
    assert!(cockpit.picture().contains("demo/base"), "{}", cockpit.picture());
    cockpit.press(&["/"]);
    keys(&mut cockpit, "qwen-7b");
    assert!(cockpit.press(&["Enter"]).is_empty(), "it is listed: i asks about it");
    let repos = asked(&cockpit.press(&["i"]));
    cockpit.press(&["Esc"]);
    let left = cockpit.press(&["Esc"]);
    assert!(matches!(&left[..], [Action::Config(ConfigWork::StopAsking)]), "{left:?}");
    // What comes all the same is nobody's.
    answer(&mut cockpit, repos, Ok(offer(1)));
    assert!(!cockpit.picture().contains("Models and data"), "{}", cockpit.picture());
    cockpit.press(&["m"]);
    cockpit.tell(Message::Config(ConfigNews::Shelves(items())));
    assert!(matches!(&cockpit.press(&["Esc"])[..], []), "nothing was asked");
}
