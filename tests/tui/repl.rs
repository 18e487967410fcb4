//! The REPL tab.

use super::random::Random;
use super::{Cockpit, RUN, listed, recorded};
use crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use qwen_tui::job::runs::{RunStatus, RunSummary};
use qwen_tui::tui::action::Action;
use qwen_tui::tui::message::Message;
use qwen_tui::tui::model::Worker;
use qwen_tui::tui::repl::{Ask, Loaded, Model, News, Order, RunModels};

const NOW: f64 = 1_700_000_000.0;
const SIZES: [(u16, u16); 2] = [(80, 24), (160, 48)];
const LONG: &str = "昨天收到的，包装很结实，没有磕碰。\n\n但是用了一天就死机了三次，客服说让我自己重装系统，\
    我是买来工作的，不是买来修电脑的！打电话过去一直占线，等了四十分钟才有人接，态度还特别差。\n总之：不推荐。";

/// On a run that has finished, the REPL shown.
fn repl(width: u16, height: u16) -> Cockpit {
    let gone = Worker::Gone { why: String::new() };
    let mut cockpit = Cockpit::on_run(width, height, recorded("finished"), gone);
    cockpit.tell(Message::Tick(NOW));
    cockpit.press(&["4"]);
    cockpit
}

fn write(cockpit: &mut Cockpit, text: &str) {
    text.chars().for_each(|c| drop(cockpit.press(&[&c.to_string()])));
}

fn paste(cockpit: &mut Cockpit, text: &str) {
    cockpit.app.input(Input::Paste(text.to_owned()));
}

fn hear(cockpit: &mut Cockpit, news: News) -> Vec<Action> {
    cockpit.tell(Message::Repl(news))
}

/// The orders among the actions.
fn orders(actions: Vec<Action>) -> Vec<Order> {
    actions.into_iter().filter_map(|a| if let Action::Repl(order) = a { Some(order) } else { None }).collect()
}

/// Types a text and sends it.
fn send(cockpit: &mut Cockpit, text: &str) -> Vec<Order> {
    write(cockpit, text);
    orders(cockpit.press(&["Enter"]))
}

fn checkpoint(step: u64) -> Model {
    Model::Checkpoint(format!("{RUN}/checkpoint-{step}").into())
}

fn loaded(model: Model) -> News {
    let drawing = "temperature 0.3, top-k 20, top-p 0.7, at most 2048 tokens".to_owned();
    News::Loaded(Loaded { model, device: "cpu".into(), seconds: 0.42, drawing, warnings: Vec::new() })
}

fn label(id: u64, label: &str, positive: f64) -> News {
    let probabilities = [("negative", 1.0 - positive), ("positive", positive)];
    let probabilities = probabilities.into_iter().map(|(l, p)| (l.to_owned(), p.into())).collect();
    News::Label { id, label: label.into(), probabilities, seconds: 0.021 }
}

/// The model that was ordered.
fn opened(orders: &[Order]) -> Option<&Model> {
    orders.iter().find_map(|o| if let Order::Open(model) = o { Some(model) } else { None })
}

/// Asked once and answered.
fn answered(width: u16, height: u16) -> Cockpit {
    let mut cockpit = repl(width, height);
    let orders = send(&mut cockpit, "东西很好用，下次还买");
    let best = opened(&orders).unwrap().clone();
    hear(&mut cockpit, News::Loading(best.clone()));
    hear(&mut cockpit, loaded(best));
    hear(&mut cockpit, News::Begun { id: 1 });
    hear(&mut cockpit, label(1, "positive", 0.9312));
    cockpit
}

#[test]
fn before_anything_was_asked_it_says_what_will_be_loaded() {
    for (width, height) in SIZES {
        repl(width, height).assert_picture(&format!("repl-empty-{width}x{height}"));
    }
    let mut nothing = Cockpit::new(80, 24);
    nothing.press(&["4"]);
    assert!(send(&mut nothing, "好").is_empty());
    let picture = nothing.picture();
    assert!(picture.contains("no model is chosen") && picture.contains("> 好"), "the text stays:\n{picture}");
    nothing.tell(Message::Engine(Err("the engine, which answers, is not there".to_owned())));
    nothing.press(&["!"]);
    assert!(nothing.picture().contains("the engine, which answers, is not there"));
    assert!(nothing.press(&["Enter"]).is_empty());
}

