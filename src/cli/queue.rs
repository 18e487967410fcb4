//! `qwen-tui queue`: what waits, and changes to it.

use std::io::IsTerminal;

use clap::{Args, Subcommand};
use qwen_tui::args::SftArgs;
use qwen_tui::error::{Context, Error, Result};
use qwen_tui::job::queue::{Listing, Queue, To, json, run, table};
use qwen_tui::tui::state::Clock;

use super::out;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// A JSON object a line
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Move a waiting job: `up`, `down`, `first`, `last`, or `to` a place
    Move {
        /// Its number, as the list shows it; it stays the same
        #[arg(value_name = "JOB", value_parser = job_number, allow_negative_numbers = true)]
        job: u64,
        /// up, down, first, last, or to PLACE
        #[arg(value_name = "WHERE", required = true, num_args = 1..=2, allow_negative_numbers = true)]
        to: Vec<String>,
    },
    /// Take jobs that have not been started out of the queue
    Remove {
        #[arg(value_name = "JOB", required = true, value_parser = job_number, allow_negative_numbers = true)]
        jobs: Vec<u64>,
    },
    /// Let a job that has failed wait again, at the end
    Retry {
        #[arg(value_name = "JOB", value_parser = job_number, allow_negative_numbers = true)]
        job: u64,
    },
    /// Start no more jobs; what trains already trains on
    Pause,
    /// Start jobs again
    Resume,
    /// Start the jobs one after another, and end when none is left. The other commands do so by themselves
    Run,
}

/// A job's number, as it was typed.
fn job_number(word: &str) -> Result<u64, &'static str> {
    word.parse().map_err(|_| "a job is named by its number, which `qwen-tui queue` shows")
}

/// Does what the command line asks for.
pub fn run_command(arguments: Arguments) -> Result<i32> {
    let queue = Queue::of_user()?;
    match arguments.command {
        None => list(&queue, arguments.json)?,
        Some(Command::Move { job, to }) => {
            let place = queue.shift(job, place(&to)?)?;
            out::line(&format!("job {job} waits at place {place}"))?;
        }
        Some(Command::Remove { jobs }) => {
            for job in jobs {
                queue.remove(job)?;
                out::line(&format!("job {job} is out of the queue"))?;
            }
        }
        Some(Command::Retry { job }) => {
            let place = queue.retry(job)?;
            out::line(&format!("job {job} waits again, at place {place}"))?;
        }
        Some(Command::Pause) => {
            queue.set_paused(true)?;
            out::line("the queue is paused: no more jobs are started until `qwen-tui queue resume`")?;
        }
        Some(Command::Resume) => {
            queue.set_paused(false)?;
            out::line("the queue goes on")?;
        }
        Some(Command::Run) => {
            let say = &mut |words: &str| {
                // Nobody may read it.
                out::note(&format!("{} {words}", chrono::Local::now().format("%Y-%m-%d %H:%M:%S")));
            };
            return run(&queue, say).map(|()| 0);
        }
    }
    wake(&queue);
    Ok(0)
}

/// Starts a runner where one is wanted; where that fails, the command has done its own all the same.
pub fn wake(queue: &Queue) {
    if let Err(e) = queue.wake() {
        out::note(&format!("warning: nobody starts the jobs of the queue: {e}"));
    }
}

/// Puts a job of `sft` into the queue instead of starting it.
pub fn put(args: SftArgs) -> Result<()> {
    let queue = Queue::of_user()?;
    let (added, notes) = queue.put(args)?;
    notes.iter().for_each(|note| out::note(note));
    out::text(&format!("job: {}\nplace: {}\n", added.number, added.place))?;
    wake(&queue);
    let paused = if queue.list()?.paused {
        "; the queue is paused: `qwen-tui queue resume` lets it go on"
    } else {
        ""
    };
    out::note(&format!("job {} is in the queue: `qwen-tui queue` shows it{paused}", added.number));
    Ok(())
}

fn place(words: &[String]) -> Result<To> {
    match words {
        [to, place] if to == "to" && place.parse::<usize>().is_ok_and(|n| n > 0) => place.parse(),
        [word] if word != "to" && word != "0" => word.parse(),
        _ => Err(Error::user(format!(
            "{:?} is no place in the queue: give up, down, first, last or `to` and a number from 1",
            words.join(" ")
        ))),
    }
}

fn list(queue: &Queue, as_json: bool) -> Result<()> {
    let listing = queue.list()?;
    if as_json {
        for job in &listing.jobs {
            out::line(&serde_json::to_string(&json(job, &listing)).internal("writing JSON")?)?;
        }
        return Ok(());
    }
    let header = std::io::stdout().is_terminal();
    out::text(&table(&listing, header, &|time| Clock::Local.date(time)))?;
    tell_whole(&listing);
    if listing.jobs.is_empty() {
        let paused = if listing.paused { " and paused (`qwen-tui queue resume` lets it go on)" } else { "" };
        out::note(&format!("the queue is empty{paused}; `qwen-tui sft --queue ...` puts a job into it"));
    }
    Ok(())
}

/// What is to be said of the whole queue.
pub fn tell_whole(listing: &Listing) {
    if listing.paused && !listing.jobs.is_empty() {
        out::note("the queue is paused: `qwen-tui queue resume` lets it go on");
    }
    if let Some(trouble) = listing.trouble.as_ref().filter(|_| !listing.jobs.is_empty()) {
        out::note(&format!("warning: {trouble}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_or_a_number_from_one() {
        let place = |words: &str| place(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for (words, to) in [
            ("up", To::Up),
            ("down", To::Down),
            ("first", To::First),
            ("last", To::Last),
            ("to 3", To::Place(3)),
            ("2", To::Place(2)),
        ] {
            assert_eq!(place(words).unwrap(), to);
        }
        for words in ["to", "to 0", "0", "to up", "left", "up 3", "-1"] {
            assert_eq!(place(words).unwrap_err().exit_code(), 2, "{words}");
        }
    }
}
