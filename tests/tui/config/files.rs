//! Opening, writing, and what a changed form asks.

use super::*;

#[test]
fn quitting_asks_about_a_changed_text() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    cockpit.press(&["e"]);
    assert!(matches!(&ctrl(&mut cockpit, 'c')[..], [Action::Exit]), "it is unchanged");
    keys(&mut cockpit, "x");
    assert!(ctrl(&mut cockpit, 'c').is_empty());
    assert!(cockpit.picture().contains("Quit and lose it"), "{}", cockpit.picture());
    assert!(cockpit.press(&["Enter"]).is_empty(), "what is marked first stays");
    ctrl(&mut cockpit, 'c');
    assert!(matches!(&cockpit.press(&["q"])[..], [Action::Exit]));
}

#[test]
fn quitting_asks_about_a_changed_form() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    assert!(matches!(&cockpit.press(&["q"])[..], [Action::Exit]), "it is unchanged");
    go_to(&mut cockpit, "gradient_checkpointing");
    key(&mut cockpit, KeyCode::Right);
    assert!(cockpit.press(&["q"]).is_empty());
    let picture = cockpit.picture();
    assert!(picture.contains("is in no file yet"), "{picture}");
    assert!(cockpit.press(&["s"]).is_empty(), "stay");
    // What is typed now counts as well.
    key(&mut cockpit, KeyCode::Left);
    assert!(matches!(&cockpit.press(&["q"])[..], [Action::Exit]), "it is as it was");
    go_to(&mut cockpit, "lora_rank");
    keys(&mut cockpit, "\n7");
    assert!(ctrl(&mut cockpit, 'c').is_empty());
    assert!(cockpit.picture().contains("The value typed"), "{}", cockpit.picture());
    assert!(matches!(&cockpit.press(&["q"])[..], [Action::Exit]));
    // A run keeps what it was started with.
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "gradient_checkpointing");
    key(&mut cockpit, KeyCode::Right);
    assert!(matches!(&cockpit.press(&["s"])[..], [Action::StartJob { .. }]));
    cockpit.tell(Message::Opened(RUN.into()));
    assert!(matches!(&cockpit.press(&["q"])[..], [Action::Exit]));
    cockpit.press(&["1"]);
    key(&mut cockpit, KeyCode::Left);
    key(&mut cockpit, KeyCode::Left);
    assert!(cockpit.press(&["q"]).is_empty());
}

#[test]
fn opening_a_file_asks_about_a_changed_form() {
    let file = || PathBuf::from("/runs/sft_args.json");
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    // Both from the Checkpoints tab and from the list of files.
    let open: [fn(&mut Cockpit) -> Vec<Action>; 2] = [
        |cockpit| cockpit.app.act(vec![Action::LoadConfig("/runs/sft_args.json".into())]),
        |cockpit| {
            cockpit.press(&["o"]);
            keys(cockpit, "/runs/sft_args.json");
            key(cockpit, KeyCode::Enter)
        },
    ];
    let loads =
        |actions: &[Action]| matches!(actions, [Action::Config(ConfigWork::Load(path))] if *path == file());
    for open in open {
        load(&mut cockpit, "configs/jd-sentiment.json");
        assert!(loads(&open(&mut cockpit)), "nothing would be lost");
        load(&mut cockpit, "configs/jd-sentiment.json");
        go_to(&mut cockpit, "gradient_checkpointing");
        key(&mut cockpit, KeyCode::Right);
        assert!(open(&mut cockpit).is_empty());
        let picture = cockpit.picture();
        assert!(picture.contains("in no file yet") && picture.contains("/runs/sft_args.json"), "{picture}");
        assert!(cockpit.press(&["Enter"]).is_empty(), "what is marked first keeps it");
        key(&mut cockpit, KeyCode::Esc);
        assert!(cockpit.picture().contains("changed"), "{}", cockpit.picture());
        assert!(open(&mut cockpit).is_empty());
        assert!(loads(&cockpit.press(&["o"])));
    }
}

#[test]
fn a_name_to_write_to_is_taken_as_typed() {
    for (typed, path) in [
        ("configs/demo.json", "configs/demo.json"),
        ("/tmp/x.json", "/tmp/x.json"),
        ("~/x.json", "~/x.json"),
        ("x", "configs/x.json"),
    ] {
        let written = |cockpit: &mut Cockpit| match &key(cockpit, KeyCode::Enter)[..] {
            [Action::Config(ConfigWork::Save { path, .. })] => path.display().to_string(),
            other => panic!("{other:?}"),
        };
        // Over the name that stands there, after Ctrl+U, pasted, and where none stands there.
        let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
        cockpit.press(&["w"]);
        keys(&mut cockpit, typed);
        assert_eq!(written(&mut cockpit), path);
        ctrl(&mut cockpit, 'u');
        cockpit.app.input(Input::Paste(typed.to_owned()));
        assert_eq!(written(&mut cockpit), path);
        cockpit.tell(Message::Config(ConfigNews::Saved("configs/old.json".into())));
        cockpit.press(&["w"]);
        cockpit.app.input(Input::Paste(typed.to_owned()));
        assert_eq!(written(&mut cockpit), path);
        cockpit.tell(Message::Config(ConfigNews::Saved("/tmp/old.json".into())));
        cockpit.press(&["w"]);
        keys(&mut cockpit, typed);
        assert_eq!(written(&mut cockpit), path);
    }
}

