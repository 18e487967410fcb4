use super::*;
use crate::job::curves::EvalPoint;
use crate::run::{RunDir, write_checkpoint};

fn event(seq: u64, json: &str) -> String {
    format!(r#"{{"seq":{seq},"time":{seq},"kind":{json}}}"#) + "\n"
}

fn step(step: u64) -> String {
    format!(
        r#""step","step":{step},"epoch":0.5,"loss":1.0,"acc":0.5,"learning_rate":0,"grad_norm":1,"rows":1,"tokens":1,"seconds":1"#
    )
}

fn log(step: u64, loss: &str) -> String {
    format!(
        r#""log","step":{step},"epoch":0.5,"loss":{loss},"acc":0.5,"learning_rate":0.001,"grad_norm":1.0"#
    )
}

fn eval(step: u64, loss: &str) -> String {
    format!(r#""eval","step":{step},"epoch":0.5,"loss":{loss},"acc":0.75,"rows":9,"seconds":1.0"#)
}

fn saved(step: u64, best: bool) -> String {
    format!(r#""checkpoint","step":{step},"path":"checkpoint-{step}","bytes":9,"seconds":0.1,"best":{best}"#)
}

const STARTED: &str =
    r#""started","pid":7,"version":"0","libtorch":"2","device":"cpu","device_name":"","threads":1"#;
const PLAN: &str = r#""plan","total_steps":40,"warmup_steps":2,"micro_batches":320,"accumulation":16,"learning_rate":0.006,"scheduler":"linear""#;

/// A run of ours with whole checkpoints at `steps`.
fn ours(steps: &[u64], events: &[String]) -> (tempfile::TempDir, RunDir) {
    let out = tempfile::tempdir().unwrap();
    let run = RunDir::create(out.path(), "qwen-demo", true).unwrap();
    let lines: String = events.iter().enumerate().map(|(i, json)| event(i as u64 + 1, json)).collect();
    fs::write(run.events_file(), lines).unwrap();
    let args = format!(r#"{{"model_type": "qwen-demo", "model_id_or_path": {:?}}}"#, out.path());
    fs::write(run.args_file(), args).unwrap();
    for step in steps {
        let fill = |dir: &Path| {
            fs::write(dir.join("optimizer.safetensors"), "moments").unwrap();
            fs::write(dir.join("resume.json"), "{}").unwrap();
            Ok(())
        };
        write_checkpoint(&run, *step, fill).unwrap();
    }
    (out, run)
}

#[test]
fn a_run_of_ours_is_told_from_its_events() {
    let events = [
        STARTED.to_owned(),
        PLAN.to_owned(),
        log(5, "0.9"),
        log(10, "\"NaN\""),
        eval(10, "0.5"),
        saved(10, true),
        eval(20, "0.6"),
        saved(20, false),
    ];
    let (out, run) = ours(&[10, 20], &events);
    let details = RunDetails::read(run.path());
    let told: Vec<_> = details.checkpoints.iter().map(|c| (c.step, c.eval_loss, c.best, c.last)).collect();
    assert_eq!(told, [(10, Some(0.5), true, false), (20, Some(0.6), false, true)]);
    assert!(details.checkpoints.iter().all(|c| c.whole && c.resumable.is_ok() && c.eval_acc == Some(0.75)));
    assert!(details.checkpoints[0].bytes > 7 && details.bytes > 2 * details.checkpoints[0].bytes);
    assert_eq!(details.base.as_ref().unwrap().path.as_deref(), Some(out.path()));
    assert!(details.args.is_ok() && details.curves.total_steps == Some(40));
    assert!(details.curves.loss[0] == (5, 0.9) && details.curves.loss[1].1.is_nan());
    assert_eq!(details.best_or_last().unwrap().step, 10);
    // The best is gone: of those that are left, the one with the lowest loss is.
    fs::remove_dir_all(run.checkpoint(10)).unwrap();
    let details = RunDetails::read(run.path());
    assert!(details.checkpoints.len() == 1 && details.checkpoints[0].best);
}

#[test]
fn a_resumed_run_is_told_as_it_went_on() {
    let mut events = vec![STARTED.to_owned(), PLAN.to_owned()];
    for n in [5, 10, 15] {
        events.extend([step(n), log(n, "1.0"), eval(n, "0.4"), saved(n, n < 15)]);
    }
    let resumed = format!("{STARTED},\"step\":5");
    events.extend([resumed, step(6), log(10, "2.0")]);
    let (_out, run) = ours(&[], &events);
    let curves = RunDetails::read(run.path()).curves;
    assert_eq!(curves.best.as_deref(), Some("checkpoint-5"), "the one of step 10 was left");
    assert_eq!(curves.loss, [(5, 1.0), (10, 2.0)]);
    assert_eq!(curves.evals, [EvalPoint { step: 5, loss: 0.4, acc: 0.75 }]);
}

/// The layout of SWIFT 1.5.3: no events, no checksums, Python's numbers.
fn swift(dir: &Path) {
    for step in [50, 100] {
        let checkpoint = dir.join(format!("checkpoint-{step}"));
        fs::create_dir_all(checkpoint.join("default")).unwrap();
        fs::write(checkpoint.join("default/adapter_model.safetensors"), "weights").unwrap();
        fs::write(checkpoint.join("optimizer.pt"), "pickle").unwrap();
        let state = format!(
            r#"{{"best_metric": 0.25, "best_model_checkpoint": "/elsewhere/v0-x/checkpoint-50", "global_step": {step},
                "max_steps": 125, "log_history": [{{"loss": NaN, "step": 1}}, {{"eval_loss": 0.25, "eval_acc": 0.9,
                "step": 50}}, {{"eval_loss": 0.5, "eval_acc": 0.8, "step": 100}}]}}"#
        );
        fs::write(checkpoint.join("trainer_state.json"), state).unwrap();
    }
}

#[test]
fn a_run_of_swift_is_told_from_its_own_files() {
    let dir = tempfile::tempdir().unwrap();
    swift(dir.path());
    let args = include_str!("../../tests/data/sft_args_swift.json");
    fs::write(dir.path().join("sft_args.json"), args).unwrap();
    let lines = concat!(
        r#"{"loss": NaN, "acc": 0.5, "learning_rate": 1e-05, "epoch": 0.01, "global_step": 1}"#,
        "\n",
        r#"{"loss": 1.5, "acc": 0.5, "learning_rate": 1e-05, "epoch": 0.1, "global_step": 5}"#,
        "\n",
        r#"{"eval_loss": 0.25, "eval_acc": 0.9, "epoch": 0.4, "global_step": 50}"#,
        "\n{\"eval_lo"
    );
    for with_log in [true, false] {
        if with_log {
            fs::write(dir.path().join("logging.jsonl"), lines).unwrap();
        } else {
            fs::remove_file(dir.path().join("logging.jsonl")).unwrap();
        }
        let details = RunDetails::read(dir.path());
        let told: Vec<_> =
            details.checkpoints.iter().map(|c| (c.eval_loss, c.eval_acc, c.best, c.last)).collect();
        assert_eq!(told, [(Some(0.25), Some(0.9), true, false), (Some(0.5), Some(0.8), false, true)]);
        assert!(details.checkpoints.iter().all(|c| c.whole && c.resumable.is_err() && c.written > 0.0));
        assert_eq!(details.curves.total_steps, Some(125));
        assert!(details.curves.loss[0].1.is_nan() && details.curves.loss.len() == 1 + usize::from(with_log));
        assert_eq!(details.base.as_ref().map(|b| b.path.is_some()), Some(false));
        assert!(details.args.is_ok());
    }
    // Only the checkpoints were copied here.
    fs::rename(dir.path().join("sft_args.json"), dir.path().join("checkpoint-50/sft_args.json")).unwrap();
    let details = RunDetails::read(dir.path());
    assert!(details.args.is_ok() && details.args_file.starts_with(dir.path().join("checkpoint-50")));
}

#[test]
fn what_is_broken_is_no_panic_and_hides_nothing_else() {
    let events = [STARTED.to_owned(), eval(10, "0.5"), saved(10, true), eval(20, "\"NaN\"")];
    let (_out, run) = ours(&[10, 20, 30], &events);
    fs::write(run.checkpoint(10).join("optimizer.safetensors"), "mom").unwrap();
    fs::write(run.checkpoint(30).join("checksums.json"), "{").unwrap();
    fs::create_dir(run.checkpoint(40)).unwrap();
    fs::write(run.checkpoint(50), "a file").unwrap();
    fs::write(run.checkpoint(20).join("trainer_state.json"), "[[[").unwrap();
    std::os::unix::fs::symlink(".", run.checkpoint(20).join("round")).unwrap();
    let details = RunDetails::read(run.path());
    let told: Vec<_> = details.checkpoints.iter().map(|c| (c.step, c.whole, c.best, c.last)).collect();
    let wanted = [(10, false, false, false), (20, true, false, true), (30, false, false, false)];
    assert_eq!(told[..3], wanted);
    assert_eq!((told.len(), told[3].1), (4, false), "an empty one is none, and can be deleted");
    assert!(details.checkpoints[1].eval_loss.unwrap().is_nan());
    assert_eq!(details.best_or_last().unwrap().step, 20);

    for rubbish in ["", "\n\n", "{", "[]\n[]", "\u{0}\u{0}\n", r#"{"kind":"log"}"#, "{\"global_step\":-1}\n"]
    {
        for file in [run.events_file(), run.logging_file(), run.args_file()] {
            fs::write(&file, rubbish).unwrap();
        }
        let details = RunDetails::read(run.path());
        assert!(details.args.is_ok_and(|a| a.is_empty()) == rubbish.starts_with("{\""), "{rubbish:?}");
        assert!(details.curves.loss.is_empty() && details.base.is_none());
    }
    for file in [run.events_file(), run.logging_file(), run.args_file()] {
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
    }
    assert!(RunDetails::read(run.path()).args.is_err());
    assert!(RunDetails::read(Path::new("/nowhere")).checkpoints.is_empty());
}

#[test]
fn a_long_log_is_read_to_its_end_and_drawn_with_fewer_points() {
    let mut events = vec![STARTED.to_owned()];
    for n in 1..=20_000 {
        events.push(log(n, "1.0"));
    }
    events.extend([eval(20_000, "0.5"), saved(20_000, true)]);
    let (_out, run) = ours(&[20_000], &events);
    let details = RunDetails::read(run.path());
    assert!(details.curves.loss.len() <= 8000 && details.curves.loss.last().unwrap().0 > 19_900);
    assert!(details.checkpoints[0].best && details.checkpoints[0].eval_loss == Some(0.5));
}
