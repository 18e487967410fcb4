//! `images/*.png`: a plot of every tag, as SWIFT's `plot_images` makes them when a training ends.
//!
//! Nothing outside the program is needed: the font (`assets/fonts`, DejaVu Sans without all but ASCII) is in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use serde_json::{Map, Value};

use super::files::{file_error, write_atomic};
use super::tensorboard::scalars;
use crate::error::{Context, Error, Result};

/// Pixels.
const SIZE: (u32, u32) = (800, 500);
/// Drawn this much larger and averaged, since the library smooths no thick lines.
const FINE: u32 = 2;
const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans-ASCII.ttf");
const FAMILY: &str = "sans-serif";

/// The tag that is drawn with its smoothed curve.
const SMOOTHED: &str = "train/loss";
const SMOOTHING: f64 = 0.9;
/// Of raw values beneath a smoothed curve, and SWIFT's colour of all others.
const PALE: RGBColor = RGBColor(0xff, 0xcc, 0xbb);
const STRONG: RGBColor = RGBColor(0xff, 0x70, 0x43);
const GRID: RGBColor = RGBColor(0xec, 0xec, 0xec);
const FRAME: RGBColor = RGBColor(0x99, 0x99, 0x99);

/// Numbers on an axis, at most.
const LABELS: usize = 8;

/// A point: step and value.
type Point = (f64, f64);

/// Draws the entries of a `log_history` into `dir`, which is made: `train_loss.png` for the tag `train/loss`, and so on.
/// A figure that is not finite is a gap; a tag without any other has no plot.
///
/// # Errors
/// Error::User where `dir` cannot be written.
pub fn draw(dir: &Path, history: &[Map<String, Value>]) -> Result<()> {
    let mut tags: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for entry in history {
        let step = entry.get("step").and_then(Value::as_f64).unwrap_or(0.0);
        for (tag, value) in scalars(entry) {
            tags.entry(tag).or_default().push((step, value));
        }
    }
    // Not those above it: a run's directory that is gone is not made again.
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(file_error("create the directory", dir, &e));
        }
        _ => {}
    }
    register_font(FAMILY, FontStyle::Normal, FONT)
        .map_err(|_| Error::internal("the font of the plots cannot be read"))?;
    for (tag, points) in tags {
        if let Some(png) = picture(&tag, &points)? {
            write_atomic(&dir.join(format!("{}.png", tag.replace('/', "_"))), &png)?;
        }
    }
    Ok(())
}

/// TensorBoard's curve: a mean in which each value weighs `weight` times the one after it, and the first values do not
/// drag it to 0 (SWIFT's `tensorboard_smoothing`). Values that are not finite are passed over.
fn smooth(points: &[Point], weight: f64) -> Vec<Point> {
    let (mut sum, mut norm) = (0.0, 0.0);
    let finite = points.iter().filter(|(_, y)| y.is_finite());
    finite
        .map(|&(x, y)| {
            sum = sum * weight + y;
            norm = norm * weight + 1.0;
            (x, sum / norm)
        })
        .collect()
}

/// The PNG of a tag; None where nothing can be drawn.
fn picture(tag: &str, points: &[Point]) -> Result<Option<Vec<u8>>> {
    let of = |axis: fn(&Point) -> f64| range(points.iter().filter(|(_, y)| y.is_finite()).map(axis));
    let (Some(x), Some(y)) = (of(|p| p.0), of(|p| p.1)) else { return Ok(None) };
    let (width, height) = (SIZE.0 * FINE, SIZE.1 * FINE);
    let mut pixels = vec![0; (width * height * 3) as usize];
    // Its errors tell nothing but where in the library they arose, which may hold the drawing's borrow.
    chart(&mut pixels, (width, height), tag, points, (x, y))
        .map_err(|e| Error::internal(format!("drawing {tag}: {e}")))?;
    png(&average(&pixels, width)).map(Some)
}

/// What an axis shows: the values, and a twentieth of their range on either side.
fn range(values: impl Iterator<Item = f64> + Clone) -> Option<Range<f64>> {
    let min = values.clone().reduce(f64::min)?;
    let max = values.reduce(f64::max)?;
    let margin = match (max - min) / 20.0 {
        0.0 if max == 0.0 => 0.05,
        0.0 => max.abs() / 20.0,
        margin => margin,
    };
    let range = min - margin..max + margin;
    // Too wide for a number, or too narrow.
    ((range.end - range.start).is_finite() && range.start < min && max < range.end).then_some(range)
}

