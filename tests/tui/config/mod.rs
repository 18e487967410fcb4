//! The Config tab.

mod files;
mod shelf;
mod text;

use std::path::PathBuf;

use crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
use qwen_tui::args::{ARGS_FILE, Draft};
use qwen_tui::data::sentiment_prompt;
use qwen_tui::job::inputs::Missing;
use qwen_tui::tui::action::Action;
use qwen_tui::tui::app::App;
use qwen_tui::tui::configs::{ConfigNews, ConfigWork, Names, Part, Preview, Unit};
use qwen_tui::tui::message::Message;
use qwen_tui::tui::model::Worker;
use qwen_tui::tui::repl::{Model, News, Order};

use super::random::Random;
use super::{Cockpit, OUTPUT, RUN, root, until_step};

const SIZES: [(u16, u16); 2] = [(80, 24), (160, 48)];

/// The tab with a file in it.
pub fn on(width: u16, height: u16, file: &str) -> Cockpit {
    let mut cockpit = Cockpit::new(width, height);
    cockpit.press(&["1"]);
    load(&mut cockpit, file);
    cockpit
}

pub fn load(cockpit: &mut Cockpit, file: &str) -> Vec<Action> {
    let read = Draft::load(Some(&root().join(file)), &[]).unwrap();
    let actions = cockpit.tell(Message::Config(ConfigNews::Loaded { file: Some(file.into()), read }));
    find(cockpit, &actions, Ok(()));
    actions
}

/// Answers what is asked about model and data; returns how often it was asked.
fn find(cockpit: &mut Cockpit, actions: &[Action], found: Result<(), Missing>) -> usize {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Config(ConfigWork::Find(inputs)) => Some(inputs.clone()),
        _ => None,
    });
    asked
        .map(|inputs| {
            let missing = found.clone().err().into_iter().collect();
            cockpit.tell(Message::Config(ConfigNews::Found { inputs, missing, names: Names::default() }))
        })
        .count()
}

/// Answers what is asked about model and data with what is `missing`; returns what is asked then.
fn answers(cockpit: &mut Cockpit, actions: &[Action], missing: &[Missing]) -> Vec<Action> {
    match actions {
        [Action::Config(ConfigWork::Find(inputs))] => {
            let (inputs, missing) = (inputs.clone(), missing.to_vec());
            cockpit.tell(Message::Config(ConfigNews::Found { inputs, missing, names: Names::default() }))
        }
        other => panic!("{other:?}"),
    }
}

/// Does something to the application; whatever it looks for is there.
fn answer(cockpit: &mut Cockpit, act: impl FnOnce(&mut App) -> Vec<Action>) {
    let actions = act(&mut cockpit.app);
    find(cockpit, &actions, Ok(()));
}

