//! Records as columns: names, types and values in one place. `docs/reference/steps.md` explains
//! them; a test holds the two together.

use super::StepRow;
pub use crate::columns::{Column, Values};

/// Columns that are measurements of time, or depend on them: they differ between two recordings of
/// the same thing.
pub const TIMES: [&str; 4] =
    ["catch_up_seconds", "draft_seconds", "verify_seconds", "total_seconds"];

/// All columns, the paper's first and under its names.
#[must_use]
pub fn columns(rows: &[StepRow]) -> Vec<Column> {
    let text =
        |f: fn(&StepRow) -> &String| Values::Text(rows.iter().map(|row| f(row).clone()).collect());
    let whole =
        |f: fn(&StepRow) -> usize| Values::Whole(rows.iter().map(|row| f(row) as i64).collect());
    let number = |f: fn(&StepRow) -> Option<f64>| Values::Number(rows.iter().map(f).collect());
    let numbers = |f: fn(&StepRow) -> &Vec<f32>| {
        Values::Numbers(rows.iter().map(|row| f(row).clone()).collect())
    };
    let wholes = |f: fn(&StepRow) -> &Vec<u32>| {
        Values::Wholes(rows.iter().map(|row| f(row).clone()).collect())
    };
    let table = vec![
        ("compression", text(|row| &row.compression)),
        ("gamma", whole(|row| row.gamma)),
        ("task", text(|row| &row.task)),
        ("step", whole(|row| row.step)),
        ("accepted", whole(|row| row.accepted)),
        ("acceptance_rate", number(StepRow::acceptance_rate)),
        ("tokens_produced", whole(|row| row.tokens_produced)),
        ("mean_draft_entropy", number(|row| StepRow::mean(&row.draft_entropy_bits))),
        ("mean_draft_confidence", number(|row| StepRow::mean(&row.draft_confidence))),
        ("max_draft_entropy", number(|row| StepRow::max(&row.draft_entropy_bits))),
        ("min_draft_confidence", number(|row| StepRow::min(&row.draft_confidence))),
        ("prompt_id", text(|row| &row.prompt_id)),
        ("split", text(|row| &row.split)),
        ("seed", Values::Whole(rows.iter().map(|row| row.seed.cast_signed()).collect())),
        ("temperature", number(|row| Some(row.temperature))),
        ("place", whole(|row| row.place)),
        ("context", whole(|row| row.context)),
        ("drafted", whole(StepRow::drafted)),
        ("verified", whole(|row| row.verified)),
        ("last", text(|row| &row.last)),
        ("censored", Values::Flag(rows.iter().map(|row| row.censored).collect())),
        (TIMES[0], number(|row| Some(row.catch_up_seconds))),
        (TIMES[1], number(|row| Some(row.draft_seconds))),
        (TIMES[2], number(|row| Some(row.verify_seconds))),
        (TIMES[3], number(|row| Some(row.total_seconds))),
        ("draft_entropy_bits", numbers(|row| &row.draft_entropy_bits)),
        ("draft_confidence", numbers(|row| &row.draft_confidence)),
        ("draft_margin", numbers(|row| &row.draft_margin)),
        ("draft_tokens", wholes(|row| &row.draft_tokens)),
        ("tokens", wholes(|row| &row.tokens)),
        ("pieces", Values::Texts(rows.iter().map(|row| row.pieces.clone()).collect())),
    ];
    table.into_iter().map(|(name, values)| Column { name, values }).collect()
}
