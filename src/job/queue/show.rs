//! The queue as lines for a person, or as a JSON object for each job.

use serde_json::{Value, json};

use super::folder::Listing;
use super::state::Job;
use crate::job::jobs::{Line, columns, plain};

const COLUMNS: [&str; 7] = ["job", "place", "status", "device", "put", "what", "where"];

/// Lines of what is to be said of a job: those that name caches and servers are among them.
const MOST: usize = 8;

/// A table of the jobs; what is to be said of one stands beneath it. `date` writes Unix seconds.
pub fn table(listing: &Listing, header: bool, date: &dyn Fn(f64) -> String) -> String {
    let line = |job: &Job| {
        let place = listing.place(job.number).map_or(String::new(), |p| p.to_string());
        let what = job.what.as_ref();
        let run = job.run().map(|run| run.display().to_string());
        let cells = [
            job.number.to_string(),
            place,
            job.word().to_owned(),
            what.map_or(String::new(), |w| plain(&w.device)),
            date(job.put),
            what.map_or(String::new(), |w| plain(&w.words())),
            plain(&run.or(what.ok().map(|w| w.output_dir.clone())).unwrap_or_default()),
        ];
        Line { cells: cells.to_vec(), trouble: lines_of(job) }
    };
    let lines: Vec<Line> = listing.jobs.iter().map(line).collect();
    columns(header.then_some(&COLUMNS[..]), 0..2, &lines)
}

/// A waiting job in the columns of the list of runs.
pub fn job_cells(job: &Job, date: &dyn Fn(f64) -> String) -> Line {
    let what = job.what.as_ref();
    let into = what.map_or(String::new(), |w| format!("{}, into {}", w.words(), w.output_dir));
    let empty = String::new;
    let name = plain(&format!("job {} of the queue: {into}", job.number));
    let cells = [job.word().to_owned(), empty(), empty(), empty(), date(job.put), name];
    Line { cells: cells.to_vec(), trouble: lines_of(job) }
}

/// What is to be said of a job: the first line says what is wrong, the next ones why.
fn lines_of(job: &Job) -> Vec<String> {
    let note = job.note().unwrap_or_default();
    let mut lines: Vec<String> = note.lines().take(MOST).map(str::to_owned).collect();
    if let Some(more) = note.lines().count().checked_sub(MOST).filter(|more| *more > 0) {
        lines.push(format!("({more} more: `qwen-tui queue --json` has all of it)"));
    }
    lines
}

/// A job as one JSON object.
pub fn json(job: &Job, listing: &Listing) -> Value {
    let what = job.what.as_ref().ok();
    json!({
        "job": job.number,
        "place": listing.place(job.number),
        "status": job.word(),
        "device": what.map(|w| &w.device),
        "put": Some(job.put).filter(|t| *t > 0.0),
        "model_type": what.map(|w| &w.model_type),
        "output_dir": what.map(|w| &w.output_dir),
        "resume_from_checkpoint": what.and_then(|w| w.resumes.as_ref()),
        "arguments": job.file.to_string_lossy(),
        "run": job.run().map(|run| run.to_string_lossy()),
        "paused": listing.paused,
        "trouble": job.note(),
    })
}

/// A waiting job as the list of runs has it: with the keys of a run.
pub fn waiting_json(job: &Job, listing: &Listing) -> Value {
    let mut object = json!({
        "run": null, "status": job.word(), "doing": null, "paused": listing.paused, "stopping": false, "hangs": false,
        "step": 0, "total_steps": null, "seconds_left": null, "metric": null, "best_metric": null, "last_checkpoint": null,
        "pid": null, "began": null, "newest": null, "trouble": job.note(),
    });
    object["job"] = job.number.into();
    object["place"] = listing.place(job.number).into();
    object
}
