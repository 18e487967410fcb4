//! A start that fetches first: how far it is, cancelling it, quitting meanwhile, why it came to nothing.

use std::time::Duration;

use qwen_tui::hub::shelf::Offer;
use qwen_tui::hub::{FileState, Stage};
use qwen_tui::tui::action::Action;
use qwen_tui::tui::configs::ConfigNews;
use qwen_tui::tui::fetching::{FetchNews, Fetching, FileLine};
use qwen_tui::tui::message::Message;
use qwen_tui::tui::model::Worker;

use super::config::{load, on};
use super::random::Random;
use super::{Cockpit, RUN, recorded, until_step};

const SIZES: [(u16, u16); 3] = [(60, 16), (80, 24), (160, 48)];

fn goes(fetching: Fetching) -> Message {
    Message::Fetch(FetchNews::Goes(Box::new(fetching)))
}

fn begins() -> Fetching {
    Fetching::new("qwen/Qwen-1_8B".into(), vec!["ModelScope".into(), "Hugging Face".into()])
}

/// In the midst of it, with names as mirrors have them.
fn midst() -> Fetching {
    let file = |path: &str, size, done, rate, state| FileLine { path: path.into(), size, done, rate, state };
    let files = vec![
        file("model-00001-of-00002.safetensors", 2_040_000_000, 1_020_000_000, 31.4e6, FileState::Fetching),
        file(
            "评论情感分类模型的权重-00002-of-00002.safetensors",
            1_632_000_000,
            40_000_000,
            0.0,
            FileState::Fetching,
        ),
        file("qwen.tiktoken", 2_561_000, 2_561_000, 0.0, FileState::Checking),
        file("tokenizer_config.json", 0, 300, 0.0, FileState::Fetching),
        file("generation_config.json", 249, 0, 0.0, FileState::Open),
        file("config.json", 911, 911, 0.0, FileState::Done),
        file("LICENSE", 6_900, 6_900, 0.0, FileState::Done),
    ];
    Fetching {
        stage: Stage::Fetching,
        count: files.len(),
        finished: 2,
        files,
        total: 3_673_000_000,
        done: 1_062_600_000,
        rate: 45.1e6,
        left: Some(Duration::from_secs(58)),
        note: Some(
            "model-00001-of-00002.safetensors: the connection was cut after 1.02 GB; trying again".into(),
        ),
        ..begins()
    }
}

/// A cockpit that has been told to start a job, and fetches for it.
fn fetching(width: u16, height: u16) -> Cockpit {
    let mut cockpit = on(width, height, "configs/jd-sentiment.json");
    assert!(matches!(&cockpit.press(&["s"])[..], [Action::StartJob { .. }]));
    cockpit.tell(goes(begins()));
    cockpit
}

#[test]
fn a_line_for_each_file_and_all_of_it() {
    for (width, height) in SIZES {
        let mut cockpit = fetching(width, height);
        assert!(cockpit.picture().contains("asking what there is: ModelScope, then Hugging Face"));
        cockpit.tell(goes(midst()));
        cockpit.assert_picture(&format!("fetch-{width}x{height}"));
        for (stage, words) in [
            (Stage::Waiting, "another process fetches the same"),
            (Stage::Checking, "comparing what is there"),
            (Stage::Placing, "into their place"),
        ] {
            cockpit.tell(goes(Fetching { stage, ..midst() }));
            assert!(cockpit.picture().contains(words), "{}", cockpit.picture());
        }
        // From every tab it is seen that it goes on, where the top line has the room.
        cockpit.press(&["3"]);
        assert!(width < 80 || cockpit.picture().contains("fetching 28 %"), "{}", cockpit.picture());
    }
    // Of very many files the last line counts the rest.
    let one = midst().files.remove(0);
    let many = Fetching { files: vec![one; 200], count: 50_000, ..midst() };
    let mut cockpit = fetching(80, 24);
    cockpit.tell(goes(many));
    assert!(cockpit.picture().contains("… 49"), "{}", cockpit.picture());
}

