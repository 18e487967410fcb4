//! `qwen-tui doctor`: what training needs, what of it is here, and what to do about the rest.
//!
//! It links no libtorch and needs none: what it knows of libtorch it reads from files and from a run of the engine.

mod cuda;
mod engine;
mod libtorch;
mod machine;

use std::io::IsTerminal;
use std::path::Path;

use qwen_tui::error::{Context, Result, escaped};
use qwen_tui::job::engine::ENGINE_VARIABLE;
use qwen_tui::job::find_engine;
use qwen_tui::tui::text::wrap;
use serde::Serialize;

use super::out;

#[derive(clap::Args)]
#[command(after_help = "Exit status: 0 when training can run here, 2 when something it needs is missing.")]
pub struct Arguments {
    /// The findings as one JSON object
    #[arg(long)]
    json: bool,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Training runs, but slower or less comfortably than it could.
    Warn,
    /// Training cannot run.
    Missing,
}

/// One thing looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    pub found: String,
    /// What to do, where there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl Check {
    pub fn ok(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, status: Status::Ok, found: found.into(), todo: None }
    }

    pub fn warn(name: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Check {
        Check { name, status: Status::Warn, found: found.into(), todo: Some(todo.into()) }
    }

    pub fn missing(name: &'static str, found: impl Into<String>, todo: impl Into<String>) -> Check {
        Check { name, status: Status::Missing, found: found.into(), todo: Some(todo.into()) }
    }
}

/// Looks at everything and prints it; the exit status is 2 where something that training needs is missing.
pub fn run(arguments: &Arguments) -> Result<i32> {
    let checks = look();
    let ready = checks.iter().all(|c| c.status != Status::Missing);
    if arguments.json {
        let report = serde_json::json!({ "ready": ready, "checks": checks });
        out::line(&serde_json::to_string(&report).internal("writing the findings as JSON")?)?;
    } else {
        let colour =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        out::styled(&render(&checks, colour, columns()))?;
    }
    Ok(if ready { 0 } else { 2 })
}

/// ` in DIR`, where `program` lies in `target/release` of a copy of the source; `make` must be run there.
fn in_source(program: &Path) -> String {
    let program = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    match program.ancestors().nth(3).filter(|dir| dir.join("Makefile").is_file()) {
        Some(dir) => format!(" in {}", dir.display()),
        None => " in the folder of qwen-tui's source".to_owned(),
    }
}

fn look() -> Vec<Check> {
    let mut checks = Vec::new();
    let nvidia = cuda::Nvidia::look();
    match find_engine() {
        Err(error) => {
            checks.push(Check::missing(
                "engine",
                // Its last clause sends people here.
                error
                    .to_string()
                    .trim_end_matches("; `qwen-tui doctor` looks for what is missing")
                    .to_owned(),
                match engine::named() {
                    true => format!("`unset {ENGINE_VARIABLE}`, so that the engine beside qwen-tui is used"),
                    false => {
                        format!("run `make build`{}", in_source(&std::env::current_exe().unwrap_or_default()))
                    }
                },
            ));
            checks.push(cuda::check(&nvidia, None));
        }
        Ok(path) => {
            let libtorch = libtorch::find(&path);
            let probe = engine::probe(&path);
            let source = in_source(&path);
            checks.push(engine::check(&path, &probe, &source));
            let loads = probe.as_ref().map_or_else(|f| f.loaded, |_| true);
            // A program that loads, needs no libtorch and does not answer is no engine of ours.
            if probe.is_ok() || !loads || libtorch.is_ok() {
                checks.push(libtorch::check(&libtorch, loads, &source));
            }
            checks.push(cuda::check(&nvidia, libtorch.as_ref().ok()));
            if let Ok(info) = &probe {
                checks.push(engine::devices(info));
            }
        }
    }
    checks.extend(machine::checks());
    checks
}

/// Cells of a line on standard output, where that is a terminal.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).map(|s| usize::from(s.ws_col));
    size.ok().filter(|columns| *columns > 0).unwrap_or(usize::MAX)
}

/// The findings as a table; what is longer than `columns` goes on under its own column.
fn render(checks: &[Check], colour: bool, columns: usize) -> String {
    let width = checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let indent = 7 + 2 + width + 2;
    let wrapped = |line: &str, further: usize| {
        let lines = wrap(line, columns.saturating_sub(indent + further).max(10));
        lines.join(&format!("\n{:1$}", "", indent + further))
    };
    let mut text = String::new();
    for check in checks {
        let (word, code) = match check.status {
            Status::Ok => ("ok", 32),
            Status::Warn => ("warn", 33),
            Status::Missing => ("missing", 31),
        };
        let padded = format!("{word:7}");
        let word = if colour { format!("\x1b[{code}m{padded}\x1b[0m") } else { padded };
        text += &format!("{word}  {:width$}  {}\n", check.name, wrapped(&escaped(&check.found), 0));
        if let Some(todo) = &check.todo {
            text += &format!("{:indent$}-> {}\n", "", wrapped(&escaped(todo), 3));
        }
    }
    let missing = checks.iter().filter(|c| c.status == Status::Missing).count();
    text += match missing {
        0 => "\nTraining can run here.\n",
        _ => "\nTraining cannot run here yet: see what is missing above.\n",
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_what_to_do() {
        let checks =
            [Check::ok("engine", "there"), Check::missing("libtorch", "none", "run `make libtorch`")];
        let text = render(&checks, false, 80);
        assert_eq!(
            text,
            "ok       engine    there\nmissing  libtorch  none\n                   -> run `make libtorch`\n\n\
             Training cannot run here yet: see what is missing above.\n"
        );
        assert!(render(&checks, true, 80).contains("\x1b[31mmissing\x1b[0m"));
        let obeyed = [Check::ok("engine", "/\x1b[31mred")];
        assert!(render(&obeyed, true, 80).contains("/\\u{1b}[31mred"));
        assert!(render(&checks, false, 36).contains(" -> run `make\n                      libtorch`\n"));
    }
}
