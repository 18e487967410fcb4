//! Damaged files, some thousand of each kind from a fixed seed: an error or a value, never a panic.

mod common;

use std::fs;
use std::path::Path;

use common::{rows, vocabulary};
use qwen_tui::args::{SftArgs, load_infer, load_sft};
use qwen_tui::data::{OnBroken, Tokenizer, read_file};
use qwen_tui::error::Error;
use qwen_tui::job::Event;
use qwen_tui::run::{
    AdapterConfig, EventLog, RunDir, TrainerState, clean_partial, list_checkpoints, replay, verify_checkpoint,
};
use rand_mt::Mt;

/// What numbers and names in a file become.
const NASTY: [&str; 24] = [
    "",
    "0",
    "-1",
    "1e999",
    "-0.0",
    "4611686018427387904",
    "18446744073709551616",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"\\ud800\"",
    "\"\u{0}\"",
    "[[[[[[[[",
    "}}}}",
    ",,",
    "\u{feff}",
    "\r\n",
    "\"",
    "\\",
    "../..",
    "<|endoftext|>",
];

fn below(mt: &mut Mt, n: usize) -> usize {
    mt.next_u32() as usize % n.max(1)
}

/// `original` with one to four pieces cut, doubled, overwritten or replaced.
fn damaged(original: &[u8], mt: &mut Mt) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..1 + below(mt, 4) {
        let at = below(mt, bytes.len() + 1);
        let end = (at + 1 + below(mt, 12)).min(bytes.len());
        match below(mt, 7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes[at..end].iter_mut().for_each(|b| *b = mt.next_u32() as u8),
            3 => drop(bytes.splice(at..end, NASTY[below(mt, NASTY.len())].bytes())),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                // The value after a colon.
                let colons: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i] == b':').collect();
                if !colons.is_empty() {
                    let from = colons[below(mt, colons.len())] + 1;
                    let to = bytes[from..]
                        .iter()
                        .position(|b| b",}\n".contains(b))
                        .map_or(bytes.len(), |n| from + n);
                    bytes.splice(from..to, NASTY[below(mt, NASTY.len())].bytes());
                }
            }
            _ => bytes = (0..below(mt, 200)).map(|_| mt.next_u32() as u8).collect(),
        }
    }
    bytes
}

/// Reads `count` damaged copies of `original`, written as `name` in `dir`; every error is one for the user.
fn fuzz<T>(dir: &Path, name: &str, original: &[u8], count: u32, read: impl Fn(&Path) -> Result<T, Error>) {
    let mut mt = Mt::new(count);
    let path = dir.join(name);
    let (mut good, mut bad) = (0, 0);
    for n in 0..count {
        let bytes = damaged(original, &mut mt);
        fs::write(&path, &bytes).unwrap();
        match read(&path) {
            Ok(_) => good += 1,
            Err(Error::User(message) | Error::NoRoom(message)) => {
                bad += 1;
                // A message that quotes the file whole helps nobody.
                assert!(message.len() < 2000, "{name} {n}: {message}");
            }
            Err(Error::Internal(message)) => {
                panic!("{name} {n}: {message}: {:?}", String::from_utf8_lossy(&bytes))
            }
        }
    }
    assert!(bad > 0, "{name}: {good} of {count} were good");
}

#[test]
fn vocabularies() {
    let dir = tempfile::tempdir().unwrap();
    fuzz(dir.path(), "qwen.tiktoken", (vocabulary().join("\n") + "\n").as_bytes(), 1000, |_| {
        Tokenizer::load(dir.path())
    });
}

#[test]
fn texts() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("qwen.tiktoken"), vocabulary().join("\n")).unwrap();
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    let mut mt = Mt::new(1);
    let original = "很好，<|im_start|>x\u{301}  \r\n  '\u{0}12 𪚥<|endoftext|>".as_bytes();
    for _ in 0..2000 {
        let bytes = damaged(original, &mut mt);
        let text = String::from_utf8_lossy(&bytes);
        let ids = tokenizer.encode(&text);
        let again = tokenizer.decode(&ids);
        // With a vocabulary of bytes, decoding is exact up to the normal form.
        assert_eq!(tokenizer.encode(&again), ids, "{text:?}");
    }
    // Long runs of one kind are what patterns with backtracking stumble over.
    for piece in [" ", "\n", " \n", "a", "的", "'", "1", "\u{301}", "<|", "\t \u{3000}"] {
        let text = piece.repeat(100_000 / piece.len());
        let began = std::time::Instant::now();
        let ids = tokenizer.encode(&text);
        assert!(!ids.is_empty() && began.elapsed().as_secs() < 30, "{piece:?} took {:?}", began.elapsed());
    }
}

