//! A value with its interval, or the reason why there is none.

use serde::{Deserialize, Serialize};

use super::{Interval, quantile};

/// Fewest independent units (prompts, groups) that an interval is made of. Resampling fewer gives
/// intervals that are far too narrow, with one unit none at all; and of five pairs that all go one
/// way, a sign test still gives p = 2 / 2^5 > 0.05.
pub const FEWEST_UNITS: usize = 6;

/// A value with its 95% interval, which is missing where it comes from fewer than [`FEWEST_UNITS`]
/// units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Estimate {
    /// A value that is all there is.
    #[must_use]
    pub fn alone(value: f64) -> Self {
        Estimate { value, low: None, high: None }
    }

    /// A value with the 2.5% and 97.5% quantiles of its resamples; alone if they come from too few
    /// `units`.
    #[must_use]
    pub fn resampled(value: f64, units: usize, mut resamples: Vec<f64>) -> Self {
        resamples.sort_by(f64::total_cmp);
        let end = |share| if units < FEWEST_UNITS { None } else { quantile(&resamples, share) };
        Estimate { value, low: end(0.025), high: end(0.975) }
    }

    /// Both ends, where they are known.
    #[must_use]
    pub fn ends(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }

    /// As measured on so many units: alone if they are too few, whatever a file contains.
    #[must_use]
    pub fn of_units(self, units: usize) -> Self {
        if units < FEWEST_UNITS { Self::alone(self.value) } else { self }
    }

    /// For drawings: without ends, the value itself stands for them.
    #[must_use]
    pub fn drawn(&self) -> Interval {
        let (low, high) = self.ends().unwrap_or((self.value, self.value));
        Interval { value: self.value, low, high }
    }
}

impl From<Interval> for Estimate {
    fn from(Interval { value, low, high }: Interval) -> Self {
        Estimate { value, low: Some(low), high: Some(high) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_units_have_a_value_and_no_interval() {
        let resamples: Vec<f64> = (0..=1000).map(|index| f64::from(index) / 1000.0).collect();
        let of = |units| Estimate::resampled(0.4, units, resamples.clone());
        assert_eq!(of(5), Estimate::alone(0.4));
        assert_eq!(of(6).ends(), Some((0.025, 0.975)));
        assert_eq!((of(6).of_units(3), of(6).of_units(6)), (Estimate::alone(0.4), of(6)));
        assert_eq!(of(1).drawn(), Interval { value: 0.4, low: 0.4, high: 0.4 });
        let old = r#"{"value":1.5,"low":1.5,"high":1.5}"#;
        assert_eq!(
            serde_json::from_str::<Estimate>(old).expect("an older file").ends(),
            Some((1.5, 1.5))
        );
    }
}
