//! A screen as an SVG picture, for the README.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use unicode_width::UnicodeWidthStr;

/// Pixels of a cell.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 10.0;
const BACKGROUND: &str = "#1b1d23";
const FOREGROUND: &str = "#d6d8de";

/// The colours of a dark terminal; the cockpit uses the terminal's own sixteen.
fn colour(color: Color, plain: &'static str) -> &'static str {
    match color {
        Color::Black => "#2a2d35",
        Color::Red | Color::LightRed => "#f2777a",
        Color::Green | Color::LightGreen => "#8fcf8a",
        Color::Yellow | Color::LightYellow => "#f0c674",
        Color::Blue | Color::LightBlue => "#7aa6da",
        Color::Magenta | Color::LightMagenta => "#c397d8",
        Color::Cyan | Color::LightCyan => "#70c0ba",
        Color::DarkGray | Color::Gray => "#8a8f98",
        Color::White => "#ffffff",
        _ => plain,
    }
}

/// The cell's text and background colours, and what makes its run of text another than the next one's.
fn style(cell: &Cell) -> (&'static str, &'static str, Modifier) {
    let (fg, bg) = (colour(cell.fg, FOREGROUND), colour(cell.bg, BACKGROUND));
    match cell.modifier.contains(Modifier::REVERSED) {
        true => (bg, fg, cell.modifier),
        false => (fg, bg, cell.modifier),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The whole picture. Each run of one style is placed by its own column and stretched to its cells, so that the picture
/// is right whatever font shows it.
pub fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (f64::from(buffer.area.width), f64::from(buffer.area.height));
    let (width, height) = (columns * CELL.0 + 2.0 * MARGIN, rows * CELL.1 + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', \
         'Noto Sans Mono CJK SC', monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n"
    );
    for y in 0..buffer.area.height {
        let mut x = 0;
        while x < buffer.area.width {
            let (start, looks) = (x, style(&buffer[(x, y)]));
            // Wide characters stand alone: fonts disagree about them most.
            let mut text = String::new();
            while x < buffer.area.width && style(&buffer[(x, y)]) == looks {
                let symbol = buffer[(x, y)].symbol();
                let cells = symbol.width().max(1) as u16;
                if cells > 1 && !text.is_empty() {
                    break;
                }
                text += symbol;
                x += cells;
                if cells > 1 {
                    break;
                }
            }
            run(&mut out, (start, y), x - start, &text, looks);
        }
    }
    out + "</svg>\n"
}

fn run(out: &mut String, at: (u16, u16), cells: u16, text: &str, looks: (&str, &str, Modifier)) {
    let (fg, bg, modifier) = looks;
    let (left, top) = (MARGIN + f64::from(at.0) * CELL.0, MARGIN + f64::from(at.1) * CELL.1);
    let width = f64::from(cells) * CELL.0;
    if bg != BACKGROUND {
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{bg}\"/>",
            CELL.1
        );
    }
    let blanks = text.len() - text.trim_start().len();
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    let mut more = String::new();
    if modifier.contains(Modifier::BOLD) {
        more += " font-weight=\"bold\"";
    }
    if modifier.contains(Modifier::DIM) {
        more += " opacity=\"0.6\"";
    }
    if modifier.contains(Modifier::UNDERLINED) {
        more += " text-decoration=\"underline\"";
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{fg}\"{more} textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
         xml:space=\"preserve\">{}</text>",
        left + blanks as f64 * CELL.0,
        top + CELL.1 * 0.74,
        text.width() as f64 * CELL.0,
        escape(text)
    );
}
