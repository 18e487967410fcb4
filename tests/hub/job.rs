//! The reference run's configuration, as it is, from names alone: model and rows come from the hub, and are trained on.

use std::path::Path;

use crate::common;
use crate::server::{Fault, Repository};
use crate::tools::{Bench, MODEL, Said, is_weights, names};

/// JD's rows as the hub has them.
fn csv(count: usize) -> Vec<u8> {
    let line =
        |row: &serde_json::Value| format!("{},{},jd\n", row["sentence"].as_str().unwrap(), row["label"]);
    let lines: String = common::rows(count).iter().map(line).collect();
    format!("sentence,label,dataset\n{lines}").into_bytes()
}

#[test]
fn a_job_is_trained_from_names_alone() {
    let small = common::Bench::new();
    let rows = vec![("train.csv", csv(160)), ("dev.csv", csv(8)), ("README.md", b"JD".to_vec())];
    let bench = Bench::new(vec![
        Repository::of("models", MODEL, &small.path("model")),
        Repository::new("datasets", "DAMO_NLP/jd", rows),
    ]);
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/jd-sentiment.json");
    let sft = || {
        let mut command = bench.program(&["sft", "--config", config.to_str().unwrap()]);
        command
            .current_dir(bench.home.path())
            .env("XDG_STATE_HOME", bench.path("state"))
            .env("OMP_NUM_THREADS", "1");
        command
    };
    // Nobody there: nothing is left behind.
    let said = Said::of(
        sft()
            .env("MODELSCOPE_DOMAIN", "http://127.0.0.1:1")
            .env("HF_ENDPOINT", "http://127.0.0.1:1")
            .output()
            .unwrap(),
    );
    assert!(said.status == Some(2) && said.err.contains("cannot reach http://127.0.0.1:1"), "{said:?}");
    assert!(!bench.path("output").exists());
    // The weights do not come.
    bench.server.fault(|request| {
        if is_weights(request) { Fault::Status(403, vec![], String::new()) } else { Fault::None }
    });
    let said = Said::of(sft().output().unwrap());
    assert!(said.status == Some(2) && said.err.contains("403") && !bench.path("output").exists(), "{said:?}");
    bench.server.well();

    let said = Said::of(sft().output().unwrap());
    assert_eq!(said.status, Some(0), "{said:?}");
    let found = |key: &str| said.out.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    assert_eq!(found("state: "), "finished");
    let last = found("last_checkpoint: ");
    assert!(last.ends_with("checkpoint-10"), "160 rows are 10 steps of 16: {last}");
    assert!(names(Path::new(&last)).contains(&"default".to_owned()));
    let cache = bench.path(".cache/modelscope");
    assert_eq!(
        names(&cache.join("datasets/DAMO_NLP--jd/snapshots/master")),
        [".pulled.json", "dev.csv", "train.csv"]
    );

    // Once more, without a network.
    bench.server.seen();
    let said = Said::of(
        sft().env("MODELSCOPE_DOMAIN", "http://127.0.0.1:1").args(["--max_steps", "1"]).output().unwrap(),
    );
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.err.contains("found in ModelScope's cache") && bench.server.seen().is_empty(), "{said:?}");
}
