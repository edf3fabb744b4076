//! Verification by rejection sampling: which draft tokens stay, and what comes after them.
//!
//! Words, with p and q the target's and the draft's probabilities after the sampling chain:
//! - **accepted**: a draft token x that is kept. At each position x is kept with probability min(1,
//!   p(x) / q(x)).
//! - **recovered**: the token at the first position where the draft token was not kept, drawn from
//!   (p - q)+ divided by its sum. Nothing after it is looked at.
//! - **bonus**: where all draft tokens were kept, one more token drawn from p, for which the pass
//!   has already paid.
//!
//! So each position has distribution p: x is kept with probability sum min(p, q), and what is
//! missing from p is exactly what the recovered token is drawn from (Leviathan et al. 2023, arXiv
//! 2211.17192, appendix A.1). Greedy decoding is the limit: p is certain of the target's likeliest
//! token, so the draft token is kept where it is that token, and else that token is the recovered
//! one. A draft that does not draw at random (n-gram look-up) has a q that is certain of x: it is
//! kept with probability p(x), and the recovered token comes from p without x.

use crate::{sampling::Distribution, token::Token};

/// Verdict on one draft token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// The token is kept.
    Accepted,
    /// The token is not kept; this one stands in its place.
    Recovered {
        /// The token drawn instead.
        token: Token,
        /// (p - q)+ was empty, and `token` was drawn from p: see [`verify`].
        rest_was_empty: bool,
    },
}

/// Whether a draft token with target probability `p` and draft probability `q` is kept, with `u`
/// uniform in [0, 1).
///
/// u q < p is u < min(1, p / q) without the division: a token of target probability 0 is never
/// kept, and one that the draft could not have drawn (q = 0, impossible by construction) is kept
/// where its target probability is not 0.
///
/// ```
/// use speckv::verify::is_accepted;
///
/// // p / q = 0.5: accepted for u below 0.5.
/// assert!(is_accepted(0.2, 0.4, 0.49));
/// assert!(!is_accepted(0.2, 0.4, 0.51));
/// ```
#[must_use]
pub fn is_accepted(p: f32, q: f32, u: f64) -> bool {
    u * f64::from(q) < f64::from(p)
}

/// Keeps `drafted`, which was drawn from `q`, or draws a token in its place, so that the result has
/// distribution `p`. `u_accept` and `u_draw` are independent and uniform in [0, 1); `rest` is
/// memory for (p - q)+.
///
/// After a rejection q(x) > p(x), so (p - q)+ has mass; where p and q differ by rounding only it
/// may still come out empty. Then the token is drawn from p, which is an error of the order of that
/// rounding, and the result says so.
#[must_use]
pub fn verify(
    drafted: Token,
    p: &Distribution,
    q: &Distribution,
    u_accept: f64,
    u_draw: f64,
    rest: &mut Distribution,
) -> Verified {
    if is_accepted(p.probability(drafted), q.probability(drafted), u_accept) {
        return Verified::Accepted;
    }
    if rest.set_rest(p, q) {
        Verified::Recovered { token: rest.draw(u_draw), rest_was_empty: false }
    } else {
        Verified::Recovered { token: p.draw(u_draw), rest_was_empty: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(weights: &[f32]) -> Distribution {
        let mut made = Distribution::new();
        made.set_weights(
            weights.iter().enumerate().map(|(token, &weight)| (token as Token, weight)),
        );
        made
    }

    /// The distribution of the outcome of [`verify`] over a fine grid of (draft draw, accept,
    /// recovered draw).
    fn outcome(p: &Distribution, q: &Distribution, vocab: usize) -> Vec<f64> {
        const GRID: usize = 60;
        let mut rest = Distribution::new();
        let mut counts = vec![0.0; vocab];
        let at = |i: usize| (i as f64 + 0.5) / GRID as f64;
        for drafted in 0..vocab as Token {
            let weight = f64::from(q.probability(drafted));
            for (a, d) in (0..GRID * GRID).map(|i| (i / GRID, i % GRID)) {
                let token = match verify(drafted, p, q, at(a), at(d), &mut rest) {
                    Verified::Accepted => drafted,
                    Verified::Recovered { token, rest_was_empty } => {
                        assert!(!rest_was_empty);
                        token
                    }
                };
                counts[token as usize] += weight / (GRID * GRID) as f64;
            }
        }
        counts
    }

    #[test]
    fn the_outcome_has_the_targets_distribution() {
        let cases: [(&[f32], &[f32]); 5] = [
            (&[0.5, 0.3, 0.2], &[0.2, 0.3, 0.5]),
            (&[0.9, 0.1, 0.0], &[0.0, 0.1, 0.9]),
            (&[0.5, 0.5, 0.0], &[0.0, 0.0, 1.0]),
            (&[0.25, 0.25, 0.5], &[1.0, 0.0, 0.0]),
            (&[0.0, 1.0, 0.0], &[0.3, 0.3, 0.4]),
        ];
        for (p, q) in cases {
            let got = outcome(&distribution(p), &distribution(q), p.len());
            for (token, (&expected, got)) in p.iter().zip(got).enumerate() {
                assert!(
                    (f64::from(expected) - got).abs() < 0.02,
                    "token {token}: {got} instead of {expected}, draft {q:?}"
                );
            }
        }
    }

    #[test]
    fn a_token_that_the_target_cannot_say_is_never_accepted() {
        for q in [0.0, 1e-30, 1.0] {
            assert!(!is_accepted(0.0, q, 0.0));
        }
    }

    #[test]
    fn an_equal_draft_is_always_accepted() {
        for p in [1e-30, 0.1, 1.0] {
            assert!(is_accepted(p, p, 1.0 - f64::EPSILON / 2.0));
        }
    }

    #[test]
    fn a_token_that_the_draft_could_not_have_drawn_is_judged_by_the_target() {
        assert!(is_accepted(0.1, 0.0, 0.999));
    }

    #[test]
    fn an_empty_rest_falls_back_to_the_target_and_says_so() {
        // No valid q gives this: the drafted token is outside both, and all the rest is equal.
        let same = distribution(&[0.5, 0.5]);
        let mut rest = Distribution::new();
        assert_eq!(
            verify(7, &same, &same.clone(), 0.5, 0.75, &mut rest),
            Verified::Recovered { token: 1, rest_was_empty: true }
        );
    }
}
