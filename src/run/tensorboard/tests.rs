//! The files are taken apart here without the code that writes them: framing, checksum and protocol buffers by hand.

use super::*;
use serde_json::json;

/// A field of a protocol buffer.
#[derive(Debug, PartialEq)]
enum Wire<'a> {
    Varint(u64),
    Double(f64),
    Bytes(&'a [u8]),
    Float(f32),
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

/// The Castagnoli polynomial, a bit at a time.
fn crc(data: &[u8]) -> u32 {
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
    assert_eq!(stored, sum.rotate_right(15).wrapping_add(0xa282_ead8));
    data
}

/// The events of a file: step, and what is in it.
fn events(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut rest = bytes;
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(checked(&mut rest, 8).try_into().unwrap());
        let fields = message(checked(&mut rest, length as usize));
        assert!(matches!(fields[0], (1, Wire::Double(time)) if time > 1.7e9), "{fields:?}");
        let step = fields.iter().find_map(|f| if let (2, Wire::Varint(x)) = f { Some(*x) } else { None });
        let what = match fields.last().unwrap() {
            (3, Wire::Bytes(version)) => String::from_utf8_lossy(version).into_owned(),
            (5, Wire::Bytes(summary)) => told(summary),
            (7, Wire::Bytes(log)) => format!("session {:?}", message(log)),
            other => panic!("{other:?}"),
        };
        events.push((step.unwrap_or(0), what));
    }
    events
}

fn told(summary: &[u8]) -> String {
    let summary = message(summary);
    let [(1, Wire::Bytes(value))] = &summary[..] else { panic!("{summary:?}") };
    let value = message(value);
    let (1, Wire::Bytes(tag)) = value[0] else { panic!("{value:?}") };
    let tag = String::from_utf8_lossy(tag);
    match &value[1..] {
        [(2, Wire::Float(x))] => format!("{tag} {x}"),
        [(8, Wire::Bytes(tensor)), (9, Wire::Bytes(metadata))] => {
            assert_eq!(*metadata, b"\x0a\x06\x0a\x04text");
            let tensor = message(tensor);
            assert_eq!(tensor[..2], [(1, Wire::Varint(7)), (2, Wire::Bytes(b"\x12\x02\x08\x01"))]);
            let (8, Wire::Bytes(text)) = tensor[2] else { panic!("{tensor:?}") };
            format!("{tag} {}", String::from_utf8_lossy(text))
        }
        other => panic!("{other:?}"),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn entry(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn the_checksum_is_the_one_of_the_format() {
    // RFC 3720, B.4: 32 bytes of zeros, and of ones.
    assert_eq!((crc(&[0; 32]), crc(&[255; 32])), (0x8a91_36aa, 0x62a8_ab43));
}

#[test]
fn each_figure_is_an_event_under_its_tag() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("a/runs");
    let mut file = EventFile::create(&runs).unwrap();
    file.text("args", "{\"系统\": 1}").unwrap();
    file.log(&entry(json!({"acc": 0.5, "epoch": 0.03, "grad_norm": null, "loss": 14.31546211, "step": 1})))
        .unwrap();
    file.log(&entry(json!({"epoch": 0.27, "eval_loss": 2.5, "eval_runtime": 1, "step": 300}))).unwrap();
    file.log(&entry(json!({"train_loss": 7.25, "train_runtime": 53.0266, "step": 300}))).unwrap();
    let found = files(&runs);
    let name = found[0].file_name().unwrap().to_string_lossy().into_owned();
    let parts: Vec<&str> = name.split('.').collect();
    assert_eq!(parts[..3], ["events", "out", "tfevents"]);
    let pid = std::process::id().to_string();
    assert_eq!((parts[3].len(), &parts[parts.len() - 2..]), (10, &[pid.as_str(), "0"][..]));
    let wanted = [
        (0, "brain.Event:2"),
        (0, "args/text_summary {\"系统\": 1}"),
        (1, "train/acc 0.5"),
        (1, "train/epoch 0.03"),
        (1, "train/grad_norm NaN"),
        (1, "train/loss 14.315462"),
        (300, "train/epoch 0.27"),
        (300, "eval/loss 2.5"),
        (300, "eval/runtime 1"),
        (300, "train/train_loss 7.25"),
        (300, "train/train_runtime 53.0266"),
    ];
    let read = events(&fs::read(&found[0]).unwrap());
    assert_eq!(read, wanted.map(|(step, what)| (step, what.to_owned())));
}

#[test]
fn who_goes_on_begins_a_file_that_is_read_after_the_others() {
    let dir = tempfile::tempdir().unwrap();
    drop(EventFile::create(dir.path()).unwrap());
    // Torn, of a clock that was ahead, and of other programs.
    let torn = dir.path().join(format!("{PREFIX}4000000000.zz.9.9"));
    fs::write(&torn, b"\x18\0\0").unwrap();
    for name in ["events.out.tfevents.x", "events.out.tfevents.99999999999999999999.a.1.0", "z"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    let before = files(dir.path());
    let mut file = EventFile::create(dir.path()).unwrap();
    file.begin_again(30).unwrap();
    let new: Vec<_> = files(dir.path()).into_iter().filter(|f| !before.contains(f)).collect();
    assert!(new.len() == 1 && new[0] > torn, "{new:?}");
    let session = format!("session {:?}", [(1, Wire::Varint(1))]);
    assert_eq!(events(&fs::read(&new[0]).unwrap()), [(0, "brain.Event:2".to_owned()), (30, session)]);
    assert!(has_event_files(dir.path()) && !has_event_files(&dir.path().join("none")));
}

#[test]
fn a_full_disk_leaves_whole_records_and_a_bad_place_is_named() {
    let path = PathBuf::from("/dev/full");
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    let mut full = EventFile { path, file, len: 0 };
    let e = full.log(&entry(json!({"loss": 1.0, "step": 1}))).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("/dev/full"), "{e}");
    let e = EventFile::create(Path::new("/proc/runs")).unwrap_err();
    assert!(e.exit_code() == 2 && e.to_string().contains("/proc/runs"), "{e}");
}
