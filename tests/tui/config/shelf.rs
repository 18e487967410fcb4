//! Choosing model and data.

use crossterm::event::KeyCode;
use qwen_tui::hub::shelf::{Item, Shelf};
use qwen_tui::hub::{Hub, Sort};
use qwen_tui::tui::action::Action;
use qwen_tui::tui::configs::{ConfigNews, ConfigWork};
use qwen_tui::tui::message::Message;

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
    }
}

fn items() -> Vec<Item> {
    let repos = qwen_tui::hub::names::model_repos("qwen-7b", None, Hub::ModelScope);
    let cache = |path: &str| Shelf::Cache(Hub::ModelScope, path.into());
    let hf = "/home/me/.cache/huggingface/hub/models--某人--微调/snapshots/0123456789abcdef0123456789abcdef01234567";
    let broken = Shelf::Broken(
        "/home/me/.cache/modelscope/hub/qwen/Qwen-14B".into(),
        "model-00003-of-00015.safetensors is missing (2 of 15 shards are there); fetch it again".into(),
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
    ]
}

#[test]
fn model_and_data_are_chosen_from_what_is_there() {
    for (width, height) in SIZES {
        let mut cockpit = on(width, height, "configs/jd-sentiment.json");
        assert!(matches!(&cockpit.press(&["m"])[..], [Action::Config(ConfigWork::Shelves)]));
        cockpit.tell(Message::Config(ConfigNews::Shelves(items())));
        key(&mut cockpit, KeyCode::Down);
        cockpit.assert_picture(&format!("config-models-{width}x{height}"));
        // One that is not whole is told and not taken.
        keys(&mut cockpit, "jj");
        key(&mut cockpit, KeyCode::Enter);
        assert!(cockpit.picture().contains("not whole"), "{}", cockpit.picture());
        // One that is not here: its size, and nothing more.
        keys(&mut cockpit, "j");
        match &cockpit.press(&["i"])[..] {
            [Action::Config(ConfigWork::Size { name, repos })] => {
                assert_eq!((name.as_str(), repos.len()), ("qwen/Qwen-7B", 2));
            }
            other => panic!("{other:?}"),
        }
        assert!(cockpit.press(&["i"]).is_empty(), "it is being asked for");
        let told = Ok("15.4 GB in 14 files from ModelScope: starting a job fetches it".to_owned());
        cockpit.tell(Message::Config(ConfigNews::Size { name: "qwen/Qwen-7B".to_owned(), told }));
        cockpit.assert_picture(&format!("config-models-asked-{width}x{height}"));
        key(&mut cockpit, KeyCode::Enter);
        let picture = cockpit.picture();
        assert!(picture.contains("qwen-7b") && picture.contains("qwen/Qwen-7B"), "{picture}");
        cockpit.press(&["m"]);
        cockpit.tell(Message::Config(ConfigNews::Shelves(items())));
        key(&mut cockpit, KeyCode::End);
        key(&mut cockpit, KeyCode::Enter);
        assert!(cockpit.picture().contains("jd-sentiment-zh"), "{}", cockpit.picture());
    }
}
