//! Axes, scales and series.

use super::svg::{Anchor, Canvas, WIDTH};
use crate::statistics::Interval;

/// Numbers to places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    from: (f64, f64), // numbers
    to: (f64, f64),   // places
}

impl Scale {
    /// The place of a number.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        let span = self.from.1 - self.from.0;
        let share = if span > 0.0 { (value - self.from.0) / span } else { 0.5 };
        self.to.0 + share * (self.to.1 - self.to.0)
    }
}

/// Round numbers from `low` to `high`, about `count` of them: steps of 1, 2 or 5 times a power of
/// ten.
#[must_use]
pub fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = high - low;
    if !(span > 0.0 && span.is_finite()) || count == 0 {
        return vec![low];
    }
    let rough = span / count as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).ceil() as i64;
    (first..).map(|at| at as f64 * step).take_while(|tick| *tick <= high + 1e-9 * span).collect()
}

/// A number with as many digits as its size deserves.
#[must_use]
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A tick's number: no more decimals than its neighbours need.
fn tick(value: f64, step: f64) -> String {
    let decimals = if step >= 1.0 { 0 } else { (-step.log10()).ceil() as usize };
    format!("{value:.decimals$}")
}

/// Title and range of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Name, with the unit.
    pub label: String,
    /// Least and greatest number.
    pub range: (f64, f64),
    /// Numbers with a tick; none for round ones.
    pub ticks: Vec<f64>,
}

impl Axis {
    /// An axis with round ticks.
    #[must_use]
    pub fn new(label: &str, low: f64, high: f64) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        Axis { label: label.into(), range: (low, high), ticks: ticks(low, high, 5) }
    }

    /// An axis from 0 to a little above the greatest of some numbers.
    #[must_use]
    pub fn from_zero(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        Axis::new(label, 0.0, if most > 0.0 { most * 1.06 } else { 1.0 })
    }

    /// The same with ticks at these numbers.
    #[must_use]
    pub fn ticked(self, ticks: Vec<f64>) -> Self {
        Axis { ticks, ..self }
    }
}

/// A frame with two axes to draw into.
#[derive(Debug, Clone)]
pub struct Plot {
    /// What is drawn on.
    pub canvas: Canvas,
    /// Horizontal scale.
    pub x: Scale,
    /// Vertical scale.
    pub y: Scale,
    /// Height of the panel.
    pub height: f64,
}

/// Values of a series: places, values with intervals.
pub type Points = Vec<(f64, Interval)>;

const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const BOTTOM: f64 = 40.0;

impl Plot {
    /// A frame; `series` are named in a legend if there are several.
    #[must_use]
    pub fn new(x: &Axis, y: &Axis, series: &[String]) -> Self {
        let mut canvas = Canvas::default();
        let top = 10.0 + if series.len() > 1 { legend(&mut canvas, series) } else { 0.0 };
        let height = top + 190.0 + BOTTOM;
        let bottom = height - BOTTOM;
        let plot_x = Scale { from: x.range, to: (LEFT, WIDTH - RIGHT) };
        let plot_y = Scale { from: y.range, to: (bottom, top) };
        let step = |ticks: &[f64]| {
            ticks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min).min(1e9)
        };
        for &value in &y.ticks {
            let at = plot_y.at(value);
            canvas.line("grid", (LEFT, at), (WIDTH - RIGHT, at));
            canvas.text("tick", (LEFT - 6.0, at + 4.0), Anchor::End, &tick(value, step(&y.ticks)));
        }
        canvas.line("axis", (LEFT, bottom), (WIDTH - RIGHT, bottom));
        for &value in &x.ticks {
            let at = plot_x.at(value);
            canvas.line("axis", (at, bottom), (at, bottom + 4.0));
            canvas.text("tick", (at, bottom + 16.0), Anchor::Middle, &tick(value, step(&x.ticks)));
        }
        canvas.text(
            "label",
            ((LEFT + WIDTH - RIGHT) / 2.0, height - 6.0),
            Anchor::Middle,
            &x.label,
        );
        canvas.upright("label", (12.0, (top + bottom) / 2.0), &y.label);
        Plot { canvas, x: plot_x, y: plot_y, height }
    }

    /// A line with marks and intervals; `words` describes a point in words.
    pub fn series(
        &mut self,
        series: usize,
        points: &Points,
        words: impl Fn(f64, &Interval) -> String,
    ) {
        let class = |kind: &str| format!("{kind} s{}", series % super::svg::SERIES);
        let place = |x: f64, y: f64| (self.x.at(x), self.y.at(y));
        for (x, interval) in points {
            self.canvas.line(&class("w"), place(*x, interval.low), place(*x, interval.high));
        }
        let line: Vec<(f64, f64)> =
            points.iter().map(|(x, interval)| place(*x, interval.value)).collect();
        self.canvas.polyline(&class("l"), &line);
        for ((x, interval), at) in points.iter().zip(line) {
            self.canvas.mark(series, at, &words(*x, interval));
        }
    }

    /// An area between the ends of intervals.
    pub fn band(&mut self, series: usize, points: &Points) {
        let upper = points.iter().map(|(x, interval)| (self.x.at(*x), self.y.at(interval.high)));
        let lower =
            points.iter().rev().map(|(x, interval)| (self.x.at(*x), self.y.at(interval.low)));
        let area: Vec<(f64, f64)> = upper.chain(lower).collect();
        self.canvas.polygon(&format!("band s{}", series % super::svg::SERIES), &area);
    }

    /// Ends the drawing.
    #[must_use]
    pub fn panel(self, title: impl Into<String>) -> super::Panel {
        self.canvas.panel(title, self.height)
    }
}

/// Marks with names, wrapped; gives the height that they took.
fn legend(canvas: &mut Canvas, series: &[String]) -> f64 {
    let (mut x, mut y) = (LEFT, 12.0);
    for (at, name) in series.iter().enumerate() {
        let width = 24.0 + 6.6 * name.chars().count() as f64;
        if at > 0 && x + width > WIDTH {
            (x, y) = (LEFT, y + 17.0);
        }
        canvas.mark(at, (x + 4.0, y - 4.0), name);
        canvas.text("note", (x + 13.0, y), Anchor::Start, name);
        x += width;
    }
    y + 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(0.0, 37.0, 5), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(3.0, 3.0, 5), [3.0]);
        for high in [1e-6, 0.3, 7.0, 123.0, 9.9e9] {
            let ticks = ticks(0.0, high, 5);
            assert!(
                (2..=7).contains(&ticks.len()) && ticks.iter().all(|tick| *tick <= high * 1.0001),
                "{high}: {ticks:?}"
            );
        }
    }

    #[test]
    fn scales_reach_both_ends_and_survive_a_point() {
        let scale = Scale { from: (2.0, 4.0), to: (10.0, 30.0) };
        assert_eq!((scale.at(2.0), scale.at(3.0), scale.at(4.0)), (10.0, 20.0, 30.0));
        assert_eq!(Scale { from: (1.0, 1.0), to: (0.0, 8.0) }.at(1.0), 4.0);
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([0.123, 9.994, 33.84, 104.4].map(number), ["0.12", "9.99", "33.8", "104"]);
    }
}
