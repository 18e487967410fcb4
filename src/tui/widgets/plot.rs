//! Curves over a common axis, in braille dots: two across and four down a cell.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

use crate::tui::text;

/// How a curve is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Connected, but not across what is not finite.
    Line,
    /// A dot a point.
    Dots,
    /// A character of one cell a point, over everything else.
    Sign(char),
}

/// One curve.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Values that are not finite are gaps.
    pub points: Vec<(f64, f64)>,
    pub mark: Mark,
    pub style: Style,
}

/// Curves, later ones over earlier ones, with the ends of both axes named.
#[derive(Debug, Clone)]
pub struct Plot {
    pub curves: Vec<Curve>,
    /// The ends of the horizontal axis.
    pub x: (f64, f64),
    /// The vertical axis reaches at least to these; NaN where the curves alone decide.
    pub y: (f64, f64),
    /// How figures of the vertical axis are written.
    pub figure: fn(f64) -> String,
    pub axis: Style,
}

impl Plot {
    /// The lowest and highest finite value; a range of no height gets one.
    fn range(&self) -> Option<(f64, f64)> {
        let values = self.curves.iter().flat_map(|c| c.points.iter().map(|p| p.1));
        let finite = values.chain([self.y.0, self.y.1]).filter(|v| v.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        match low < high {
            true => Some((low, high)),
            // What is drawn here is never below 0.
            false if low == 0.0 && high == 0.0 => Some((0.0, 1.0)),
            false if low == high => Some((low - 0.1 * low.abs(), high + 0.1 * high.abs())),
            false => None,
        }
    }
}

impl Widget for Plot {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let Some((low, high)) = self.range() else { return };
        if area.width < 12 || area.height < 2 {
            return;
        }
        let (top, bottom) = ((self.figure)(high), (self.figure)(low));
        let labels = text::width(&top).max(text::width(&bottom)) as u16 + 1;
        // The row of the horizontal axis' ends, where there is room.
        let foot = u16::from(area.height >= 4);
        let grid = Rect {
            x: area.x + labels,
            width: area.width.saturating_sub(labels),
            height: area.height - foot,
            ..area
        };
        if grid.width < 4 {
            return;
        }
        let right = |text: &str| area.x + labels - 1 - text::width(text) as u16;
        buf.set_string(right(&top), grid.y, &top, self.axis);
        if grid.height > 1 {
            buf.set_string(right(&bottom), grid.bottom() - 1, &bottom, self.axis);
        }
        if foot == 1 {
            let (from, to) = (format!("{:.0}", self.x.0), format!("{:.0}", self.x.1));
            buf.set_string(grid.x, grid.bottom(), &from, self.axis);
            let at = grid.right().saturating_sub(text::width(&to) as u16);
            if at > grid.x + text::width(&from) as u16 {
                buf.set_string(at, grid.bottom(), &to, self.axis);
            }
        }
        let mut dots = Dots::new(grid);
        let span = if self.x.1 > self.x.0 { self.x.1 - self.x.0 } else { 1.0 };
        let (columns, rows) = (f64::from(grid.width * 2 - 1), f64::from(grid.height * 4 - 1));
        let place = |(x, y): (f64, f64)| -> Option<(i32, i32)> {
            let inside = y.is_finite() && (self.x.0..=self.x.0 + span).contains(&x);
            inside.then(|| {
                let across = (x - self.x.0) / span * columns;
                (across.round() as i32, ((high - y) / (high - low) * rows).round() as i32)
            })
        };
        for (layer, curve) in self.curves.iter().enumerate() {
            dots.layer = layer;
            let mut last = None;
            for point in &curve.points {
                let at = place(*point);
                match (curve.mark, last, at) {
                    (Mark::Line, Some(from), Some(to)) => dots.line(from, to, curve.style),
                    (Mark::Line | Mark::Dots, _, Some(at)) => dots.set(at, curve.style),
                    _ => {}
                }
                last = at;
            }
        }
        dots.render(buf);
        for curve in &self.curves {
            let Mark::Sign(sign) = curve.mark else { continue };
            for (x, y) in curve.points.iter().filter_map(|p| place(*p)) {
                let at = (grid.x + (x / 2) as u16, grid.y + (y / 4) as u16);
                buf[at].set_char(sign).set_style(curve.style);
            }
        }
    }
}

/// Braille dots of a grid of cells. A cell has one style, so a curve of a higher layer takes it for itself: a line
/// stays a line where it crosses a cloud of dots.
struct Dots {
    area: Rect,
    layer: usize,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    bits: u8,
    layer: usize,
    style: Style,
}

impl Dots {
    fn new(area: Rect) -> Dots {
        Dots { area, layer: 0, cells: vec![Cell::default(); area.width as usize * area.height as usize] }
    }

