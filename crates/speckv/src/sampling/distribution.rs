//! A probability distribution over tokens, and drawing from it.

use crate::token::Token;

/// Probabilities of tokens, with sum 1 up to rounding. Tokens without probability may be left out.
/// Made to be refilled: a distribution keeps its memory.
#[derive(Debug, Clone, Default)]
pub struct Distribution {
    tokens: Vec<Token>,      // ascending, [support]; empty where `dense`
    probabilities: Vec<f32>, // [support], or [vocab] where `dense`
    dense: bool,
}

/// Probabilities that are summed as one in a draw.
const BLOCK: usize = 512;

impl Distribution {
    /// A distribution without tokens; to be filled before it is drawn from.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of tokens held, those with probability 0 included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.probabilities.len()
    }

    /// Whether it was never filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.probabilities.is_empty()
    }

    /// Probability of a token; 0 where it is not held.
    #[must_use]
    pub fn probability(&self, token: Token) -> f32 {
        let index =
            if self.dense { Some(token as usize) } else { self.tokens.binary_search(&token).ok() };
        index.and_then(|index| self.probabilities.get(index)).copied().unwrap_or(0.0)
    }

    /// Tokens, ascending, with their probabilities.
    pub fn iter(&self) -> impl Iterator<Item = (Token, f32)> + '_ {
        self.probabilities
            .iter()
            .enumerate()
            .map(|(index, &probability)| (self.token(index), probability))
    }

    fn token(&self, index: usize) -> Token {
        if self.dense { index as Token } else { self.tokens[index] }
    }

    /// The token at which the cumulative probability, in the order of tokens, first exceeds `u` (in
    /// [0, 1)) of the whole. Never a token of probability 0.
    ///
    /// # Panics
    /// If no token has a probability above 0.
    #[must_use]
    pub fn draw(&self, u: f64) -> Token {
        let mut left = u * self.sum();
        let mut last = None;
        for (index, block) in self.probabilities.chunks(BLOCK).enumerate() {
            let mass = sum(block);
            if left >= mass {
                left -= mass;
                // Kept for the case that rounding carries `left` past the end.
                last = block
                    .iter()
                    .rposition(|&p| p > 0.0)
                    .map(|within| index * BLOCK + within)
                    .or(last);
                continue;
            }
            for (within, &probability) in block.iter().enumerate() {
                if probability > 0.0 {
                    last = Some(index * BLOCK + within);
                    left -= f64::from(probability);
                    if left < 0.0 {
                        break;
                    }
                }
            }
            break;
        }
        self.token(last.expect("a distribution with a token above probability 0"))
    }

    /// Sum of all probabilities, in the order that [`draw`](Self::draw) uses.
    fn sum(&self) -> f64 {
        self.probabilities.chunks(BLOCK).map(sum).sum()
    }

    /// Becomes the distribution that is sure of one token.
    pub fn set_certain(&mut self, token: Token) {
        self.clear();
        self.push(token, 1.0);
    }

    /// Becomes the given weights, divided by their sum, over ascending tokens.
    ///
    /// # Panics
    /// If the tokens do not ascend, a weight is negative or not finite, or no weight is above 0.
    pub fn set_weights(&mut self, weights: impl IntoIterator<Item = (Token, f32)>) {
        self.clear();
        for (token, weight) in weights {
            assert!(weight >= 0.0 && weight.is_finite(), "weight {weight} of token {token}");
            assert!(
                self.tokens.last().is_none_or(|&last| last < token),
                "token {token} does not ascend"
            );
            self.push(token, weight);
        }
        assert!(self.normalize(), "no weight above 0");
    }

    /// Becomes (p - q)+ divided by its sum: what is left of `p` where `q` was already tried.
    ///
    /// Returns `false`, and holds nothing, where nothing is left: then p and q are the same up to
    /// rounding.
    pub fn set_rest(&mut self, p: &Distribution, q: &Distribution) -> bool {
        self.clear();
        if p.dense && q.dense {
            self.dense = true;
            self.probabilities.extend(
                p.probabilities
                    .iter()
                    .zip(&q.probabilities)
                    .map(|(&p, &q)| if p > q { p - q } else { 0.0 }),
            );
            self.probabilities.extend(p.probabilities.iter().skip(q.probabilities.len()));
        } else if p.dense && q.tokens.len() <= BLOCK {
            // A sparse draft against a full target: copy once, then look at the few.
            self.dense = true;
            self.probabilities.extend_from_slice(&p.probabilities);
            for (token, probability) in q.iter() {
                if let Some(rest) = self.probabilities.get_mut(token as usize) {
                    *rest = (*rest - probability).max(0.0);
                }
            }
        } else {
            let mut tried = q.iter().peekable();
            for (token, probability) in p.iter() {
                while tried.next_if(|&(other, _)| other < token).is_some() {}
                let rest = probability
                    - tried.next_if(|&(other, _)| other == token).map_or(0.0, |(_, q)| q);
                if rest > 0.0 {
                    self.push(token, rest);
                }
            }
        }
        let left = self.normalize();
        if !left {
            self.clear();
        }
        left
    }

    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.probabilities.clear();
        self.dense = false;
    }

    /// Adds a token above all others; [`normalize`](Self::normalize) ends the filling.
    pub(super) fn push(&mut self, token: Token, weight: f32) {
        self.tokens.push(token);
        self.probabilities.push(weight);
    }

    /// Turns it into one weight per token of the vocabulary and returns them for writing,
    /// `[vocab]`.
    pub(super) fn dense_weights(&mut self, vocab_size: usize) -> &mut [f32] {
        self.tokens.clear();
        self.dense = true;
        self.probabilities.resize(vocab_size, 0.0);
        &mut self.probabilities
    }

    /// Divides by the sum; `false` where that is 0.
    pub(super) fn normalize(&mut self) -> bool {
        let total = self.sum();
        if total <= 0.0 {
            return false;
        }
        let scale = (1.0 / total) as f32;
        if scale.is_finite() && scale.is_normal() {
            self.probabilities.iter_mut().for_each(|weight| *weight *= scale);
        } else {
            self.probabilities
                .iter_mut()
                .for_each(|weight| *weight = (f64::from(*weight) / total) as f32);
        }
        true
    }
}

