use super::*;

fn loaded(step: u64) -> Loaded {
    Loaded {
        model: Model::Checkpoint(format!("/out/m/v0-x/checkpoint-{step}").into()),
        device: "cpu".into(),
        seconds: 0.5,
        drawing: String::new(),
        warnings: Vec::new(),
    }
}

fn turns(talk: &Talk) -> Vec<&Turn> {
    talk.items().filter_map(|i| if let Item::Turn(turn) = i { Some(turn) } else { None }).collect()
}

fn notes(talk: &Talk) -> Vec<&str> {
    talk.items()
        .filter_map(|i| if let Item::Note { text, .. } = i { Some(text.as_str()) } else { None })
        .collect()
}

fn label(id: u64) -> News {
    let probabilities =
        Map::from_iter([("negative".to_owned(), 0.25.into()), ("positive".to_owned(), 0.75.into())]);
    News::Label { id, label: "positive".into(), probabilities, seconds: 0.02 }
}

fn done(id: u64, text: &str, cancelled: bool) -> News {
    News::Done { id, text: text.into(), cancelled, seconds: 1.0 }
}

#[test]
fn each_reply_finds_its_question_whatever_the_order() {
    let mut talk = Talk::default();
    let first = talk.ask(Ask::Classify("很好".into()));
    let second = talk.ask(Ask::Generate("今天".into()));
    assert!(talk.counts() && talk.first_open() == Some(first));
    talk.see(&News::Loaded(loaded(50)), 1.0);
    for id in [second, first] {
        talk.see(&News::Begun { id }, 2.0);
    }
    talk.see(&News::Piece { id: second, text: "天".into() }, 2.5);
    talk.see(&News::Piece { id: 99, text: "不".into() }, 2.5);
    talk.see(&News::Piece { id: second, text: "气".into() }, 3.0);
    assert_eq!(turns(&talk)[1].answer, Answer::Busy { since: 2.0, text: "天气".into() });
    talk.see(&done(second, "天气好", false), 4.0);
    talk.see(&label(first), 4.0);
    assert_eq!(talk.first_open(), None);
    assert!(!talk.counts());
    // Late news of what has ended change nothing.
    talk.see(&News::Piece { id: second, text: "!".into() }, 5.0);
    talk.see(&News::Begun { id: first }, 5.0);
    talk.see(&News::Failed { id: first, why: "late".into() }, 5.0);
    talk.see(&done(second, "", true), 5.0);
    let turns = turns(&talk);
    assert_eq!(
        turns[0].answer,
        Answer::Label {
            label: "positive".into(),
            probabilities: vec![("positive".into(), 0.75), ("negative".into(), 0.25)],
            seconds: 0.02
        }
    );
    assert_eq!(turns[1].answer, Answer::Text { text: "天气好".into(), cancelled: false, seconds: 1.0 });
    assert_eq!(turns[0].model, "checkpoint-50");
}

#[test]
fn cancelled_and_failed_questions_are_closed() {
    let mut talk = Talk::default();
    let ids: Vec<u64> = (0..3).map(|i| talk.ask(Ask::Generate(i.to_string()))).collect();
    talk.see(&News::Begun { id: ids[0] }, 1.0);
    talk.see(&done(ids[0], "半", true), 2.0);
    talk.see(&News::Failed { id: ids[1], why: "cancelled".into() }, 2.0);
    assert_eq!(turns(&talk)[0].answer, Answer::Text { text: "半".into(), cancelled: true, seconds: 1.0 });
    assert_eq!(turns(&talk)[1].answer, Answer::Failed("cancelled".into()));
    // Clearing leaves what is still to be answered.
    talk.clear();
    assert_eq!(turns(&talk).len(), 1);
    assert_eq!(talk.first_open(), Some(ids[2]));
}

#[test]
fn a_server_that_dies_is_off_with_its_last_words() {
    let mut talk = Talk::default();
    let id = talk.ask(Ask::Classify("x".into()));
    talk.see(&News::Loaded(loaded(50)), 1.0);
    talk.see(&News::Begun { id }, 1.0);
    talk.see(&News::Failed { id, why: "the engine ended".into() }, 2.0);
    talk.see(&News::Ended { why: Some("the engine was ended by SIGKILL".into()) }, 2.0);
    assert_eq!((&talk.server, talk.first_open()), (&Server::Off, None));
    assert!(notes(&talk)[0].contains("SIGKILL"), "{:?}", notes(&talk));
    // One that was asked to end needs no words.
    talk.see(&News::Loaded(loaded(50)), 3.0);
    talk.see(&News::Ended { why: None }, 4.0);
    assert_eq!((&talk.server, notes(&talk).len()), (&Server::Off, 1));
}

#[test]
fn a_model_that_cannot_be_had_leaves_the_one_before() {
    let mut talk = Talk::default();
    let other = loaded(100).model;
    talk.see(&News::Loading(other.clone()), 1.0);
    assert!(talk.counts());
    talk.see(&News::Refused { model: other.clone(), why: "no".into() }, 2.0);
    assert_eq!(talk.server, Server::Off);
    talk.see(&News::Loaded(loaded(50)), 3.0);
    talk.see(&News::Loading(other.clone()), 4.0);
    talk.see(&News::Loading(other.clone()), 4.0);
    talk.see(&News::Refused { model: other, why: "no".into() }, 5.0);
    assert_eq!(talk.server, Server::On(loaded(50)));
    assert!(notes(&talk)[1].ends_with("checkpoint-50 answers on"), "{:?}", notes(&talk));
}

#[test]
fn another_model_in_the_middle_of_a_talk_is_told() {
    let mut talk = Talk::default();
    talk.see(&News::Loaded(loaded(50)), 1.0);
    let id = talk.ask(Ask::Classify("x".into()));
    talk.see(&News::Begun { id }, 1.0);
    talk.see(&label(id), 1.0);
    talk.see(&News::Loaded(loaded(50)), 1.0);
    assert!(notes(&talk).is_empty());
    talk.see(&News::Loaded(loaded(75)), 1.0);
    talk.see(&News::Loaded(loaded(100)), 1.0);
    assert_eq!(notes(&talk), ["m/v0-x/checkpoint-100 answers from here on"]);
}

#[test]
fn a_long_talk_loses_its_beginning() {
    let mut talk = Talk::default();
    for _ in 0..2 * KEPT {
        let id = talk.ask(Ask::Classify("x".into()));
        talk.see(&label(id), 1.0);
    }
    assert_eq!(talk.items().count(), KEPT);
}
