//! What one sequence pays for a pass that several sequences share.
//!
//! Let `t(n)` be the seconds of a target pass over `n` rows, and `b` the sequences that wait for
//! the pass. Without this sequence's draft it has `F` rows (one for each sequence that decodes, and
//! chunks of prompts) and `D` rows of the other sequences' drafts. Each sequence pays an equal
//! share of a pass in which all `b` decode. The rows of a draft are paid in full by the sequence
//! that drafts, at what they add to the rows of all others, because all `b` wait for them.
//!
//! ```text
//! share of verifying k rows:  v(k) = t(b) / b  +  t(F + D + k - 1) - t(F + D)
//! share of a drafting round:  d(m) / m  for m sequences drafting in the round
//! ```
//!
//! The rows of prompts are in no share: they have to be read once, however the answers are made,
//! and a token more per step saves none of them. If they were shared, time would seem cheap during
//! a read, and all sequences would draft too far.
//!
//! In a pass without prompts the shares add up to the length of the step where `t` is straight. Let
//! the price `L` of time be the tokens that a sequence gets from a step divided by its shares; that
//! is the throughput of all together. Then one more draft token pays exactly if it raises that
//! throughput: `S > L (v(k + 1) - v(k))`. A sequence alone has `b = F = 1`, `D = 0` and `v(k) =
//! t(k)`. As `b` grows, `t(b) / b` falls and `t(F + D + k) - t(F + D + k - 1)` does not, so gamma
//! falls with load.

use super::CostModel;
use crate::{record::block_rows, source::Source};

/// The other rows and sequences of a pass, as one sequence sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedPass {
    /// Sequences that wait for the pass, this one included: `b`.
    pub sequences: usize,
    /// Rows of the pass without drafts, this sequence's own row included: `F`.
    pub rows: usize,
    /// Rows of others' drafts: `D`. What they will draft in the step is not known yet; it is taken
    /// to be what they verified in the step before.
    pub drafted_beside: usize,
    /// Other sequences that draft with the model, those included that begin or whose draft is
    /// reading: `m - 1`.
    pub drafting_beside: usize,
}

impl SharedPass {
    /// A pass with one sequence.
    pub const ALONE: SharedPass =
        SharedPass { sequences: 1, rows: 1, drafted_beside: 0, drafting_beside: 0 };

    /// A pass with `sequences - 1` others that all draft, and have verified `drafted` tokens each.
    #[must_use]
    pub fn crowd(sequences: usize, drafted: usize) -> Self {
        let sequences = sequences.max(1);
        let others = sequences - 1;
        SharedPass {
            sequences,
            rows: sequences,
            drafted_beside: others * drafted,
            drafting_beside: others,
        }
    }

    /// Whether no other sequence is in it.
    #[must_use]
    pub fn is_alone(self) -> bool {
        self.sequences <= 1 && self.rows <= 1 && self.drafted_beside == 0
    }
}

impl Default for SharedPass {
    fn default() -> Self {
        Self::ALONE
    }
}

impl CostModel {
    /// Seconds of plain decoding that one sequence pays: `t(b) / b`.
    #[must_use]
    pub fn shared_plain_seconds(&self, context: usize, pass: SharedPass) -> f64 {
        let sequences = pass.sequences.max(1);
        self.verify_seconds(sequences, context) / sequences as f64
    }

    /// Seconds of verifying `rows` rows (at least 1) that one sequence pays: `t(b) / b + t(F + D +
    /// rows - 1) - t(F + D)`.
    #[must_use]
    pub fn shared_verify_seconds(&self, rows: usize, context: usize, pass: SharedPass) -> f64 {
        let others = pass.rows + pass.drafted_beside;
        let added = self.verify_seconds(others + rows.max(1) - 1, context)
            - self.verify_seconds(others, context);
        self.shared_plain_seconds(context, pass) + added
    }

    /// Seconds of one token of `source` that one sequence pays: those of
    /// [`shared_draft_seconds`](Self::shared_draft_seconds) for the draft model, and for other
    /// sources [`source_seconds`](Self::source_seconds), which nothing is shared of.
    #[must_use]
    pub fn shared_source_seconds(&self, source: Source, context: usize, pass: SharedPass) -> f64 {
        if source == Source::MODEL {
            self.shared_draft_seconds(context, pass)
        } else {
            self.source_seconds(source, context)
        }
    }

