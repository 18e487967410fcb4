//! Memory, cores, disk and the terminal.

use std::io::IsTerminal;

use qwen_tui::job::human;

use super::Check;

/// Free memory and disk below which even the demo is in danger.
const LOW: u64 = 2_000_000_000;

pub fn checks() -> Vec<Check> {
    vec![memory(), cores(), disk(), terminal()]
}

fn memory() -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (Some(total), Some(available)) = (meminfo(&text, "MemTotal"), meminfo(&text, "MemAvailable")) else {
        return Check::warn(
            "memory",
            "not known (/proc/meminfo cannot be read)",
            "see that 2 GB are free for the demo",
        );
    };
    let found = format!("{} of {} free", human::bytes(available), human::bytes(total));
    match available < LOW {
        true => Check::warn(
            "memory",
            found,
            "close other programs: the demo takes 1 GB, Qwen-1.8B in fp32 on the CPU 10 GB",
        ),
        false => Check::ok("memory", found),
    }
}

/// A figure of `/proc/meminfo`, in bytes.
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}

fn cores() -> Check {
    match std::thread::available_parallelism() {
        Ok(n) => Check::ok("cores", n.to_string()),
        Err(e) => Check::warn("cores", format!("not known: {e}"), "set --threads when training on the CPU"),
    }
}

fn disk() -> Check {
    let free = match rustix::fs::statvfs(".") {
        Ok(s) => s.f_bavail.saturating_mul(s.f_frsize),
        Err(e) => {
            return Check::warn(
                "disk",
                format!("not known here: {e}"),
                "go to a folder that can be written to",
            );
        }
    };
    let found = format!("{} free here", human::bytes(free));
    match free < LOW {
        true => Check::warn(
            "disk",
            found,
            "make room, or choose another --output_dir: checkpoints are written there",
        ),
        false => Check::ok("disk", found),
    }
}

fn terminal() -> Check {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if !std::io::stdout().is_terminal() {
        return Check::ok("terminal", "standard output is none: no check");
    }
    let size =
        rustix::termios::tcgetwinsize(std::io::stdout()).map(|s| (s.ws_col, s.ws_row)).unwrap_or((0, 0));
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].map(variable).into_iter().find(|v| !v.is_empty()).unwrap_or_default();
    judge_terminal(&variable("TERM"), &variable("COLORTERM"), &locale, size)
}

fn judge_terminal(term: &str, colorterm: &str, locale: &str, (columns, rows): (u16, u16)) -> Check {
    let colours = match (term, colorterm) {
        (_, "truecolor" | "24bit") => "16 million colours",
        (t, _) if t.ends_with("-direct") => "16 million colours",
        (t, _) if t.contains("256color") => "256 colours",
        ("" | "dumb", _) => "no colours",
        _ => "16 colours",
    };
    let found = format!(
        "TERM={}, {columns}x{rows}, {colours}, locale {}",
        if term.is_empty() { "(not set)" } else { term },
        if locale.is_empty() { "(not set)" } else { locale }
    );
    let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
    let todo = if term.is_empty() || term == "dumb" {
        "set TERM to what the terminal is, such as xterm-256color"
    } else if !utf8 {
        "choose a UTF-8 locale, such as `export LANG=C.UTF-8`: Chinese text needs one"
    } else if columns < 80 || rows < 24 {
        "make the window larger: 80 columns and 24 rows at least"
    } else {
        return Check::ok("terminal", found);
    };
    Check::warn("terminal", found, todo)
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn memory_is_read_by_its_whole_name() {
        let text = "MemTotal:       24000 kB\nMemAvailableX:  1 kB\nMemAvailable:   12000 kB\n";
        assert_eq!(
            (meminfo(text, "MemTotal"), meminfo(text, "MemAvailable")),
            (Some(24_576_000), Some(12_288_000))
        );
        assert_eq!(meminfo("", "MemTotal"), None);
    }

    #[test]
    fn a_terminal_is_judged_by_what_it_can_show() {
        let status = |term, locale, size| judge_terminal(term, "", locale, size).status;
        assert_eq!(status("xterm-256color", "zh_CN.UTF-8", (120, 40)), Status::Ok);
        assert_eq!(status("tmux", "C.utf8", (80, 24)), Status::Ok);
        assert_eq!(status("dumb", "C.UTF-8", (120, 40)), Status::Warn);
        assert_eq!(status("xterm", "POSIX", (120, 40)), Status::Warn);
        assert_eq!(status("xterm", "C.UTF-8", (79, 24)), Status::Warn);
    }
}
