//! What the numbers say, in plain words and with intervals.

use super::{
    Inputs,
    figures::{
        cells::{Grid, interval},
        signals::{Seen, area, seen},
    },
    inputs::Contest,
    plot::number,
};
use crate::statistics::{Interval, throughput::Ratio};

/// Sentences, the most important first; none without inputs that say something.
#[must_use]
pub fn findings(inputs: &Inputs) -> Vec<String> {
    let mut said = Vec::new();
    if let Some((_, steps)) = &inputs.grid {
        let grid = Grid::of(steps);
        for compression in &grid.compressions {
            said.extend(best(&grid, compression));
        }
        said.extend(acceptance(&grid));
        let seen = seen(steps);
        said.extend(signals(&seen));
    }
    said.extend(inputs.contests.iter().filter_map(controller));
    said
}

fn shown(ratio: &Ratio) -> String {
    format!("{:.2} [{:.2}, {:.2}]", ratio.value, ratio.low, ratio.high)
}

/// `1 %` faster or slower, in words that match the interval.
fn verdict(ratio: &Ratio) -> &'static str {
    match ratio {
        Ratio { low, .. } if *low > 1.0 => "faster",
        Ratio { high, .. } if *high < 1.0 => "slower",
        _ => "not to be told from it in speed",
    }
}

fn best(grid: &Grid, compression: &str) -> Option<String> {
    let fastest = grid.fastest(compression, None)?;
    let longest = *grid.gammas.last()?;
    let of_tasks: Vec<String> = grid
        .tasks
        .iter()
        .filter_map(|task| Some(format!("{task} {}", grid.fastest(compression, Some(task))?)))
        .collect();
    let speed = interval(&grid.speeds(compression, fastest, None))?;
    let mut text = format!(
        "{compression}: gamma {fastest} is fastest over all prompts, {} tokens per second [{}, {}]",
        number(speed.value),
        number(speed.low),
        number(speed.high)
    );
    if fastest != 0
        && grid.gammas.first() == Some(&0)
        && let Some(ratio) = grid.ratio(compression, fastest, 0, None)
    {
        text += &format!(", {} times plain decoding", shown(&ratio));
    }
    if fastest != longest
        && let Some(ratio) = grid.ratio(compression, longest, fastest, None)
    {
        text += &format!("; gamma {longest}, which makes the most tokens per step, is at {} of that", shown(&ratio));
    }
    Some(format!("{text}. By task: {}.", of_tasks.join(", ")))
}

fn acceptance(grid: &Grid) -> Option<String> {
    let gamma = grid.gammas.iter().copied().find(|gamma| *gamma >= 4).or(grid.gammas.last().copied())?;
    if gamma == 0 {
        return None;
    }
    let rates: Vec<String> = grid
        .compressions
        .iter()
        .filter_map(|compression| {
            let Interval { value, low, high } =
                interval(&grid.by_prompt(compression, gamma, None, |sums| (sums.accepted, sums.drafted)))?;
            Some(format!("{compression} {:.0} % [{:.0}, {:.0}]", 100.0 * value, 100.0 * low, 100.0 * high))
        })
        .collect();
    (!rates.is_empty()).then(|| format!("Acceptance rate at gamma {gamma}: {}.", rates.join(", ")))
}

fn signals(seen: &[Seen]) -> Option<String> {
    let (confidence, entropy) = (area(seen, |token| token.confidence)?, area(seen, |token| -token.entropy_bits)?);
    let share = |wanted: fn(&Seen) -> bool| {
        let chosen: Vec<&Seen> = seen.iter().filter(|token| wanted(token)).collect();
        let accepted = chosen.iter().filter(|token| token.accepted).count();
        crate::statistics::wilson(accepted, chosen.len())
    };
    let (sure, unsure) = (share(|token| token.confidence >= 0.9)?, share(|token| token.confidence < 0.5)?);
    let percent = |interval: Interval| {
        format!("{:.0} % [{:.0}, {:.0}]", 100.0 * interval.value, 100.0 * interval.low, 100.0 * interval.high)
    };
    Some(format!(
        "The draft knows when it is right: of tokens with a confidence of 0.9 or more, {} were accepted, below 0.5, {}. An accepted token has the higher confidence in {:.0} % of the \
         pairs with a rejected one, the lower entropy in {:.0} %.",
        percent(sure),
        percent(unsure),
        100.0 * confidence,
        100.0 * entropy
    ))
}

fn controller(contest: &Contest) -> Option<String> {
    let ours = contest.rows.iter().find(|row| row.name == "speckv")?;
    let ratio = ours.ratio?;
    let fixed = contest.rows.iter().filter(|row| row.name.starts_with("fixed:") && !row.name.contains('@'));
    let best = fixed
        .filter(|row| row.tokens_per_second.is_some())
        .max_by(|a, b| a.tokens_per_second.unwrap_or(0.0).total_cmp(&b.tokens_per_second.unwrap_or(0.0)));
    let mut text = format!(
        "The controller speckv against {}{}: {} times its tokens per second, {}",
        contest.baseline,
        if contest.name.is_empty() { String::new() } else { format!(" ({})", contest.name) },
        shown(&ratio),
        verdict(&ratio)
    );
    if let Some(p) = ours.holm_p {
        text += &if p < 1e-4 { format!(", Holm's p {p:.0e}") } else { format!(", Holm's p {p:.4}") };
    }
    if let Some((best, ours)) = best.and_then(|best| Some((best, ours.tokens_per_second?)))
        && let Some(speed) = best.tokens_per_second
    {
        text += &format!("; {:.2} times that of {}, the best fixed gamma in hindsight", ours / speed, best.name);
    }
    Some(text + ".")
}