    /// Seconds of drafting `tokens` tokens from `source` that one sequence pays: so many times
    /// those of one token, except where one pass proposes them all. Such a pass reads `behind`
    /// tokens of the text along; other sequences that draft are taken to have as many rows in it.
    #[must_use]
    pub fn shared_drafting_seconds(
        &self,
        source: Source,
        tokens: usize,
        behind: usize,
        context: usize,
        pass: SharedPass,
    ) -> f64 {
        if source != Source::PARALLEL {
            return tokens as f64 * self.shared_source_seconds(source, context, pass);
        }
        if tokens == 0 {
            return 0.0;
        }
        let drafting = pass.drafting_beside + 1;
        let rows = drafting * block_rows(tokens, behind);
        self.draft_round_seconds(rows, context) / drafting as f64
    }

    /// Seconds of a drafting round that one drafting sequence pays: `d(m) / m`.
    #[must_use]
    pub fn shared_draft_seconds(&self, context: usize, pass: SharedPass) -> f64 {
        let drafting = pass.drafting_beside + 1;
        self.draft_round_seconds(drafting, context) / drafting as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Samples, TimeSample, VerifySample};

    /// t(n) = 40 ms + 5 ms (n - 1), d(1) = 10 ms.
    fn measured() -> CostModel {
        let verify = (1..=17).map(|rows| VerifySample {
            rows,
            context: 0,
            seconds: 0.035 + 0.005 * rows as f64,
        });
        let samples = Samples {
            draft: vec![TimeSample { tokens: 1, context: 0, seconds: 0.010 }],
            verify: verify.collect(),
            ..Samples::default()
        };
        CostModel::from_samples(&samples).expect("good samples")
    }

    #[test]
    fn alone_the_shares_are_the_whole() {
        let cost = measured();
        for rows in 1..20 {
            let share = cost.shared_verify_seconds(rows, 0, SharedPass::ALONE);
            assert!((share - cost.verify_seconds(rows, 0)).abs() < 1e-12, "{rows} rows");
        }
        assert!((cost.shared_draft_seconds(0, SharedPass::ALONE) - 0.010).abs() < 1e-12);
    }

