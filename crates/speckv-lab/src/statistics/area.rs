//! Area under the ROC curve of a score, with an interval over groups.

use std::collections::BTreeSet;

use speckv::sampling::Randomness;

use super::Estimate;

/// One scored thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Its score; a larger one should mean a positive.
    pub score: f64,
    /// What it was.
    pub positive: bool,
    /// Its group, from 0: things of one group resemble each other.
    pub group: usize,
}

/// Resamples of the groups.
const RESAMPLES: usize = 1000;
/// Ranks that resamples tell apart.
const BINS: usize = 1024;

/// Area under the ROC curve, the share of pairs of a positive and a negative in which the positive
/// has the higher score (ties count half; Hanley and McNeil 1982), with the percentile bootstrap's
/// 95% interval over groups, which fewer than [`FEWEST_UNITS`](super::FEWEST_UNITS) groups do not
/// have. `None` without positives, negatives or comparable scores.
#[must_use]
pub fn area_under_curve(items: &[Scored], seed: u64) -> Option<Estimate> {
    if items.iter().any(|item| item.score.is_nan()) {
        return None;
    }
    let mut order: Vec<&Scored> = items.iter().collect();
    order.sort_by(|a, b| a.score.total_cmp(&b.score));
    let groups = items.iter().map(|item| item.group + 1).max()?;
    // Equal scores share a rank; neighbouring ranks share a bin.
    let (mut exact, mut coarse) = (Vec::new(), vec![[0.0; 2]; groups * BINS]); // [negatives, positives]
    let (mut bin, mut before) = (0, None);
    for (at, item) in order.iter().enumerate() {
        if before != Some(item.score) {
            exact.push([0.0; 2]);
            (bin, before) = (at * BINS / order.len(), Some(item.score));
        }
        if let Some(last) = exact.last_mut() {
            last[usize::from(item.positive)] += 1.0;
        }
        coarse[item.group * BINS + bin][usize::from(item.positive)] += 1.0;
    }
    let value = area(&exact)?;
    let used: BTreeSet<usize> = items.iter().map(|item| item.group).collect();
    let mut randomness = Randomness::new(seed);
    let areas: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let mut drawn = vec![[0.0; 2]; BINS];
            for _ in 0..groups {
                let group = (groups as f64 * randomness.uniform()) as usize;
                for (sum, count) in drawn.iter_mut().zip(&coarse[group * BINS..(group + 1) * BINS])
                {
                    sum[0] += count[0];
                    sum[1] += count[1];
                }
            }
            area(&drawn)
        })
        .collect();
    Some(Estimate::resampled(value, used.len(), areas))
}

/// Of counts `[negatives, positives]` in rising order of the score.
fn area(bins: &[[f64; 2]]) -> Option<f64> {
    let (mut below, mut won, mut positives) = (0.0, 0.0, 0.0);
    for [negatives, positive] in bins {
        won += positive * (below + negatives / 2.0);
        below += negatives;
        positives += positive;
    }
    (below > 0.0 && positives > 0.0).then(|| won / (below * positives))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(items: &[(f64, bool, usize)]) -> Vec<Scored> {
        items.iter().map(|&(score, positive, group)| Scored { score, positive, group }).collect()
    }

    #[test]
    fn it_is_the_share_of_pairs_in_the_right_order() {
        // Pairs: 0.9 over 0.5 and 0.2; 0.5 level with 0.5 and over 0.2: 3.5 of 4.
        let items = scored(&[(0.9, true, 0), (0.5, true, 0), (0.5, false, 1), (0.2, false, 1)]);
        assert_eq!(
            area_under_curve(&items, 1),
            Some(Estimate::alone(0.875)),
            "two groups have no interval"
        );
        assert_eq!(area_under_curve(&items[..2], 1), None, "no negative");
        assert_eq!(area_under_curve(&scored(&[(f64::NAN, true, 0), (1.0, false, 0)]), 1), None);
    }

    #[test]
    fn likeness_within_groups_widens_the_interval() {
        // The same scores; in one list every item is its own group, in the other twenty copies
        // share one.
        let mut randomness = Randomness::new(5);
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        for group in 0..40 {
            let (score, positive) = (randomness.uniform(), randomness.uniform() < 0.5);
            for copy in 0..20 {
                alone.push((score + if positive { 0.2 } else { 0.0 }, positive, group * 20 + copy));
                together.push((score + if positive { 0.2 } else { 0.0 }, positive, group));
            }
        }
        let width = |items: &[(f64, bool, usize)]| {
            let made = area_under_curve(&scored(items), 3).expect("both kinds");
            let (value, (low, high)) = (made.value, made.ends().expect("many groups"));
            assert!(low < value && value < high);
            high - low
        };
        assert!(width(&together) > 3.0 * width(&alone), "{} {}", width(&together), width(&alone));
    }
}
