use std::cell::RefCell;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::*;

/// A server played by a shell script, which writes down what it hears.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "start $*" >>log
case "$*" in *broken*) echo 'error: the adapter is broken' >&2; exit 2;; *slow*) sleep 100;; esac
echo '{"ready":true,"model":"m","device":"cpu","seconds":0.5}'
while read -r line; do
  echo "$line" >>log
  id=$(echo "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
  case "$line" in
    *'"classify":"die"'*) echo 'terminate called' >&2; kill -ABRT $$;;
    *'"classify"'*) echo "{\"id\":$id,\"label\":\"positive\",\"probabilities\":{\"positive\":1},\"seconds\":0.1}";;
    *refused*) echo "{\"id\":$id,\"error\":\"it does not fit\"}";;
    *'"open"'*) echo "{\"id\":$id,\"opened\":\"m\",\"loaded\":false,\"warnings\":[\"w\"],\"seconds\":0.01}";;
    *endless*) echo "{\"id\":$id,\"text\":\"一\"}"; read -r line; echo "$line" >>log
      echo "{\"id\":$id,\"done\":true,\"text\":\"一\",\"cancelled\":true,\"seconds\":1}";;
    *'"generate"'*) echo "{\"id\":$id,\"text\":\"好\"}"; echo "{\"id\":77,\"text\":\"不\"}"
      echo "{\"id\":$id,\"done\":true,\"text\":\"好\",\"seconds\":1}";;
  esac
done
"#;

struct Play {
    dir: tempfile::TempDir,
    orders: RefCell<Option<UnboundedSender<Order>>>,
    news: tokio::sync::Mutex<UnboundedReceiver<News>>,
}

impl Play {
    fn order(&self, order: Order) {
        self.orders.borrow().as_ref().unwrap().send(order).unwrap();
    }

    fn ask(&self, id: u64, ask: Ask) {
        self.order(Order::Ask { id, ask });
    }

    fn classify(&self, id: u64, text: &str) {
        self.ask(id, Ask::Classify(text.to_owned()));
    }

    /// The next news, in short.
    async fn hear(&self) -> String {
        let wait = async { self.news.lock().await.recv().await.unwrap() };
        let news = tokio::time::timeout(Duration::from_secs(60), wait).await.expect("no news");
        match news {
            News::Loading(model) => format!("loading {}", model.short()),
            News::Loaded(l) => format!("loaded {} on {} {:?}", l.model.short(), l.device, l.warnings),
            News::Refused { model, why } => format!("refused {}: {why}", model.short()),
            News::Gone(model) => format!("gone {}", model.short()),
            News::Begun { id } => format!("begun {id}"),
            News::Piece { id, text } => format!("piece {id} {text}"),
            News::Label { id, label, .. } => format!("label {id} {label}"),
            News::Done { id, text, cancelled, .. } => format!("done {id} {text} {cancelled}"),
            News::Failed { id, why } => format!("failed {id}: {why}"),
            News::Ended { why } => format!("ended {why:?}"),
            other => panic!("{other:?}"),
        }
    }

    async fn expect(&self, wanted: &[&str]) {
        for wanted in wanted {
            let heard = self.hear().await;
            assert!(heard.contains(wanted), "{heard:?} is not {wanted:?}");
        }
    }

    fn model(&self, name: &str) -> Model {
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Model::Checkpoint(dir)
    }

    /// A checkpoint whose template knows conversations.
    fn chat(&self, name: &str) -> Model {
        let model = self.model(name);
        let args = r#"{"model_type":"qwen-1_8b-chat","dataset":["jd-sentiment-zh"]}"#;
        std::fs::write(self.dir.path().join(name).join("sft_args.json"), args).unwrap();
        model
    }

    /// What the server has heard.
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

/// Plays `scene` with a keeper, which must end when nobody orders any more.
fn play(scene: impl AsyncFn(&Play)) {
    let dir = tempfile::tempdir().unwrap();
    let engine = dir.path().join("engine");
    // Written by another process: one that is forked meanwhile by another test would keep the file busy.
    let mut write = Command::new("sh");
    write.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(&engine).stdin(Stdio::piped());
    let mut write = write.spawn().unwrap();
    write.stdin.take().unwrap().write_all(SCRIPT.as_bytes()).unwrap();
    assert!(write.wait().unwrap().success());
    let (orders, heard) = unbounded_channel();
    let (told, news) = unbounded_channel();
    let play = Play { dir, orders: RefCell::new(Some(orders)), news: tokio::sync::Mutex::new(news) };
    let find = || Ok(engine.clone());
    let tell = move |news| told.send(news).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::join!(Keeper::new(&find, &tell).run(heard), async {
            scene(&play).await;
            play.orders.borrow_mut().take();
        })
    });
}

