//! How likely the target found the tokens of a step.

use crate::{
    model::{ModelError, PassOutput},
    token::Token,
};

/// Natural logarithms of the target's own probabilities at one position: its logits before penalty,
/// temperature and filters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Likelihood {
    /// Of the token that stands there.
    pub token: f32,
    /// Of the likeliest tokens, the likeliest first.
    pub top: Vec<(Token, f32)>,
}

/// Likelihoods of the last step's tokens, if they were asked for.
#[derive(Debug, Default)]
pub(super) struct Likelihoods {
    wanted: Option<usize>,
    positions: Vec<Likelihood>, // one per token decided in the step
}

impl Likelihoods {
    pub(super) fn set_wanted(&mut self, top: Option<usize>) {
        self.wanted = top;
        self.positions.clear();
    }

    pub(super) fn are_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    pub(super) fn begin(&mut self) {
        self.positions.clear();
    }

    pub(super) fn positions(&self) -> &[Likelihood] {
        &self.positions
    }

    /// The position of `row` became `token`.
    pub(super) fn decided(
        &mut self,
        token: Token,
        output: &mut impl PassOutput,
        row: usize,
    ) -> Result<(), ModelError> {
        if let Some(top) = self.wanted {
            self.positions.push(likelihood(output.logits(row)?, token, top));
        }
        Ok(())
    }
}

/// `logit - ln sum exp(logits)` of the token and of the `top` likeliest; of equal tokens the
/// smaller number first.
fn likelihood(logits: &[f32], token: Token, top: usize) -> Likelihood {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    let normalizer = f64::from(largest) + sum.ln();
    let log = |logit: f32| (f64::from(logit) - normalizer) as f32;
    let mut best: Vec<(Token, f32)> = Vec::with_capacity(top + 1);
    for (index, &logit) in logits.iter().enumerate() {
        if best.len() < top || best.last().is_some_and(|&(_, worst)| logit > worst) {
            let place = best.partition_point(|&(_, other)| other >= logit);
            best.insert(place, (index as Token, logit));
            best.truncate(top);
        }
    }
    best.iter_mut().for_each(|(_, value)| *value = log(*value));
    Likelihood {
        token: logits.get(token as usize).map_or(f32::NEG_INFINITY, |&logit| log(logit)),
        top: best,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_are_the_log_softmax_and_the_top_is_sorted() {
        let probabilities = [0.1_f32, 0.4, 0.05, 0.4, 0.05];
        let logits: Vec<f32> = probabilities.iter().map(|p| p.ln() + 7.0).collect();
        let found = likelihood(&logits, 2, 3);
        assert!((found.token - 0.05_f32.ln()).abs() < 1e-5);
        assert_eq!(found.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 0]);
        for (token, log) in found.top {
            assert!((log - probabilities[token as usize].ln()).abs() < 1e-5);
        }
        assert_eq!(likelihood(&logits, 0, 0).top, []);
        assert_eq!(likelihood(&logits, 0, 99).top.len(), 5);
    }

    #[test]
    fn an_impossible_token_has_no_likelihood() {
        assert_eq!(likelihood(&[0.0, f32::NEG_INFINITY], 1, 0).token, f32::NEG_INFINITY);
    }
}