#[test]
fn the_first_text_loads_the_best_checkpoint_and_waits_for_it() {
    for (width, height) in SIZES {
        let mut cockpit = repl(width, height);
        let orders = send(&mut cockpit, "包装不错但是质量太差");
        let best = opened(&orders).unwrap().clone();
        assert!(matches!(best, Model::Checkpoint(_)), "{best:?}");
        let text = "包装不错但是质量太差".to_owned();
        assert_eq!(
            orders[1..],
            [Order::Remember(text.clone()), Order::Ask { id: 1, ask: Ask::Classify(text) }]
        );
        hear(&mut cockpit, News::Loading(best));
        cockpit.app.take_changed();
        cockpit.tell(Message::Tick(NOW + 3.0));
        assert!(cockpit.app.take_changed(), "the seconds count");
        cockpit.assert_picture(&format!("repl-loading-{width}x{height}"));
    }
}

#[test]
fn answers_stand_above_the_text_the_newest_last() {
    for (width, height) in SIZES {
        let mut cockpit = answered(width, height);
        assert!(opened(&send(&mut cockpit, "包装不错但是质量太差")).is_none(), "it is loaded");
        hear(&mut cockpit, News::Begun { id: 2 });
        hear(&mut cockpit, label(2, "negative", 0.1234));
        cockpit.assert_picture(&format!("repl-answered-{width}x{height}"));
        cockpit.app.take_changed();
        cockpit.tell(Message::Tick(NOW + 9.0));
        assert!(!cockpit.app.take_changed(), "nothing counts any more");
    }
}

#[test]
fn the_readmes_picture() {
    let mut cockpit = answered(100, 30);
    send(&mut cockpit, "包装不错但是质量太差");
    hear(&mut cockpit, News::Begun { id: 2 });
    hear(&mut cockpit, label(2, "negative", 0.1234));
    cockpit.assert_readme_picture("repl");
}

#[test]
fn a_pasted_text_keeps_its_lines() {
    for (width, height) in SIZES {
        let mut cockpit = answered(width, height);
        paste(&mut cockpit, &LONG.replace('\n', "\r\n"));
        cockpit.assert_picture(&format!("repl-long-{width}x{height}"));
        let sent = orders(cockpit.press(&["Enter"]));
        assert_eq!(sent[1], Order::Ask { id: 2, ask: Ask::Classify(LONG.to_owned()) });
    }
    let mut cockpit = repl(80, 24);
    write(&mut cockpit, "一");
    cockpit.press(&["Ctrl+j"]);
    write(&mut cockpit, "二");
    cockpit.app.input(Input::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::ALT)));
    write(&mut cockpit, "q?1");
    let sent = orders(cockpit.press(&["Enter"]));
    assert_eq!(sent[1], Order::Remember("一\n二\nq?1".to_owned()), "keys of everywhere are text");
}

#[test]
fn a_text_grows_while_it_is_generated_and_is_cut_off_by_esc() {
    for (width, height) in SIZES {
        let mut cockpit = answered(width, height);
        cockpit.press(&["Ctrl+g"]);
        send(&mut cockpit, "酒店的位置");
        hear(&mut cockpit, News::Begun { id: 2 });
        for piece in ["很好，离地铁站", "很近，\n房间也干净，", "早餐"] {
            hear(&mut cockpit, News::Piece { id: 2, text: piece.into() });
        }
        cockpit.tell(Message::Tick(NOW + 4.0));
        send(&mut cockpit, "第二个");
        cockpit.assert_picture(&format!("repl-generating-{width}x{height}"));
        assert_eq!(orders(cockpit.press(&["Esc"])), [Order::Cancel { id: 2 }]);
        let text = "很好，离地铁站很近，\n房间也干净，早餐".to_owned();
        hear(&mut cockpit, News::Done { id: 2, text, cancelled: true, seconds: 4.1 });
        assert!(cockpit.picture().contains("cancelled, 4.1 s"));
        assert_eq!(orders(cockpit.press(&["Esc"])), [Order::Cancel { id: 3 }]);
    }
}

#[test]
fn a_dead_server_is_told_with_its_last_words_and_started_anew() {
    for (width, height) in SIZES {
        let mut cockpit = answered(width, height);
        send(&mut cockpit, "差");
        hear(&mut cockpit, News::Begun { id: 2 });
        hear(&mut cockpit, News::Failed { id: 2, why: "the engine ended".into() });
        let why = "the engine was ended by signal 9 (SIGKILL: most often the machine ran out of memory: `dmesg` \
            tells); its last words:\n  磁盘已满\n  terminate called after throwing an instance of 'c10::Error'";
        hear(&mut cockpit, News::Ended { why: Some(why.into()) });
        cockpit.assert_picture(&format!("repl-died-{width}x{height}"));
        assert!(opened(&send(&mut cockpit, "好")).is_some());
    }
}

