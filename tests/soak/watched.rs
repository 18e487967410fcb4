//! Memory and open files of processes over the time.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Of the whole time, when what is loaded once has been.
const WARM: f64 = 0.1;
/// MiB that the mean of the last third may be above that of the first after the warm-up. The event log in the page cache
/// is not the process's; `log_history`, which a checkpoint repeats whole, is, and grows by some 0.5 KiB a line.
const GROWTH: f64 = 8.0;
/// What the mean number of open files may differ by: a look may fall on a moment in which one more is open. One that
/// stays open stays in all later looks.
const HALF_A_FILE: f64 = 0.5;

/// Resident memory in MiB and open files.
#[derive(Clone, Copy)]
pub struct Look {
    pub second: f64,
    pub memory: f64,
    pub files: usize,
}

/// None where the process has gone.
pub fn look(pid: u32, second: f64) -> Option<Look> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib: f64 =
        status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some(Look { second, memory: kib / 1024.0, files })
}

/// A process, or processes one after another, over the time.
pub struct Watched {
    name: &'static str,
    pub looks: Vec<Look>,
}

impl Watched {
    pub fn new(name: &'static str) -> Self {
        Self { name, looks: Vec::new() }
    }

    /// Those of a part of the time after the warm-up, from 0 to 1.
    fn part(&self, whole: f64, from: f64, to: f64) -> Vec<Look> {
        let at = |part: f64| whole * (WARM + (1.0 - WARM) * part);
        let within = |l: &&Look| (at(from)..=at(to)).contains(&l.second);
        self.looks.iter().filter(within).copied().collect()
    }

    /// Prints its figures; what is wrong with them.
    fn judge(&self, whole: f64) -> Vec<String> {
        let thirds = [self.part(whole, 0.0, 1.0 / 3.0), self.part(whole, 2.0 / 3.0, 1.0)];
        if thirds.iter().any(Vec::is_empty) {
            return vec![format!("{}: too few looks; SOAK_MINUTES is too small", self.name)];
        }
        let memory = thirds.each_ref().map(|part| mean(part.iter().map(|l| l.memory)));
        let halves = [self.part(whole, 0.0, 0.5), self.part(whole, 0.5, 1.0)];
        let by_half = halves.each_ref().map(|part| mean(part.iter().map(|l| l.memory)));
        let slope = slope(&self.part(whole, 0.0, 1.0)) * 3600.0;
        let least = thirds.each_ref().map(|part| part.iter().map(|l| l.files).min().unwrap_or(0));
        let files = thirds.each_ref().map(|part| mean(part.iter().map(|l| l.files as f64)));
        println!(
            "| {} | {} | {:.1} | {:.1} | {:+.2} | {} / {:.2} | {} / {:.2} |",
            self.name,
            self.looks.len(),
            by_half[0],
            by_half[1],
            slope,
            least[0],
            files[0],
            least[1],
            files[1]
        );
        let mut wrong = Vec::new();
        if memory[1] > memory[0] + GROWTH {
            wrong.push(format!("{}: memory grew from {:.1} to {:.1} MiB", self.name, memory[0], memory[1]));
        }
        if files[1] > files[0] + HALF_A_FILE {
            wrong.push(format!(
                "{}: open files grew from {:.2} to {:.2} on the mean",
                self.name, files[0], files[1]
            ));
        }
        wrong
    }
}

/// Writes every look to a file and prints the figures; what is wrong with them.
pub fn report(all: &[Watched], whole: f64) -> Vec<String> {
    let mut rows = String::from("process,second,MiB,files\n");
    for w in all {
        for l in &w.looks {
            writeln!(rows, "{},{:.0},{:.2},{}", w.name, l.second, l.memory, l.files).unwrap();
        }
    }
    let table = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.csv");
    fs::write(&table, rows).unwrap();
    println!("every look: {}", table.display());
    let files = "open files at first, least / mean | at last, least / mean";
    println!("| process | looks | first half, MiB | second half, MiB | slope, MiB/h | {files} |");
    println!("|---|---|---|---|---|---|---|");
    all.iter().flat_map(|w| w.judge(whole)).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, n), x| (sum + x, n + 1));
    sum / f64::from(count.max(1))
}

/// Least squares, MiB a second.
fn slope(looks: &[Look]) -> f64 {
    let (x, y) = (mean(looks.iter().map(|l| l.second)), mean(looks.iter().map(|l| l.memory)));
    let above: f64 = looks.iter().map(|l| (l.second - x) * (l.memory - y)).sum();
    above / looks.iter().map(|l| (l.second - x).powi(2)).sum::<f64>().max(f64::MIN_POSITIVE)
}
