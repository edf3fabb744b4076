//! Acceptance against the draft's signals, token by token.

use std::collections::BTreeMap;

use super::{
    super::{
        Content, Figure, Panel,
        plot::{Axis, Plot, Points, number},
    },
    cells::SEED,
    grouped,
};
use crate::{
    grid::StepRow,
    statistics::{Estimate, Interval, Scored, area_under_curve, grouped_share},
};

pub(super) const TITLE: &str = "Signals of the draft against acceptance";

/// Signals of one token that was seen, and whether it was accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Largest probability.
    pub confidence: f64,
    /// In bits.
    pub entropy_bits: f64,
    /// Largest less second largest probability.
    pub margin: f64,
    /// What became of it.
    pub accepted: bool,
    /// Its prompt, from 0. Tokens of one prompt resemble each other, most of all the same one under
    /// several gammas: intervals count prompts, not tokens.
    pub prompt: usize,
}

/// Every draft token whose outcome was seen: up to the first rejection, one gamma above 0 after the
/// other.
#[must_use]
pub fn seen<'a>(steps: impl Iterator<Item = &'a StepRow>) -> Vec<Seen> {
    let (mut all, mut prompts) = (Vec::new(), BTreeMap::new());
    for step in steps {
        let next = prompts.len();
        let prompt = *prompts.entry(step.prompt_id.as_str()).or_insert(next);
        // An accepted end token hides what would have come after it.
        let known = step.verified.min(step.accepted + usize::from(step.last == "recovered"));
        for at in 0..known {
            let value = |list: &[f32]| list.get(at).copied().map_or(f64::NAN, f64::from);
            all.push(Seen {
                confidence: value(&step.draft_confidence),
                entropy_bits: value(&step.draft_entropy_bits),
                margin: value(&step.draft_margin),
                accepted: at < step.accepted,
                prompt,
            });
        }
    }
    all
}

/// Area under the ROC curve of a score for acceptance, with its interval over prompts: how often an
/// accepted token has more of it than a rejected one.
#[must_use]
pub fn area(seen: &[Seen], score: fn(&Seen) -> f64) -> Option<Estimate> {
    let scored = seen.iter().map(|token| Scored {
        score: score(token),
        positive: token.accepted,
        group: token.prompt,
    });
    area_under_curve(&scored.collect::<Vec<_>>(), SEED)
}

/// Share of accepted tokens, with its interval over prompts.
#[must_use]
pub fn share<'a>(seen: impl Iterator<Item = &'a Seen>) -> Option<Interval> {
    let mut prompts: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for token in seen {
        let counts = prompts.entry(token.prompt).or_default();
        counts.0 += usize::from(token.accepted);
        counts.1 += 1;
    }
    grouped_share(&prompts.into_values().collect::<Vec<_>>())
}

pub(super) fn figure(steps: &[StepRow]) -> Option<Figure> {
    let seen = seen(steps.iter());
    if seen.is_empty() {
        return None;
    }
    let most_bits = seen.iter().map(|token| token.entropy_bits).fold(1.0, f64::max).ceil().min(8.0);
    let panels = vec![
        panel(&seen, "Confidence", "largest probability", (0.0, 1.0), |token| token.confidence),
        panel(&seen, "Entropy", "bits", (0.0, most_bits), |token| token.entropy_bits),
        panel(&seen, "Margin", "largest less second probability", (0.0, 1.0), |token| token.margin),
    ];
    let say = |score: fn(&Seen) -> f64| {
        area(&seen, score).map_or_else(|| "-".into(), |area| number(area.value))
    };
    let caption = format!(
        "Each of {} draft tokens whose outcome was seen, in ten bins of equal width; bars: 95 % \
         intervals (Wilson's, with as many tokens as the differences between prompts leave). The \
         shade \
         below shows how the tokens spread over the bins. How often an accepted token ranks above \
         a rejected one: confidence {}, entropy {}, margin {}.",
        grouped(seen.len()),
        say(|token| token.confidence),
        say(|token| -token.entropy_bits),
        say(|token| token.margin)
    );
    Some(Figure { id: "signals", title: TITLE, caption, content: Content::Panels(panels) })
}

fn panel(
    seen: &[Seen],
    title: &str,
    label: &str,
    (low, high): (f64, f64),
    of: fn(&Seen) -> f64,
) -> Panel {
    const BINS: usize = 10;
    let mut bins: [Vec<&Seen>; BINS] = Default::default();
    for token in seen {
        bins[(((of(token) - low) / (high - low) * BINS as f64) as usize).min(BINS - 1)].push(token);
    }
    let width = (high - low) / BINS as f64;
    let middle = |bin: usize| low + width * (bin as f64 + 0.5);
    let mut plot =
        Plot::new(&Axis::new(label, low, high), &Axis::new("share accepted", 0.0, 1.0), &[]);
    let most = bins.iter().map(Vec::len).max().unwrap_or(1).max(1) as f64;
    for (bin, count) in bins.iter().map(Vec::len).enumerate() {
        let (left, right) =
            (plot.x.at(middle(bin) - width / 2.0), plot.x.at(middle(bin) + width / 2.0));
        let (base, top) = (plot.y.at(0.0), plot.y.at(0.25 * count as f64 / most));
        plot.canvas.rect(
            "count",
            (left + 1.0, top),
            (right - left - 2.0, base - top),
            0.22,
            &format!("{count} tokens"),
        );
    }
    let points: Points = bins
        .iter()
        .enumerate()
        .filter_map(|(bin, tokens)| Some((middle(bin), share(tokens.iter().copied())?)))
        .collect();
    plot.series(0, &points, |at, interval| {
        format!(
            "{} +- {}: {} [{}, {}]",
            number(at),
            number(width / 2.0),
            number(interval.value),
            number(interval.low),
            number(interval.high)
        )
    });
    plot.panel(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_outcomes_that_were_seen_count() {
        let step = |accepted: usize, verified: usize, last: &str| StepRow {
            accepted,
            verified,
            last: last.into(),
            draft_confidence: vec![0.9, 0.8, 0.7],
            draft_entropy_bits: vec![0.1, 0.2, 0.3],
            draft_margin: vec![0.5; 3],
            ..StepRow::default()
        };
        let labels = |step: &StepRow| {
            seen(std::iter::once(step)).iter().map(|token| token.accepted).collect::<Vec<_>>()
        };
        assert_eq!(
            labels(&step(1, 3, "recovered")),
            [true, false],
            "nothing is known after the rejection"
        );
        assert_eq!(labels(&step(3, 3, "bonus")), [true; 3]);
        assert_eq!(labels(&step(2, 3, "accepted")), [true; 2], "an end token hides the rest");
        let tokens = seen([step(1, 3, "recovered")].iter());
        let value = |score: fn(&Seen) -> f64| area(&tokens, score).map(|interval| interval.value);
        assert_eq!(value(|token| token.confidence), Some(1.0));
        assert_eq!(value(|token| token.entropy_bits), Some(0.0));
    }
}