#[test]
fn questions_are_answered_in_order_by_the_model_chosen_before_them() {
    play(async |play: &Play| {
        play.order(Order::Open(play.model("a")));
        play.classify(1, "好");
        play.ask(2, Ask::Generate("今".into()));
        play.order(Order::Open(play.model("never")));
        play.order(Order::Open(play.model("b")));
        play.classify(3, "差");
        play.expect(&["loading a", "loaded a on cpu []", "begun 1", "label 1 positive"]).await;
        play.expect(&["begun 2", "piece 2 好", "done 2 好 false", "loading b", "loaded b on cpu [\"w\"]"])
            .await;
        play.expect(&["begun 3", "label 3"]).await;
        let log = play.log();
        assert!(log.starts_with("start repl --ckpt_dir ") && log.matches("start").count() == 1, "{log}");
        assert!(!log.contains("never"), "{log}");
        assert!(log.contains(r#""temperature":0.3"#) && !log.contains("history"), "{log}");
    });
}

#[test]
fn a_cancel_reaches_what_runs_and_what_waits() {
    play(async |play: &Play| {
        play.order(Order::Open(play.model("a")));
        play.ask(1, Ask::Generate("endless".into()));
        play.classify(2, "x");
        play.classify(3, "y");
        play.expect(&["loading", "loaded", "begun 1", "piece 1"]).await;
        play.order(Order::Cancel { id: 2 });
        play.order(Order::Cancel { id: 99 });
        play.order(Order::Cancel { id: 1 });
        play.expect(&["failed 2: cancelled", "done 1 一 true", "begun 3", "label 3"]).await;
    });
}

#[test]
fn a_server_that_dies_takes_its_questions_along_and_the_next_starts_it_anew() {
    play(async |play: &Play| {
        play.classify(1, "x");
        play.expect(&["failed 1: no model is chosen"]).await;
        play.order(Order::Open(play.model("a")));
        play.classify(2, "die");
        play.classify(3, "x");
        play.expect(&["loading", "loaded", "begun 2", "failed 2: the engine ended", "failed 3"]).await;
        let end = play.hear().await;
        assert!(end.contains("SIGABRT") && end.contains("terminate called"), "{end}");
        play.classify(4, "x");
        play.expect(&["loading a", "loaded a", "begun 4", "label 4"]).await;
        assert_eq!(play.log().matches("start").count(), 2);
    });
}

#[test]
fn a_model_that_cannot_be_had_is_told_and_nothing_is_lost() {
    play(async |play: &Play| {
        play.order(Order::Open(play.model("broken")));
        play.classify(1, "x");
        play.expect(&["loading", "failed 1: there is no model", "refused broken: the adapter is broken"])
            .await;
        play.order(Order::Open(Model::Checkpoint("/nowhere".into())));
        play.expect(&["loading", "refused nowhere: there is no such directory"]).await;
        play.order(Order::Open(play.model("a")));
        play.order(Order::Open(play.model("a")));
        play.classify(2, "x");
        play.order(Order::Open(play.model("refused")));
        play.classify(3, "x");
        play.expect(&["loading", "loaded a", "begun 2", "label 2"]).await;
        play.expect(&["loading refused", "refused refused: it does not fit", "begun 3", "label 3"]).await;
    });
}

#[test]
fn an_unloaded_server_has_ended_and_a_deaf_one_is_killed() {
    play(async |play: &Play| {
        play.order(Order::Open(play.model("a")));
        play.ask(1, Ask::Generate("endless".into()));
        play.classify(2, "x");
        play.expect(&["loading", "loaded", "begun 1", "piece 1"]).await;
        play.order(Order::Unload);
        play.expect(&["failed 1: the model was unloaded", "failed 2", "ended None"]).await;
        play.order(Order::Open(play.model("slow")));
        play.classify(3, "x");
        play.expect(&["loading slow"]).await;
        play.order(Order::Unload);
        play.expect(&["failed 3", "ended None"]).await;
        // And with the one who orders: `play` would not come back.
        play.order(Order::Open(play.model("slow")));
        play.expect(&["loading slow"]).await;
    });
}

#[test]
fn a_template_for_conversations_gets_the_earlier_turns_until_they_are_forgotten() {
    play(async |play: &Play| {
        play.order(Order::Open(play.chat("a")));
        for id in 1..=2 {
            play.ask(id, Ask::Generate(format!("第{id}")));
        }
        play.expect(&["loading", "loaded", "begun 1", "piece", "done", "begun 2", "piece", "done"]).await;
        assert!(play.log().contains(r#""history":[["第1","好"]]"#), "{}", play.log());
        play.order(Order::Forget);
        play.ask(3, Ask::Generate("第3".into()));
        play.expect(&["begun 3", "piece", "done"]).await;
        let log = play.log();
        assert!(!log.lines().last().unwrap().contains("history"), "{log}");
    });
}

#[test]
fn a_base_in_another_template_gets_a_server_of_its_own() {
    play(async |play: &Play| {
        let base = |name: &str, chat_format: &str| {
            let dir = play.dir.path().join(name);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("config.json"), "{}").unwrap();
            let config = format!(r#"{{"chat_format":"{chat_format}"}}"#);
            std::fs::write(dir.join("generation_config.json"), config).unwrap();
            Model::At(dir)
        };
        for (name, format) in [("raw", "raw"), ("chat", "chatml"), ("chat2", "chatml")] {
            play.order(Order::Open(base(name, format)));
            play.expect(&[&format!("loading {name}"), &format!("loaded {name}")]).await;
        }
        let log = play.log();
        assert_eq!(log.matches("start").count(), 2, "{log}");
        assert!(log.contains("--template_type qwen") && log.contains(r#""open":{"base":"#), "{log}");
        assert!(Path::new(&play.dir.path().join("engine")).is_file());
    });
}

#[test]
fn a_model_whose_files_are_gone_answers_on_and_is_told() {
    play(async |p| {
        p.order(Order::Open(p.model("checkpoint-9")));
        p.expect(&["loading checkpoint-9", "loaded checkpoint-9"]).await;
        p.classify(1, "好");
        p.expect(&["begun 1", "label 1"]).await;
        std::fs::remove_dir_all(p.dir.path().join("checkpoint-9")).unwrap();
        p.classify(2, "好");
        p.expect(&["gone checkpoint-9", "begun 2", "label 2"]).await;
    });
}
