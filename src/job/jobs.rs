//! Jobs as lines for a person, or as a JSON object each.

use std::ops::Range;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::human;
use super::standing::Standing;
use crate::error::is_unseen;

const COLUMNS: [&str; 6] = ["status", "step", "left", "best", "changed", "run"];

/// A line of a table, and what stands beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub cells: Vec<String>,
    pub trouble: Vec<String>,
}

/// A table of the jobs: what is wrong with one stands in a line beneath it. Nothing is cut: the last column is a path
/// to be copied. `waiting` stand beneath those that run. `date` writes Unix seconds.
pub fn table(
    jobs: &[Standing],
    waiting: &[Line],
    now: f64,
    header: bool,
    date: &dyn Fn(f64) -> String,
) -> String {
    let line = |job: &Standing| Line {
        cells: row(job, now, date).to_vec(),
        trouble: job.trouble(now).into_iter().collect(),
    };
    let (running, ended): (Vec<_>, Vec<_>) = jobs.iter().partition(|job| job.is_running());
    let lines: Vec<Line> = running
        .into_iter()
        .map(line)
        .chain(waiting.iter().cloned())
        .chain(ended.into_iter().map(line))
        .collect();
    // Numbers stand right.
    columns(header.then_some(&COLUMNS[..]), 1..4, &lines)
}

/// Lines in columns, of which those in `right` stand right; the last one is as long as it is.
pub(super) fn columns(names: Option<&[&str]>, right: Range<usize>, lines: &[Line]) -> String {
    let names = names.map(|names| Line {
        cells: names.iter().map(|&name| name.to_owned()).collect(),
        trouble: Vec::new(),
    });
    let all = || names.iter().chain(lines);
    let width = |i: usize| all().filter_map(|line| Some(line.cells.get(i)?.width())).max().unwrap_or(0);
    let widths: Vec<usize> = (0..all().map(|line| line.cells.len()).max().unwrap_or(0)).map(width).collect();
    let mut text = String::new();
    for line in all() {
        for (i, cell) in line.cells.iter().enumerate() {
            let blanks = " ".repeat(widths[i] - cell.width());
            text += &match i {
                _ if i + 1 == line.cells.len() => format!("{cell}\n"),
                _ if right.contains(&i) => format!("{blanks}{cell}  "),
                _ => format!("{cell}{blanks}  "),
            };
        }
        for trouble in &line.trouble {
            text += &format!("  {}\n", plain(trouble));
        }
    }
    text
}

fn row(job: &Standing, now: f64, date: &dyn Fn(f64) -> String) -> [String; 6] {
    let run = &job.run;
    let step = match (run.step, run.total_steps) {
        (0, None) => String::new(),
        (step, None) => step.to_string(),
        (step, Some(total)) => format!("{step}/{total}"),
    };
    let left = job.seconds_left().filter(|_| !job.paused && job.hung(now).is_none());
    [
        job.word(now),
        step,
        left.map_or(String::new(), human::duration),
        job.best().map_or(String::new(), |(_, figure)| human::figure(figure)),
        if run.newest > 0.0 { date(run.newest) } else { String::new() },
        plain(&run.path.to_string_lossy()),
    ]
}

/// A name may hold anything, and a terminal obeys some of it.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_unseen(c) { '\u{fffd}' } else { c }).collect()
}

