//! What an answer cost, for people and as JSON.

use std::time::Duration;

use serde::Serialize;
use speckv::engine::Totals;
use speckv_local::{calibration::View, units};

/// Sums over steps, with the controller that decided them.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    controller: String,
    generated: usize,
    generating: Duration,
    prompt_tokens_read: usize,
    reading: Duration,
    steps: usize,
    drafted: usize,
    accepted: usize,
    siblings: usize,
    siblings_accepted: usize,
    forced: usize,
    drafting: Duration,
    verifying: Duration,
    controlling: Duration,
    gamma_histogram: Vec<usize>,
    costs: Option<View>,
}

/// The JSON object `stats`. What cannot be known, such as an acceptance rate without drafts, is
/// null.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Generated tokens per second of all steps.
    pub tokens_per_second: Option<f64>,
    /// Tokens that the target read ahead of generation, per second.
    pub prompt_tokens_per_second: Option<f64>,
    /// Steps.
    pub steps: usize,
    /// Tokens drafted.
    pub drafted: usize,
    /// Draft tokens kept.
    pub accepted: usize,
    /// Second choices of the draft that were verified, among those drafted.
    pub siblings: usize,
    /// Those of them that were accepted.
    pub siblings_accepted: usize,
    /// Tokens that a grammar forced, without a draft.
    pub forced: usize,
    /// Accepted per drafted.
    pub acceptance_rate: Option<f64>,
    /// Tokens per step, forced ones apart.
    pub acceptance_length: Option<f64>,
    /// Seconds of drafting, including its signals and what the draft had to read first.
    pub draft_seconds: f64,
    /// Seconds of the target's passes.
    pub verify_seconds: f64,
    /// Seconds of planning, judging and learning.
    pub controller_seconds: f64,
    /// Steps by the number of tokens drafted, from 0.
    pub gamma_histogram: Vec<usize>,
    /// The controller's name with its parameters.
    pub controller: String,
    /// The costs that the controller began with; null where it asks for none.
    pub costs: Option<View>,
}

impl Stats {
    /// The sums of a sequence.
    #[must_use]
    pub fn of(totals: &Totals, controller: String, costs: Option<View>) -> Self {
        Stats {
            controller,
            costs,
            generated: totals.produced,
            generating: totals.times.total,
            prompt_tokens_read: totals.prompt_tokens,
            reading: totals.prefill,
            steps: totals.steps,
            drafted: totals.drafted,
            accepted: totals.accepted,
            siblings: totals.siblings,
            siblings_accepted: totals.siblings_accepted,
            forced: totals.forced,
            drafting: totals.times.draft + totals.times.catch_up,
            verifying: totals.times.verify,
            controlling: totals.times.controller,
            gamma_histogram: totals.gamma_histogram.clone(),
        }
    }

    /// Adds the sums of another answer.
    pub fn add(&mut self, other: &Stats) {
        self.controller.clone_from(&other.controller);
        self.costs.clone_from(&other.costs);
        self.generated += other.generated;
        self.generating += other.generating;
        self.prompt_tokens_read += other.prompt_tokens_read;
        self.reading += other.reading;
        self.steps += other.steps;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
        self.siblings += other.siblings;
        self.siblings_accepted += other.siblings_accepted;
        self.forced += other.forced;
        self.drafting += other.drafting;
        self.verifying += other.verifying;
        self.controlling += other.controlling;
        if self.gamma_histogram.len() < other.gamma_histogram.len() {
            self.gamma_histogram.resize(other.gamma_histogram.len(), 0);
        }
        for (sum, count) in self.gamma_histogram.iter_mut().zip(&other.gamma_histogram) {
            *sum += count;
        }
    }

    /// For JSON.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            tokens_per_second: rate(self.generated, self.generating),
            prompt_tokens_per_second: rate(self.prompt_tokens_read, self.reading),
            steps: self.steps,
            drafted: self.drafted,
            accepted: self.accepted,
            siblings: self.siblings,
            siblings_accepted: self.siblings_accepted,
            forced: self.forced,
            acceptance_rate: share(self.accepted, self.drafted),
            acceptance_length: share(self.generated - self.forced, self.steps),
            draft_seconds: self.drafting.as_secs_f64(),
            verify_seconds: self.verifying.as_secs_f64(),
            controller_seconds: self.controlling.as_secs_f64(),
            gamma_histogram: self.gamma_histogram.clone(),
            controller: self.controller.clone(),
            costs: self.costs.clone(),
        }
    }

    /// For people: one line on speed, one on speculation if there was any.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let report = self.report();
        let mut speed =
            format!("{} tokens in {}", self.generated, units::duration(self.generating));
        if let Some(rate) = report.tokens_per_second {
            speed.push_str(&format!(", {rate:.1} tokens per second"));
        }
        if let Some(rate) = report.prompt_tokens_per_second {
            speed.push_str(&format!(
                "; prompt: {} tokens, {rate:.0} per second",
                self.prompt_tokens_read
            ));
        }
        let mut lines = vec![speed];
        if let (Some(rate), Some(length)) = (report.acceptance_rate, report.acceptance_length) {
            lines.push(format!(
                "{}: {} of {} drafted tokens accepted ({:.0} %), {length:.2} tokens per step",
                self.controller,
                self.accepted,
                self.drafted,
                100.0 * rate
            ));
        }
        if self.forced > 0 {
            let share = 100.0 * self.forced as f64 / self.generated as f64;
            lines.push(format!(
                "grammar: {} tokens forced without a draft ({share:.0} %)",
                self.forced
            ));
        }
        lines
    }
}

fn rate(count: usize, time: Duration) -> Option<f64> {
    (count > 0 && !time.is_zero()).then(|| count as f64 / time.as_secs_f64())
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> Stats {
        Stats {
            controller: "fixed-4".into(),
            generated: 30,
            generating: Duration::from_secs(2),
            steps: 10,
            drafted: 40,
            accepted: 20,
            gamma_histogram: vec![0, 0, 0, 0, 10],
            ..Stats::default()
        }
    }

    #[test]
    fn rates_and_lengths_follow_the_words_of_the_design() {
        let report = stats().report();
        assert_eq!(report.tokens_per_second, Some(15.0));
        assert_eq!((report.acceptance_rate, report.acceptance_length), (Some(0.5), Some(3.0)));
        assert_eq!(report.prompt_tokens_per_second, None, "nothing was read ahead");
        let mut twice = stats();
        twice.add(&Stats { gamma_histogram: vec![1], steps: 1, generated: 1, ..Stats::default() });
        assert_eq!(
            (twice.steps, twice.gamma_histogram.as_slice()),
            (11, [1, 0, 0, 0, 10].as_slice())
        );
    }

    #[test]
    fn plain_decoding_has_no_line_on_speculation() {
        assert_eq!(stats().lines().len(), 2);
        assert_eq!(Stats { drafted: 0, accepted: 0, ..stats() }.lines().len(), 1);
    }
}
