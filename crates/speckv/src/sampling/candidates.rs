//! Which tokens may be drawn, where settings leave only the likeliest.

use std::cmp::Ordering;

use crate::{exponential::exp, token::Token};

/// Logits that are skipped together where none of them can be a candidate.
const GROUP: usize = 64;

/// Tokens that may be drawn, with their logits and later their weights.
pub(super) struct Candidates<'a>(pub(super) &'a mut Vec<(f32, Token)>);

impl Candidates<'_> {
    /// Candidates: the `k` largest logits, of equal ones those with the smaller token.
    pub(super) fn select_top(&mut self, logits: &[f32], k: usize) {
        let most = 2 * k.max(GROUP);
        let mut threshold = f32::NEG_INFINITY;
        for (index, group) in logits.chunks(GROUP).enumerate() {
            if !has_above(group, threshold) {
                continue;
            }
            // A later token that only equals the threshold loses the tie.
            let above = group.iter().enumerate().filter(|&(_, &logit)| logit > threshold);
            self.0.extend(above.map(|(within, &logit)| (logit, (index * GROUP + within) as Token)));
            if self.0.len() >= most {
                self.keep_top(k);
                threshold = self.0[k - 1].0;
            }
        }
        self.keep_top(k);
    }

    /// Keeps the `k` best candidates, the worst of them last.
    fn keep_top(&mut self, k: usize) {
        if self.0.len() > k {
            self.0.select_nth_unstable_by(k - 1, likelier_first);
            self.0.truncate(k);
        }
    }

    /// Candidates: the logits at or above `floor`, in the order of tokens.
    pub(super) fn select_above(&mut self, logits: &[f32], floor: f64) {
        let threshold = (floor as f32).next_down().next_down(); // the strict comparison below must not lose the floor itself to rounding
        for (index, group) in logits.chunks(GROUP).enumerate() {
            if has_above(group, threshold) {
                let above = group.iter().enumerate().filter(|&(_, &logit)| logit > threshold);
                self.0.extend(
                    above.map(|(within, &logit)| (logit, (index * GROUP + within) as Token)),
                );
            }
        }
    }

    /// Keeps the fewest candidates, likeliest first, whose weights reach `share` of `whole` (by
    /// default of all candidates).
    pub(super) fn cut_nucleus(&mut self, share: f64, whole: Option<f64>) {
        let whole =
            whole.unwrap_or_else(|| self.0.iter().map(|&(weight, _)| f64::from(weight)).sum());
        // First the likeliest few, which mostly are enough, then all the rest.
        let (mut sorted, mut piece, mut mass) = (0, 256, 0.0);
        while sorted < self.0.len() {
            let left = &mut self.0[sorted..];
            if piece < left.len() {
                left.select_nth_unstable_by(piece - 1, likelier_first);
            }
            let end = piece.min(left.len());
            let next = &mut left[..end];
            next.sort_unstable_by(likelier_first);
            let crossing = next.iter().position(|&(weight, _)| {
                mass += f64::from(weight);
                mass >= share * whole
            });
            if let Some(crossing) = crossing {
                self.0.truncate(sorted + crossing + 1);
                return;
            }
            sorted += next.len();
            piece = usize::MAX;
        }
    }
}

fn likelier_first(a: &(f32, Token), b: &(f32, Token)) -> Ordering {
    b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1))
}

/// Whether any value is above the threshold, without a branch per value.
fn has_above(group: &[f32], threshold: f32) -> bool {
    group.iter().fold(false, |any, &logit| any | (logit > threshold))
}

/// sum e^((x - largest) / temperature), summed in chunks so that `f32` lanes stay exact enough.
pub(super) fn sum_of_weights(logits: &[f32], largest: f32, temperature: f32) -> f64 {
    const LANES: usize = 16;
    let mut total = 0.0;
    for chunk in logits.chunks(2048) {
        let mut lanes = [0.0_f32; LANES];
        let (groups, rest) = chunk.as_chunks::<LANES>();
        for group in groups {
            for lane in 0..LANES {
                lanes[lane] += exp((group[lane] - largest) / temperature);
            }
        }
        for (lane, logit) in rest.iter().enumerate() {
            lanes[lane] += exp((logit - largest) / temperature);
        }
        total += lanes.into_iter().map(f64::from).sum::<f64>();
    }
    total
}
