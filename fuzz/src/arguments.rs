//! `sft_args.json` and the command line. The first byte says which of the readers it is.

use std::fs;

use qwen_tui::args::{Draft, FIELDS, SftArgs, load_infer, load_infer_texts, load_merge, load_sft};

use super::place::{choice, dir, for_people, message_for_people, write};

const FILE: &str = "arguments/sft_args.json";

pub fn run(bytes: &[u8]) {
    let (how, rest) = choice(bytes);
    match how % 8 {
        0 => file(rest),
        1 => drop(for_people(SftArgs::from_run_dir(&put(rest)))),
        2 => checkpoint(rest),
        3 => draft(rest),
        4 => flags(rest),
        5 => typed(rest),
        6 => {
            let file = put(rest).join("sft_args.json").display().to_string();
            for_people(load_infer(&["--config".to_owned(), file]));
        }
        _ => over(rest),
    }
}

/// The file in its directory.
fn put(bytes: &[u8]) -> std::path::PathBuf {
    write(FILE, bytes);
    dir().join("arguments")
}

/// What a file says is what is written again.
fn file(bytes: &[u8]) {
    let path = put(bytes).join("sft_args.json");
    let Some(read) = for_people(load_sft(Some(&path), &[])) else { return };
    read.warnings.iter().for_each(|w| message_for_people(w));
    let written = serde_json::to_vec(&read.args.to_json()).expect("arguments are JSON");
    fs::write(&path, written).expect("the file again");
    let again = SftArgs::from_run_dir(&dir().join("arguments")).expect("what the program has written");
    assert_eq!(again, read.args);
}

/// A checkpoint's arguments.
fn checkpoint(bytes: &[u8]) {
    let dir = put(bytes).display().to_string();
    for dataset in ["true", "false"] {
        let flags = ["--ckpt_dir", &dir, "--load_dataset_config", dataset].map(str::to_owned);
        for_people(load_infer(&flags));
        for_people(load_merge(&flags));
    }
}

/// A text in the cockpit's editor; what comes out of it goes in again.
fn draft(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Draft::parse(&text) {
        Err(problem) => message_for_people(&problem.message),
        Ok(read) => {
            read.warnings.iter().for_each(|w| message_for_people(w));
            let checked = read.draft.check();
            if let Err(problem) = &checked {
                message_for_people(&problem.message);
            }
            let again = Draft::parse(&read.draft.to_text()).expect("what the program has written").draft;
            assert_eq!(again.to_text(), read.draft.to_text());
            assert_eq!(again.check().is_ok(), checked.is_ok());
        }
    }
}

/// A command line, a word a line. `--config` may name no file: it would be anybody's.
fn flags(bytes: &[u8]) {
    let words = words(bytes);
    for_people(load_sft(None, &words));
    for_people(load_infer(&words));
    for_people(load_infer_texts(&words));
    for_people(load_merge(&words));
    for_people(Draft::load(None, &words));
}

/// A value that is typed for an argument.
fn typed(bytes: &[u8]) {
    let (which, rest) = choice(bytes);
    let text = String::from_utf8_lossy(rest);
    let field = &FIELDS[which as usize % FIELDS.len()];
    match field.typed(&text) {
        Err(why) => message_for_people(&why),
        Ok(value) => {
            let mut draft = Draft::default();
            draft.set(field, &value).expect("a value that was taken before");
            drop(draft.check());
        }
    }
}

/// Flags over a file.
fn over(bytes: &[u8]) {
    let cut = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let path = put(&bytes[..cut]).join("sft_args.json");
    for_people(load_sft(Some(&path), &words(&bytes[cut..])));
}

fn words(bytes: &[u8]) -> Vec<String> {
    let words = bytes.split(|b| *b == b'\n' || *b == 0).map(|w| String::from_utf8_lossy(w).into_owned());
    words.filter(|w| !w.trim_start_matches('-').starts_with("config")).collect()
}
