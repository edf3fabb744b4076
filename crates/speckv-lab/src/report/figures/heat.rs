//! Tokens per second by task and gamma, a map per compression.

use super::{
    super::{
        Content, Figure, Panel,
        plot::number,
        svg::{Anchor, Canvas, WIDTH},
    },
    cells::Grid,
};
use crate::statistics::throughput::throughput;

pub(super) const TITLE: &str = "Tokens per second by task, gamma and compression";

const LEFT: f64 = 92.0;
const ROW: f64 = 30.0;

pub(super) fn figure(grid: &Grid) -> Figure {
    let panels = grid.compressions.iter().map(|compression| panel(grid, compression)).collect();
    let caption = "The stronger the colour, the faster, each row by itself; the frame marks the \
        row's fastest gamma. Gamma 0 is plain decoding."
        .into();
    Figure { id: "heat", title: TITLE, caption, content: Content::Panels(panels) }
}

fn panel(grid: &Grid, compression: &str) -> Panel {
    let mut canvas = Canvas::default();
    let rows: Vec<(&str, Option<&str>)> = grid
        .tasks
        .iter()
        .map(|task| (task.as_str(), Some(task.as_str())))
        .chain([("all", None)])
        .collect();
    let width = (WIDTH - LEFT - 4.0) / grid.gammas.len().max(1) as f64;
    for (at, gamma) in grid.gammas.iter().enumerate() {
        canvas.text(
            "tick",
            (LEFT + width * (at as f64 + 0.5), 12.0),
            Anchor::Middle,
            &gamma.to_string(),
        );
    }
    let mut frames = Vec::new();
    for (row, (name, task)) in rows.iter().enumerate() {
        // A gap before the row over all tasks.
        let y = 20.0 + ROW * row as f64 + if task.is_none() { 6.0 } else { 0.0 };
        canvas.text("cell", (LEFT - 8.0, y + ROW / 2.0 + 4.0), Anchor::End, name);
        let speeds: Vec<Option<f64>> = grid
            .gammas
            .iter()
            .map(|&gamma| throughput(&grid.speeds(compression, gamma, *task)))
            .collect();
        let known = || speeds.iter().flatten();
        let (low, high) =
            (known().copied().fold(f64::INFINITY, f64::min), known().copied().fold(0.0, f64::max));
        for (at, speed) in speeds.iter().enumerate() {
            let x = LEFT + width * at as f64;
            let Some(speed) = *speed else { continue };
            let share = if high > low { (speed - low) / (high - low) } else { 0.5 };
            let opacity = 0.08 + 0.82 * share;
            let words =
                format!("{name}, gamma {}: {} tokens per second", grid.gammas[at], number(speed));
            canvas.rect("heat", (x + 1.0, y + 1.0), (width - 2.0, ROW - 2.0), opacity, &words);
            let class = if opacity > 0.5 { "cell inverse" } else { "cell" };
            canvas.text(
                class,
                (x + width / 2.0, y + ROW / 2.0 + 4.0),
                Anchor::Middle,
                &number(speed),
            );
            if speed == high {
                frames.push((x, y));
            }
        }
    }
    for (x, y) in frames {
        canvas.rect(
            "frame",
            (x + 1.5, y + 1.5),
            (width - 3.0, ROW - 3.0),
            1.0,
            "the row's fastest",
        );
    }
    let bottom = 20.0 + ROW * rows.len() as f64 + 6.0;
    canvas.text("label", (LEFT + (WIDTH - LEFT) / 2.0, bottom + 18.0), Anchor::Middle, "gamma");
    canvas.panel(compression, bottom + 24.0)
}
