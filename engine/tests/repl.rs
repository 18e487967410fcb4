//! The REPL server on a tiny model, by its own client.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use qwen_tui::args::{load_infer, load_sft};
use qwen_tui::job::event::{Command, Event};
use qwen_tui::job::repl::{Generate, Open, Repl, Reply, Request};
use qwen_tui::run::RunDir;
use qwen_tui_engine::infer::Session;
use qwen_tui_engine::train;

use common::{SMALL, Tiny, write_model, write_vocabulary};

const ENGINE: &str = env!("CARGO_BIN_EXE_qwen-tui-engine");

fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().flat_map(|(key, value)| [format!("--{key}"), (*value).to_owned()]).collect()
}

/// Writes a model to `dir/name` and trains an adapter over it for a few steps; returns model and checkpoint.
fn train_adapter(dir: &Path, name: &str, seed: u32) -> (String, String) {
    write_vocabulary(&dir.join("vocabulary"), &[]);
    write_model(&dir.join(name), Tiny { seed, ..SMALL }, &dir.join("vocabulary"));
    let rows: String = (0..16).map(|i| format!("{{\"query\":\"q{i}\",\"response\":\"a\"}}\n")).collect();
    std::fs::write(dir.join("rows.jsonl"), rows).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let args = load_sft(
        None,
        &flags(&[
            ("model_type", "qwen-1_8b"),
            ("model_id_or_path", &path(name)),
            ("device", "cpu"),
            ("threads", "1"),
            ("dtype", "fp32"),
            ("custom_train_dataset_path", &path("rows.jsonl")),
            ("train_dataset_sample", "-1"),
            ("learning_rate", "0.05"),
            ("max_steps", "4"),
            ("output_dir", &path(&format!("run-{name}"))),
        ]),
    )
    .unwrap()
    .args;
    let run = RunDir::create(Path::new(&args.output_dir), &args.model_type, false).unwrap();
    run.write_args(&args.to_json()).unwrap();
    let (_keep, commands) = mpsc::channel::<Command>();
    train::train(&args, &run, None, &commands, &mut |_: Event| Ok(())).unwrap();
    (path(name), run.checkpoint(4).display().to_string())
}

/// P(positive) of `text` as a session of its own computes it.
fn positive(text: &str, pairs: &[(&str, &str)]) -> f64 {
    let session = Session::open(&load_infer(&flags(pairs)).unwrap().args).unwrap();
    session.classify(&[text.to_owned()]).unwrap()[0].probabilities["positive"].as_f64().unwrap()
}

async fn next(repl: &mut Repl) -> Reply {
    tokio::time::timeout(Duration::from_secs(120), repl.receive()).await.expect("no reply").unwrap()
}

async fn label(repl: &mut Repl, id: u64, text: &str) -> f64 {
    repl.send(&Request::Classify { id, text: text.to_owned() }).await.unwrap();
    match next(repl).await {
        Reply::Label { id: of, label, probabilities, .. } if of == id => {
            let p = probabilities["positive"].as_f64().unwrap();
            assert_eq!(label, if p > 0.5 { "positive" } else { "negative" });
            p
        }
        other => panic!("{other:?}"),
    }
}

