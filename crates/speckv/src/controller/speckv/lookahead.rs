//! What drafting on is worth: expected tokens against the price of their time.

use crate::controller::MAX_GAMMA;

/// Prices of a step's time in tokens: seconds times the throughput that they could buy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prices {
    /// One draft token.
    pub draft: f64,
    /// Verifying `k` draft tokens more than none, `[0..=MAX_GAMMA]`.
    pub verify: [f64; MAX_GAMMA + 1],
}

impl Prices {
    /// Price of verifying draft token `position` (from 1) besides those before it.
    pub fn marginal_verify(&self, position: usize) -> f64 {
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
    pub fn ahead(
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_depth_is_found_even_beyond_a_step_in_the_curve() {
        // Draft price 0.1; verification jumps by 0.8 at the first token and is flat after it.
        let mut verify = [0.8; MAX_GAMMA + 1];
        verify[0] = 0.0;
        let prices = Prices { draft: 0.1, verify };
        assert!(
            (prices.ahead(0, 1.0, 0.8, 0.5, 1) - (0.8 - 0.1 - 0.8)).abs() < 1e-12,
            "one alone does not pay"
        );
        // 0.8 + 0.4 + 0.2 + 0.1 less 0.4 and 0.8: four is as good as three (1.4 - 0.3 - 0.8)
        assert!((prices.ahead(0, 1.0, 0.8, 0.5, 8) - 0.3).abs() < 1e-12);
        assert!(
            (prices.ahead(2, 0.5, 0.8, 0.5, 8) - (0.4 + 0.2 - 0.2)).abs() < 1e-12,
            "the jump is behind us"
        );
        assert_eq!(prices.ahead(0, 1.0, 0.9, 0.9, 0), f64::NEG_INFINITY);
        assert!(prices.ahead(MAX_GAMMA, 1.0, 1.0, 1.0, 9) == f64::NEG_INFINITY);
    }
}
