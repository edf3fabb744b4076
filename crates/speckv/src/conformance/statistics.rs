//! Pearson's chi-square test of goodness of fit, with its power.

/// Counts of outcomes against their exact probabilities.
///
/// The test rejects at a significance of one in a million, so that a rejection in a suite of
/// hundreds of tests with fixed seeds means a fault.
#[derive(Debug, Clone)]
pub struct GoodnessOfFit {
    expected: Vec<f64>, // [cells], sum 1
    counts: Vec<u64>,   // [cells]
    samples: u64,
}

/// Upper 1e-6 and 0.01 quantiles of the normal distribution.
const SIGNIFICANCE_Z: f64 = 4.753;
const POWER_Z: f64 = 2.326;

/// Cells with fewer expected samples are pooled: below that the statistic is not chi-square
/// distributed.
const FEWEST_EXPECTED: f64 = 5.0;

impl GoodnessOfFit {
    /// No samples yet, against these probabilities.
    #[must_use]
    pub fn new(expected: Vec<f64>) -> Self {
        GoodnessOfFit { counts: vec![0; expected.len()], expected, samples: 0 }
    }

    /// Counts one sample.
    ///
    /// # Panics
    /// If there is no such cell.
    pub fn add(&mut self, cell: usize) {
        self.counts[cell] += 1;
        self.samples += 1;
    }

    /// sum (observed - expected)^2 / expected, and its degrees of freedom. Infinite where something
    /// impossible occurred.
    #[must_use]
    pub fn statistic(&self) -> (f64, usize) {
        let (mut statistic, mut cells) = (0.0, 0);
        let (mut pooled_expected, mut pooled_count) = (0.0, 0.0);
        let mut add = |count: f64, expected: f64| {
            statistic += (count - expected).powi(2) / expected;
            cells += 1;
        };
        for (&probability, &count) in self.expected.iter().zip(&self.counts) {
            let (count, expected) = (count as f64, probability * self.samples as f64);
            if probability == 0.0 && count > 0.0 {
                return (f64::INFINITY, 1);
            }
            if expected < FEWEST_EXPECTED {
                pooled_expected += expected;
                pooled_count += count;
            } else {
                add(count, expected);
            }
        }
        if pooled_expected >= 1.0 {
            add(pooled_count, pooled_expected);
        } else if pooled_count > 20.0 {
            return (f64::INFINITY, 1); // less than one expected: a Poisson count above 20 has probability below 1e-19
        }
        (statistic, cells - usize::from(cells > 0))
    }

    /// The value that the statistic exceeds with probability 1e-6 if the samples have the expected
    /// distribution (Wilson and Hilferty 1931).
    #[must_use]
    pub fn critical(degrees: usize) -> f64 {
        if degrees == 0 {
            return 0.0; // a single possible outcome: any deviation is an infinite statistic
        }
        let spread = 2.0 / (9.0 * degrees as f64);
        degrees as f64 * (1.0 - spread + SIGNIFICANCE_Z * spread.sqrt()).powi(3)
    }

    /// Smallest total variation distance that this number of samples detects with probability at
    /// least 0.99.
    ///
    /// At distance d the statistic is non-central chi-square with noncentrality N sum(D^2 / p) >= 4
    /// N d^2 (Cauchy-Schwarz), taken as normal with mean k + l and variance 2 (k + 2 l).
    #[must_use]
    pub fn detectable_distance(&self) -> f64 {
        let (_, degrees) = self.statistic();
        let (k, critical) = (degrees as f64, Self::critical(degrees));
        let (mut low, mut high) = (0.0, 1e6);
        for _ in 0..100 {
            let middle = 0.5 * (low + high);
            if k + middle - POWER_Z * (2.0 * (k + 2.0 * middle)).sqrt() < critical {
                low = middle
            } else {
                high = middle
            }
        }
        (high / (4.0 * self.samples as f64)).sqrt()
    }

    /// Whether the samples may come from the expected distribution.
    ///
    /// # Errors
    /// They do not: the statistic and what it should be.
    pub fn check(&self) -> Result<(), String> {
        let (statistic, degrees) = self.statistic();
        let critical = Self::critical(degrees);
        if statistic <= critical.max(1e-9) {
            return Ok(());
        }
        Err(format!(
            "{} samples do not have the expected distribution: chi-square {statistic:.1} with \
             {degrees} degrees of freedom, \
             expected at most {critical:.1}",
            self.samples
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Randomness;

    fn fit(expected: &[f64], actual: &[f64], samples: usize, seed: u64) -> GoodnessOfFit {
        let mut fit = GoodnessOfFit::new(expected.to_vec());
        let mut randomness = Randomness::new(seed);
        for _ in 0..samples {
            let mut left = randomness.uniform();
            fit.add(
                actual
                    .iter()
                    .position(|p| {
                        left -= p;
                        left < 0.0
                    })
                    .unwrap_or(0),
            );
        }
        fit
    }

    /// Oracle: for k = 2 m degrees of freedom the probability above x is e^(-x/2) sum over i < m of
    /// (x/2)^i / i!.
    #[test]
    fn critical_values_are_exceeded_once_in_a_million() {
        for degrees in [4_i32, 10, 24, 64, 124] {
            let half = GoodnessOfFit::critical(degrees as usize) / 2.0;
            let (mut term, mut sum) = (1.0, 1.0);
            for i in 1..degrees / 2 {
                term *= half / f64::from(i);
                sum += term;
            }
            let above = (-half).exp() * sum;
            assert!(
                (2e-7..1.2e-6).contains(&above),
                "{degrees} degrees: exceeded with probability {above}"
            );
        }
    }

    #[test]
    fn the_right_distribution_passes_and_one_at_the_detectable_distance_fails() {
        let expected = vec![0.05; 20];
        let mut missed = 0;
        for seed in 0..100 {
            let right = fit(&expected, &expected, 5_000, seed);
            right.check().unwrap();
            let distance = right.detectable_distance();
            assert!(distance < 0.08, "{distance}");
            let shifted: Vec<f64> = (0..20)
                .map(|cell| 0.05 + if cell % 2 == 0 { distance } else { -distance } / 10.0)
                .collect();
            missed += usize::from(fit(&expected, &shifted, 5_000, seed).check().is_ok());
        }
        assert!(missed <= 5, "{missed} of 100 missed, expected about 1");
    }

    #[test]
    fn an_impossible_outcome_fails() {
        let mut fit = GoodnessOfFit::new(vec![1.0, 0.0]);
        (0..1_000).for_each(|_| fit.add(0));
        fit.check().unwrap();
        fit.add(1);
        fit.check().unwrap_err();
    }
}
