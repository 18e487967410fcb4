//! `qwen-tui jobs`, and commands to a running job.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use qwen_tui::error::{Context, Result, shown};
use qwen_tui::job::attach::attach as follow;
use qwen_tui::job::event::Command;
use qwen_tui::job::find::{all_runs, find};
use qwen_tui::job::jobs;
use qwen_tui::job::obey::obey;
use qwen_tui::job::queue::{self, Queue};
use qwen_tui::job::runs::{RunStatus, inspect};
use qwen_tui::job::standing::{Standing, now};
use qwen_tui::run::RunDir;
use qwen_tui::shell;
use qwen_tui::tui;
use qwen_tui::tui::state::Clock;

use super::out;
use super::report::one_line;

#[derive(Args)]
pub struct Place {
    /// Where runs are looked for
    #[arg(long, alias = "output_dir", value_name = "DIR", default_value = "output")]
    pub output_dir: PathBuf,
}

#[derive(Args)]
pub struct ListArguments {
    #[command(flatten)]
    place: Place,
    /// A JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct RunArguments {
    /// The run's directory, its name (v3-20261126-101500), or `last`: the running job that began last
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args)]
pub struct AttachArguments {
    #[command(flatten)]
    run: RunArguments,
    /// Lines instead of the cockpit; Ctrl-C ends the following and leaves the job alone
    #[arg(long)]
    plain: bool,
}

/// Lists the runs under the output directory and those that run elsewhere, newest first; beneath those that run, what
/// waits in the queue.
pub fn list(arguments: &ListArguments) -> Result<i32> {
    // Without a queue the runs are listed all the same.
    let queue = Queue::of_user().ok();
    let queued = queue.as_ref().and_then(|queue| {
        super::queue::wake(queue);
        queue.list().inspect_err(|e| out::note(&format!("warning: {e}"))).ok()
    });
    let queued = queued.unwrap_or_default();
    // A job that trains is among the runs.
    let waiting = || queued.jobs.iter().filter(|job| job.run().is_none());
    let runs: Vec<Standing> = all_runs(&arguments.place.output_dir).into_iter().map(Standing::of).collect();
    let now = now();
    if arguments.json {
        let (running, ended): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.is_running());
        let running = running.into_iter().map(|run| jobs::json(run, now));
        let waiting = waiting().map(|job| queue::waiting_json(job, &queued));
        let ended = ended.into_iter().map(|run| jobs::json(run, now));
        for object in running.chain(waiting).chain(ended) {
            out::line(&serde_json::to_string(&object).internal("writing JSON")?)?;
        }
    } else if runs.is_empty() && waiting().next().is_none() {
        let place = shown(&arguments.place.output_dir);
        out::note(&format!("no runs under {place}, and no job is running; --output_dir names another place"));
    } else {
        let header = std::io::stdout().is_terminal();
        let date = |time| Clock::Local.date(time);
        let waiting: Vec<jobs::Line> = waiting().map(|job| queue::job_cells(job, &date)).collect();
        out::text(&jobs::table(&runs, &waiting, now, header, &date))?;
        super::queue::tell_whole(&queued);
    }
    Ok(0)
}

/// Gives the run's worker a command and waits until it has obeyed.
pub fn command(arguments: &RunArguments, command: Command) -> Result<i32> {
    let run = find(&arguments.run, &arguments.place.output_dir)?;
    let done = obey(&run, command, &mut out::note)?;
    out::line(&format!("{} {done}", one_line(&run)))?;
    // One that had just finished has nothing left to train.
    if command == Command::Stop && inspect(&run).status == RunStatus::Stopped {
        out::note(&super::sft::how_to_go_on(&run));
    }
    Ok(0)
}

/// Shows the run in the cockpit, or as lines where there is no terminal for one.
pub fn attach(arguments: AttachArguments) -> Result<i32> {
    let RunArguments { run, place } = arguments.run;
    let run = find(&run, &place.output_dir)?;
    if !arguments.plain && super::no_screen().is_none() {
        let output_dir = place.output_dir;
        return tui::run(tui::Options { run: Some(run), output_dir, config: None, flags: Vec::new() });
    }
    match follow(&run).transpose() {
        Some(result) => super::sft::end_attached(&RunDir::open(&run)?, result).map(|()| 0),
        None => {
            let path = shell::word(&run);
            out::note(&format!(
                "the job goes on: `qwen-tui attach {path}` shows it, `qwen-tui stop {path}` ends it"
            ));
            Ok(130)
        }
    }
}
