//! Seconds of a pass over n tokens.

use super::super::{
    Content, Figure, Panel,
    inputs::CurveFile,
    plot::{Axis, Plot, Points, number},
};
use crate::statistics::Interval;

pub(super) const TITLE: &str = "The cost curve: a pass over n tokens, t(n)";

pub(super) fn figure(curves: &[CurveFile]) -> Option<Figure> {
    let panels: Vec<Panel> = curves
        .iter()
        .filter(|file| file.curves.iter().any(|curve| !curve.passes.is_empty()))
        .map(panel)
        .collect();
    let first = curves.first()?;
    let caption = format!(
        "Medians with the quartiles of the rounds, {} threads, {}. The flatter the curve, the \
         cheaper it is to verify a draft; a pass of one token is plain decoding.",
        first.threads, first.instruction_set
    );
    (!panels.is_empty()).then_some(Figure {
        id: "cost",
        title: TITLE,
        caption,
        content: Content::Panels(panels),
    })
}

fn panel(file: &CurveFile) -> Panel {
    let series: Vec<(String, Points)> = file
        .curves
        .iter()
        .map(|curve| {
            let points = curve.passes.iter().map(|pass| {
                let spread = pass.milliseconds;
                (
                    pass.rows as f64,
                    Interval {
                        value: spread.median,
                        low: spread.lower_quartile,
                        high: spread.upper_quartile,
                    },
                )
            });
            (format!("after {} tokens", curve.context), points.collect())
        })
        .collect();
    let all = || series.iter().flat_map(|(_, points)| points);
    let most_rows = all().map(|(rows, _)| *rows).fold(1.0, f64::max);
    let names: Vec<String> = series.iter().map(|(name, _)| name.clone()).collect();
    let ticks = (1..=most_rows as usize).step_by(2).map(|rows| rows as f64).collect();
    let x = Axis::new("n, tokens in the pass", 0.5, most_rows + 0.5).ticked(ticks);
    let y = Axis::from_zero("milliseconds", all().map(|(_, interval)| interval.high));
    let mut plot = Plot::new(&x, &y, &names);
    for (at, (name, points)) in series.iter().enumerate() {
        plot.band(at, points);
        let one = points.first().map_or(1.0, |(_, interval)| interval.value);
        plot.series(at, points, |rows, interval| {
            format!(
                "{name}, n = {rows}: {} ms, {} times t(1)",
                number(interval.value),
                number(interval.value / one)
            )
        });
    }
    let name = file.model.rsplit(['/', '\\']).next().unwrap_or(&file.model);
    plot.panel(format!("{name}, {}", file.tensor_type))
}
