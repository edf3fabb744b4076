//! How far a pass that proposes several tokens is expected to be right, position by position.

use super::prices::Prices;
use crate::{gamma::PARALLEL_DEPTH, record::StepRecord};

/// Acceptance of each position of a pass after the first, given that those before it are accepted:
/// the mean of its outcomes, and the estimate of the position before it as so many outcomes more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Positions([Outcomes; PARALLEL_DEPTH]);

/// Outcomes of one position, older ones fading.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Outcomes {
    mean: f64,
    count: f64,
}

/// Acceptance of a position before anything was seen: what a draft shows that was trained for a few
/// minutes, on average over positions 2 to 8.
pub(super) const PRIOR: f64 = 0.72;
/// Most outcomes that count.
const MEMORY: f64 = 32.0;
/// Outcomes that the estimate of the position before counts as.
const NEIGHBOUR: f64 = 6.0;

impl Positions {
    /// Before anything was seen.
    pub(super) const UNKNOWN: Positions =
        Positions([Outcomes { mean: PRIOR, count: 0.0 }; PARALLEL_DEPTH]);

    /// Learns from a step that drafted in one pass.
    pub(super) fn learn(&mut self, record: &StepRecord) {
        for position in 1..record.drafted.len().min(PARALLEL_DEPTH) {
            let Some(accepted) = record.outcome.label(position) else { break };
            let Outcomes { mean, count } = &mut self.0[position];
            *count = (*count + 1.0).min(MEMORY);
            *mean += (f64::from(u8::from(accepted)) - *mean) / *count;
        }
    }

    /// The estimate of a position, where that of the position before is `before`.
    fn estimate(&self, position: usize, before: f64) -> f64 {
        let Some(Outcomes { mean, count }) = self.0.get(position) else { return 0.0 };
        (mean * count + before * NEIGHBOUR) / (count + NEIGHBOUR)
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
        let (mut best, mut tokens, mut survival, mut acceptance) = (None, 0.0, first, PRIOR);
        for count in 1..=limit.min(PARALLEL_DEPTH) {
            tokens += survival;
            acceptance = self.estimate(count, acceptance);
            survival *= acceptance;
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
    fn positions_learn_from_their_own_outcomes_and_from_the_one_before_where_they_have_few() {
        let mut positions = Positions::UNKNOWN;
        for _ in 0..200 {
            positions.learn(&record(&[0.9; 4], 2)); // the third is always wrong, the fourth unseen
        }
        let second = positions.estimate(1, PRIOR);
        let third = positions.estimate(2, second);
        let fourth = positions.estimate(3, third);
        assert!(second > 0.9 && third < 0.2, "{second} {third}");
        assert_eq!(fourth, third, "unseen: as the one before");
        assert_eq!(positions.estimate(PARALLEL_DEPTH, 0.9), 0.0, "beyond the last");
    }
}
