//! `infer` as SWIFT 1.5's `infer_main` does it: rows, chance, what is printed, the prompt's commands.

mod common;

use common::Bench;

const BASE: [&str; 9] = [
    "infer",
    "--model_type",
    "qwen-1_8b",
    "--model_id_or_path",
    "model",
    "--device",
    "cpu",
    "--threads",
    "1",
];

/// What `infer` prints for the first rows of the bench.
fn rows(bench: &Bench, more: &[&str]) -> String {
    let data = ["--custom_val_dataset_path", "rows.jsonl", "--max_new_tokens", "8"];
    bench.words(&[&BASE[..], &data, more].concat()).ok().to_owned()
}

/// What a conversation of these lines prints.
fn talk(bench: &Bench, input: &str, more: &[&str]) -> String {
    let words = [&BASE[..], &["--max_new_tokens", "4"], more].concat();
    bench.run(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(), input).ok().to_owned()
}

#[test]
fn a_seed_repeats_and_another_one_draws_others() {
    let bench = Bench::new();
    let chance =
        ["--temperature", "1", "--top_k", "0", "--top_p", "1", "--val_dataset_sample", "4", "--seed"];
    let drawn = |seed| rows(&bench, &[&chance[..], &[seed]].concat());
    let first = drawn("7");
    assert_eq!(first, drawn("7"));
    assert_ne!(first, drawn("8"));
    let greedy = |seed| rows(&bench, &["--do_sample", "false", "--seed", seed]);
    assert_eq!(greedy("7"), greedy("8"));
    // One token to choose from is the likeliest one.
    assert_eq!(greedy("7"), rows(&bench, &["--top_k", "1"]));
    // In a conversation too, streamed or not.
    let how = ["--do_sample", "false", "--stream"];
    let said = talk(&bench, "好\n很好\n", &[&how[..], &["true"]].concat());
    assert_eq!(said, talk(&bench, "好\n很好\n", &[&how[..], &["false"]].concat()));
    assert_eq!(said, talk(&bench, "好\n很好\n", &["--top_k", "1", "--seed", "9"]));
}

#[test]
fn rows_are_the_first_ones_and_printed_as_verbose_says() {
    let bench = Bench::new();
    let count = |more: &[&str]| rows(&bench, more).matches("[LABELS]").count();
    assert_eq!(count(&[]), 10);
    assert_eq!(count(&["--val_dataset_sample", "3"]), 3);
    assert_eq!(count(&["--show_dataset_sample", "4"]), 4);
    assert_eq!(count(&["--val_dataset_sample", "-1"]), 40);
    let first = rows(&bench, &["--val_dataset_sample", "1", "--do_sample", "false"]);
    assert!(
        first.starts_with("query: Task: Sentiment Classification\nSentence: 质量太差，后悔买了0\n"),
        "{first}"
    );
    assert!(first.contains("\n[LABELS]negative\n"), "{first}");
    assert_eq!(rows(&bench, &["--val_dataset_sample", "3", "--verbose", "false"]), "");
    let lines: String = (0..25).map(|_| std::fs::read_to_string(bench.path("rows.jsonl")).unwrap()).collect();
    bench.write("many.jsonl", lines);
    let many =
        ["--custom_val_dataset_path", "many.jsonl", "--val_dataset_sample", "100", "--max_new_tokens", "1"];
    let said = |more: &[&str]| bench.words(&[&BASE[..], &many, more].concat());
    let quiet = said(&[]);
    assert_eq!(quiet.ok(), "");
    assert!(quiet.stderr.contains("100 of 100 rows"), "{}", quiet.stderr);
    assert_eq!(said(&["--verbose", "true"]).ok().matches("[LABELS]").count(), 100);
}

#[test]
fn the_prompt_takes_swifts_commands() {
    let bench = Bench::new();
    let answers = |said: &str| said.matches(&"-".repeat(50)).count();
    let lines = "multi-line\n好\n很好#\nsingle-line\n好\nCLEAR\n\n Exit \n好\n";
    let said = talk(&bench, lines, &[]);
    assert_eq!(answers(&said), 2, "{said}");
    assert!(said.starts_with("<<< <<<[M] "), "{said}");
    assert_eq!(said.matches("<<<[M] ").count(), 2, "{said}");
    // A line of a longer text is no command, unless it stands first.
    assert_eq!(answers(&talk(&bench, "multi-line\n好\nexit\n#\nquit\n好\n", &[])), 1);
}

#[test]
fn training_rows_are_not_wanted_where_validation_rows_are_named() {
    let bench = Bench::new();
    let gone = ["--dataset", "/nowhere/train.jsonl", "--val_dataset_sample", "2"];
    assert_eq!(rows(&bench, &gone).matches("[LABELS]").count(), 2);
    let words = [&BASE[..], &["--dataset", "/nowhere/train.jsonl"]].concat();
    bench.words(&words).failed(2, &["/nowhere/train.jsonl", "no such data file"]);
}

#[test]
fn a_sigint_to_this_program_alone_ends_the_engine_too() {
    let bench = Bench::new();
    let words: Vec<String> = BASE.iter().map(|w| (*w).to_owned()).collect();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_qwen-tui"))
        .args(&words)
        .current_dir(bench.path("."))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Its input stays open, so that nothing else ends it.
    let mut prompt = [0; 4];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut prompt).unwrap();
    assert_eq!(&prompt, b"<<< ");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    // The engine's end closes the pipe.
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
}

#[test]
fn a_row_without_a_query_has_an_empty_answer_and_the_rest_are_answered() {
    let bench = Bench::new();
    let line = |query: &str| format!("{{\"query\": \"{query}\", \"response\": \"positive\"}}\n");
    bench.write("empty.jsonl", ["很好", "", "太差"].map(line).concat());
    let said = bench
        .words(&[&BASE[..], &["--custom_val_dataset_path", "empty.jsonl", "--max_new_tokens", "2"]].concat());
    assert_eq!(said.ok().matches("[LABELS]positive").count(), 3, "{}", said.stdout);
    assert!(said.stdout.contains("query: \nresponse: \n[LABELS]"), "{}", said.stdout);
    for needle in ["empty.jsonl, line 2: the row has no query", "validation row 2 has an empty prompt"] {
        assert!(said.stderr.contains(needle), "{}", said.stderr);
    }
}
