//! Seconds of a step, by compression and gamma.

use serde::Serialize;

use super::super::data::{Compression, GAMMAS, PaperData};

/// Measured over all runs of one compression and gamma.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CostRow {
    /// How the target is stored.
    pub compression: Compression,
    /// Tokens that a step drafts.
    pub gamma: usize,
    /// Mean over prompts of tokens per second.
    pub tokens_per_second: f64,
    /// All tokens by all steps.
    pub tokens_per_step: f64,
    /// All seconds by all steps, in milliseconds.
    pub step_ms: f64,
    /// Part of a step that does not grow with gamma, in milliseconds: the intercept of a line
    /// through the four gammas.
    pub fixed_ms: f64,
    /// Slope of that line: milliseconds per token drafted.
    pub token_ms: f64,
}

/// Seconds of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs(Vec<[f64; GAMMAS.len()]>, Vec<CostRow>);

impl Costs {
    /// All seconds by all steps, for each compression and gamma.
    #[must_use]
    pub fn of(data: &PaperData) -> Self {
        let mut seconds = Vec::new();
        let mut rows = Vec::new();
        for &compression in Compression::ALL {
            let mut of_gamma = [0.0; GAMMAS.len()];
            for (cell, gamma) in of_gamma.iter_mut().zip(GAMMAS) {
                let runs: Vec<_> = data
                    .runs
                    .iter()
                    .filter(|run| (run.compression, run.gamma) == (compression, gamma))
                    .collect();
                let sum = |f: &dyn Fn(usize) -> f64| (0..runs.len()).map(f).sum::<f64>();
                let steps = sum(&|at| runs[at].steps as f64);
                *cell = sum(&|at| runs[at].seconds) / steps;
                rows.push(CostRow {
                    compression,
                    gamma,
                    tokens_per_second: sum(&|at| runs[at].tokens_per_second) / runs.len() as f64,
                    tokens_per_step: sum(&|at| runs[at].tokens as f64) / steps,
                    step_ms: 1e3 * *cell,
                    fixed_ms: 0.0,
                    token_ms: 0.0,
                });
            }
            let (fixed, slope) = line(&of_gamma);
            for row in rows.iter_mut().filter(|row| row.compression == compression) {
                (row.fixed_ms, row.token_ms) = (1e3 * fixed, 1e3 * slope);
            }
            seconds.push(of_gamma);
        }
        Costs(seconds, rows)
    }

    /// Seconds of a step.
    ///
    /// # Panics
    /// For a gamma that is not the paper's.
    #[must_use]
    pub fn seconds(&self, compression: Compression, gamma: usize) -> f64 {
        let at =
            GAMMAS.iter().position(|other| *other == gamma).expect("one of the paper's gammas");
        self.0[compression as usize][at]
    }

    /// As a table.
    #[must_use]
    pub fn rows(&self) -> Vec<CostRow> {
        self.1.clone()
    }
}

/// Intercept and slope by least squares over the gammas.
fn line(y: &[f64; GAMMAS.len()]) -> (f64, f64) {
    let count = GAMMAS.len() as f64;
    let mean_x = GAMMAS.iter().sum::<usize>() as f64 / count;
    let mean_y = y.iter().sum::<f64>() / count;
    let pairs = || GAMMAS.iter().map(|gamma| *gamma as f64 - mean_x).zip(y);
    let slope = pairs().map(|(x, y)| x * y).sum::<f64>() / pairs().map(|(x, _)| x * x).sum::<f64>();
    (mean_y - slope * mean_x, slope)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_found_again() {
        let (fixed, slope) = super::line(&[22.0, 42.0, 62.0, 82.0]);
        assert!((fixed - 2.0).abs() < 1e-12 && (slope - 10.0).abs() < 1e-12);
    }
}
