//! Numbers as people read them.

/// Seconds beyond which nothing is told but that it is longer.
const LONGEST: f64 = 9.99e8;

/// Seconds, in the two largest units that matter: `0.4 s`, `42 s`, `3 min 05 s`, `1 h 12 min`, `2 d 03 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_string();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    if seconds > LONGEST {
        return format!("more than {} d", LONGEST as u64 / 86_400);
    }
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {:02} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Bytes in decimal units: `812 B`, `16.4 MB`, `3.67 GB`.
pub fn bytes(bytes: u64) -> String {
    let mut x = bytes as f64;
    if x < 1000.0 {
        return format!("{bytes} B");
    }
    for unit in ["kB", "MB", "GB", "TB"] {
        x /= 1000.0;
        if x < 999.5 || unit == "TB" {
            return format!("{} {unit}", significant(x));
        }
    }
    unreachable!("the last unit returns")
}

/// A count with a unit: `940`, `16.4 k`, `1.84 G`.
pub fn count(n: u64) -> String {
    let mut x = n as f64;
    if n < 10_000 {
        return n.to_string();
    }
    for unit in ["k", "M", "G", "T"] {
        x /= 1000.0;
        if x < 999.5 || unit == "T" {
            return format!("{} {unit}", significant(x));
        }
    }
    unreachable!("the last unit returns")
}

/// A number of things: `1 row`, `2 rows`, `2 batches`.
pub fn counted(n: u64, thing: &str) -> String {
    let plural = if thing.ends_with("ch") { "es" } else { "s" };
    format!("{n} {thing}{}", if n == 1 { "" } else { plural })
}

/// How fast steps go: `3.4 steps/s`, or `12.5 s/step` where a step takes longer than a second.
pub fn speed(seconds_per_step: f64) -> String {
    if !seconds_per_step.is_finite() || seconds_per_step <= 0.0 {
        "? steps/s".to_string()
    } else if seconds_per_step > 1.0 {
        format!("{} s/step", significant(seconds_per_step))
    } else {
        format!("{} steps/s", significant(1.0 / seconds_per_step))
    }
}

/// Three significant digits, without an exponent.
fn significant(x: f64) -> String {
    match x {
        x if x < 9.995 => format!("{x:.2}"),
        x if x < 99.95 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

/// A loss or another figure in four significant digits; `NaN` and `inf` as they are.
pub fn figure(x: f64) -> String {
    if !x.is_finite() {
        return x.to_string();
    }
    match x.abs() {
        0.0 => "0".to_owned(),
        a if !(1e-3..1e6).contains(&a) => format!("{x:.2e}"),
        a if a < 10.0 => format!("{x:.4}"),
        a if a < 100.0 => format!("{x:.3}"),
        a if a < 1000.0 => format!("{x:.2}"),
        _ => format!("{x:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_change_where_people_expect_it() {
        let cases =
            [(0.04, "0.0 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185.0, "3 min 05 s")];
        let long = [
            (4320.0, "1 h 12 min"),
            (183_600.0, "2 d 03 h"),
            (f64::NAN, "?"),
            (-1.0, "?"),
            (9e12, "more than 11562 d"),
        ];
        for (seconds, text) in cases.into_iter().chain(long) {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
        for (n, text) in
            [(812, "812 B"), (16_400_000, "16.4 MB"), (999_600_000, "1.00 GB"), (3_670_000_000, "3.67 GB")]
        {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(count(1_836_828_672), "1.84 G");
        assert_eq!((speed(0.25).as_str(), speed(12.5).as_str()), ("4.00 steps/s", "12.5 s/step"));
    }

    #[test]
    fn figures_keep_their_digits() {
        let cases = [(0.4312, "0.4312"), (12.345, "12.345"), (6e-5, "6.00e-5"), (1234.5, "1234"), (0.0, "0")];
        for (x, text) in cases {
            assert_eq!(figure(x), text);
        }
        assert_eq!((figure(f64::NAN).as_str(), figure(f64::INFINITY).as_str()), ("NaN", "inf"));
    }
}
