//! The paper's predictors of the acceptance rate: one trait, one file per kind.

mod forest;
mod perceptron;
mod ridge;
mod tree;

pub use forest::{Forest, ForestSettings};
pub use perceptron::{Perceptron, PerceptronSettings};
pub use ridge::{Ridge, RidgeError};
use serde::Serialize;

use super::data::FEATURES;

/// The features of a step.
pub type Features = [f64; FEATURES];

/// A fitted predictor.
pub trait Regressor: Send + Sync {
    /// The prediction as it comes, not yet kept within [0, 1].
    fn raw(&self, x: &Features) -> f64;

    /// Predicted acceptance rate, in [0, 1].
    fn acceptance_rate(&self, x: &Features) -> f64 {
        self.raw(x).clamp(0.0, 1.0)
    }
}

/// The paper's kinds of predictors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// Linear with an L2 penalty of 1.
    #[serde(rename = "Ridge")]
    Ridge,
    /// Perceptron with 16 hidden units: the paper's "fast" one.
    #[serde(rename = "MLP-16")]
    Mlp16,
    /// Perceptron with 32 hidden units.
    #[serde(rename = "MLP-32")]
    Mlp32,
    /// Perceptron with layers of 64 and 32 hidden units.
    #[serde(rename = "MLP-64-32")]
    Mlp64x32,
    /// Ten trees of depth 8.
    #[serde(rename = "RF-10")]
    Forest10,
    /// A hundred trees of any depth: the paper's "accurate" one.
    #[serde(rename = "RF-100")]
    Forest100,
}

impl Kind {
    /// All, in the order of the paper's table.
    pub const ALL: [Kind; 6] =
        [Kind::Ridge, Kind::Mlp16, Kind::Mlp32, Kind::Mlp64x32, Kind::Forest10, Kind::Forest100];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ridge => "Ridge",
            Kind::Mlp16 => "MLP-16",
            Kind::Mlp32 => "MLP-32",
            Kind::Mlp64x32 => "MLP-64-32",
            Kind::Forest10 => "RF-10",
            Kind::Forest100 => "RF-100",
        }
    }

    /// Fits to `x` and `y` in their order, by the paper's recipe.
    ///
    /// # Errors
    /// Only Ridge's: inputs that determine no weights.
    ///
    /// # Panics
    /// If the lengths differ or there are no rows.
    pub fn fit(
        self,
        x: &[Features],
        y: &[f64],
        seed: u32,
    ) -> Result<Box<dyn Regressor>, RidgeError> {
        let perceptron = |hidden: &[usize]| {
            let settings =
                PerceptronSettings { hidden: hidden.to_vec(), ..PerceptronSettings::default() };
            Box::new(Perceptron::fit(&settings, x, y, seed)) as Box<dyn Regressor>
        };
        let forest = |trees, max_depth| -> Box<dyn Regressor> {
            Box::new(Forest::fit(&ForestSettings { trees, max_depth }, x, y, seed))
        };
        Ok(match self {
            Kind::Ridge => Box::new(Ridge::fit(x, y, 1.0)?),
            Kind::Mlp16 => perceptron(&[16]),
            Kind::Mlp32 => perceptron(&[32]),
            Kind::Mlp64x32 => perceptron(&[64, 32]),
            Kind::Forest10 => forest(10, 8),
            Kind::Forest100 => forest(100, usize::MAX),
        })
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::Features;
    use crate::statistics::MersenneTwister;

    /// Rows and values from NumPy's stream of seed 1: `X = random_sample((rows, 6))`, `y = sin(3
    /// X0) X1 + 0.1 random_sample(rows)`.
    pub(crate) fn rows(count: usize) -> (Vec<Features>, Vec<f64>) {
        let mut stream = MersenneTwister::new(1);
        let x: Vec<Features> =
            (0..count).map(|_| std::array::from_fn(|_| stream.uniform())).collect();
        let y = x.iter().map(|x| (3.0 * x[0]).sin() * x[1] + 0.1 * stream.uniform()).collect();
        (x, y)
    }
}