    #[test]
    fn shares_worked_by_hand() {
        let pass = SharedPass { sequences: 4, rows: 4, drafted_beside: 2, drafting_beside: 1 };
        let cost = measured();
        assert!((cost.shared_plain_seconds(0, pass) - 0.055 / 4.0).abs() < 1e-12); // t(4) = 55 ms
        assert!((cost.shared_verify_seconds(3, 0, pass) - (0.055 / 4.0 + 0.010)).abs() < 1e-12); // t(8) - t(6) = 10 ms
        assert!((cost.shared_draft_seconds(0, pass) - 0.010 * (45.0 / 40.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn the_shares_add_up_to_the_pass() {
        let cost = measured();
        for (sequences, drafted) in [(6, 0), (3, 2), (4, 3)] {
            let pass = SharedPass::crowd(sequences, drafted);
            let sum = sequences as f64 * cost.shared_verify_seconds(drafted + 1, 0, pass);
            let whole = cost.verify_seconds(sequences * (drafted + 1), 0);
            assert!(
                (sum - whole).abs() < 1e-12,
                "{sequences} sequences, {drafted} drafted: {sum} instead of {whole}"
            );
        }
    }

    #[test]
    fn shared_passes_teach_the_row_count_that_they_had() {
        let mut cost = measured();
        for _ in 0..300 {
            cost.observe_pass(8, 0, 2.0 * 0.075);
        }
        assert!(
            (cost.verify_seconds(8, 0) / 0.15 - 1.0).abs() < 0.1,
            "{}",
            cost.verify_seconds(8, 0)
        );
        let before = cost.clone();
        cost.observe_pass(0, 0, 1.0);
        assert_eq!(cost, before);
    }

    #[test]
    fn large_passes_teach_their_sizes_and_those_between() {
        let mut cost = measured();
        let (at_17, at_40) = (cost.verify_seconds(17, 0), cost.verify_seconds(40, 0));
        cost.observe_pass(40, 0, 9.0);
        let after_a_stall = cost.verify_seconds(40, 0);
        assert!((after_a_stall / at_40 - 1.0).abs() < 1e-9, "one pass moved {at_40}");
        for _ in 0..20 {
            cost.observe_pass(40, 0, 2.0 * at_40);
            cost.observe_pass(80, 500, 3.0 * at_40);
        }
        for (rows, expected) in [(40, 2.0 * at_40), (80, 3.0 * at_40), (60, 2.5 * at_40)] {
            let got = cost.verify_seconds(rows, 0);
            assert!((got / expected - 1.0).abs() < 0.05, "{rows}: {got} instead of {expected}");
        }
        assert!((cost.verify_seconds(17, 0) / at_17 - 1.0).abs() < 0.1, "17 rows moved");
        for rows in 1..300 {
            assert!(cost.verify_seconds(rows + 1, 0) >= cost.verify_seconds(rows, 0) - 1e-12);
        }
        let text = serde_json::to_string(&cost).expect("JSON");
        let back: CostModel = serde_json::from_str(&text).expect("a model");
        assert!((back.verify_seconds(60, 0) / cost.verify_seconds(60, 0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_machine_that_slows_down_is_seen_in_large_passes_alone() {
        let mut cost = measured();
        let (plain, large) = (cost.plain_seconds(0), cost.verify_seconds(64, 0));
        (0..20).for_each(|_| cost.observe_pass(64, 0, large));
        assert!((cost.plain_seconds(0) / plain - 1.0).abs() < 1e-6);
        (0..200).for_each(|_| cost.observe_pass(64, 0, 1.5 * large));
        assert!((cost.verify_seconds(64, 0) / large - 1.5).abs() < 0.1);
        let slower = cost.plain_seconds(0) / plain;
        assert!(slower > 1.1, "plain decoding is {slower} of what it was");
    }

    #[test]
    fn draft_rounds_are_measured_then_learned_and_without_either_grow_as_the_target_does() {
        let unmeasured = measured();
        let growth = unmeasured.verify_seconds(4, 0) / unmeasured.verify_seconds(1, 0);
        let got = unmeasured.draft_round_seconds(4, 0);
        assert!((got - 0.010 * growth).abs() < 1e-12, "{got}");

        let pass = |rows: usize, seconds: f64| VerifySample { rows, context: 0, seconds };
        let samples = Samples {
            draft: vec![TimeSample { tokens: 1, context: 0, seconds: 0.010 }],
            draft_passes: vec![pass(2, 0.011), pass(4, 0.014), pass(8, 0.022)],
            verify: vec![pass(1, 0.040), pass(17, 0.120)],
            catch_up: vec![],
        };
        let mut cost = CostModel::from_samples(&samples).expect("good samples");
        // Between the points it is straight, and beyond them what the upper half rose by goes on.
        for (rows, expected) in [(1, 0.010), (2, 0.011), (3, 0.0125), (8, 0.022), (12, 0.030)] {
            let got = cost.draft_round_seconds(rows, 0);
            assert!((got - expected).abs() < 1e-12, "{rows}: {got} instead of {expected}");
        }
        let two = SharedPass { drafting_beside: 1, ..SharedPass::crowd(2, 0) };
        assert!((cost.shared_draft_seconds(0, two) - 0.0055).abs() < 1e-12);
        for _ in 0..5 {
            cost.observe_round(4, 0, 0.020);
        }
        for (rows, expected) in [(1, 0.010), (4, 0.020), (2, 0.010 + 0.010 / 3.0)] {
            let got = cost.draft_round_seconds(rows, 0);
            assert!((got - expected).abs() < 1e-9, "{rows}: {got} instead of {expected}");
        }
        let text = serde_json::to_string(&cost).expect("JSON");
        let back: CostModel = serde_json::from_str(&text).expect("a model");
        assert!(
            (back.draft_round_seconds(6, 0) / cost.draft_round_seconds(6, 0) - 1.0).abs() < 1e-9
        );
    }
}
