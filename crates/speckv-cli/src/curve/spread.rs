//! Medians with their spread.

use serde::Serialize;

/// Samples in the order taken, with median and quartiles.
///
/// Quantile q of m sorted samples is the value at place q (m - 1), between neighbours by linear
/// interpolation (Hyndman and Fan 1996, type 7).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the samples are below.
    pub median: f64,
    /// A quarter of the samples is below.
    pub lower_quartile: f64,
    /// Three quarters of the samples are below.
    pub upper_quartile: f64,
    /// The samples.
    pub samples: Vec<f64>,
}

impl Spread {
    /// The spread of `samples`.
    ///
    /// # Panics
    /// If there is no sample.
    #[must_use]
    pub fn of(samples: Vec<f64>) -> Self {
        assert!(!samples.is_empty(), "a spread needs a sample");
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let quantile = |q: f64| {
            let place = q * (sorted.len() - 1) as f64;
            let below = sorted[place.floor() as usize];
            let above = sorted[place.ceil() as usize];
            below + (above - below) * place.fract()
        };
        Spread {
            median: quantile(0.5),
            lower_quartile: quantile(0.25),
            upper_quartile: quantile(0.75),
            samples,
        }
    }

    /// The spread of `f(a, b)` over pairs taken in the same round, so that a drift of the machine
    /// that hits both leaves it alone.
    ///
    /// # Panics
    /// If there is no pair, or the numbers of samples differ.
    #[must_use]
    pub fn of_pairs(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Self {
        assert_eq!(a.len(), b.len(), "samples of a round come in pairs");
        Spread::of(a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_interpolate_between_neighbours() {
        // R: quantile(c(4, 1, 3, 2), c(.25, .5, .75)) gives 1.75 2.50 3.25.
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(
            (spread.lower_quartile, spread.median, spread.upper_quartile),
            (1.75, 2.5, 3.25)
        );
        assert_eq!(spread.samples, [4.0, 1.0, 3.0, 2.0], "samples keep their order");
        let one = Spread::of(vec![7.0]);
        assert_eq!((one.lower_quartile, one.median, one.upper_quartile), (7.0, 7.0, 7.0));
    }

    #[test]
    fn a_drift_that_hits_both_leaves_ratios_alone() {
        let drift = [1.0, 1.5, 4.0, 2.0, 1.1];
        let (five, one) = (drift.map(|d| 13.0 * d), drift.map(|d| 10.0 * d));
        let ratio = Spread::of_pairs(&five, &one, |five, one| five / one);
        assert!(ratio.samples.iter().all(|ratio| (ratio - 1.3).abs() < 1e-12));
        // The ratio of an unlucky pick of samples would be off by the drift.
        assert!(five[2] / one[0] > 5.0);
    }
}
