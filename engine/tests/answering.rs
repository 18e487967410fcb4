//! `predict_with_generate`: evaluations write answers, and their rouge-l chooses the best checkpoint.

mod common;

use qwen_tui::args::load_infer;
use qwen_tui::data::Row;
use qwen_tui::job::event::Event;
use qwen_tui::run::{NlgScores, TrainerState};
use qwen_tui_engine::infer::Session;
use qwen_tui_engine::infer::generate::Generation;
use rand_mt::Mt;
use serde_json::{Value, json};

use common::{SMALL, one_thread, train, write_model, write_vocabulary};

#[test]
fn answers_are_compared_and_choose_the_best_checkpoint() {
    one_thread();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let vocabulary = dir.path().join("bytes.tiktoken");
    write_vocabulary(&vocabulary, &["positive", "negative"]);
    write_model(&dir.path().join("model"), SMALL, &vocabulary);
    let rows: Vec<(String, &str)> =
        (0..12).map(|n| (format!("{n} good?"), if n % 3 == 0 { "positive" } else { "negative" })).collect();
    let lines: String =
        rows.iter().map(|(q, r)| format!("{}\n", json!({"query": q, "response": r}))).collect();
    std::fs::write(path("rows.jsonl"), lines).unwrap();
    #[rustfmt::skip]
    let (run, events) = train(&[
        "--model_type", "qwen-1_8b", "--model_id_or_path", &path("model"), "--device", "cpu", "--dtype", "fp32",
        "--custom_train_dataset_path", &path("rows.jsonl"), "--custom_val_dataset_path", &path("rows.jsonl"),
        "--train_dataset_sample", "-1", "--val_dataset_sample", "-1", "--output_dir", &path("out"),
        "--lora_target_modules", "ALL", "--lora_dropout_p", "0", "--learning_rate", "2e-2", "--save_total_limit", "-1",
        "--gradient_accumulation_steps", "4", "--num_train_epochs", "8", "--eval_steps", "6", "--save_steps", "6",
        "--predict_with_generate", "true", "--do_sample", "false", "--max_new_tokens", "3",
    ]);
    let evaluations: Vec<(u64, f64, NlgScores)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Eval { step, loss, scores, .. } => Some((*step, *loss, scores.unwrap())),
            _ => None,
        })
        .collect();
    println!("{evaluations:?}");
    assert_eq!(evaluations.len(), 4);

    // The newest checkpoint's answers, written by infer's own way: words of one token are right or wrong as a whole.
    let last = run.checkpoint(24);
    let flags = [
        "--ckpt_dir",
        last.to_str().unwrap(),
        "--do_sample",
        "false",
        "--max_new_tokens",
        "3",
        "--device",
        "cpu",
    ];
    let args = load_infer(&flags.map(str::to_owned)).unwrap().args;
    let session = Session::open(&args).unwrap();
    let mut right = 0;
    for (query, label) in &rows {
        let prompt = session.template.encode_prompt(&session.tokenizer, &Row::new(query.as_str(), ""));
        let how = Generation::from(&args);
        let answer = session.generate(&prompt, &how, &mut Mt::new(0), &mut |_| Ok(())).unwrap();
        assert!(["positive", "negative"].contains(&answer.as_str()), "{answer:?}");
        right += usize::from(answer == *label);
    }
    let (_, _, scores) = evaluations[3];
    let share = 100.0 * right as f64 / rows.len() as f64;
    assert!(right > 0 && (scores.rouge_1 - share).abs() < 1e-4, "{scores:?}, {right} are right");
    assert!((scores.rouge_l - share).abs() < 1e-4 && scores.rouge_2 == 0.0, "{scores:?}");

    // The first one with the highest rouge-l is the best.
    let highest = evaluations.iter().map(|e| e.2.rouge_l).fold(f64::MIN, f64::max);
    let best = evaluations.iter().find(|e| e.2.rouge_l == highest).unwrap();
    let Some(Event::Finished { best_checkpoint, best_metric, .. }) = events.last() else { panic!() };
    assert_eq!(best_checkpoint.as_deref(), Some(format!("checkpoint-{}", best.0).as_str()));
    assert_eq!(*best_metric, Some(highest));
    let state = TrainerState::read(&last).unwrap();
    assert_eq!(state.best_metric, Some(highest));

    // SWIFT's keys in its log and in the history.
    let log = std::fs::read_to_string(run.logging_file()).unwrap();
    let line = log.lines().find(|line| line.contains("eval_loss")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let wanted = ["eval_loss", "eval_rouge-1", "eval_rouge-2", "eval_rouge-l", "eval_bleu-4", "eval_runtime"];
    assert_eq!(keys[..6], wanted);
    assert!(!keys.contains(&"eval_acc"));
    assert!(state.log_history.iter().any(|entry| entry.contains_key("eval_bleu-4")));
}

/// A row whose query is empty, and one that max_length cuts down to its answer: no prompt, and no reason to end.
#[test]
fn a_row_without_a_prompt_has_an_empty_answer() {
    let bench = common::bench::Bench::new();
    let row = |query: &str| json!({"query": query, "response": "positive"});
    bench.write("empty.jsonl", ["很好", "太差了", "很好用", ""].into_iter().map(row));
    let rows = bench.path("empty.jsonl").display().to_string();
    let how = [
        "--predict_with_generate",
        "true",
        "--eval_steps",
        "2",
        "--save_steps",
        "2",
        "--max_new_tokens",
        "3",
    ];
    for (more, told) in [
        (
            &["--custom_val_dataset_path", &rows][..],
            "1 validation row without a prompt to answer (the first: validation row 4; its query is empty)",
        ),
        (
            &["--dataset_test_ratio", "0.2", "--max_length", "2", "--truncation_strategy", "truncation_left"],
            "validation rows without a prompt to answer (the first: validation row 1; max_length 2 has cut it away",
        ),
    ] {
        let ran = bench.run(&[&how[..], more].concat());
        let scored = ran.events.iter().filter(|e| matches!(e, Event::Eval { scores: Some(_), .. })).count();
        assert!(scored >= 2, "{:?}", ran.events);
        let warned =
            ran.events.iter().filter(|e| matches!(e, Event::Warning { message } if message.contains(told)));
        assert_eq!(warned.count(), 1, "{:?}", ran.events);
    }
}
