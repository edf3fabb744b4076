//! How well the draft's signals predict acceptance.

use super::{
    super::figures::{
        grouped,
        signals::{Seen, area, seen, share},
    },
    Part, Table, percent,
};
use crate::{
    grid::{StepRow, folder::compression_rank},
    statistics::{Estimate, Interval},
};

/// From here on a draft token counts as sure.
const SURE: f64 = 0.9;
/// Below it counts as unsure.
const UNSURE: f64 = 0.5;

pub(super) fn part(steps: &[StepRow]) -> Option<Part> {
    let mut compressions: Vec<&str> = steps.iter().map(|step| step.compression.as_str()).collect();
    compressions.sort_by_key(|name| (compression_rank(name), *name));
    compressions.dedup();
    let all = seen(steps.iter());
    let sentence = said(&all)?;
    let mut rows = Vec::new();
    if compressions.len() > 1 {
        for compression in &compressions {
            rows.push(row(
                compression,
                &seen(steps.iter().filter(|step| step.compression == *compression)),
            ));
        }
    }
    rows.push(row("all", &all));
    let head = vec![
        "target",
        "outcomes seen",
        "accepted",
        "confidence 0.9 or more: accepted",
        "below 0.5: accepted",
        "accepted has the higher confidence",
        "the lower entropy",
    ];
    Some(Part {
        heading: "What do the draft's signals predict?",
        sentences: vec![sentence],
        table: Table { head, rows },
    })
}

fn said(all: &[Seen]) -> Option<String> {
    let confidence = area(all, |token| token.confidence)?;
    let head = match confidence.ends() {
        None => "These are too few prompts to say what they tell",
        Some((low, _)) if low > 0.5 => "They tell accepted tokens from rejected ones",
        Some((_, high)) if high < 0.5 => "They mislead",
        _ => "They tell nothing that these prompts could show",
    };
    let mut text = format!(
        "{head}: in {} of the pairs of an accepted and a rejected token the accepted one has the \
         higher confidence (50 % would be chance)",
        percent(&confidence)
    );
    if let Some(entropy) = area(all, |token| -token.entropy_bits) {
        text += &format!(", in {} the lower entropy", percent(&entropy));
    }
    if let (Some(sure), Some(unsure)) = shares(all) {
        text += &format!(
            ". Of tokens that the draft gave {SURE} or more, {} were accepted; of those below \
             {UNSURE}, {}",
            percent(&sure.into()),
            percent(&unsure.into())
        );
    }
    Some(text + ".")
}

/// Accepted among the sure and among the unsure.
fn shares(seen: &[Seen]) -> (Option<Interval>, Option<Interval>) {
    let of = |wanted: fn(&Seen) -> bool| share(seen.iter().filter(|token| wanted(token)));
    (of(|token| token.confidence >= SURE), of(|token| token.confidence < UNSURE))
}

fn row(name: &str, seen: &[Seen]) -> Vec<String> {
    let shown = |estimate: Option<Estimate>| {
        estimate.map_or_else(|| "-".into(), |estimate| percent(&estimate))
    };
    let (sure, unsure) = shares(seen);
    vec![
        name.to_owned(),
        grouped(seen.len()),
        shown(share(seen.iter()).map(Into::into)),
        shown(sure.map(Into::into)),
        shown(unsure.map(Into::into)),
        shown(area(seen, |token| token.confidence)),
        shown(area(seen, |token| -token.entropy_bits)),
    ]
}
