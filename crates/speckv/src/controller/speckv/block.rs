//! How far a pass that proposes several tokens is expected to be right, position by position.

use super::prices::Prices;
use crate::{draft::PARALLEL_DEPTH, record::StepRecord};

/// Acceptance of each position of a pass after the first, given that those before it are accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Positions([f64; PARALLEL_DEPTH]);

/// Acceptance of a position before anything was seen: what a draft shows that was trained for a few
/// minutes, on average over positions 2 to 8.
pub(super) const PRIOR: f64 = 0.72;
/// Weight of a new outcome: a memory of 25 outcomes of a position.
const RATE: f64 = 0.04;
/// Weight of a new outcome for the positions after it: what is true of one is likely of the next.
const NEIGHBOUR: f64 = 0.25;

impl Positions {
    /// Before anything was seen.
    pub(super) const UNKNOWN: Positions = Positions([PRIOR; PARALLEL_DEPTH]);

    /// Learns from a step that drafted in one pass.
    pub(super) fn learn(&mut self, record: &StepRecord) {
        for position in 1..record.drafted.len().min(PARALLEL_DEPTH) {
            let Some(accepted) = record.outcome.label(position) else { break };
            let mut rate = RATE;
            for acceptance in &mut self.0[position..] {
                *acceptance += rate * (f64::from(u8::from(accepted)) - *acceptance);
                rate *= NEIGHBOUR;
            }
        }
    }

    /// The most valuable number of tokens up to `limit` and its value in tokens, where the first
    /// token is accepted with probability `first`: `sum S_i - pass(K) - verify(K)`. `pass` gives the
    /// price of a pass for so many tokens. `None` for a limit of 0.
    pub(super) fn best(
        &self,
        first: f64,
        limit: usize,
        prices: &Prices,
        pass: impl Fn(usize) -> f64,
    ) -> Option<(usize, f64)> {
        let value = |tokens: f64, count: usize| tokens - pass(count) - prices.verify[count];
        self.best_by(first, limit, value)
    }

    /// Tokens per plain step of the best number of tokens up to `limit`, at prices at a throughput
    /// of 1; at least the 1 of plain decoding.
    pub(super) fn best_rate(
        &self,
        first: f64,
        limit: usize,
        prices: &Prices,
        pass: impl Fn(usize) -> f64,
    ) -> f64 {
        let rate =
            |tokens: f64, count: usize| (1.0 + tokens) / (1.0 + pass(count) + prices.verify[count]);
        self.best_by(first, limit, rate).map_or(1.0, |(_, rate)| rate.max(1.0))
    }

    /// The number of tokens with the largest worth, by expected tokens and number.
    fn best_by(
        &self,
        first: f64,
        limit: usize,
        worth: impl Fn(f64, usize) -> f64,
    ) -> Option<(usize, f64)> {
        let (mut best, mut tokens, mut survival) = (None, 0.0, first);
        for count in 1..=limit.min(PARALLEL_DEPTH) {
            tokens += survival;
            survival *= self.0.get(count).copied().unwrap_or(0.0);
            let value = worth(tokens, count);
            if best.is_none_or(|(_, best)| value > best) {
                best = Some((count, value));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{MAX_GAMMA, testing::record};

    #[test]
    fn the_number_of_tokens_is_the_best_one_worked_by_hand() {
        // Expected tokens 0.8, 1.376, 1.79, 2.09; a pass costs 0.3 and 0.2 per token more, and each
        // verified row 0.1: values 0.4, 0.676, 0.79, 0.79 - 0.3 + 0.2986...
        let mut verify = [0.0; MAX_GAMMA + 1];
        verify.iter_mut().enumerate().for_each(|(count, price)| *price = 0.1 * count as f64);
        let prices = Prices { draft: 0.0, pass: 0.0, verify };
        let pass = |count: usize| 0.3 + 0.2 * (count - 1) as f64;
        let (count, value) = Positions::UNKNOWN.best(0.8, 8, &prices, pass).expect("a limit");
        assert_eq!(count, 3);
        let expected = 0.8 * (1.0 + 0.72 + 0.72 * 0.72) - 0.7 - 0.3;
        assert!((value - expected).abs() < 1e-12, "{value}");
        assert_eq!(Positions::UNKNOWN.best(0.8, 2, &prices, pass).map(|best| best.0), Some(2));
        assert_eq!(Positions::UNKNOWN.best(0.8, 0, &prices, pass), None);
        let rate = Positions::UNKNOWN.best_rate(0.8, 1, &prices, pass);
        assert!((rate - 1.8 / 1.4).abs() < 1e-12);
        assert_eq!(Positions::UNKNOWN.best_rate(0.1, 8, &prices, |_| 9.0), 1.0);
    }

    #[test]
    fn positions_learn_from_their_own_outcomes_and_a_little_from_those_before() {
        let mut positions = Positions::UNKNOWN;
        for _ in 0..200 {
            positions.learn(&record(&[0.9; 4], 2)); // the third is always wrong, the fourth unseen
        }
        let Positions(learned) = positions;
        assert!(learned[1] > 0.95 && learned[2] < 0.1, "{learned:?}");
        assert!(learned[3] < learned[15] && learned[15] > 0.5, "{learned:?}");
    }
}
