//! Sizes of paired differences.

use super::{mean, median, sample_deviation, wilcoxon::SignedRank};

/// Mean by standard deviation of the differences (Cohen's d for pairs); `None` below two or where
/// they do not vary.
#[must_use]
pub fn cohens_dz(differences: &[f64]) -> Option<f64> {
    let deviation = sample_deviation(differences).filter(|deviation| *deviation > 0.0)?;
    Some(mean(differences)? / deviation)
}

/// Median of all pairwise means, the shift that the signed-rank test is about (Hodges and Lehmann
/// 1963); `None` without differences.
#[must_use]
pub fn hodges_lehmann(differences: &[f64]) -> Option<f64> {
    let pairs = differences.iter().enumerate();
    let means: Vec<f64> =
        pairs.flat_map(|(at, a)| differences[at..].iter().map(move |b| 0.5 * (a + b))).collect();
    median(&means)
}

/// Matched-pairs rank-biserial correlation: the share of the rank sum of positive
/// differences, less the share of negative ones, in [-1, 1].
#[must_use]
pub fn rank_biserial(test: &SignedRank) -> f64 {
    (test.positive - test.negative) / (test.positive + test.negative)
}

#[cfg(test)]
mod tests {
    use super::{super::signed_rank, *};

    #[test]
    fn effects_of_small_samples_are_those_by_hand() {
        let x = [1.0, 2.0, 6.0];
        assert!((cohens_dz(&x).expect("three") - 3.0 / 7.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(hodges_lehmann(&x), Some(2.75), "1, 1.5, 2, 3.5, 4, 6");
        assert_eq!(rank_biserial(&signed_rank(&[3.0, -1.0, 2.0]).expect("three")), 4.0 / 6.0);
        assert_eq!((cohens_dz(&[2.0, 2.0]), hodges_lehmann(&[])), (None, None));
    }
}