async fn open(repl: &mut Repl, id: u64, what: Open) -> (String, bool, Vec<String>) {
    repl.send(&Request::Open { id, what }).await.unwrap();
    match next(repl).await {
        Reply::Opened { id: of, opened, loaded, warnings, .. } if of == id => (opened, loaded, warnings),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_model_after_another() {
    let dir = tempfile::tempdir().unwrap();
    let (base, ckpt) = train_adapter(dir.path(), "one", 5);
    let (other_base, other) = train_adapter(dir.path(), "two", 6);
    let text = "房间很干净，\n早餐也好";
    let of_base =
        [("model_type", "qwen-1_8b"), ("model_id_or_path", &base), ("device", "cpu"), ("dtype", "fp32")];
    let plain = positive(text, &of_base);
    let tuned = positive(text, &[("ckpt_dir", &ckpt), ("device", "cpu")]);
    let second = positive(text, &[("ckpt_dir", &other), ("device", "cpu")]);
    assert!((plain - tuned).abs() > 1e-4 && (tuned - second).abs() > 1e-4, "{plain} {tuned} {second}");

    let mut repl = Repl::spawn_engine(Path::new(ENGINE), &flags(&of_base)).unwrap();
    let Reply::Ready { ready: true, model, device, .. } = next(&mut repl).await else { panic!() };
    assert_eq!((model.as_str(), device.as_str()), (base.as_str(), "cpu"));
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
    near(label(&mut repl, 1, text).await, plain);
    // The base's weights are taken away: what needs no new base opens all the same.
    let weights = Path::new(&base).join("model.safetensors");
    let aside = Path::new(&base).join("aside");
    std::fs::rename(&weights, &aside).unwrap();
    assert_eq!(open(&mut repl, 2, Open::CkptDir(ckpt.clone())).await, (ckpt.clone(), false, vec![]));
    near(label(&mut repl, 3, text).await, tuned);
    assert_eq!(open(&mut repl, 4, Open::Base(None)).await, (base.clone(), false, vec![]));
    near(label(&mut repl, 5, text).await, plain);
    std::fs::rename(&aside, &weights).unwrap();
    // Another base is loaded, and the first one again.
    assert_eq!(open(&mut repl, 6, Open::CkptDir(other.clone())).await, (other.clone(), true, vec![]));
    near(label(&mut repl, 7, text).await, second);
    assert!(open(&mut repl, 8, Open::Base(Some(base.clone()))).await.1);
    near(label(&mut repl, 9, text).await, plain);
    // A checkpoint whose base has moved is opened over the present one, and that is told.
    std::fs::rename(&other_base, dir.path().join("moved")).unwrap();
    let (_, loaded, warnings) = open(&mut repl, 10, Open::CkptDir(other.clone())).await;
    assert!(!loaded && warnings[0].contains("base model is not there"), "{warnings:?}");
    // What cannot be opened changes nothing.
    open(&mut repl, 11, Open::Base(None)).await;
    std::fs::write(Path::new(&ckpt).join("default/adapter_model.safetensors"), "cut short").unwrap();
    for (id, what) in [(12, Open::CkptDir(ckpt.clone())), (13, Open::CkptDir("/nowhere".into()))] {
        repl.send(&Request::Open { id, what }).await.unwrap();
        let reply = next(&mut repl).await;
        assert!(matches!(&reply, Reply::Error { id: Some(of), .. } if *of == id), "{reply:?}");
    }
    near(label(&mut repl, 14, text).await, plain);
}

#[tokio::test]
async fn answers_grow_and_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let (base, _) = train_adapter(dir.path(), "one", 5);
    let of_base =
        [("model_type", "qwen-1_8b"), ("model_id_or_path", &base[..]), ("device", "cpu"), ("dtype", "fp32")];
    let mut repl = Repl::spawn_engine(Path::new(ENGINE), &flags(&of_base)).unwrap();
    next(&mut repl).await;
    let how = Generate {
        prompt: "abc".into(),
        max_new_tokens: Some(40),
        do_sample: Some(true),
        temperature: Some(1.0),
        seed: Some(3),
        ..Generate::default()
    };
    let mut answers = Vec::new();
    for id in [1, 2] {
        repl.send(&Request::Generate { id, how: how.clone() }).await.unwrap();
        let mut pieces = String::new();
        let whole = loop {
            match next(&mut repl).await {
                Reply::Text { id: of, text } if of == id => pieces += &text,
                Reply::Done { id: of, done: true, text, cancelled: false, .. } if of == id => break text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(pieces, whole);
        answers.push(whole);
    }
    assert_eq!(answers[0], answers[1], "a seed repeats");

    // An answer without end (greedy decoding goes round in circles, unless the end token comes early), and what waits
    // behind it.
    let mut long = None;
    for (id, prompt) in (100..).zip(["abc", "q", "xyz", "好", "0", "review", "A", "z9"]) {
        let how = Generate { prompt: prompt.into(), do_sample: Some(false), ..how.clone() };
        repl.send(&Request::Generate { id, how: Generate { max_new_tokens: Some(400), ..how.clone() } })
            .await
            .unwrap();
        let tokens = loop {
            match next(&mut repl).await {
                Reply::Text { .. } => {}
                Reply::Done { text, .. } => break text.len(),
                other => panic!("{other:?}"),
            }
        };
        if tokens >= 200 {
            long = Some(Generate { max_new_tokens: Some(1 << 20), ..how });
            break;
        }
    }
    let long = long.expect("one of the prompts has a long answer");
    repl.send(&Request::Generate { id: 3, how: long.clone() }).await.unwrap();
    repl.send(&Request::Generate { id: 4, how: long }).await.unwrap();
    repl.send(&Request::Classify { id: 5, text: "x".into() }).await.unwrap();
    let Reply::Text { id: 3, text: mut pieces } = next(&mut repl).await else { panic!() };
    for id in [5, 4, 3, 99] {
        repl.send(&Request::Cancel { id }).await.unwrap();
    }
    let whole = loop {
        match next(&mut repl).await {
            Reply::Text { id: 3, text } => pieces += &text,
            Reply::Done { id: 3, cancelled: true, text, .. } => break text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pieces, whole);
    let waited = next(&mut repl).await;
    assert!(
        matches!(&waited, Reply::Done { id: 4, cancelled: true, text, .. } if text.is_empty()),
        "{waited:?}"
    );
    let waited = next(&mut repl).await;
    assert!(matches!(&waited, Reply::Error { id: Some(5), error } if error == "cancelled"), "{waited:?}");

    // What is wrong is answered, and the server lives on.
    let wrong = [
        Generate { prompt: String::new(), ..how.clone() },
        Generate { temperature: Some(0.0), ..how.clone() },
        Generate { top_p: Some(1.5), ..how.clone() },
        Generate { max_new_tokens: Some(0), ..how.clone() },
        Generate { prompt: "x".repeat(9000), ..how.clone() },
        Generate { history: vec![["q".into(), "r".into()]], ..how },
    ];
    for (n, how) in wrong.into_iter().enumerate() {
        let id = 10 + n as u64;
        repl.send(&Request::Generate { id, how }).await.unwrap();
        let reply = next(&mut repl).await;
        assert!(matches!(&reply, Reply::Error { id: Some(of), .. } if *of == id), "{reply:?}");
    }
    label(&mut repl, 20, "x").await;

    // Its death is told.
    assert!(Program::new("kill").args(["-9", &repl.pid().unwrap().to_string()]).status().unwrap().success());
    let error = repl.receive().await.unwrap_err();
    assert!(error.to_string().contains("SIGKILL"), "{error}");
}

#[tokio::test]
async fn a_model_that_is_not_there_is_told_before_ready() {
    let mut repl = Repl::spawn_engine(
        Path::new(ENGINE),
        &flags(&[("model_type", "qwen-1_8b"), ("model_id_or_path", "/nowhere")]),
    )
    .unwrap();
    let error = repl.receive().await.unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("/nowhere"), "{error}");
}

/// What a pipe gives is answered to its last line, whatever stands in it.
#[test]
fn the_end_of_the_input_ends_it_with_everything_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (base, ckpt) = train_adapter(dir.path(), "one", 5);
    let mut child = Program::new(ENGINE)
        .args(["repl", "--ckpt_dir", &ckpt, "--device", "cpu"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"nonsense\n\n\xff\xfe\n{\"id\":1,\"classify\":\"\"}\n{\"id\":2}\n").unwrap();
    stdin.write_all(b"{\"id\":3,\"open\":{\"base\":null}}\n{\"id\":4,\"classify\":\"x\"}").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let replies: Vec<Reply> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(matches!(&replies[0], Reply::Ready { model, .. } if *model == ckpt));
    assert!(matches!(&replies[1], Reply::Error { id: None, .. }));
    assert!(matches!(&replies[2], Reply::Error { id: None, .. }));
    assert!(matches!(&replies[3], Reply::Label { id: 1, .. }));
    assert!(matches!(&replies[4], Reply::Error { id: Some(2), .. }));
    assert!(matches!(&replies[5], Reply::Opened { id: 3, opened, loaded: false, .. } if *opened == base));
    assert!(matches!(&replies[6], Reply::Label { id: 4, .. }));
    assert_eq!(replies.len(), 7);
}
