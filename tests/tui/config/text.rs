//! What is typed: values, paths, long texts, the whole file.

use super::*;

#[test]
fn a_wrong_value_is_told_while_it_is_typed_and_not_taken() {
    for (width, height) in SIZES {
        let mut cockpit = on(width, height, "configs/jd-sentiment.json");
        go_to(&mut cockpit, "learning_rate");
        key(&mut cockpit, KeyCode::Enter);
        empty(&mut cockpit);
        keys(&mut cockpit, "1e-4高");
        cockpit.assert_picture(&format!("config-edit-error-{width}x{height}"));
        keys(&mut cockpit, "\n");
        assert!(cockpit.picture().contains("1e-4高"), "it is still typed");
        key(&mut cockpit, KeyCode::Backspace);
        key(&mut cockpit, KeyCode::Backspace);
        keys(&mut cockpit, "3\n");
        let picture = cockpit.picture();
        assert!(picture.contains("1e-3") && picture.contains("changed"), "{picture}");
        // Esc takes back.
        key(&mut cockpit, KeyCode::Enter);
        keys(&mut cockpit, "999");
        key(&mut cockpit, KeyCode::Esc);
        assert!(!cockpit.picture().contains("1e-3999"));
    }
}

#[test]
fn choices_go_round_without_typing() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "lr_scheduler_type");
    key(&mut cockpit, KeyCode::Right);
    assert!(cockpit.picture().contains("now: cosine"), "{}", cockpit.picture());
    key(&mut cockpit, KeyCode::Left);
    keys(&mut cockpit, "  ");
    key(&mut cockpit, KeyCode::Left);
    assert!(cockpit.picture().contains("now: cosine"), "{}", cockpit.picture());
    go_to(&mut cockpit, "quantization_bit");
    key(&mut cockpit, KeyCode::Right);
    assert!(cockpit.picture().contains("quantized training is not supported"));
    // Of no choice it is said what to do.
    go_to(&mut cockpit, "lora_rank");
    key(&mut cockpit, KeyCode::Right);
    assert!(cockpit.picture().contains("Enter edits it"));
}

#[test]
fn what_is_typed_can_be_emptied_and_got_back() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "lora_rank");
    keys(&mut cockpit, "\n");
    ctrl(&mut cockpit, 'u');
    keys(&mut cockpit, "4\n");
    assert!(cockpit.picture().contains("now: 4"), "{}", cockpit.picture());
    cockpit.press(&["e"]);
    let before = cockpit.picture();
    assert!(before.contains("lora_rank"), "{before}");
    ctrl(&mut cockpit, 'u');
    assert!(!cockpit.picture().contains("lora_rank"), "{}", cockpit.picture());
    ctrl(&mut cockpit, 'z');
    assert!(cockpit.picture().contains("lora_rank"), "{}", cockpit.picture());
}

#[test]
fn no_caret_shows_through_a_question() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "lora_rank");
    keys(&mut cockpit, "\n7");
    cockpit.picture();
    assert!(cockpit.has_caret());
    for open in [|c: &mut Cockpit| ctrl(c, 'c'), |c: &mut Cockpit| key(c, KeyCode::F(1))] {
        open(&mut cockpit);
        cockpit.picture();
        assert!(!cockpit.has_caret());
        key(&mut cockpit, KeyCode::Esc);
        cockpit.picture();
        assert!(cockpit.has_caret());
    }
}

#[test]
fn the_editor_tells_line_and_key_and_replaces_the_form() {
    for (width, height) in SIZES {
        let mut cockpit = on(width, height, "configs/jd-sentiment.json");
        cockpit.press(&["e"]);
        key(&mut cockpit, KeyCode::Down);
        key(&mut cockpit, KeyCode::End);
        cockpit.app.input(Input::Paste(
            "\r\n  \"system\": \"你是一个情感分类助手\",\r\n  \"lora_rank\": \"八\",".to_owned(),
        ));
        cockpit.assert_picture(&format!("config-json-error-{width}x{height}"));
        for _ in 0..4 {
            key(&mut cockpit, KeyCode::Backspace);
        }
        keys(&mut cockpit, "4,");
        let picture = cockpit.picture();
        assert!(picture.contains("F2 takes them"), "{picture}");
        key(&mut cockpit, KeyCode::F(2));
        go_to(&mut cockpit, "lora_rank");
        assert!(cockpit.picture().contains("now: 4"), "{}", cockpit.picture());
    }
}