#[test]
fn esc_cancels_it_and_the_arguments_are_shown_again() {
    let mut cockpit = fetching(80, 24);
    cockpit.tell(goes(midst()));
    assert!(cockpit.picture().contains("Esc cancel "), "{}", cockpit.picture());
    assert!(matches!(&cockpit.press(&["Esc"])[..], [Action::CancelFetch]));
    // What is told until it has heard of that does not take it back.
    cockpit.tell(goes(midst()));
    assert!(cockpit.picture().contains("cancelling"), "{}", cockpit.picture());
    let actions = cockpit.tell(Message::Fetch(FetchNews::Cancelled));
    assert!(matches!(&actions[..], [Action::Config(_)]), "what has come is looked for: {actions:?}");
    cockpit.assert_picture("fetch-cancelled-80x24");
    // Esc is its key no more, and another start is one.
    assert!(cockpit.press(&["2", "Esc"]).iter().all(|action| matches!(action, Action::ListRuns)));
    assert!(cockpit.press(&["1", "s"]).iter().any(|action| matches!(action, Action::StartJob { .. })));
}

#[test]
fn another_start_meanwhile_is_told_what_is_fetched() {
    let mut cockpit = fetching(80, 24);
    assert!(cockpit.press(&["1", "s"]).is_empty());
    let picture = cockpit.picture();
    assert!(picture.contains("is being fetched for the job that is to start"), "{picture}");
    // It can wait its turn.
    assert!(matches!(&cockpit.press(&["a"])[..], [Action::Queue(_)]));
}

/// The end is asked for before anything is known of what is fetched.
#[test]
fn quitting_before_the_fetch_is_known_asks_again_or_ends_it() {
    let begin = || {
        let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
        cockpit.press(&["s", "q"]);
        assert!(cockpit.picture().contains("A job is starting"), "{}", cockpit.picture());
        cockpit
    };
    // The question that stands is about it as soon as it is known, and so it is asked again.
    let mut cockpit = begin();
    cockpit.tell(goes(midst()));
    assert!(cockpit.picture().contains("Quitting ends the fetch"), "{}", cockpit.picture());
    let mut cockpit = begin();
    assert!(cockpit.press(&["l"]).is_empty());
    cockpit.tell(goes(midst()));
    assert!(cockpit.picture().contains("Quitting ends the fetch"), "{}", cockpit.picture());
    // When it is over, its job is asked about.
    cockpit.tell(Message::Fetch(FetchNews::Starts));
    assert!(cockpit.picture().contains("A job is starting"), "{}", cockpit.picture());
    let mut cockpit = begin();
    assert!(cockpit.press(&["x"]).is_empty());
    let told = cockpit.tell(goes(midst()));
    assert!(told.iter().any(|action| matches!(action, Action::CancelFetch)), "{told:?}");
    let told = cockpit.tell(Message::Fetch(FetchNews::Cancelled));
    assert!(told.iter().any(|action| matches!(action, Action::Exit)), "{told:?}");
}

#[test]
fn quitting_meanwhile_asks_and_the_end_is_told() {
    let mut cockpit = fetching(80, 24);
    cockpit.tell(goes(midst()));
    cockpit.press(&["q"]);
    cockpit.assert_picture("fetch-quit-80x24");
    assert!(cockpit.press(&["s"]).is_empty());
    assert!(!cockpit.picture().contains("Quit ─"), "{}", cockpit.picture());
    let asked = cockpit.press(&["q", "q"]);
    assert!(matches!(&asked[..], [Action::Exit]), "{asked:?}");
    let words = cockpit.parting_words().unwrap();
    assert!(
        words.contains("its job was not started") && words.contains("1.06 GB of 3.67 GB stay"),
        "{words}"
    );

    // All had come a moment before: what starts is not said to be ended.
    let mut cockpit = fetching(80, 24);
    cockpit.tell(goes(midst()));
    cockpit.press(&["q"]);
    cockpit.tell(Message::Fetch(FetchNews::Starts));
    assert!(cockpit.picture().contains("A job is starting"), "{}", cockpit.picture());
    assert!(!cockpit.picture().contains("Quitting ends"), "{}", cockpit.picture());
    let words = cockpit.parting_words().unwrap();
    assert!(words.contains("its job starts") && !words.contains("not started"), "{words}");

    // It is about the job when all is there: an answer to what was asked before would leave one that runs.
    let mut cockpit = fetching(80, 24);
    cockpit.press(&["q"]);
    cockpit.tell(Message::Fetch(FetchNews::Over));
    cockpit.tell(Message::Opened(RUN.into()));
    assert!(cockpit.press(&["q"]).is_empty(), "{}", cockpit.picture());
    assert_eq!(cockpit.parting_words(), None);
    cockpit.tell(Message::Worker { run: RUN.into(), worker: Worker::Starting });
    assert!(cockpit.picture().contains("v0-20231114-221320 is starting"), "{}", cockpit.picture());
    // Another question stays.
    let mut cockpit = fetching(80, 24);
    cockpit.press(&["q", "s", "?"]);
    cockpit.tell(Message::Fetch(FetchNews::Over));
    assert!(cockpit.picture().contains("Cancel the fetch"), "{}", cockpit.picture());
}

