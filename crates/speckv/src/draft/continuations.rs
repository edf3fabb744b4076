//! The tokens that follow a text at the places where its end stands: their counts, and the signals
//! of that empirical distribution.

use crate::{signals::Signals, token::Token};

/// Counts `more` occurrences of a token.
pub(super) fn count(counts: &mut Vec<(Token, u32)>, token: Token, more: u32) {
    match counts.iter_mut().find(|(known, _)| *known == token) {
        Some((_, count)) => *count += more,
        None => counts.push((token, more)),
    }
}

/// Signals of the empirical distribution of `total` continuations, of which `counts` has some, or
/// all where `total` is not more; each of the others counts as a different one.
pub(super) fn signals(counts: &[(Token, u32)], total: u32, match_length: usize) -> Signals {
    let told: u32 = counts.iter().map(|&(_, count)| count).sum();
    let total = total.max(told);
    let share = |count: u32| f64::from(count) / f64::from(total);
    let (mut most, mut second, mut entropy) = (0, 0, 0.0);
    for &(_, count) in counts {
        entropy -= share(count) * share(count).log2();
        second = second.max(count.min(most));
        most = most.max(count);
    }
    entropy += share(total - told) * f64::from(total).log2();
    Signals {
        entropy_bits: entropy.max(0.0) as f32,
        confidence: share(most) as f32,
        margin: share(most - second) as f32,
        match_length: u16::try_from(match_length).unwrap_or(u16::MAX),
    }
}
