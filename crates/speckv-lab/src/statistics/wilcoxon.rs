//! Wilcoxon's signed-rank test (1945) of whether paired differences are symmetric about zero.

use serde::Serialize;

/// Differences up to which p is exact: the number of sign patterns is counted, not approximated.
const EXACT: usize = 50;

/// The test's result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, serde::Deserialize)]
pub struct SignedRank {
    /// Differences that are not zero; zeros are left out, as Wilcoxon did.
    pub pairs: usize,
    /// Sum of the ranks of positive differences.
    pub positive: f64,
    /// Sum of the ranks of negative differences.
    pub negative: f64,
    /// Two-sided p-value.
    pub p_value: f64,
    /// Whether p counts sign patterns; else it is the normal approximation with corrections for
    /// ties and continuity.
    pub exact: bool,
}

/// Ranks the absolute differences, equal ones sharing their mean rank, and computes how likely rank
/// sums as uneven as these are if every sign is a toss of a coin. Exact for at most 50 differences,
/// with ties too. `None` if no difference is left.
#[must_use]
pub fn signed_rank(differences: &[f64]) -> Option<SignedRank> {
    let (ranks, ties) = doubled_ranks(differences);
    let pairs = ranks.len();
    if pairs == 0 {
        return None;
    }
    let positive: u64 = ranks.iter().filter(|rank| rank.1).map(|rank| rank.0).sum();
    let total: u64 = ranks.iter().map(|rank| rank.0).sum();
    let smaller = positive.min(total - positive);
    let exact = pairs <= EXACT;
    let p_value = if exact {
        2.0 * share_at_most(&ranks, smaller)
    } else {
        let n = pairs as f64;
        let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
        let z = ((total as f64 / 4.0 - smaller as f64 / 2.0) - 0.5).max(0.0) / variance.sqrt();
        libm::erfc(z / std::f64::consts::SQRT_2)
    };
    let [positive, negative] = [positive, total - positive].map(|doubled| doubled as f64 / 2.0);
    Some(SignedRank { pairs, positive, negative, p_value: p_value.min(1.0), exact })
}

/// Twice the rank of each non-zero difference (mean ranks may be halves) with its sign, and the sum
/// of `t^3 - t` over groups of `t` equal ones.
fn doubled_ranks(differences: &[f64]) -> (Vec<(u64, bool)>, f64) {
    let mut kept: Vec<f64> =
        differences.iter().copied().filter(|x| *x != 0.0 && x.is_finite()).collect();
    kept.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let (mut ranks, mut ties, mut start) = (Vec::with_capacity(kept.len()), 0.0, 0);
    while start < kept.len() {
        let size = kept[start..].iter().take_while(|x| x.abs() == kept[start].abs()).count();
        // Ranks start + 1 to start + size have the mean start + (size + 1) / 2.
        let doubled = (2 * start + size + 1) as u64;
        ranks.extend(kept[start..start + size].iter().map(|x| (doubled, *x > 0.0)));
        ties += (size as f64).powi(3) - size as f64;
        start += size;
    }
    (ranks, ties)
}

/// Share of the sign patterns whose positive ranks sum to at most `limit`.
fn share_at_most(ranks: &[(u64, bool)], limit: u64) -> f64 {
    let limit = limit as usize;
    let mut shares = vec![0.0; limit + 1]; // of patterns so far, by sum
    shares[0] = 1.0;
    for &(rank, _) in ranks {
        let rank = rank as usize;
        for sum in (0..=limit).rev() {
            let with = if sum >= rank { shares[sum - rank] } else { 0.0 };
            shares[sum] = 0.5 * (shares[sum] + with);
        }
    }
    shares.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(differences: &[f64]) -> f64 {
        signed_rank(differences).expect("differences").p_value
    }

    /// Oracle: by hand. Five differences of one sign are one pattern of 32, two-sided 2 / 32; with
    /// the least rank turned, two patterns are as uneven.
    #[test]
    fn small_samples_are_counted() {
        assert_eq!(p(&[1.0, 2.0, 3.0, 4.0, 5.0]), 2.0 / 32.0);
        assert_eq!(p(&[-1.0, -2.0, -3.0, -4.0, -5.0]), 2.0 / 32.0);
        assert_eq!(p(&[-1.0, 2.0, 3.0, 4.0, 5.0]), 4.0 / 32.0);
        assert_eq!(p(&[1.0, -1.0]), 1.0);
        assert_eq!(signed_rank(&[0.0, 0.0]), None);
        assert_eq!(
            signed_rank(&[0.0, 3.0]).map(|test| (test.pairs, test.positive)),
            Some((1, 1.0))
        );
    }

    /// Oracle: SciPy 1.17, `wilcoxon(x, method="exact")` and, for the long one, `wilcoxon(x,
    /// method="approx", correction=True)`.
    #[test]
    fn p_values_are_those_of_scipy() {
        let x = [0.8, -0.3, 1.9, 0.45, -1.2, 2.2, 0.7, 1.1, -0.15, 0.95, 1.6, 0.25];
        assert!((p(&x) - 0.042_480_468_75).abs() < 1e-12);
        let long: Vec<f64> = (1..=80).map(|i| f64::from((i * 37) % 101 - 44)).collect();
        let test = signed_rank(&long).expect("differences");
        assert!(!test.exact && (test.p_value - 0.066_555_450_410_097_39).abs() < 1e-12, "{test:?}");
    }

    /// Oracle: exhaustion of all sign patterns.
    #[test]
    fn ties_are_counted_exactly_too() {
        let sizes = [1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 5.0];
        let observed = [1.0, -1.0, 2.0, 2.0, 2.0, -3.0, 5.0];
        let of = |x: &[f64]| {
            signed_rank(x).map(|test| test.positive.min(test.negative)).expect("differences")
        };
        let patterns = (0..1_u32 << sizes.len()).map(|bits| {
            let signed =
                sizes.iter().enumerate().map(|(at, x)| if bits >> at & 1 == 1 { *x } else { -x });
            signed.collect::<Vec<f64>>()
        });
        let uneven = patterns.filter(|pattern| of(pattern) <= of(&observed)).count();
        assert!((p(&observed) - uneven as f64 / 128.0).abs() < 1e-12);
    }

    #[test]
    fn under_the_null_p_is_small_as_seldom_as_it_says() {
        let mut stream = super::super::MersenneTwister::new(3);
        let mut below = [0_u32; 2];
        for _ in 0..4000 {
            for (count, size) in below.iter_mut().zip([20, 70]) {
                let x: Vec<f64> = (0..size).map(|_| stream.uniform() - 0.5).collect();
                *count += u32::from(p(&x) < 0.05);
            }
        }
        assert!(
            below.iter().all(|count| (150..=250).contains(count)),
            "{below:?} of 4000 below 0.05"
        );
    }
}