#[test]
fn why_it_came_to_nothing_is_told_whole() {
    let why: String = (1..=30).map(|n| format!("reason {n} of the hub\n")).collect();
    let mut cockpit = fetching(80, 24);
    cockpit.tell(Message::Fetch(FetchNews::Failed(why)));
    let mut seen = cockpit.picture();
    assert!(seen.contains("The training did not start") && seen.contains("c  Close"), "{seen}");
    for _ in 0..4 {
        assert!(cockpit.press(&["PageDown"]).is_empty());
        seen += &cockpit.picture();
    }
    for n in 1..=30 {
        assert!(seen.contains(&format!("reason {n} of")), "{n}: {seen}");
    }
    cockpit.press(&["PageUp", "Up", "Enter"]);
    let picture = cockpit.picture();
    assert!(picture.contains("jd-sentiment.json") && !picture.contains("reason"), "{picture}");
}

#[test]
fn a_job_that_runs_stays_in_sight_and_its_keys_are_its_own() {
    for (width, height) in SIZES {
        let mut cockpit = Cockpit::on_run(width, height, until_step("finished", 3), Worker::Alive);
        cockpit.press(&["1"]);
        load(&mut cockpit, "configs/jd-sentiment.json");
        let asked = cockpit.press(&["s", "b"]);
        assert!(matches!(&asked[..], [Action::StartJob { .. }]), "{asked:?}");
        cockpit.tell(goes(midst()));
        let picture = cockpit.picture();
        assert!(picture.contains("step 3/") && picture.contains("1.06 GB of 3.67 GB"), "{picture}");
        assert!(picture.contains("-of-00002.safetensors"), "{picture}");
        cockpit.assert_picture(&format!("fetch-beside-{width}x{height}"));
        cockpit.press(&["x"]);
        assert!(cockpit.picture().contains("The step at hand is finished"), "{}", cockpit.picture());
        cockpit.press(&["Esc"]);
        cockpit.press(&["q"]);
        let picture = cockpit.picture();
        assert!(
            picture.contains("v0-20231114-221320 is running") && picture.contains("Quitting ends"),
            "{picture}"
        );
    }
}

#[test]
fn a_stop_of_what_is_fetched_for_cancels_the_fetch() {
    let is_cancel = |actions: &[Action]| {
        let ends = |a: &&Action| matches!(a, Action::CancelFetch | Action::Send(_));
        matches!(actions.iter().filter(ends).collect::<Vec<_>>()[..], [Action::CancelFetch])
    };
    // With nothing shown, with an ended run, and with one that trains.
    let runs = [
        (recorded("finished"), Worker::Gone { why: String::new() }),
        (until_step("finished", 3), Worker::Alive),
    ];
    let begin = |shown: usize| {
        let mut cockpit = match shown.checked_sub(1) {
            None => Cockpit::new(80, 24),
            Some(i) => Cockpit::on_run(80, 24, runs[i].0.clone(), runs[i].1.clone()),
        };
        cockpit.press(&["2"]);
        cockpit.begin_a_run();
        cockpit
    };
    for shown in 0..3 {
        // Asked and answered before it is known that there is something to fetch.
        for keys in [&["x", "x"][..], &["Esc"]] {
            let mut cockpit = begin(shown);
            assert!(cockpit.press(keys).is_empty());
            assert!(is_cancel(&cockpit.tell(goes(begins()))), "{shown} {keys:?}");
            assert!(!is_cancel(&cockpit.tell(goes(midst()))), "told once");
            assert!(cockpit.picture().contains("cancelling"), "{}", cockpit.picture());
            cockpit.tell(Message::Fetch(FetchNews::Cancelled));
            assert!(cockpit.picture().contains("cancelled: "), "{}", cockpit.picture());
        }
        // Asked before it, answered meanwhile.
        let mut cockpit = begin(shown);
        cockpit.press(&["x"]);
        cockpit.tell(goes(midst()));
        assert!(cockpit.picture().contains("the fetch ends"), "{}", cockpit.picture());
        assert!(is_cancel(&cockpit.press(&["x"])), "{shown}");
        let picture = cockpit.picture();
        assert!(picture.contains("cancelling") && !picture.contains("as soon as its engine"), "{picture}");
    }
    // Asked meanwhile; a run that trains beside it has the key itself.
    for shown in 0..2 {
        let mut cockpit = begin(shown);
        cockpit.tell(goes(midst()));
        assert!(is_cancel(&cockpit.press(&["x", "x"])), "{shown}");
    }
    // All had come a moment before: the job starts, and is stopped then.
    let mut cockpit = begin(0);
    cockpit.press(&["x", "x"]);
    cockpit.tell(goes(midst()));
    cockpit.tell(Message::Fetch(FetchNews::Starts));
    cockpit.tell(Message::Fetch(FetchNews::Over));
    cockpit.tell(Message::Opened(RUN.into()));
    cockpit.tell(Message::Worker { run: RUN.into(), worker: Worker::Starting });
    let told = cockpit.tell(Message::Worker { run: RUN.into(), worker: Worker::Alive });
    assert!(matches!(&told[..], [Action::Send(qwen_tui::job::event::Command::Stop)]), "{told:?}");
    // What is started needs no fetch: Esc ends nothing.
    let mut cockpit = begin(0);
    cockpit.press(&["Esc"]);
    cockpit.tell(Message::Opened(RUN.into()));
    assert!(!is_cancel(&cockpit.tell(Message::Worker { run: RUN.into(), worker: Worker::Alive })));
}