#[test]
fn a_model_is_picked_from_a_list_or_typed() {
    let typo = Model::At("/models/none".into());
    let models = || {
        let other = "/home/me/output/qwen-1_8b/v1-20231113-201500";
        let base = Some("/models/Qwen-1_8B".to_owned());
        News::Models(vec![
            RunModels {
                run: RUN.into(),
                base: Some("demo/base".into()),
                checkpoints: vec![10, 20],
                merged: vec![20],
                best: Some(20),
                last: Some(20),
            },
            RunModels {
                run: other.into(),
                base,
                checkpoints: vec![50, 100, 125],
                merged: Vec::new(),
                best: Some(100),
                last: Some(125),
            },
        ])
    };
    for (width, height) in SIZES {
        let mut cockpit = answered(width, height);
        let asked = orders(cockpit.press(&["Ctrl+o"]));
        assert!(matches!(&asked[..], [Order::List(runs)] if runs == &[std::path::PathBuf::from(RUN)]));
        assert!(cockpit.picture().contains("Looking for checkpoints"));
        hear(&mut cockpit, models());
        cockpit.press(&["Down", "Down"]);
        cockpit.assert_picture(&format!("repl-picker-{width}x{height}"));
        assert_eq!(orders(cockpit.press(&["Enter"])), [Order::Open(checkpoint(20))]);

        cockpit.press(&["Ctrl+o"]);
        hear(&mut cockpit, models());
        write(&mut cockpit, "1_8b/V1");
        cockpit.press(&["Down", "Down"]);
        let other = Model::Checkpoint("/home/me/output/qwen-1_8b/v1-20231113-201500/checkpoint-100".into());
        assert_eq!(orders(cockpit.press(&["Enter"])), [Order::Open(other)]);

        cockpit.press(&["Ctrl+o"]);
        paste(&mut cockpit, "/models/我的模型\nrest");
        assert_eq!(orders(cockpit.press(&["Enter"])), [Order::Open(Model::At("/models/我的模型".into()))]);
        cockpit.press(&["Ctrl+o", "Esc"]);
        assert!(!cockpit.picture().contains("Which model"));
        hear(&mut cockpit, loaded(Model::At("/models/我的模型".into())));
        // One that cannot be had leaves the choice before it.
        cockpit.press(&["Ctrl+o"]);
        paste(&mut cockpit, "/models/none");
        cockpit.press(&["Enter"]);
        hear(&mut cockpit, News::Loading(typo.clone()));
        hear(&mut cockpit, News::Refused { model: typo.clone(), why: "there is no such directory".into() });
        // What was typed stands there still, with what is wrong with it.
        cockpit.assert_picture(&format!("repl-picker-refused-{width}x{height}"));
        cockpit.press(&["Left"]);
        write(&mut cockpit, "X");
        let picture = cockpit.picture();
        assert!(picture.contains("directory: /models/nonXe"), "the caret moves in the text:\n{picture}");
        let again = orders(cockpit.press(&["Enter"]));
        assert_eq!(again, [Order::Open(Model::At("/models/nonXe".into()))]);
        // Whoever has gone on meanwhile is not disturbed.
        cockpit.press(&["Home"]);
        hear(&mut cockpit, News::Loading(Model::At("/models/nonXe".into())));
        hear(&mut cockpit, News::Refused { model: Model::At("/models/nonXe".into()), why: "none".into() });
        assert!(!cockpit.picture().contains("Which model"));
        assert!(opened(&send(&mut cockpit, "好")).is_none(), "{}", cockpit.picture());
        hear(&mut cockpit, News::Ended { why: None });
        let again = send(&mut cockpit, "好");
        assert_eq!(opened(&again), Some(&Model::At("/models/我的模型".into())));
    }
}

