//! TensorBoard's event files taken apart without the code that writes them: framing, checksums and protocol buffers by
//! hand. Tests of the library and of the program include this file.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A field of a protocol buffer.
#[derive(Debug, PartialEq)]
enum Wire<'a> {
    Varint(u64),
    Double(f64),
    Bytes(&'a [u8]),
    Float(f32),
}

/// What an event holds.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Version(String),
    /// A session that begins: what is told of its step and later ones is void.
    Start,
    Scalar(String, f32),
    Text(String, String),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut x = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        x |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    x
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = bytes.split_at(n);
    *bytes = tail;
    head
}

fn message(mut bytes: &[u8]) -> Vec<(u64, Wire<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Wire::Varint(varint(&mut bytes)),
            1 => Wire::Double(f64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let n = varint(&mut bytes) as usize;
                Wire::Bytes(take(&mut bytes, n))
            }
            5 => Wire::Float(f32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap())),
            wire => panic!("wire type {wire}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

/// CRC-32C: the Castagnoli polynomial, a bit at a time.
pub fn crc(data: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn checked<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let data = take(bytes, n);
    let stored = u32::from_le_bytes(take(bytes, 4).try_into().unwrap());
    let sum = crc(data);
    assert_eq!(stored, sum.rotate_right(15).wrapping_add(0xa282_ead8), "checksum");
    data
}

/// The events of a file, each with its step.
pub fn events(bytes: &[u8]) -> Vec<(u64, What)> {
    let mut rest = bytes;
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(checked(&mut rest, 8).try_into().unwrap());
        let fields = message(checked(&mut rest, length as usize));
        assert!(matches!(fields[0], (1, Wire::Double(time)) if time > 1.7e9), "{fields:?}");
        let step = fields.iter().find_map(|f| if let (2, Wire::Varint(x)) = f { Some(*x) } else { None });
        let what = match fields.last().unwrap() {
            (3, Wire::Bytes(version)) => What::Version(String::from_utf8(version.to_vec()).unwrap()),
            (5, Wire::Bytes(summary)) => summarized(summary),
            (7, Wire::Bytes(log)) => {
                assert_eq!(message(log), [(1, Wire::Varint(1))]);
                What::Start
            }
            other => panic!("{other:?}"),
        };
        events.push((step.unwrap_or(0), what));
    }
    events
}

fn summarized(summary: &[u8]) -> What {
    let summary = message(summary);
    let [(1, Wire::Bytes(value))] = &summary[..] else { panic!("{summary:?}") };
    let value = message(value);
    let (1, Wire::Bytes(tag)) = value[0] else { panic!("{value:?}") };
    let tag = String::from_utf8(tag.to_vec()).unwrap();
    match &value[1..] {
        [(2, Wire::Float(x))] => What::Scalar(tag, *x),
        [(8, Wire::Bytes(tensor)), (9, Wire::Bytes(metadata))] => {
            // plugin_data { plugin_name: "text" }
            assert_eq!(*metadata, b"\x0a\x06\x0a\x04text");
            let tensor = message(tensor);
            // DT_STRING, of one dimension of one.
            assert_eq!(tensor[..2], [(1, Wire::Varint(7)), (2, Wire::Bytes(b"\x12\x02\x08\x01"))]);
            let (8, Wire::Bytes(text)) = tensor[2] else { panic!("{tensor:?}") };
            What::Text(tag, String::from_utf8(text.to_vec()).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

/// What is in a directory, by name.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// The scalars of a directory as a reader has them in the end: tag to steps and values.
pub fn scalars(dir: &Path) -> BTreeMap<String, Vec<(u64, f32)>> {
    let mut scalars: BTreeMap<String, Vec<(u64, f32)>> = BTreeMap::new();
    for file in files(dir) {
        for (step, what) in events(&fs::read(file).unwrap()) {
            match what {
                What::Start => scalars.values_mut().for_each(|list| list.retain(|(at, _)| *at < step)),
                What::Scalar(tag, x) => scalars.entry(tag).or_default().push((step, x)),
                What::Version(_) | What::Text(..) => {}
            }
        }
    }
    scalars.retain(|_, list| !list.is_empty());
    scalars
}
