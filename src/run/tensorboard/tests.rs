#[path = "../../../tests/common/tfevents.rs"]
mod tfevents;

use super::*;
use serde_json::json;
use tfevents::{What, crc, events, files};

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
    let read = events(&fs::read(&found[0]).unwrap());
    let texts = [
        What::Version("brain.Event:2".to_owned()),
        What::Text("args/text_summary".to_owned(), "{\"系统\": 1}".to_owned()),
    ];
    assert_eq!(read[..2], texts.map(|text| (0, text)));
    let scalars: Vec<String> = read[2..]
        .iter()
        .map(|(step, what)| match what {
            What::Scalar(tag, x) => format!("{step} {tag} {x}"),
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted = [
        "1 train/acc 0.5",
        "1 train/epoch 0.03",
        "1 train/grad_norm NaN",
        "1 train/loss 14.315462",
        "300 train/epoch 0.27",
        "300 eval/loss 2.5",
        "300 eval/runtime 1",
        "300 train/train_loss 7.25",
        "300 train/train_runtime 53.0266",
    ];
    assert_eq!(scalars, wanted);
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
    let wanted = [(0, What::Version("brain.Event:2".to_owned())), (30, What::Start)];
    assert_eq!(events(&fs::read(&new[0]).unwrap()), wanted);
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
