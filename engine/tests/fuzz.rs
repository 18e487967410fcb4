//! Damaged model files from a fixed seed: an error for the user or a model, never a panic.

mod common;

use std::fs;

use common::{SMALL, write_model, write_vocabulary};
use qwen_tui::error::{Error, Result};
use qwen_tui_engine::model::{QwenConfig, weights};
use rand_mt::Mt;
use tch::{Device, Kind};

const NASTY: [&str; 14] = [
    "",
    "0",
    "-1",
    "4611686018427387904",
    "18446744073709551616",
    "1e999",
    "null",
    "true",
    "[]",
    "{}",
    "\"F64\"",
    "\"x\"",
    "[0,0]",
    "[4611686018427387904,4]",
];

fn below(mt: &mut Mt, n: usize) -> usize {
    mt.next_u32() as usize % n.max(1)
}

/// The value after one of the colons in `bytes`, replaced.
fn value_replaced(bytes: &mut Vec<u8>, mt: &mut Mt) {
    let colons: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i] == b':').collect();
    if colons.is_empty() {
        return;
    }
    let from = colons[below(mt, colons.len())] + 1;
    let to = bytes[from..].iter().position(|b| b",}]".contains(b)).map_or(bytes.len(), |n| from + n);
    bytes.splice(from..to, NASTY[below(mt, NASTY.len())].bytes());
}

fn damaged(original: &[u8], mt: &mut Mt) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..1 + below(mt, 3) {
        let at = below(mt, bytes.len() + 1);
        let end = (at + 1 + below(mt, 8)).min(bytes.len());
        match below(mt, 6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes[at..end].iter_mut().for_each(|b| *b = mt.next_u32() as u8),
            3 => bytes[at..end].iter_mut().for_each(|b| *b = b"0123456789"[below(mt, 10)]),
            _ => value_replaced(&mut bytes, mt),
        }
    }
    bytes
}

#[track_caller]
fn no_fault_of_ours<T>(what: Result<T>) -> bool {
    match what {
        Ok(_) => true,
        Err(Error::User(message) | Error::NoRoom(message)) => {
            let foreign = ["Exception", "c10", "frame #"].iter().find(|w| message.contains(**w));
            assert_eq!(foreign, None, "{message}");
            false
        }
        Err(Error::Internal(message)) => panic!("{message}"),
    }
}

#[test]
fn configs_and_headers() {
    let dir = tempfile::tempdir().unwrap();
    let vocabulary = dir.path().join("v");
    write_vocabulary(&vocabulary, &[]);
    write_model(dir.path(), SMALL, &vocabulary);
    let mut mt = Mt::new(17);

    let config = dir.path().join("config.json");
    let original = fs::read(&config).unwrap();
    let mut good = 0;
    for _ in 0..3000 {
        fs::write(&config, damaged(&original, &mut mt)).unwrap();
        let read = QwenConfig::load(dir.path());
        if let Ok(config) = &read {
            // What passes the checks is never so large that its sizes overflow.
            assert!(config.tensors().iter().all(|(_, shape)| shape.iter().product::<i64>() > 0));
        }
        good += usize::from(no_fault_of_ours(read));
    }
    assert!(good > 0 && good < 3000, "{good}");
    fs::write(&config, &original).unwrap();
    let config = QwenConfig::load(dir.path()).unwrap();

    let file = dir.path().join("model.safetensors");
    weights::load(dir.path(), &config, Kind::Float, Device::Cpu).unwrap();
    let whole = fs::read(&file).unwrap();
    let length = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let (header, data) = (&whole[8..8 + length], &whole[8 + length..]);
    let mut good = 0;
    for n in 0..1500 {
        let header = damaged(header, &mut mt);
        let length = match n % 3 {
            0 => [0, 7, length as u64 + 1, u64::MAX, 1 << 62][n % 5],
            _ => header.len() as u64,
        };
        let bytes = [
            &length.to_le_bytes()[..],
            &header,
            &data[..if n % 2 == 0 { data.len() } else { below(&mut mt, data.len()) }],
        ]
        .concat();
        fs::write(&file, bytes).unwrap();
        good += usize::from(no_fault_of_ours(weights::load(dir.path(), &config, Kind::Float, Device::Cpu)));
    }
    println!("{good} of 1500 damaged headers were still good");
}
