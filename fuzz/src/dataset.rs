//! Data sets. The first byte says which kind of file it is, and whether a broken row ends the reading.

use qwen_tui::data::{OnBroken, SampleOptions, read_file, split_and_sample};

use super::place::{choice, for_people, message_for_people, write};

const FILES: [&str; 3] = ["rows.csv", "rows.jsonl", "rows.json"];

pub fn run(bytes: &[u8]) {
    let (how, rest) = choice(bytes);
    let path = write(FILES[how as usize % FILES.len()], rest);
    let strategy = if how >= 128 { OnBroken::Error } else { OnBroken::Skip };
    let Some(read) = for_people(read_file(&path, strategy)) else { return };
    assert!(!read.rows.is_empty());
    assert!(strategy == OnBroken::Skip || read.broken_rows == 0);
    assert!(read.broken.len() <= read.broken_rows);
    for broken in &read.broken {
        message_for_people(&broken.to_string());
        assert!(
            broken.place.line >= 1
                && broken.place.line <= 1 + rest.iter().filter(|b| **b == b'\n').count() as u64
        );
    }
    let rows = read.rows.len();
    let options = SampleOptions {
        dataset_seed: u64::from(how),
        dataset_test_ratio: 0.25,
        train_dataset_sample: -1,
        val_dataset_sample: None,
    };
    let (train, validation) = split_and_sample(read.rows, None, &options);
    assert!(train.len() + validation.len() <= rows.max(1));
}