fn key(cockpit: &mut Cockpit, code: KeyCode) -> Vec<Action> {
    cockpit.app.input(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn keys(cockpit: &mut Cockpit, text: &str) {
    for c in text.chars() {
        let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
        key(cockpit, code);
    }
}

/// Goes to an argument by its name.
pub fn go_to(cockpit: &mut Cockpit, name: &str) {
    keys(cockpit, &format!("/{name}\n"));
    key(cockpit, KeyCode::Esc);
}

/// Empties the line that is typed.
fn empty(cockpit: &mut Cockpit) {
    for _ in 0..40 {
        key(cockpit, KeyCode::Backspace);
    }
}

fn preview() -> Preview {
    let sentences = [
        "包装不错但是质量太差，用了两天就坏了，客服也不理人，再也不会买了",
        "很好用，物流也快",
        "酒店位置很方便，房间干净，前台的服务态度非常好，早餐的种类也很丰富，下次来还会住这里，推荐给大家",
        "书的内容一般，印刷质量倒是不错",
    ];
    let row = |(i, s): (usize, &&str)| [sentiment_prompt(s), ["negative", "positive"][i % 2].to_owned()];
    let mut lengths: Vec<u32> = (0..2000).map(|i| 30 + (i * i / 900) % 137 + i % 40).collect();
    lengths.sort_unstable();
    let labels = |a, b| vec![("positive".to_owned(), a), ("negative".to_owned(), b)];
    Preview {
        train: Part { rows: 2000, broken: 1, labels: labels(1203, 797), lengths },
        validation: Part { rows: 20, broken: 0, labels: labels(11, 9), lengths: vec![40; 20] },
        first: sentences.iter().enumerate().map(row).collect(),
        warnings: vec!["rows.csv, line 17: label 是 is none of 0 and 1; the row is left out".to_owned()],
        problem: None,
        unit: Unit::Tokens,
        limit: Some(160),
        cut: false,
    }
}

#[test]
fn the_form_shows_values_defaults_and_meaning() {
    for (width, height) in [(60, 16), (80, 24), (160, 48)] {
        let mut cockpit = on(width, height, "configs/jd-sentiment.json");
        go_to(&mut cockpit, "learning_rate");
        cockpit.assert_picture(&format!("config-form-{width}x{height}"));
    }
    let mut cockpit = on(100, 30, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "learning_rate");
    cockpit.assert_readme_picture("config");
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    assert!(cockpit.picture().contains("✓ s starts the training"), "{}", cockpit.picture());
}

#[test]
fn a_rule_across_arguments_is_told_and_blocks_the_start() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "save_steps");
    key(&mut cockpit, KeyCode::Enter);
    empty(&mut cockpit);
    keys(&mut cockpit, "75");
    assert!(cockpit.picture().contains("multiple of eval_steps"), "{}", cockpit.picture());
    keys(&mut cockpit, "\n");
    go_to(&mut cockpit, "model_type");
    let picture = cockpit.picture();
    assert!(picture.contains("multiple of eval_steps"), "{picture}");
    assert!(cockpit.press(&["s"]).is_empty(), "it does not start");
    let picture = cockpit.picture();
    assert!(picture.contains("✗ save_steps"), "the wrong one is marked and shown: {picture}");
    key(&mut cockpit, KeyCode::Delete);
    match &key(&mut cockpit, KeyCode::F(5))[..] {
        [Action::StartJob { args, .. }] => {
            assert_eq!((args.model_type.as_str(), args.save_steps), ("qwen-1_8b", 50));
            assert_eq!(args.output_dir, OUTPUT, "where the cockpit looks for runs");
        }
        other => panic!("{other:?}"),
    }
    assert!(cockpit.picture().contains("Starting the job"), "on Train: {}", cockpit.picture());
}

#[test]
fn groups_open_and_close_and_words_find() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    key(&mut cockpit, KeyCode::End);
    assert!(cockpit.picture().contains("▸ Known from SWIFT"), "{}", cockpit.picture());
    keys(&mut cockpit, "\n");
    key(&mut cockpit, KeyCode::End);
    let picture = cockpit.picture();
    assert!(picture.contains("deepspeed") && picture.contains("It follows from"), "{picture}");
    keys(&mut cockpit, "/STEPS every");
    let picture = cockpit.picture();
    assert!(picture.contains("logging_steps") && !picture.contains("lora_rank"), "{picture}");
    keys(&mut cockpit, " 没有");
    assert!(cockpit.picture().contains("No argument has these words"));
    key(&mut cockpit, KeyCode::Esc);
    assert!(cockpit.picture().contains("model_type") || cockpit.picture().contains("logging_steps"));
}

#[test]
fn where_nothing_is_found_no_key_changes_anything() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    go_to(&mut cockpit, "sft_type");
    keys(&mut cockpit, "/没有\n");
    let before = cockpit.picture();
    assert!(before.contains("No argument has these words"), "{before}");
    assert!(!before.contains("Enter edit") && before.contains("s start"), "{before}");
    for code in [KeyCode::Enter, KeyCode::Char(' '), KeyCode::Left, KeyCode::Right, KeyCode::Char('r')] {
        assert!(key(&mut cockpit, code).is_empty());
        assert_eq!(cockpit.picture(), before, "{code:?}");
    }
}