fn chart(
    pixels: &mut [u8],
    size: (u32, u32),
    tag: &str,
    points: &[Point],
    (x, y): (Range<f64>, Range<f64>),
) -> std::result::Result<(), String> {
    let told = |e: &dyn std::fmt::Display| e.to_string();
    let text = |points: u32| (FAMILY, points * FINE);
    let area = BitMapBackend::with_buffer(pixels, size).into_drawing_area();
    area.fill(&WHITE).map_err(|e| told(&e))?;
    let span = y.end - y.start;
    let mut chart = ChartBuilder::on(&area)
        .caption(tag, text(18))
        .margin(10 * FINE)
        .margin_right(20 * FINE)
        .x_label_area_size(45 * FINE)
        .y_label_area_size(70 * FINE)
        .build_cartesian_2d(x, y)
        .map_err(|e| told(&e))?;
    chart
        .configure_mesh()
        .x_desc("step")
        .x_labels(LABELS)
        .y_labels(LABELS)
        .x_label_formatter(&|x| step_label(*x))
        .y_label_formatter(&|y| label(*y, span))
        .label_style(text(13))
        .axis_desc_style(text(13))
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(FINE))
        .axis_style(FRAME.stroke_width(FINE))
        .draw()
        .map_err(|e| told(&e))?;
    let stroke = |colour: RGBColor| colour.stroke_width(2 * FINE);
    let smoothed = tag == SMOOTHED && points.len() > 1;
    let runs = || points.split(|(_, y)| !y.is_finite());
    let mut raw = None;
    for run in runs().filter(|run| run.len() > 1) {
        let series = LineSeries::new(run.iter().copied(), stroke(if smoothed { PALE } else { STRONG }));
        raw = Some(chart.draw_series(series).map_err(|e| told(&e))?);
    }
    if smoothed {
        let sample = |colour| {
            move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 20 * FINE as i32, y)], stroke(colour))
        };
        if let Some(raw) = raw {
            raw.label("as logged").legend(sample(PALE));
        }
        let curve = LineSeries::new(smooth(points, SMOOTHING), stroke(STRONG));
        let curve = chart.draw_series(curve).map_err(|e| told(&e))?;
        curve.label(format!("smoothed by {SMOOTHING}")).legend(sample(STRONG));
        let mut legend = chart.configure_series_labels();
        legend.legend_area_size(26 * FINE).margin(8 * FINE).label_font(text(13));
        legend.position(SeriesLabelPosition::UpperRight).draw().map_err(|e| told(&e))?;
    }
    // What has no neighbour is a dot.
    let dots = runs().filter(|run| run.len() == 1).flatten();
    let dots = dots.map(|&point| Circle::new(point, 3 * FINE, STRONG.filled()));
    chart.draw_series(dots).map_err(|e| told(&e))?;
    area.present().map_err(|e| told(&e))
}

/// Steps are whole.
fn step_label(x: f64) -> String {
    if x.fract().abs() < 1e-6 && x >= 0.0 { format!("{x:.0}") } else { String::new() }
}

/// A value with as many digits as tell it from its neighbours on an axis that is `span` long.
fn label(y: f64, span: f64) -> String {
    // Rounding leaves a trace where 0 is meant.
    let y = if y.abs() < span * 1e-6 { 0.0 } else { y };
    let digits = -(span / LABELS as f64).log10().floor() as i32;
    match digits {
        _ if y == 0.0 => "0".to_owned(),
        -5..=0 => format!("{y:.0}"),
        1..=4 => format!("{y:.*}", digits as usize),
        _ => format!("{y:.1e}"),
    }
}

/// The mean of each square of `FINE` x `FINE` pixels.
fn average(pixels: &[u8], width: u32) -> Vec<u8> {
    let (fine, row) = (FINE as usize, width as usize * 3);
    let mut out = Vec::with_capacity(pixels.len() / (fine * fine));
    for rows in pixels.chunks_exact(row * fine) {
        for x in 0..width as usize / fine {
            for channel in 0..3 {
                let place = |i: usize| rows[(i / fine) * row + (x * fine + i % fine) * 3 + channel];
                let sum: u32 = (0..fine * fine).map(|i| u32::from(place(i))).sum();
                out.push((sum / (FINE * FINE)) as u8);
            }
        }
    }
    out
}

fn png(pixels: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels));
    written.internal("encoding a plot")?;
    Ok(out)
}

#[cfg(test)]
#[path = "plots_tests.rs"]
mod tests;
