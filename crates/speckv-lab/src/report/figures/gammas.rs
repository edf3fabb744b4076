//! Acceptance, tokens per step and tokens per second against gamma, by compression.

use super::{
    super::{
        Content, Figure, Panel,
        plot::{Axis, Plot, Points, number},
    },
    cells::{Grid, Sums, interval},
    counted,
};
use crate::statistics::FEWEST_UNITS;

pub(super) const TITLE: &str = "What gamma does: acceptance, tokens per step, tokens per second";

pub(super) fn figure(grid: &Grid) -> Figure {
    let acceptance = |sums: &Sums| (sums.accepted, sums.drafted);
    let length = |sums: &Sums| (sums.whole_tokens, sums.whole_steps);
    let speed = |sums: &Sums| (sums.tokens, sums.seconds);
    let panels = vec![
        panel(grid, "Acceptance rate", "accepted / drafted", Some(1.0), acceptance),
        panel(grid, "Tokens per step", "tokens per step", None, length),
        panel(grid, "Speed", "tokens per second", None, speed),
    ];
    let bars = if grid.prompts() < FEWEST_UNITS {
        "too few for intervals".to_owned()
    } else {
        "bars: 95 % intervals over prompts".to_owned()
    };
    let caption = format!(
        "Gamma 0 is plain decoding. Longer drafts may only add tokens to a step; whether they add \
         tokens per second is a matter of what drafting and verifying cost, which compression \
         changes. {}; {bars}; lines stand a little apart for the eye. Steps that budget or an end \
         token cut are left out of the first two. Reading the prompt is in no number.",
        counted(grid.prompts(), "prompt")
    );
    Figure { id: "gamma", title: TITLE, caption, content: Content::Panels(panels) }
}

fn panel(
    grid: &Grid,
    title: &str,
    unit: &str,
    most: Option<f64>,
    of: fn(&Sums) -> (f64, f64),
) -> Panel {
    let series: Vec<(String, Points)> = grid
        .compressions
        .iter()
        .map(|compression| {
            let points = grid.gammas.iter().filter_map(|&gamma| {
                Some((
                    gamma as f64,
                    interval(&grid.by_prompt(compression, gamma, None, of))?.drawn(),
                ))
            });
            (compression.clone(), points.collect())
        })
        .collect();
    let greatest =
        series.iter().flat_map(|(_, points)| points.iter().map(|(_, interval)| interval.high));
    let y = most.map_or_else(|| Axis::from_zero(unit, greatest), |most| Axis::new(unit, 0.0, most));
    let gammas: Vec<f64> = grid.gammas.iter().map(|gamma| *gamma as f64).collect();
    let (first, last) =
        (gammas.first().copied().unwrap_or(0.0), gammas.last().copied().unwrap_or(1.0));
    let x = Axis::new("gamma", first - 0.4, last + 0.4).ticked(gammas);
    let names: Vec<String> = series.iter().map(|(name, _)| name.clone()).collect();
    let mut plot = Plot::new(&x, &y, &names);
    for (at, (name, points)) in series.iter().enumerate() {
        // Compressions that agree would hide each other.
        let aside = (at as f64 - (series.len() - 1) as f64 / 2.0) * 0.018 * (last - first + 0.8);
        let points = points.iter().map(|(gamma, interval)| (gamma + aside, *interval)).collect();
        plot.series(at, &points, |x, interval| {
            let ends = if grid.prompts() < FEWEST_UNITS {
                String::new()
            } else {
                format!(" [{}, {}]", number(interval.low), number(interval.high))
            };
            format!("{name}, gamma {:.0}: {}{ends}", x - aside, number(interval.value))
        });
    }
    plot.panel(title)
}