fn ctrl(cockpit: &mut Cockpit, c: char) -> Vec<Action> {
    cockpit.app.input(Input::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
}

#[test]
fn what_is_missing_is_told_and_blocks_the_start_until_it_is_there() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    assert!(cockpit.picture().contains("✓ s starts"), "{}", cockpit.picture());
    // Another argument names nothing that could be missing.
    go_to(&mut cockpit, "gradient_checkpointing");
    assert!(key(&mut cockpit, KeyCode::Right).is_empty());
    assert!(cockpit.picture().contains("✓ s starts"), "{}", cockpit.picture());
    go_to(&mut cockpit, "model_id_or_path");
    keys(&mut cockpit, "\n");
    // One look at a time, however fast somebody types: a disk that does not answer holds nothing up.
    assert!(ctrl(&mut cockpit, 'u').is_empty(), "nothing is what the form has");
    let first = key(&mut cockpit, KeyCode::Char('/'));
    for c in "模型/qwe".chars() {
        assert!(key(&mut cockpit, KeyCode::Char(c)).is_empty());
    }
    let picture = cockpit.picture();
    assert!(picture.contains("Looking for the model") && !picture.contains("✓ s"), "{picture}");
    let last = answers(&mut cockpit, &first, &[]);
    assert!(cockpit.picture().contains("Looking for the model"), "of what was typed first");
    let missing = || Missing {
        key: "model_id_or_path",
        message: "model_id_or_path: /模型/qwen: no such model directory".to_owned(),
    };
    assert!(answers(&mut cockpit, &last, &[missing()]).is_empty());
    let asked = key(&mut cockpit, KeyCode::Char('n'));
    assert!(!cockpit.picture().contains("✗"), "{}", cockpit.picture());
    assert_eq!(find(&mut cockpit, &asked, Err(missing())), 1);
    assert!(cockpit.picture().contains("✗ model_id_or_path: /模型/qwen: no such"), "{}", cockpit.picture());
    assert!(key(&mut cockpit, KeyCode::Enter).is_empty(), "it is known");
    let picture = cockpit.picture();
    assert!(picture.contains("✗ model_id_or_path: /模型/qwen") && !picture.contains("✓ s"), "{picture}");
    go_to(&mut cockpit, "lora_rank");
    let picture = cockpit.picture();
    assert!(picture.contains("✗ model_id_or_path: /模型/qwen") && !picture.contains("✓ s"), "{picture}");
    // The start looks once more.
    let asked = cockpit.press(&["s"]);
    let picture = cockpit.picture();
    assert!(picture.contains("✗ model_id_or_path") && picture.contains("no such model"), "{picture}");
    assert_eq!(find(&mut cockpit, &asked, Err(missing())), 1);
    let first: f64 = 1_700_000_000.0;
    assert!(cockpit.tell(Message::Tick(first + 2.0)).is_empty(), "not at every second");
    let asked = cockpit.tell(Message::Tick(first + 6.0));
    assert_eq!(find(&mut cockpit, &asked, Ok(())), 1);
    assert!(cockpit.picture().contains("✓ s starts"), "{}", cockpit.picture());
    assert!(cockpit.tell(Message::Tick(first + 60.0)).is_empty(), "nothing is missing any more");
    assert!(matches!(&cockpit.press(&["s"])[..], [Action::StartJob { .. }]));
    cockpit.tell(Message::Config(ConfigNews::NotStarted("the disk is full\nlib.so is gone".to_owned())));
    let picture = cockpit.picture();
    assert!(picture.contains("did not start") && picture.contains("lib.so is gone"), "{picture}");
}

#[test]
fn where_model_and_data_are_is_told_whole() {
    let lines = [
        "qwen/Qwen-1_8B: not on this machine; it is fetched from ModelScope, else from Hugging Face",
        "jd-sentiment-zh (DAMO_NLP/jd): found in ModelScope's cache, /home/我/.cache/modelscope/datasets/DAMO_NLP--jd/\
         snapshots/master",
    ];
    for (width, height) in SIZES {
        let mut cockpit = Cockpit::new(width, height);
        cockpit.press(&["1"]);
        let file = "configs/jd-sentiment.json";
        let read = Draft::load(Some(&root().join(file)), &[]).unwrap();
        let actions = cockpit.tell(Message::Config(ConfigNews::Loaded { file: Some(file.into()), read }));
        for action in actions {
            let Action::Config(ConfigWork::Find(inputs)) = action else { continue };
            let names = Names { lines: lines.map(str::to_owned).to_vec(), model: None };
            cockpit.tell(Message::Config(ConfigNews::Found { inputs, missing: Vec::new(), names }));
        }
        cockpit.assert_picture(&format!("config-names-{width}x{height}"));
        let picture = cockpit.picture();
        for words in lines.iter().flat_map(|line| line.split(' ')).filter(|word| !word.contains('/')) {
            assert!(picture.contains(words), "{words}: {picture}");
        }
        // What lies where the mark is moves nothing.
        let above = |picture: &str| {
            picture.lines().collect::<Vec<_>>().iter().rposition(|line| line.contains(" ────")).unwrap()
        };
        let was = above(&picture);
        cockpit.press(&["Down", "Down"]);
        assert_eq!(above(&cockpit.picture()), was);
    }
}