#[test]
fn a_checkpoint_that_was_never_evaluated_is_the_last_and_not_the_best() {
    let gone = Worker::Gone { why: String::new() };
    let mut cockpit = Cockpit::on_run(80, 24, super::until_step("finished", 9), gone);
    cockpit.press(&["4", "Ctrl+o"]);
    assert!(cockpit.picture().contains("no checkpoint yet: base model"), "{}", cockpit.picture());
    cockpit.press(&["Esc"]);
    let saved = r#"{"seq":900,"time":1700000009,"kind":"checkpoint","step":9,"path":"checkpoint-9","bytes":9,"seconds":0.1,"best":false}"#;
    cockpit.tell(Message::Events { run: RUN.into(), records: vec![serde_json::from_str(saved).unwrap()] });
    let picture = cockpit.picture();
    assert!(picture.contains("the run's last; none is best"), "{picture}");
    cockpit.press(&["Ctrl+o"]);
    let picture = cockpit.picture();
    assert!(picture.contains("last (none is best): checkpoint-9"), "{picture}");
    assert!(!picture.contains(" best: checkpoint-9"), "{picture}");
    assert_eq!(orders(cockpit.press(&["Enter"])), [Order::Open(checkpoint(9))]);
}

#[test]
fn a_loaded_model_whose_files_are_gone_is_told_as_such() {
    let words = "deleted from the disk, answers on";
    for (width, height) in SIZES {
        let mut cockpit = answered(width, height);
        let other = format!("{RUN}/checkpoint-20");
        cockpit.tell(Message::Deleted(other.into()));
        assert!(!cockpit.picture().contains("deleted"), "another one's");
        cockpit.tell(Message::Deleted(format!("{RUN}/checkpoint-25").into()));
        cockpit.assert_picture(&format!("repl-gone-{width}x{height}"));
        assert!(cockpit.picture().contains(words));
    }
    let removed = r#"{"seq":900,"time":1700000099,"kind":"checkpoint_removed","step":25}"#;
    let removed = vec![serde_json::from_str(removed).unwrap()];
    let mut cockpit = answered(80, 24);
    cockpit.tell(Message::Events { run: RUN.into(), records: removed });
    let picture = cockpit.picture();
    assert!(picture.contains(words) && picture.contains("the next text opens checkpoint-20"), "{picture}");
    // Whoever deleted it: the server's keeper finds out when it is asked. What is loaded next is there.
    let mut cockpit = answered(80, 24);
    hear(&mut cockpit, News::Gone(checkpoint(20)));
    assert!(!cockpit.picture().contains(words));
    hear(&mut cockpit, News::Gone(checkpoint(25)));
    assert!(cockpit.picture().contains(words));
    hear(&mut cockpit, loaded(checkpoint(20)));
    assert!(!cockpit.picture().contains(words));
}

#[test]
fn a_deleted_model_that_was_unloaded_is_not_replaced_in_silence() {
    for away in [true, false] {
        let mut cockpit = answered(80, 24);
        for step in [10, 20] {
            hear(&mut cockpit, News::Chosen(format!("{RUN}/checkpoint-{step}").into()));
            hear(&mut cockpit, News::Loading(checkpoint(step)));
            hear(&mut cockpit, loaded(checkpoint(step)));
        }
        if away {
            cockpit.tell(Message::Deleted(format!("{RUN}/checkpoint-20").into()));
        }
        assert_eq!(orders(cockpit.press(&["Ctrl+x"])), [Order::Unload]);
        hear(&mut cockpit, News::Ended { why: None });
        if away {
            let picture = cockpit.picture();
            assert!(picture.contains("deleted from the disk: Ctrl+O chooses another model"), "{picture}");
            assert!(send(&mut cockpit, "好").is_empty());
            let picture = cockpit.picture();
            assert!(picture.contains("checkpoint-20 is deleted") && picture.contains("> 好"), "{picture}");
        } else {
            // Deleted by somebody else: it is found out when it is to be loaded.
            assert_eq!(opened(&send(&mut cockpit, "好")), Some(&checkpoint(20)));
            hear(&mut cockpit, News::Loading(checkpoint(20)));
            let why = "there is no such directory (any more)".to_owned();
            hear(&mut cockpit, News::Refused { model: checkpoint(20), why });
            let picture = cockpit.picture();
            assert!(picture.contains("checkpoint-20\n could not be opened: a text tries"), "{picture}");
        }
        hear(&mut cockpit, News::Chosen(format!("{RUN}/checkpoint-10").into()));
        hear(&mut cockpit, loaded(checkpoint(10)));
        assert!(opened(&send(&mut cockpit, "")).is_none() && !cockpit.picture().contains("deleted from"));
    }
}