    /// Sets the dot at column `x`, row `y`, both counted in dots.
    fn set(&mut self, (x, y): (i32, i32), style: Style) {
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        let index = y / 4 * self.area.width as usize + x / 2;
        if let Some(cell) = self.cells.get_mut(index).filter(|_| x / 2 < self.area.width as usize) {
            let before = if cell.layer == self.layer { cell.bits } else { 0 };
            *cell = Cell { bits: before | BITS[y % 4][x % 2], layer: self.layer, style };
        }
    }

    fn line(&mut self, from: (i32, i32), to: (i32, i32), style: Style) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let n = dx.abs().max(dy.abs()).max(1);
        for i in 0..=n {
            let share = |d: i32| (f64::from(d * i) / f64::from(n)).round() as i32;
            self.set((from.0 + share(dx), from.1 + share(dy)), style);
        }
    }

    fn render(&self, buf: &mut Buffer) {
        for (i, cell) in self.cells.iter().enumerate().filter(|(_, c)| c.bits != 0) {
            let (row, column) = (i / self.area.width as usize, i % self.area.width as usize);
            let sign = char::from_u32(0x2800 + u32::from(cell.bits)).unwrap_or(' ');
            buf[(self.area.x + column as u16, self.area.y + row as u16)].set_char(sign).set_style(cell.style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(points: &[(f64, f64)], mark: Mark, width: u16, height: u16) -> Vec<String> {
        let curve = Curve { points: points.to_vec(), mark, style: Style::new() };
        let plot = Plot {
            curves: vec![curve],
            x: (0.0, 10.0),
            y: (f64::NAN, f64::NAN),
            figure: text::figure,
            axis: Style::new(),
        };
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        plot.render(area, &mut buf);
        let row = |y| (0..width).map(|x| buf[(x, y)].symbol().to_owned()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_line_goes_from_corner_to_corner_and_the_axes_are_named() {
        let rows = drawn(&[(0.0, 0.0), (10.0, 1.0)], Mark::Line, 12, 4);
        assert_eq!(rows, ["1.0000    ⢠⠊", "        ⢀⠔⠁", "     0 ⡠⠃", "       0  10"]);
    }

    #[test]
    fn a_range_of_no_height_gets_one() {
        let ends = |y: f64| {
            let rows = drawn(&[(0.0, y)], Mark::Dots, 30, 5);
            [0, 3].map(|row: usize| rows[row].split_whitespace().next().unwrap().to_owned())
        };
        assert_eq!(ends(0.0), ["1.0000", "0"]);
        assert_eq!(ends(2.0), ["2.2000", "1.8000"]);
    }

    #[test]
    fn a_value_that_is_not_finite_is_a_gap() {
        let row = |y| {
            let points = [(0.0, 1.0), (4.0, 1.0), (5.0, y), (6.0, 1.0), (10.0, 1.0)];
            // The label before the curve is cut off.
            drawn(&points, Mark::Line, 27, 2)[1].chars().skip(7).collect::<String>()
        };
        assert_eq!(row(1.0), "⠉".repeat(20));
        assert_eq!(row(f64::NAN), format!("{0}⠁  ⠈{0}", "⠉".repeat(8)));
        assert!(drawn(&[(0.0, f64::NAN)], Mark::Dots, 30, 5).iter().all(String::is_empty));
    }

    #[test]
    fn a_line_stays_a_line_in_a_cloud_of_dots() {
        let area = Rect::new(0, 0, 27, 3);
        let cloud = (0..=400).map(|i| (f64::from(i % 21) / 2.0, f64::from(i) / 400.0)).collect();
        let line = vec![(0.0, 0.0), (10.0, 0.0)];
        let curve = |points, mark| Curve { points, mark, style: Style::new() };
        let plot = Plot {
            curves: vec![curve(cloud, Mark::Dots), curve(line, Mark::Line)],
            x: (0.0, 10.0),
            y: (f64::NAN, f64::NAN),
            figure: text::figure,
            axis: Style::new(),
        };
        let mut buf = Buffer::empty(area);
        plot.render(area, &mut buf);
        let row = |y| (7..27).map(|x| buf[(x, y)].symbol().to_owned()).collect::<String>();
        assert_eq!(row(2), "⣀".repeat(20));
        assert!(row(1).contains('⣿'), "{}", row(1));
    }

    #[test]
    fn nothing_is_drawn_outside_and_no_size_is_a_panic() {
        let points: Vec<(f64, f64)> = (-50..50).map(|i| (f64::from(i), f64::from(i).powi(9))).collect();
        for width in 0..40 {
            for height in 0..9 {
                drawn(&points, Mark::Line, width, height);
                drawn(&points, Mark::Sign('o'), width, height);
            }
        }
    }
}