#[test]
fn the_data_page_shows_labels_lengths_and_chinese_rows() {
    for (width, height) in SIZES {
        let mut cockpit = on(width, height, "configs/jd-sentiment.json");
        assert!(matches!(&cockpit.press(&["d"])[..], [Action::Config(ConfigWork::Preview(_))]));
        assert!(cockpit.picture().contains("Reading the data"));
        cockpit.tell(Message::Config(ConfigNews::Preview(Ok(Box::new(preview())))));
        cockpit.assert_picture(&format!("config-data-{width}x{height}"));
    }
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    cockpit.press(&["d"]);
    let error =
        "rows.csv: no usable row in it (3 broken, 0 without a label); the first broken one: line 2: no label";
    cockpit.tell(Message::Config(ConfigNews::Preview(Err(error.to_owned()))));
    let picture = cockpit.picture();
    assert!(picture.contains("cannot be used") && picture.contains("line 2"), "{picture}");
    let characters =
        Preview { unit: Unit::Characters("there is no qwen.tiktoken in x".to_owned()), ..preview() };
    cockpit.tell(Message::Config(ConfigNews::Preview(Ok(Box::new(characters)))));
    assert!(cockpit.picture().contains("in characters"), "{}", cockpit.picture());
    cockpit.tell(Message::Config(ConfigNews::Preview(Ok(Box::new(Preview {
        train: Part::default(),
        validation: Part::default(),
        first: Vec::new(),
        ..preview()
    })))));
    cockpit.picture();
    key(&mut cockpit, KeyCode::Esc);
    assert!(cockpit.picture().contains("model_type"));
}

#[test]
fn a_start_without_an_engine_or_beside_a_job_is_asked_about() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    cockpit.tell(Message::Engine(Err("the engine is not there: run `make build`".to_owned())));
    assert!(cockpit.picture().contains("✗ the engine is not there"));
    assert!(cockpit.press(&["s"]).is_empty());
    assert!(cockpit.picture().contains("There is no engine to train with"), "{}", cockpit.picture());
    cockpit.press(&["Esc"]);
    let mut live = Cockpit::on_run(80, 24, until_step("finished", 17), Worker::Alive);
    live.press(&["1"]);
    load(&mut live, "configs/jd-sentiment.json");
    assert!(live.press(&["s"]).is_empty());
    assert!(live.press(&["Enter"]).is_empty(), "not now");
    assert!(matches!(&live.press(&["s", "b"])[..], [Action::StartJob { .. }]));
    assert!(live.picture().contains("step 17"), "it trains until the new one is there: {}", live.picture());
}

/// A key may be quicker than the first look at what runs.
#[test]
fn a_job_that_is_found_at_the_start_is_asked_about() {
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    let begun = cockpit.press(&["s", "x"]);
    let [Action::StartJob { args, beside: false }] = &begun[..] else { panic!("{begun:?}") };
    assert!(cockpit.picture().contains("It is starting"), "{}", cockpit.picture());
    assert!(cockpit.tell(Message::Config(ConfigNews::Occupied(args.clone()))).is_empty());
    let picture = cockpit.picture();
    assert!(picture.contains("A job is running") && picture.contains("model_type"), "{picture}");
    assert!(matches!(&cockpit.press(&["b"])[..], [Action::StartJob { beside: true, .. }]));
}