/// Sum in sixteen lanes: one chain of additions over a whole vocabulary would take longer than
/// everything else in a draw.
fn sum(block: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let (groups, rest) = block.as_chunks::<16>();
    for group in groups {
        for lane in 0..16 {
            lanes[lane] += f64::from(group[lane]);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        lanes[lane] += f64::from(value);
    }
    lanes.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(weights: &[f32]) -> Distribution {
        let mut made = Distribution::new();
        made.set_weights(
            weights.iter().enumerate().filter(|(_, w)| **w > 0.0).map(|(t, &w)| (t as Token, w)),
        );
        made
    }

    fn dense(weights: &[f32]) -> Distribution {
        let mut made = Distribution::new();
        made.dense_weights(weights.len()).copy_from_slice(weights);
        made.normalize();
        made
    }

    #[test]
    fn a_draw_inverts_the_cumulative_distribution() {
        for made in [distribution(&[1.0, 0.0, 2.0, 1.0]), dense(&[1.0, 0.0, 2.0, 1.0])] {
            for (u, token) in [
                (0.0, 0),
                (0.249, 0),
                (0.25, 2),
                (0.5, 2),
                (0.749, 2),
                (0.75, 3),
                (1.0 - f64::EPSILON, 3),
            ] {
                assert_eq!(made.draw(u), token, "u = {u}");
            }
        }
    }

    #[test]
    fn a_draw_never_returns_an_impossible_token() {
        let mut weights = vec![0.0; 5_000];
        for token in [BLOCK, 2 * BLOCK - 1, 3_000] {
            weights[token] = 0.1;
        }
        let made = dense(&weights);
        for step in 0..=1_000 {
            let u = (f64::from(step) / 1_000.0).min(1.0 - f64::EPSILON / 2.0);
            assert!(made.probability(made.draw(u)) > 0.0, "u = {u}");
        }
        assert_eq!(made.draw(0.0), BLOCK as Token);
        assert_eq!(made.draw(1.0 - f64::EPSILON / 2.0), 3_000);
    }

    #[test]
    fn the_rest_is_the_positive_part_of_the_difference() {
        let (p, q) = ([0.5, 0.2, 0.3, 0.0], [0.1, 0.6, 0.1, 0.2]);
        let pairs = [
            (dense(&p), dense(&q)),
            (distribution(&p), distribution(&q)),
            (dense(&p), distribution(&q)),
            (distribution(&p), dense(&q)),
        ];
        for (p, q) in &pairs {
            let mut rest = Distribution::new();
            assert!(rest.set_rest(p, q));
            for (token, expected) in [(0, 2.0 / 3.0), (1, 0.0), (2, 1.0 / 3.0), (3, 0.0)] {
                assert!(
                    (rest.probability(token) - expected).abs() < 1e-6,
                    "token {token}: {}",
                    rest.probability(token)
                );
            }
        }
    }

    #[test]
    fn nothing_is_left_of_equal_distributions() {
        let p = distribution(&[0.5, 0.2, 0.3]);
        let mut rest = Distribution::new();
        assert!(!rest.set_rest(&p, &p.clone()));
        assert!(rest.is_empty());
    }

    #[test]
    fn the_rest_of_a_certain_draft_is_the_target_without_it() {
        let mut certain = Distribution::new();
        certain.set_certain(1);
        for p in [distribution(&[0.5, 0.25, 0.25]), dense(&[0.5, 0.25, 0.25])] {
            let mut rest = Distribution::new();
            assert!(rest.set_rest(&p, &certain));
            assert!((rest.probability(0) - 2.0 / 3.0).abs() < 1e-6);
            assert_eq!(rest.probability(1), 0.0);
        }
    }
}
