//! The price of a step's time in tokens, and what drafting further is worth at that price.

use super::beside::MOST as BESIDE;
use crate::{
    controller::{MAX_GAMMA, Situation},
    cost::CostModel,
    record::Source,
};

/// Prices of a step's time: seconds times the tokens per second that the same time could give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices {
    /// One draft token of a source with a pass for each; 0 where one pass drafts them all.
    pub draft: f64,
    /// The pass that drafts all tokens; 0 where there is none.
    pub pass: f64,
    /// Verifying `k` draft tokens more than none, `[0..=MAX_GAMMA]`.
    pub verify: [f64; MAX_GAMMA + 1],
}

/// Seconds of plain decoding that this sequence bears: a plain step.
pub(super) fn plain_seconds(cost: &CostModel, situation: &Situation) -> f64 {
    let overhead = cost.overhead_seconds() / situation.pass.sequences.max(1) as f64;
    cost.shared_plain_seconds(situation.context, situation.pass) + overhead
}

impl Prices {
    /// Prices of up to `limit` tokens, and a branch beside them, from `source`, at a throughput of `rate` tokens per plain
    /// step. Of a shared pass this sequence bears its share of what all need, and all of what its
    /// own draft adds, since all wait for that: see [`crate::cost::SharedPass`].
    pub(super) fn of(
        cost: &CostModel,
        situation: &Situation,
        source: Source,
        rate: f64,
        limit: usize,
    ) -> Self {
        let plain = plain_seconds(cost, situation);
        let Situation { context, pass, .. } = *situation;
        let draft = match source {
            Source::PARALLEL => 0.0, // the pass depends on how many tokens it is to draft
            source => cost.shared_source_seconds(source, context, pass),
        };
        let without_draft = cost.shared_plain_seconds(context, pass);
        let mut verify = [0.0; MAX_GAMMA + 1];
        for (count, price) in verify.iter_mut().enumerate().take(limit + BESIDE + 1).skip(1) {
            let seconds = cost.shared_verify_seconds(count + 1, context, pass) - without_draft;
            *price = rate * seconds / plain;
        }
        Prices { draft: rate * draft / plain, pass: 0.0, verify }
    }

    /// Price of drafting so many tokens.
    pub(super) fn drafting(&self, tokens: usize) -> f64 {
        self.pass + tokens as f64 * self.draft
    }

    /// Price of verifying draft token `position` (from 1) besides those before it.
    pub(super) fn marginal_verify(&self, position: usize) -> f64 {
        self.verify[position.min(MAX_GAMMA)] - self.verify[position.min(MAX_GAMMA) - 1]
    }

    /// Expected tokens less their price for the best number `m >= 1` of further draft tokens, at
    /// most `budget`, when `kept` tokens are drafted, all of them accepted with probability
    /// `survival`:
    ///
    /// `max over m of sum_(j=1..m) survival * next * sustained^(j-1) - m * draft - (verify(kept +
    /// m) - verify(kept))`
    ///
    /// Looking several tokens ahead matters where the verification curve has steps: one token alone
    /// may not pay for a new tile of the kernel, three may. Negative infinity without a budget.
    pub(super) fn ahead(
        &self,
        kept: usize,
        survival: f64,
        next: f64,
        sustained: f64,
        budget: usize,
    ) -> f64 {
        let (mut best, mut tokens, mut more) = (f64::NEG_INFINITY, 0.0, survival * next);
        for count in 1..=budget.min(MAX_GAMMA - kept.min(MAX_GAMMA)) {
            tokens += more;
            more *= sustained;
            let value = tokens
                - count as f64 * self.draft
                - (self.verify[kept + count] - self.verify[kept]);
            best = if value > best { value } else { best };
        }
        best
    }

    /// Tokens per plain step of the best constant depth up to `limit`, with prices at a throughput
    /// of 1: where the fixed point of the rule starts. At least the 1 of plain decoding.
    pub(super) fn best_constant_rate(&self, first: f64, sustained: f64, limit: usize) -> f64 {
        let (mut best, mut tokens, mut more) = (1.0_f64, 1.0, first);
        for count in 1..=limit {
            tokens += more;
            more *= sustained;
            best = best.max(tokens / (1.0 + count as f64 * self.draft + self.verify[count]));
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_depth_is_found_even_beyond_a_step_in_the_curve() {
        // Draft price 0.1; verification jumps by 0.8 at the first token and is flat after it.
        let mut verify = [0.8; MAX_GAMMA + 1];
        verify[0] = 0.0;
        let prices = Prices { draft: 0.1, pass: 0.0, verify };
        assert!(
            (prices.ahead(0, 1.0, 0.8, 0.5, 1) - (0.8 - 0.1 - 0.8)).abs() < 1e-12,
            "one alone does not pay"
        );
        // 0.8 + 0.4 + 0.2 + 0.1 less 0.4 and 0.8: four is as good as three (1.4 - 0.3 - 0.8)
        assert!((prices.ahead(0, 1.0, 0.8, 0.5, 8) - 0.3).abs() < 1e-12);
        assert!(
            (prices.ahead(2, 0.5, 0.8, 0.5, 8) - (0.4 + 0.2 - 0.2)).abs() < 1e-12,
            "the jump is paid for"
        );
        assert_eq!(prices.ahead(0, 1.0, 0.9, 0.9, 0), f64::NEG_INFINITY);
        assert!(prices.ahead(MAX_GAMMA, 1.0, 1.0, 1.0, 9) == f64::NEG_INFINITY);
    }

    #[test]
    fn the_best_constant_rate_is_that_of_the_best_depth() {
        // Tokens 1, 1.8, 2.2; time 1, 1.5, 2: depth 1 is best.
        let mut verify = [0.0; MAX_GAMMA + 1];
        (verify[1], verify[2]) = (0.25, 0.5);
        let prices = Prices { draft: 0.25, pass: 0.0, verify };
        assert!((prices.best_constant_rate(0.8, 0.5, 2) - 1.2).abs() < 1e-12);
        assert_eq!(prices.best_constant_rate(0.1, 0.1, 2), 1.0, "plain decoding is better");
    }
}