#[test]
fn data_files() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<String> = rows(4).iter().map(ToString::to_string).collect();
    let conversation = r#"{"query":"a","response":"b","history":[["c","d"]]}
{"conversations":[{"from":"user","value":"x"},{"from":"assistant","value":"y"}]}
{"messages":[{"role":"system","content":"s"},{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}
{"instruction":"i","input":"n","output":"o"}
"#;
    for strategy in [OnBroken::Error, OnBroken::Skip] {
        let read = |path: &Path| read_file(path, strategy);
        fuzz(dir.path(), "a.jsonl", (rows.join("\n") + "\n" + conversation).as_bytes(), 1500, read);
        fuzz(
            dir.path(),
            "a.json",
            format!("[{},\n{}]", rows.join(","), conversation.trim().replace('\n', ",")).as_bytes(),
            1500,
            read,
        );
        fuzz(
            dir.path(),
            "jd.csv",
            "sentence,label,dataset\n\"好，\n\"\"真\",1.0,jd\n差,0.0,jd\n,,\n".as_bytes(),
            1500,
            read,
        );
        let history = "query,response,history\na,b,\"[['c', 'd'], [\"\"e\"\", None]]\"\n";
        fuzz(dir.path(), "h.csv", history.as_bytes(), 1500, read);
    }
}

#[test]
fn files_of_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let args =
        load_sft(None, &["--model_type", "qwen-1_8b", "--dataset", "a.csv"].map(str::to_owned)).unwrap().args;
    let whole = serde_json::to_string_pretty(&args.to_json()).unwrap();
    let text = whole.as_bytes();
    fuzz(dir.path(), "sft_args.json", text, 1000, |path| load_sft(Some(path), &[]));
    fuzz(dir.path(), "sft_args.json", text, 1000, |_| SftArgs::from_run_dir(dir.path()));
    let flags = [
        "--ckpt_dir".to_owned(),
        dir.path().display().to_string(),
        "--load_dataset_config".into(),
        "true".into(),
    ];
    fuzz(dir.path(), "sft_args.json", text, 1000, |_| load_infer(&flags));
    let mut mt = Mt::new(5);
    for _ in 0..3000 {
        let line = damaged(
            b"--lora_rank 8 --dataset a b --seed=7 --do_sample false --config x --model_type qwen-7b",
            &mut mt,
        );
        let words: Vec<String> = String::from_utf8_lossy(&line).split(' ').map(str::to_owned).collect();
        assert!(!matches!(load_sft(None, &words), Err(Error::Internal(_))), "{words:?}");
        assert!(!matches!(load_infer(&words), Err(Error::Internal(_))), "{words:?}");
    }
}

#[test]
fn files_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("events.jsonl");
    let mut events = EventLog::open(&log).unwrap();
    for step in 0..4 {
        events
            .append(&Event::Eval {
                step,
                epoch: 0.5,
                loss: f64::NAN,
                acc: 0.5,
                scores: None,
                rows: 4,
                seconds: 1.0,
            })
            .unwrap();
    }
    let original = fs::read(&log).unwrap();
    let mut mt = Mt::new(9);
    for _ in 0..1000 {
        fs::write(&log, damaged(&original, &mut mt)).unwrap();
        replay::<Event>(&log).unwrap();
        // Whatever stands there, a worker can go on.
        let mut again = EventLog::open(&log).unwrap();
        let seq = again.append(&Event::Paused { step: 1 }).unwrap();
        assert_eq!(replay::<Event>(&log).unwrap().records.last().unwrap().seq, seq);
    }

    let state = serde_json::to_string_pretty(&TrainerState::default()).unwrap();
    fuzz(dir.path(), "trainer_state.json", state.as_bytes(), 1000, |_| TrainerState::read(dir.path()));
    let adapter = r#"{"swift_type":"LORA","r":8,"lora_alpha":32,"lora_dropout":0.05,"target_modules":["c_attn"],"bias":"none"}"#;
    fuzz(dir.path(), "adapter_config.json", adapter.as_bytes(), 1000, AdapterConfig::read);

    let checkpoint = dir.path().join("checkpoint-7");
    fs::create_dir(&checkpoint).unwrap();
    fs::write(checkpoint.join("f"), "x").unwrap();
    fs::write(dir.path().join("sft_args.json"), "{}").unwrap();
    let run = RunDir::open(dir.path()).unwrap();
    let sums = r#"{"written":1.5,"files":{"f":{"bytes":1,"sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}}}"#;
    fs::write(checkpoint.join("checksums.json"), sums).unwrap();
    verify_checkpoint(&checkpoint).unwrap();
    fuzz(&checkpoint, "checksums.json", sums.as_bytes(), 1000, |_| {
        list_checkpoints(&run);
        clean_partial(&run);
        verify_checkpoint(&checkpoint)
    });
}
