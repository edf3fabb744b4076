//! Percentile bootstrap (Efron 1979).

use serde::Serialize;

use super::{MersenneTwister, mean, quantile};

/// A value with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, serde::Deserialize)]
pub struct Interval {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The mean with the percentile bootstrap's 95% interval; `None` without numbers or resamples.
#[must_use]
pub fn mean_interval(
    values: &[f64],
    resamples: usize,
    stream: &mut MersenneTwister,
) -> Option<Interval> {
    let means = resampled_means(values, resamples, stream);
    Some(Interval {
        value: mean(values)?,
        low: quantile(&means, 0.025)?,
        high: quantile(&means, 0.975)?,
    })
}

/// A difference of paired values, as the paper tests it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairedTest {
    /// Mean of the differences with its interval.
    pub difference: Interval,
    /// Share of resampled means that are not above 0. One of 0 means "less than one in so many
    /// resamples", not impossibility.
    pub p_value: f64,
    /// Resamples.
    pub resamples: usize,
}

/// Resamples the pairwise differences `a - b`: the share of means at or below 0 is the paper's
/// p-value. `None` without pairs or resamples.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn paired_bootstrap(
    a: &[f64],
    b: &[f64],
    resamples: usize,
    stream: &mut MersenneTwister,
) -> Option<PairedTest> {
    assert_eq!(a.len(), b.len(), "values come in pairs");
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let means = resampled_means(&differences, resamples, stream);
    let difference = Interval {
        value: mean(&differences)?,
        low: quantile(&means, 0.025)?,
        high: quantile(&means, 0.975)?,
    };
    let p_value = means.iter().filter(|&&mean| mean <= 0.0).count() as f64 / means.len() as f64;
    Some(PairedTest { difference, p_value, resamples })
}

/// Means of samples drawn with replacement, sorted.
fn resampled_means(values: &[f64], resamples: usize, stream: &mut MersenneTwister) -> Vec<f64> {
    if values.is_empty() {
        return Vec::new();
    }
    let mut draw = || {
        values.iter().map(|_| values[stream.index(values.len())]).sum::<f64>() / values.len() as f64
    };
    let mut means: Vec<f64> = (0..resamples).map(|_| draw()).collect();
    means.sort_by(f64::total_cmp);
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_the_width_that_the_deviation_of_the_mean_gives_it() {
        // 0 and 1 alternating: deviation of the mean 0.5 / sqrt(400) = 0.025.
        let values: Vec<f64> = (0..400).map(|index| f64::from(index % 2)).collect();
        let Interval { value, low, high } =
            mean_interval(&values, 4000, &mut MersenneTwister::new(1)).expect("numbers");
        assert_eq!(value, 0.5);
        assert!(((high - low) / (2.0 * 1.96 * 0.025) - 1.0).abs() < 0.08, "{low} to {high}");
    }

    #[test]
    fn a_clear_difference_has_p_0_and_none_has_about_a_half() {
        let a: Vec<f64> = (0..50).map(|index| f64::from(index % 7)).collect();
        let b: Vec<f64> = a.iter().map(|a| a - 0.1).collect();
        let test = |x: &[f64], y: &[f64]| {
            paired_bootstrap(x, y, 2000, &mut MersenneTwister::new(2)).expect("pairs")
        };
        assert_eq!(test(&a, &b).p_value, 0.0);
        assert_eq!(test(&b, &a).p_value, 1.0);
        let zigzag: Vec<f64> =
            a.iter().enumerate().map(|(at, a)| a + if at % 2 == 0 { 1.0 } else { -1.0 }).collect();
        assert!((0.4..0.65).contains(&test(&zigzag, &a).p_value));
        assert_eq!(paired_bootstrap(&[], &[], 10, &mut MersenneTwister::new(0)), None);
    }
}
