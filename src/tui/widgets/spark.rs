//! A curve in one line of text.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `values` in `cells` characters, each the mean of its share, from the lowest to the highest; a blank where a share
/// has no finite value. Fewer values than cells take a cell each.
pub fn spark(values: &[f64], cells: usize) -> String {
    if values.is_empty() || cells == 0 {
        return String::new();
    }
    let cells = cells.min(values.len());
    let means: Vec<Option<f64>> = (0..cells)
        .map(|i| {
            let share = &values[i * values.len() / cells..(i + 1) * values.len() / cells];
            let finite: Vec<f64> = share.iter().copied().filter(|v| v.is_finite()).collect();
            (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64)
        })
        .collect();
    let known = || means.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let level = |v: f64| match high > low {
        true => ((v - low) / (high - low) * 7.0).round() as usize,
        false => 3,
    };
    means.into_iter().map(|m| m.map_or(' ', |v| LEVELS[level(v).min(7)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_rises_and_what_is_not_finite_is_a_gap() {
        let rise: Vec<f64> = (0..8).map(f64::from).collect();
        assert_eq!(spark(&rise, 8), "▁▂▃▄▅▆▇█");
        assert_eq!(spark(&[1.0, f64::NAN, 2.0], 9), "▁ █");
        assert_eq!(spark(&[f64::INFINITY], 3), " ");
        assert_eq!(spark(&[5.0, 5.0], 3), "▄▄");
        assert_eq!(spark(&[0.0, 0.0, 1.0, 1.0], 2), "▁█");
        assert_eq!((spark(&[], 3), spark(&[1.0], 0)), (String::new(), String::new()));
    }
}