#[test]
fn the_newest_of_the_running_job_is_followed() {
    let mut cockpit = Cockpit::on_run(80, 24, super::until_step("finished", 17), Worker::Alive);
    cockpit.press(&["4", "Ctrl+o", "Down"]);
    let first = orders(cockpit.press(&["Enter"]));
    hear(&mut cockpit, loaded(opened(&first).unwrap().clone()));
    let saved = |step: u64, best: bool| {
        let line = format!(
            r#"{{"seq":{step},"time":{},"kind":"checkpoint","step":{step},"path":"checkpoint-{step}","bytes":9,"seconds":0.1,"best":{best}}}"#,
            NOW + step as f64
        );
        Message::Events { run: RUN.into(), records: vec![serde_json::from_str(&line).unwrap()] }
    };
    let followed = orders(cockpit.tell(saved(900, false)));
    assert_eq!(followed, [Order::Open(checkpoint(900))]);
    hear(&mut cockpit, loaded(checkpoint(900)));
    let picture = cockpit.picture();
    assert!(
        picture.contains("checkpoint-900") && picture.contains("step 900, cpu, loaded in 420 ms"),
        "{picture}"
    );
    assert!(picture.contains("newest, followed"), "{picture}");
    // What was unloaded stays so until something is asked.
    assert_eq!(orders(cockpit.press(&["Ctrl+x"])), [Order::Unload]);
    hear(&mut cockpit, News::Ended { why: None });
    assert!(orders(cockpit.tell(saved(950, true))).is_empty());
    assert_eq!(opened(&send(&mut cockpit, "好")), Some(&checkpoint(950)));
    // One that is chosen stays, whatever comes.
    let chosen = |step: u64| News::Chosen(format!("{RUN}/checkpoint-{step}").into());
    assert_eq!(orders(hear(&mut cockpit, chosen(10))), [Order::Open(checkpoint(10))]);
    hear(&mut cockpit, loaded(checkpoint(10)));
    assert!(orders(cockpit.tell(saved(960, true))).is_empty());
    assert!(opened(&send(&mut cockpit, "好")).is_none());
    // And one that cannot be had is not tried again at each text.
    assert_eq!(orders(hear(&mut cockpit, chosen(20))), [Order::Open(checkpoint(20))]);
    hear(&mut cockpit, News::Loading(checkpoint(20)));
    hear(&mut cockpit, News::Refused { model: checkpoint(20), why: "gone".into() });
    assert!(opened(&send(&mut cockpit, "好")).is_none());
}

#[test]
fn a_checkpoint_of_another_tab_opens_here() {
    let mut cockpit = Cockpit::new(80, 24);
    let chosen = orders(hear(&mut cockpit, News::Chosen("/models/base".into())));
    assert_eq!(chosen, [Order::Open(Model::At("/models/base".into()))]);
}

#[test]
fn arrows_bring_earlier_texts_back() {
    let mut cockpit = answered(80, 24);
    hear(&mut cockpit, News::History(vec!["上次的".into(), "第一行\n第二行".into()]));
    write(&mut cockpit, "草稿");
    cockpit.press(&["Up", "Up"]);
    assert!(cockpit.picture().contains("第二行"));
    cockpit.press(&["Up", "Up"]);
    assert!(cockpit.picture().contains("> 上次的"), "{}", cockpit.picture());
    cockpit.press(&["Down", "Down", "Down", "Down"]);
    assert!(cockpit.picture().contains("> 草稿"), "{}", cockpit.picture());
}

#[test]
fn quitting_with_a_text_that_is_not_sent_asks() {
    let mut cockpit = repl(80, 24);
    write(&mut cockpit, "测试");
    assert!(cockpit.press(&["Ctrl+c"]).is_empty());
    let picture = cockpit.picture();
    assert!(
        picture.contains("The text in the REPL is not sent yet.") && picture.contains("Stay"),
        "{picture}"
    );
    cockpit.press(&["s"]);
    assert!(cockpit.picture().contains("> 测试"), "{}", cockpit.picture());
    // From another tab as well.
    cockpit.press(&["Tab", "q"]);
    assert!(cockpit.picture().contains("not sent yet"));
    assert!(matches!(cockpit.press(&["q"])[..], [Action::Exit]));

    let mut cockpit = repl(80, 24);
    assert_eq!(send(&mut cockpit, "好").len(), 3);
    assert!(matches!(cockpit.press(&["Ctrl+c"])[..], [Action::Exit]), "it is sent");
    // A text brought back is remembered; the one that was being written is not.
    cockpit.press(&["Up"]);
    assert!(matches!(cockpit.press(&["Ctrl+c"])[..], [Action::Exit]));
    cockpit.press(&["Down"]);
    write(&mut cockpit, "坏");
    cockpit.press(&["Up"]);
    assert!(cockpit.press(&["Ctrl+c"]).is_empty());
    assert!(cockpit.picture().contains("not sent yet"));
}

