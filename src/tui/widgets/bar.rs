//! A bar in eighths of a cell.

/// A bar of `cells` cells, in eighths: what is done, and the rest.
pub fn bar(share: f64, cells: usize) -> (String, String) {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * (cells * 8) as f64).round() as usize;
    let part = EIGHTHS[eighths % 8];
    let used = eighths / 8 + usize::from(!part.is_empty());
    (format!("{}{part}", "█".repeat(eighths / 8)), "░".repeat(cells.saturating_sub(used)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::text;

    #[test]
    fn the_bar_is_full_at_the_end_and_always_as_long() {
        assert_eq!(bar(1.0, 3), ("███".to_owned(), String::new()));
        assert_eq!(bar(0.5, 3), ("█▌".to_owned(), "░".to_owned()));
        assert_eq!(bar(f64::NAN, 2), (String::new(), "░░".to_owned()));
        for i in 0..=40 {
            let (done, rest) = bar(f64::from(i) / 40.0, 7);
            assert_eq!(text::width(&done) + text::width(&rest), 7);
        }
    }
}