#[test]
fn long_values_have_an_editor() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "custom_train_dataset_path");
    keys(&mut cockpit, "\n");
    cockpit.app.input(Input::Paste("数据/评论.csv\n".to_owned()));
    assert!(cockpit.picture().contains("one a line"), "{}", cockpit.picture());
    key(&mut cockpit, KeyCode::F(2));
    assert!(cockpit.picture().contains("now: 数据/评论.csv"), "{}", cockpit.picture());
}

#[test]
fn the_caret_stands_behind_wide_characters() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "model_id_or_path");
    keys(&mut cockpit, "\n");
    empty(&mut cockpit);
    keys(&mut cockpit, "模型/a");
    cockpit.picture();
    let caret = cockpit.terminal.get_cursor_position().unwrap();
    let buffer = cockpit.terminal.backend().buffer();
    let row: Vec<&str> = (0..80).map(|x| buffer[(x, caret.y)].symbol()).collect();
    assert_eq!(row[usize::from(caret.x) - 1], "a");
    assert_eq!(row[usize::from(caret.x) - 6], "模");
}

/// What was said of one value is not shown beside another one.
#[test]
fn a_path_is_judged_as_it_is_typed() {
    let missing =
        |key: &'static str, path: &str| Missing { key, message: format!("{key}: {path}: no such thing") };
    for (width, height) in SIZES {
        let mut cockpit = on(width, height, "configs/jd-sentiment.json");
        go_to(&mut cockpit, "model_id_or_path");
        keys(&mut cockpit, "\n");
        let asked = cockpit.app.input(Input::Paste(" 第三行 red\n".to_owned()));
        let picture = cockpit.picture();
        assert!(picture.contains("Looking for the model") && !picture.contains("✓"), "{picture}");
        // Of several things the one that is typed: here the data is missing too.
        let all = [missing("dataset", "jd"), missing("model_id_or_path", "qwen 第三行 red")];
        answers(&mut cockpit, &asked, &all);
        cockpit.assert_picture(&format!("config-path-error-{width}x{height}"));
        ctrl(&mut cockpit, 'u');
        let asked = key(&mut cockpit, KeyCode::Char('b'));
        assert!(!cockpit.picture().contains("✗"), "{}", cockpit.picture());
        answers(&mut cockpit, &asked, &[]);
        let picture = cockpit.picture();
        assert!(picture.contains("✓ model and data are there with what is typed"), "{picture}");
        // What is thrown away leaves what was known before.
        assert!(key(&mut cockpit, KeyCode::Esc).is_empty());
        assert!(cockpit.picture().contains("✓ s starts"), "{}", cockpit.picture());

        // A list's editor.
        go_to(&mut cockpit, "custom_train_dataset_path");
        key(&mut cockpit, KeyCode::Enter);
        let asked = cockpit.app.input(Input::Paste("/no/such/评论.csv".to_owned()));
        assert!(!cockpit.picture().contains("✓"), "{}", cockpit.picture());
        let all =
            [missing("model_id_or_path", "qwen"), missing("custom_train_dataset_path", "/no/such/评论.csv")];
        answers(&mut cockpit, &asked, &all);
        cockpit.assert_picture(&format!("config-paths-error-{width}x{height}"));
        let picture = cockpit.picture();
        assert!(
            picture.contains("✗ custom_train_dataset_path: /no/such/评论.csv: no such thing"),
            "{picture}"
        );
        let asked = key(&mut cockpit, KeyCode::Backspace);
        answers(&mut cockpit, &asked, &[]);
        assert!(cockpit.picture().contains("✓ ") && cockpit.picture().contains("F2 takes it"));
    }
    // A look that never comes back: after a while another one is made.
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "model_id_or_path");
    keys(&mut cockpit, "\n");
    assert_eq!(key(&mut cockpit, KeyCode::Char('a')).len(), 1);
    assert!(key(&mut cockpit, KeyCode::Char('b')).is_empty());
    assert!(cockpit.tell(Message::Tick(1_700_000_002.0)).is_empty());
    let late = cockpit.tell(Message::Tick(1_700_000_006.0));
    assert!(matches!(late[..], [Action::Config(ConfigWork::Find(_))]), "{late:?}");
    assert!(cockpit.tell(Message::Tick(1_700_000_020.0)).is_empty(), "the same is not looked for twice");
}