#[test]
fn a_long_talk_scrolls_and_ctrl_l_clears_it() {
    let mut cockpit = answered(80, 24);
    for id in 2..30 {
        send(&mut cockpit, &format!("第{id}条"));
        hear(&mut cockpit, News::Begun { id });
        hear(&mut cockpit, label(id, "positive", 0.5));
    }
    assert!(cockpit.picture().contains("第29条"));
    for _ in 0..3 {
        cockpit.press(&["PageUp"]);
        cockpit.picture();
    }
    let picture = cockpit.picture();
    assert!(!picture.contains("第29条") && picture.contains("more below, PageDown"), "{picture}");
    for _ in 0..30 {
        cockpit.press(&["PageUp"]);
        cockpit.picture();
    }
    assert!(cockpit.picture().contains("东西很好用"));
    for _ in 0..40 {
        cockpit.press(&["PageDown"]);
        cockpit.picture();
    }
    assert!(cockpit.picture().contains("第29条"));
    assert_eq!(orders(cockpit.press(&["Ctrl+l"])), [Order::Forget]);
    assert!(cockpit.picture().contains("Type or paste a review"));
}

#[test]
fn keys_of_everywhere_work_beside_the_text() {
    let mut cockpit = repl(80, 24);
    let key = |code, with| Input::Key(KeyEvent::new(code, with));
    cockpit.app.input(key(KeyCode::F(1), KeyModifiers::NONE));
    assert!(cockpit.picture().contains("Ctrl+O"), "{}", cockpit.picture());
    cockpit.press(&["Esc"]);
    cockpit.app.input(key(KeyCode::Char('2'), KeyModifiers::ALT));
    assert!(cockpit.picture().contains("gradient") || cockpit.picture().contains("loss"));
    cockpit.app.input(key(KeyCode::Char('4'), KeyModifiers::ALT));
    cockpit.press(&["Ctrl+o"]);
    cockpit.press(&["Tab"]);
    assert!(!cockpit.picture().contains("Which model"));
    assert!(matches!(cockpit.press(&["Ctrl+c"])[..], [Action::Exit]));
}

/// Whatever is pressed, pasted and heard, in any order: no panic, and every picture can be drawn.
#[test]
fn nothing_that_is_typed_or_pasted_breaks_it() {
    let mut random = Random::new(11);
    let mut cockpit = repl(80, 24);
    let summary = RunSummary {
        path: RUN.into(),
        status: RunStatus::Finished,
        step: 1,
        total_steps: None,
        began: 0.0,
        newest: 0.0,
        problem: None,
        stays: None,
        checkpoints_stay: None,
    };
    cockpit.tell(listed(vec![summary]));
    for i in 0..2000 {
        match random.below(20) {
            0 => drop(cockpit.app.input(random.paste())),
            1 => {
                let (width, height) = random.size();
                cockpit.resize(width, height);
            }
            2 => {
                let id = random.below(40) as u64;
                let news = match random.below(8) {
                    0 => News::Loading(checkpoint(id)),
                    1 => loaded(checkpoint(id)),
                    2 => News::Begun { id },
                    3 => News::Piece { id, text: LONG.repeat(20) },
                    4 => label(id, "positive", f64::NAN),
                    5 => News::Done { id, text: LONG.into(), cancelled: random.below(2) == 0, seconds: 1e9 },
                    6 => News::Refused { model: checkpoint(id), why: LONG.into() },
                    _ => News::Ended { why: (random.below(2) == 0).then(|| LONG.to_owned()) },
                };
                hear(&mut cockpit, news);
            }
            // The tab's own commands.
            3..=5 => {
                let c = random.of(&['a', 'e', 'g', 'j', 'l', 'o', 'u', 'w', 'x', 'z', 'k', 'v']);
                cockpit.app.input(Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)));
            }
            _ => drop(cockpit.app.input(random.key())),
        }
        if i % 25 == 0 {
            // Back from wherever it went.
            cockpit.press(&["Esc"]);
            cockpit.app.input(Input::Key(KeyEvent::new(KeyCode::Char('4'), KeyModifiers::ALT)));
        }
        cockpit.picture();
    }
}