#[test]
fn what_a_run_goes_on_with_is_fetched_too() {
    let mut cockpit = Cockpit::on_run(80, 24, recorded("finished"), Worker::Gone { why: String::new() });
    cockpit.press(&["3"]);
    cockpit.tell(goes(midst()));
    assert!(cockpit.picture().contains("Fetching qwen/Qwen-1_8B"), "{}", cockpit.picture());
    // Who has gone elsewhere meanwhile is left there.
    cockpit.press(&["4"]);
    cockpit.tell(Message::Fetch(FetchNews::Cancelled));
    let picture = cockpit.picture();
    assert!(
        picture.contains("cancelled: 1.06 GB of 3.67 GB stay") && !picture.contains("model_type"),
        "{picture}"
    );
    // One that needs no fetch is told as ever.
    cockpit.tell(Message::Config(ConfigNews::NotStarted("the disk is full".into())));
    assert!(cockpit.picture().contains("the disk is full"));
}

#[test]
fn random_keys_and_news_break_nothing() {
    let mut random = Random::new(23);
    let mut cockpit = on(80, 24, "configs/jd-sentiment.json");
    let repos = qwen_tui::hub::names::model_repos("me/评", None, qwen_tui::hub::Hub::Hf);
    let offer = Offer {
        hub: qwen_tui::hub::Hub::Hf,
        files: (0..300)
            .map(|n| (format!("评论/{n}\u{202e}.csv"), (n % 2 == 0).then_some(u64::MAX)))
            .collect(),
        problem: None,
    };
    for i in 0..3000 {
        match random.below(40) {
            0 => drop(cockpit.app.input(random.paste())),
            1 => {
                let (width, height) = random.size();
                cockpit.resize(width, height);
            }
            2 => drop(cockpit.tell(goes(Fetching { done: u64::MAX, rate: f64::MAX, ..midst() }))),
            3 => drop(cockpit.tell(goes(Fetching { count: 0, files: Vec::new(), total: 0, ..midst() }))),
            4 => drop(cockpit.tell(Message::Fetch(FetchNews::Cancelled))),
            5 => drop(cockpit.tell(Message::Fetch(FetchNews::Failed("没有网络\n".repeat(random.below(60)))))),
            6 => drop(cockpit.tell(Message::Fetch(FetchNews::Over))),
            7 => drop(cockpit.tell(Message::Config(ConfigNews::Shelves(Vec::new())))),
            8 => {
                let told = if i % 2 == 0 { Ok(offer.clone()) } else { Err("拒绝\n".repeat(40)) };
                cockpit.tell(Message::Config(ConfigNews::Offer { repos: repos.clone(), told }));
            }
            9 => drop(cockpit.press(&["1", "m", "/", "m", "e", "/", "x"])),
            10 => drop(cockpit.press(&["Enter", "i", "PageDown"])),
            11 => drop(cockpit.press(&["q"])),
            12 => drop(cockpit.tell(Message::Fetch(FetchNews::Starts))),
            _ => drop(cockpit.app.input(random.key())),
        }
        cockpit.picture();
    }
}
