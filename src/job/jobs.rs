//! Jobs as lines for a person, or as a JSON object each.

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::human;
use super::standing::Standing;

const COLUMNS: [&str; 6] = ["status", "step", "left", "best", "changed", "run"];

/// A table of the jobs: what is wrong with one stands in a line beneath it. Nothing is cut: the last column is a path
/// to be copied. `date` writes Unix seconds.
pub fn table(jobs: &[Standing], now: f64, header: bool, date: &dyn Fn(f64) -> String) -> String {
    let cells: Vec<[String; 6]> = jobs.iter().map(|job| row(job, now, date)).collect();
    let mut rows: Vec<&[String; 6]> = Vec::new();
    let names = COLUMNS.map(str::to_owned);
    if header {
        rows.push(&names);
    }
    rows.extend(&cells);
    let widths: Vec<usize> =
        (0..COLUMNS.len()).map(|i| rows.iter().map(|row| row[i].width()).max().unwrap_or(0)).collect();
    let mut troubles = jobs.iter().map(|job| job.trouble(now));
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        for (i, cell) in row.iter().enumerate() {
            let blanks = " ".repeat(widths[i] - cell.width());
            match i {
                // Numbers stand right.
                1..4 => text += &format!("{blanks}{cell}  "),
                _ if i + 1 < row.len() => text += &format!("{cell}{blanks}  "),
                _ => text += &format!("{cell}\n"),
            }
        }
        if let Some(trouble) = (n >= usize::from(header)).then(|| troubles.next().flatten()).flatten() {
            text += &format!("  {}\n", plain(&trouble));
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
        job.word(now).to_owned(),
        step,
        left.map_or(String::new(), human::duration),
        job.best().map_or(String::new(), |(_, figure)| human::figure(figure)),
        if run.newest > 0.0 { date(run.newest) } else { String::new() },
        plain(&run.path.to_string_lossy()),
    ]
}

/// A name may hold anything, and a terminal obeys some of it.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
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
        let text = table(&jobs, 25.0, true, &|t| format!("at {t}"));
        let root = root.display();
        let wanted = format!(
            "status    step  left    best  changed  run\n\
             training   3/9  12 s          at 20    {root}/评论/v0\n\
             finished   3/9        0.2500  at 30    {root}/m/v1\n\
             failed     3/9                at 30    {root}/m/v2\n  a: b\n"
        );
        assert_eq!(text, wanted);
        let hangs = table(&jobs[..1], 60.0, false, &|_| String::new());
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

    #[test]
    fn a_paths_control_characters_reach_no_terminal() {
        assert_eq!(plain("a\u{1b}[2J\nb评"), "a\u{fffd}[2J\u{fffd}b评");
    }
}