#[test]
fn what_names_no_file_is_told() {
    for (page, typed) in [("w", ""), ("w", "configs/"), ("o", "")] {
        let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
        cockpit.press(&[page]);
        cockpit.tell(Message::Config(ConfigNews::Files(Vec::new())));
        ctrl(&mut cockpit, 'u');
        keys(&mut cockpit, typed);
        assert!(key(&mut cockpit, KeyCode::Enter).is_empty());
        assert!(cockpit.picture().contains("type the name of a file first"), "{}", cockpit.picture());
        // The page stays.
        cockpit.press(&["Left"]);
        assert!(!cockpit.picture().contains("lora_rank"), "{}", cockpit.picture());
    }
}

#[test]
fn swifts_file_loads_with_its_warning() {
    let text = std::fs::read_to_string(root().join("tests/data/sft_args_swift.json")).unwrap();
    let text = text.replace("\"dataloader_num_workers\": 1", "\"dataloader_num_workers\": 4");
    let read = Draft::parse(&text).unwrap();
    assert_eq!(read.warnings.len(), 1);
    let start: String = read.warnings[0].chars().take(30).collect();
    let mut cockpit = Cockpit::new(160, 48);
    cockpit.press(&["1"]);
    cockpit.tell(Message::Config(ConfigNews::Loaded { file: Some("sft_args.json".into()), read }));
    assert!(cockpit.picture().contains(&start), "{}", cockpit.picture());
    cockpit.tell(Message::Tick(1_700_000_100.0));
    assert!(cockpit.picture().contains(&start), "it stays beside the form: {}", cockpit.picture());
}

#[test]
fn files_are_picked_or_typed() {
    let files: Vec<PathBuf> = ["configs/demo.json", "configs/jd-sentiment.json", "configs/评论-长文本.json"]
        .map(PathBuf::from)
        .into();
    for (width, height) in SIZES {
        let mut cockpit = on(width, height, "configs/jd-sentiment.json");
        assert!(matches!(&cockpit.press(&["o"])[..], [Action::Config(ConfigWork::List)]));
        cockpit.tell(Message::Config(ConfigNews::Files(files.clone())));
        key(&mut cockpit, KeyCode::Down);
        cockpit.assert_picture(&format!("config-picker-{width}x{height}"));
        keys(&mut cockpit, "评论");
        match &key(&mut cockpit, KeyCode::Enter)[..] {
            [Action::Config(ConfigWork::Load(path))] => assert_eq!(path, &files[2]),
            other => panic!("{other:?}"),
        }
        keys(&mut cockpit, "/none.json");
        match &key(&mut cockpit, KeyCode::Enter)[..] {
            [Action::Config(ConfigWork::Load(path))] => assert_eq!(path.to_str(), Some("评论/none.json")),
            other => panic!("{other:?}"),
        }
        load(&mut cockpit, "configs/demo.json");
        assert!(cockpit.picture().contains("configs/demo.json"), "{}", cockpit.picture());
    }
    assert_eq!(ARGS_FILE, "sft_args.json");
}

#[test]
fn writing_asks_before_it_overwrites() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "gradient_checkpointing");
    key(&mut cockpit, KeyCode::Right);
    cockpit.press(&["w"]);
    let (path, text) = match &key(&mut cockpit, KeyCode::Enter)[..] {
        [Action::Config(ConfigWork::Save { path, text, overwrite: false })] => (path.clone(), text.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(path.to_str(), Some("configs/jd-sentiment.json"));
    assert!(text.contains("\"gradient_checkpointing\": false"), "{text}");
    cockpit.tell(Message::Config(ConfigNews::Exists { path: path.clone(), text }));
    assert!(cockpit.picture().contains("is there already"), "{}", cockpit.picture());
    assert!(cockpit.press(&["Enter"]).is_empty(), "what is marked first keeps the file");
    assert!(cockpit.picture().contains("changed") || cockpit.picture().contains("write to"));
    for _ in 0.."jd-sentiment.json".len() {
        key(&mut cockpit, KeyCode::Backspace);
    }
    keys(&mut cockpit, "我的");
    match &key(&mut cockpit, KeyCode::Enter)[..] {
        [Action::Config(ConfigWork::Save { path, .. })] => {
            assert_eq!(path.to_str(), Some("configs/我的.json"))
        }
        other => panic!("{other:?}"),
    }
    cockpit.tell(Message::Config(ConfigNews::Saved("configs/我的.json".into())));
    let picture = cockpit.picture();
    assert!(picture.contains(" configs/我的.json ─"), "no longer changed: {picture}");
}