/// A job as one JSON object.
pub fn json(job: &Standing, now: f64) -> Value {
    let run = &job.run;
    let (metric, best) = job.best().unzip();
    json!({
        "run": run.path.to_string_lossy(),
        "status": run.status.word(),
        "doing": job.stage.filter(|_| job.is_running()).map(|stage| stage.word()),
        "paused": job.is_running() && job.paused,
        "stopping": job.is_running() && job.stopping,
        "hangs": job.hung(now).is_some(),
        "step": run.step,
        "total_steps": run.total_steps,
        "seconds_left": job.seconds_left(),
        "metric": metric,
        "best_metric": best,
        "last_checkpoint": job.last_checkpoint.map(|step| format!("checkpoint-{step}")),
        "pid": job.pid.filter(|_| job.is_running()),
        "began": Some(run.began).filter(|t| *t > 0.0),
        "newest": Some(run.newest).filter(|t| *t > 0.0),
        "trouble": job.trouble(now),
        "job": null,
        "place": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::runs::tests::{STARTED, run};

    const PLAN: &str = r#"{"seq":2,"time":11,"kind":"plan","total_steps":9,"warmup_steps":0,"micro_batches":9,"accumulation":1,"learning_rate":1,"scheduler":"linear"}"#;
    const STAGE: &str = r#"{"seq":3,"time":11,"kind":"stage","stage":"training"}"#;
    const STEP: &str = r#"{"seq":4,"time":20,"kind":"step","step":3,"epoch":0.5,"loss":1,"acc":0,"learning_rate":0,"grad_norm":0,"rows":1,"tokens":1,"seconds":2}"#;
    const DONE: &str = r#"{"seq":9,"time":30,"kind":"finished","step":9,"seconds":1,"stopped":false,"last_checkpoint":null,"best_checkpoint":null,"best_metric":0.25}"#;

    #[test]
    fn jobs_stand_in_columns_with_their_trouble_beneath() {
        let out = tempfile::tempdir().unwrap();
        let root = out.path().canonicalize().unwrap();
        let live = run(&root, "评论/v0", &[STARTED, PLAN, STAGE, STEP]);
        let dirs = [
            live.clone(),
            run(&root, "m/v1", &[STARTED, PLAN, STAGE, STEP, DONE]),
            run(
                &root,
                "m/v2",
                &[
                    STARTED,
                    PLAN,
                    STEP,
                    r#"{"seq":9,"time":30,"kind":"failed","exit_code":2,"message":"a: b\nc"}"#,
                ],
            ),
        ];
        let lock = std::fs::File::create(live.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        let jobs: Vec<Standing> = dirs.iter().map(|dir| Standing::read(dir)).collect();
        let text = table(&jobs, &[], 25.0, true, &|t| format!("at {t}"));
        let root = root.display();
        let wanted = format!(
            "status    step  left    best  changed  run\n\
             training   3/9  12 s          at 20    {root}/评论/v0\n\
             finished   3/9        0.2500  at 30    {root}/m/v1\n\
             failed     3/9                at 30    {root}/m/v2\n  a: b\n"
        );
        assert_eq!(text, wanted);
        let hangs = table(&jobs[..1], &[], 60.0, false, &|_| String::new());
        assert_eq!(
            hangs,
            format!(
                "hangs  3/9        {root}/评论/v0\n  has said nothing for 40 s; `kill -9 1` ends it; checkpoint-5 stays\n"
            )
        );
        let told = json(&jobs[0], 25.0);
        assert_eq!(
            (&told["status"], &told["doing"], &told["pid"]),
            (&json!("running"), &json!("training"), &json!(1))
        );
        assert_eq!((&told["seconds_left"], &told["last_checkpoint"]), (&json!(12.0), &json!("checkpoint-5")));
        assert_eq!(json(&jobs[1], 25.0)["best_metric"], json!(0.25));
        assert_eq!(json(&jobs[2], 25.0)["trouble"], json!("a: b"));
    }

    /// The disk may be full for long, and nothing can be said then.
    #[test]
    fn a_job_that_waits_for_room_does_not_hang() {
        let out = tempfile::tempdir().unwrap();
        let no_room = r#"{"seq":5,"time":21,"kind":"no_room","message":"the log is full"}"#;
        let dir = run(&out.path().canonicalize().unwrap(), "m/v0", &[STARTED, PLAN, STAGE, STEP, no_room]);
        let lock = std::fs::File::create(dir.join("worker.lock")).unwrap();
        lock.lock().unwrap();
        let job = Standing::read(&dir);
        let day = 86_400.0;
        assert!(job.hung(21.0 + day).is_none() && job.trouble(21.0 + day).unwrap().contains("full"));
        let text = table(&[job], &[], 21.0 + day, false, &|_| String::new());
        assert!(text.contains("waiting for room") && !text.contains("kill"), "{text}");
    }

    #[test]
    fn a_job_that_is_told_to_stop_says_so_beside_what_it_does() {
        let out = tempfile::tempdir().unwrap();
        let paused = r#"{"seq":5,"time":21,"kind":"paused","step":3}"#;
        let stopping = r#"{"seq":6,"time":22,"kind":"stopping"}"#;
        for (lines, word) in [
            (&[STARTED, STAGE, STEP, paused, stopping][..], "paused, told to stop"),
            (&[STARTED, STAGE, STEP, stopping], "training, told to stop"),
            (&[STARTED, STAGE, STEP], "training"),
        ] {
            let dir = run(out.path(), word, lines);
            let lock = std::fs::File::create(dir.join("worker.lock")).unwrap();
            lock.lock().unwrap();
            let job = Standing::read(&dir);
            assert!(
                table(std::slice::from_ref(&job), &[], 25.0, false, &|_| String::new()).starts_with(word)
            );
            assert_eq!(json(&job, 25.0)["stopping"], json!(word.contains("stop")));
        }
    }

    #[test]
    fn a_paths_control_characters_reach_no_terminal() {
        assert_eq!(plain("a\u{1b}[2J\nb评"), "a\u{fffd}[2J\u{fffd}b评");
    }
}