#[test]
fn a_start_is_shown_at_once_in_the_place_of_a_run_that_has_ended() {
    let start = || {
        let ended = Worker::Gone { why: String::new() };
        let mut cockpit = Cockpit::on_run(80, 24, crate::recorded("finished"), ended);
        cockpit.press(&["1"]);
        load(&mut cockpit, "configs/jd-sentiment.json");
        let picture = cockpit.picture();
        assert!(picture.contains("finished"), "{picture}");
        assert!(matches!(&cockpit.press(&["s"])[..], [Action::StartJob { .. }]));
        let picture = cockpit.picture();
        assert!(picture.contains("Starting the job") && picture.contains(" starting\n"), "{picture}");
        assert!(!picture.contains("finished") && !picture.contains("epoch"), "{picture}");
        cockpit
    };
    let mut cockpit = start();
    cockpit.tell(Message::Opened("/work/output/qwen-1_8b/v9-20990101-000000".into()));
    let picture = cockpit.picture();
    assert!(picture.contains("v9-20990101-000000") && !picture.contains("Starting the job"), "{picture}");
    // It did not come to be: the one before is shown again.
    let mut cockpit = start();
    cockpit.tell(Message::Config(ConfigNews::NotStarted("no room".to_owned())));
    cockpit.press(&["Esc", "2"]);
    assert!(cockpit.picture().contains("finished"), "{}", cockpit.picture());
}

#[test]
fn two_thousand_random_keys_break_nothing() {
    let mut random = Random::new(7);
    let mut cockpit = on(80, 24, "tests/data/sft_args_swift.json");
    let files = ConfigNews::Files(vec!["configs/a.json".into(), "configs/评论.json".into()]);
    for i in 0..2000 {
        match random.below(40) {
            0 => drop(cockpit.app.input(random.paste())),
            1 => {
                let (width, height) = random.size();
                cockpit.resize(width, height);
            }
            2 => drop(cockpit.tell(Message::Config(files.clone()))),
            3 => drop(cockpit.tell(Message::Config(ConfigNews::Preview(Ok(Box::new(preview())))))),
            4 => drop(cockpit.tell(Message::Config(ConfigNews::NotStarted("没有模型\n".repeat(30))))),
            _ => answer(&mut cockpit, |app| app.input(random.key())),
        }
        if i % 25 == 0 {
            // Back from wherever it went.
            key(&mut cockpit, KeyCode::Esc);
            cockpit.app.input(Input::Key(KeyEvent::new(KeyCode::Char('1'), KeyModifiers::ALT)));
        }
        cockpit.picture();
    }
}

#[test]
fn the_base_model_of_the_form_can_answer_before_there_is_a_run() {
    let base = r#"{"model_type":"qwen-demo","model_id_or_path":"/模型/base","dataset":["a"],"system":"你是","dtype":"fp32"}"#;
    let read = Draft::parse(base).unwrap();
    let mut cockpit = Cockpit::new(80, 24);
    let asked = cockpit.tell(Message::Config(ConfigNews::Loaded { file: None, read: read.clone() }));
    cockpit.press(&["4", "Ctrl+o"]);
    cockpit.tell(Message::Repl(News::Models(Vec::new())));
    assert!(cockpit.picture().contains("There are no runs yet"), "it is not known to be there");
    // Its data is missing, which the REPL does not need.
    let missing = |key| Err(Missing { key, message: "none".to_owned() });
    assert_eq!(find(&mut cockpit, &asked, missing("dataset")), 1);
    let picture = cockpit.picture();
    assert!(picture.contains("the Config tab  base: /模型/base"), "{picture}");
    let chosen = cockpit.press(&["Enter"]);
    match &chosen[..] {
        [Action::Repl(Order::Open(Model::Base(base)))] => {
            assert_eq!((base.dir.to_str(), base.system.as_deref()), (Some("/模型/base"), Some("你是")));
            assert_eq!((base.template_type.as_str(), base.dtype.as_str()), ("default-generation", "fp32"));
        }
        other => panic!("{other:?}"),
    }
    // One that is not there is not offered.
    let asked = cockpit.tell(Message::Config(ConfigNews::Loaded { file: None, read }));
    assert!(asked.is_empty(), "nothing new is looked for");
    let other = Draft::parse(&base.replace("base", "none")).unwrap();
    let asked = cockpit.tell(Message::Config(ConfigNews::Loaded { file: None, read: other }));
    assert_eq!(find(&mut cockpit, &asked, missing("model_id_or_path")), 1);
    cockpit.press(&["Ctrl+o"]);
    assert!(!cockpit.picture().contains("the Config tab"), "{}", cockpit.picture());
}
