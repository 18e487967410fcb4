//! A report for people.

use std::fmt::Write as _;
use std::io::Write;

use qwen_tui::error::{Context, Result};
use qwen_tui::job::human;
pub use qwen_tui::stderr::note;

use super::report::{Cell, Figures, Report};
use crate::infer::stdio::Out;

/// Share of the cores beyond which other programs disturb.
const BUSY: f64 = 0.25;

pub fn print(text: &str) -> Result<()> {
    let mut out = Out::new(std::io::stdout().lock());
    let told = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).user("standard output");
    out.unless_closed(told)
}

/// The whole report. Writing into a String cannot fail.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let (machine, task) = (&report.machine, &report.task);
    let _ = writeln!(
        text,
        "{}: {} blocks, hidden {}, MLP {}, vocabulary {}; {} parameters in {}",
        task.shape,
        task.layers,
        task.hidden,
        task.mlp,
        task.vocab,
        human::count(task.parameters as u64),
        task.dtype
    );
    let _ = writeln!(
        text,
        "{} ({}), {} of {} cores, libtorch {}",
        machine.device_name, machine.device, machine.threads, machine.cores, machine.libtorch
    );
    if let Some(load) = machine.load_average.filter(|load| *load > BUSY * machine.cores as f64) {
        let _ = writeln!(
            text,
            "other programs kept the machine busy (load average {load:.1} before it began): the figures are worth \
             little"
        );
    }
    if !report.grow.is_empty() {
        text += &grown(&report.grow);
        return text;
    }
    let _ = writeln!(
        text,
        "rows: {}; {} and {:.0} tokens a step; {} of {}\n",
        task.rows,
        human::counted(task.rows_a_step as u64, "row"),
        task.tokens_a_step,
        human::counted(task.rounds as u64, "round"),
        human::counted(task.steps_a_round as u64, "step")
    );
    text += &table(&report.candidates);
    for (name, times) in &report.times_faster {
        let _ = writeln!(text, "{name}: a step takes {times:.1} times as long as ours");
    }
    if let Some(apart) = &report.apart {
        let _ = writeln!(
            text,
            "first step, ours and row by row: loss apart by {:.1e}, gradient norm by {:.1e} (relative)",
            apart.loss, apart.grad_norm
        );
    }
    if let Some(floor) = &report.floor {
        let _ = writeln!(
            text,
            "floor: {:.1} G operations a step at {:.0} G a second (a product of side {}): {}; ours takes {:.2} times \
             that",
            floor.total_operations / 1e9,
            floor.rate / 1e9,
            floor.side,
            seconds(floor.seconds),
            floor.ours_over_seconds
        );
        let _ = writeln!(
            text,
            "       the step's own matrix products alone: {}; ours takes {:.2} times that",
            seconds(floor.products_seconds),
            floor.ours_over_products
        );
    }
    if let (Some(load), Some(rate)) = (&report.load, report.load_bytes_per_second) {
        let _ = writeln!(
            text,
            "loading: {} in {} ({:.2} GB a second); most memory {}",
            human::bytes(load.bytes),
            seconds(load.bytes as f64 / rate),
            rate / 1e9,
            load.peak.map_or_else(|| "?".to_owned(), human::bytes)
        );
    }
    text
}

/// Candidates side by side.
fn table(candidates: &[Figures]) -> String {
    type Row = (&'static str, fn(&Figures) -> String);
    let rows: [Row; 9] = [
        ("", |c| c.name.to_owned()),
        ("a step", |c| seconds(c.step_seconds)),
        ("steps a second", |c| human::figure(c.steps_per_second)),
        ("rows a second", |c| human::figure(c.rows_per_second)),
        ("tokens a second", |c| format!("{:.0}", c.tokens_per_second)),
        ("most memory", |c| c.peak_memory.map_or_else(|| "?".to_owned(), human::bytes)),
        ("evaluation, rows a second", |c| human::figure(c.eval_rows_per_second)),
        ("a label, median", |c| seconds(c.classify_p50)),
        ("a label, 99 of 100 within", |c| seconds(c.classify_p99)),
    ];
    let mut text = String::new();
    for (title, cell) in rows {
        let _ = write!(text, "{title:<28}");
        for candidate in candidates {
            let _ = write!(text, "{:>22}", cell(candidate));
        }
        text.push('\n');
    }
    text + "\n"
}

/// The cost as work grows: a line a length, a column a number of rows.
fn grown(cells: &[Cell]) -> String {
    let mut rows: Vec<usize> = cells.iter().map(|c| c.rows).collect();
    rows.sort_unstable();
    rows.dedup();
    let mut lengths: Vec<usize> = cells.iter().map(|c| c.tokens).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let mut text = "a step of so many rows of so many tokens (tokens a second)\n\n".to_owned();
    let _ = write!(text, "{:<14}", "");
    for n in &rows {
        let _ = write!(text, "{:>22}", human::counted(*n as u64, "row"));
    }
    for length in lengths {
        let _ = write!(text, "\n{:<14}", format!("{length} tokens"));
        for n in &rows {
            let cell = cells.iter().find(|c| (c.tokens, c.rows) == (length, *n));
            let cell = cell.map_or_else(String::new, |c| {
                format!("{} ({:.0})", seconds(c.median()), (length * n) as f64 / c.median())
            });
            let _ = write!(text, "{cell:>22}");
        }
    }
    text + "\n"
}

/// A short time in three digits.
fn seconds(time: f64) -> String {
    match time {
        t if t < 0.1 => format!("{:.2} ms", t * 1e3),
        t if t < 1.0 => format!("{:.0} ms", t * 1e3),
        t => format!("{t:.2} s"),
    }
}
