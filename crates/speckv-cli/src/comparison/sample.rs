//! One answer of one contestant in numbers.

use speckv::engine::Totals;
use speckv_lab::columns::{Column, Values};

use super::{Contestant, race::Text, statistics::Cell};

/// Where the head of an answer ends: what a controller does with a draft that it does not know yet
/// happens within the first tokens, and is told apart from what it does afterwards.
pub const HEAD_TOKENS: usize = 64;

/// One contestant on one prompt in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Round, from 0.
    pub round: usize,
    /// Index of the prompt.
    pub prompt: usize,
    /// Index of the contestant.
    pub contestant: usize,
    /// Place in the order of its block, from 0.
    pub place: usize,
    /// What the steps did and cost; the prompt was read before, by target and draft.
    pub totals: Totals,
    /// Tokens and seconds up to the end of the step that made token [`HEAD_TOKENS`]; all of them in
    /// a shorter answer.
    pub head: Cell,
    /// Seconds that the draft model took to read the prompt.
    pub draft_prompt_seconds: f64,
    /// Joules of the steps above what the idle machine takes; `None` where they are not counted.
    pub joules: Option<f64>,
    /// Whether the tokens are those of plain decoding.
    pub identical: bool,
}

impl Sample {
    /// Tokens and seconds after the head.
    #[must_use]
    pub fn tail(&self) -> Cell {
        let all = Cell::of(&self.totals);
        Cell { tokens: all.tokens - self.head.tokens, seconds: all.seconds - self.head.seconds }
    }

    /// Name of the Parquet file's message.
    pub const TABLE: &'static str = "speckv_samples";
    /// Key of the Parquet file's metadata that holds the report as JSON.
    pub const REPORT_KEY: &'static str = "speckv.report";

    /// Samples as columns, with the names that `texts` and `contestants` have for their indices.
    /// `gamma_histogram` counts steps by their gamma, from 0.
    #[must_use]
    pub fn columns(samples: &[Self], texts: &[Text], contestants: &[Contestant]) -> Vec<Column> {
        let whole = |value: fn(&Self) -> usize| {
            Values::Whole(
                samples.iter().map(|sample| value(sample).try_into().unwrap_or(i64::MAX)).collect(),
            )
        };
        let text =
            |value: &dyn Fn(&Self) -> String| Values::Text(samples.iter().map(value).collect());
        let seconds = |value: fn(&Self) -> f64| {
            Values::Number(samples.iter().map(|sample| Some(value(sample))).collect())
        };
        let histogram = |sample: &Self| {
            sample
                .totals
                .gamma_histogram
                .iter()
                .map(|&count| count.try_into().unwrap_or(u32::MAX))
                .collect()
        };
        let table = [
            ("round", whole(|sample| sample.round)),
            ("prompt", text(&|sample| texts[sample.prompt].id.clone())),
            ("task", text(&|sample| texts[sample.prompt].task.clone())),
            ("setting", text(&|sample| contestants[sample.contestant].name.clone())),
            ("place", whole(|sample| sample.place)),
            ("tokens", whole(|sample| sample.totals.produced)),
            ("seconds", seconds(|sample| sample.totals.times.total.as_secs_f64())),
            ("head_tokens", whole(|sample| sample.head.tokens as usize)),
            ("head_seconds", seconds(|sample| sample.head.seconds)),
            ("steps", whole(|sample| sample.totals.steps)),
            ("drafted", whole(|sample| sample.totals.drafted)),
            ("verified", whole(|sample| sample.totals.verified)),
            ("accepted", whole(|sample| sample.totals.accepted)),
            ("catch_up_seconds", seconds(|sample| sample.totals.times.catch_up.as_secs_f64())),
            ("draft_seconds", seconds(|sample| sample.totals.times.draft.as_secs_f64())),
            ("verify_seconds", seconds(|sample| sample.totals.times.verify.as_secs_f64())),
            ("controller_seconds", seconds(|sample| sample.totals.times.controller.as_secs_f64())),
            ("draft_prompt_seconds", seconds(|sample| sample.draft_prompt_seconds)),
            ("joules", Values::Number(samples.iter().map(|sample| sample.joules).collect())),
            ("identical", Values::Flag(samples.iter().map(|sample| sample.identical).collect())),
            ("gamma_histogram", Values::Wholes(samples.iter().map(histogram).collect())),
        ];
        table.into_iter().map(|(name, values)| Column { name, values }).collect()
    }
}

#[cfg(test)]
mod tests {
    use speckv_lab::columns;

    use super::*;
    use crate::comparison::contestant;

    #[test]
    fn both_files_have_the_same_values() {
        let totals = Totals { produced: 7, gamma_histogram: vec![1, 0, 2], ..Totals::default() };
        let sample = Sample {
            round: 0,
            prompt: 0,
            contestant: 0,
            place: 2,
            totals,
            head: Cell { tokens: 5.0, seconds: 0.25 },
            draft_prompt_seconds: 0.5,
            joules: Some(2.5),
            identical: true,
        };
        assert_eq!(sample.tail().tokens, 2.0);
        let texts = [Text { id: "code-01".into(), task: "code".into(), tokens: Vec::new() }];
        let contestants = contestant::list(&[], &["speckv"], true).expect("a contestant");
        let name =
            contestants.iter().position(|contestant| contestant.name == "speckv").expect("speckv");
        let sample = Sample { contestant: name, ..sample };
        let table = Sample::columns(&[sample], &texts, &contestants);
        let csv = String::from_utf8(columns::to_csv(&table).expect("CSV")).expect("text");
        let row = csv.lines().nth(1).expect("a row");
        assert!(
            row.starts_with("0,code-01,code,speckv,2,7,0,5,0.25,")
                && row.ends_with(",0.5,2.5,true,1 0 2"),
            "{row}"
        );
        let parquet =
            columns::to_parquet(Sample::TABLE, &table, Sample::REPORT_KEY, "{}").expect("Parquet");
        assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
    }
}
