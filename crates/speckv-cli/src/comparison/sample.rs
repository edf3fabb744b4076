//! One answer of one contestant in numbers.

use speckv::engine::Totals;

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
    /// Seconds that the draft model took to read the prompt.
    pub draft_prompt_seconds: f64,
    /// Whether the tokens are those of plain decoding.
    pub identical: bool,
}

impl Sample {
    /// Names of the columns of [`row`](Self::row).
    pub const COLUMNS: &'static str = "round,prompt,task,setting,place,tokens,seconds,steps,drafted,verified,accepted,\
        catch_up_seconds,draft_seconds,verify_seconds,controller_seconds,draft_prompt_seconds,identical,gamma_histogram";

    /// The sample as a line of comma-separated values; counts of the histogram are separated by spaces, from gamma 0.
    #[must_use]
    pub fn row(&self, prompt: &str, task: &str, setting: &str) -> String {
        let totals = &self.totals;
        let seconds = |time: std::time::Duration| format!("{:.9}", time.as_secs_f64());
        let histogram: Vec<String> = totals.gamma_histogram.iter().map(ToString::to_string).collect();
        [
            self.round.to_string(),
            prompt.into(),
            task.into(),
            setting.into(),
            self.place.to_string(),
            totals.produced.to_string(),
            seconds(totals.times.total),
            totals.steps.to_string(),
            totals.drafted.to_string(),
            totals.verified.to_string(),
            totals.accepted.to_string(),
            seconds(totals.times.catch_up),
            seconds(totals.times.draft),
            seconds(totals.times.verify),
            seconds(totals.times.controller),
            format!("{:.9}", self.draft_prompt_seconds),
            self.identical.to_string(),
            histogram.join(" "),
        ]
        .join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_value_for_every_column() {
        let totals = Totals { produced: 7, gamma_histogram: vec![1, 0, 2], ..Totals::default() };
        let sample =
            Sample { round: 0, prompt: 3, contestant: 1, place: 2, totals, draft_prompt_seconds: 0.5, identical: true };
        let row = sample.row("code-01", "code", "speckv");
        assert_eq!(row.split(',').count(), Sample::COLUMNS.split(',').count());
        assert!(row.starts_with("0,code-01,code,speckv,2,7,") && row.ends_with(",true,1 0 2"), "{row}");
    }
}
