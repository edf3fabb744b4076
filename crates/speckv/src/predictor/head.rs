//! One score from features: logistic regression, or a small multilayer perceptron.

use super::{FEATURES, Features};

/// Hidden units of the perceptron.
pub const HIDDEN: usize = 16;

/// Features -> score; the probability is the score's [`sigmoid`](super::sigmoid).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Head {
    /// `w . x`.
    Logistic {
        /// `[features]`
        weights: Vec<f32>,
    },
    /// `w2 . relu(W1 x + b1) + b2`.
    Mlp(Mlp),
}

/// A perceptron with one hidden layer of [`HIDDEN`] units.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// First layer, `[HIDDEN, features]`, row-major.
    pub hidden: Vec<f32>,
    /// Its biases, `[HIDDEN]`.
    pub hidden_bias: Vec<f32>,
    /// Second layer, `[HIDDEN]`.
    pub output: Vec<f32>,
    /// Its bias.
    pub output_bias: f32,
}

impl Head {
    /// The score of one set of features: a logit.
    #[must_use]
    pub fn score(&self, features: &Features) -> f32 {
        match self {
            Head::Logistic { weights } => dot(weights, features),
            Head::Mlp(mlp) => {
                let units =
                    mlp.hidden.chunks_exact(FEATURES).zip(&mlp.hidden_bias).zip(&mlp.output);
                let sum: f32 = units
                    .map(|((row, bias), out)| (dot(row, features) + bias).max(0.0) * out)
                    .sum();
                sum + mlp.output_bias
            }
        }
    }

    /// Whether all layers have their sizes and all weights are finite.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let finite = |weights: &[f32], length: usize| {
            weights.len() == length && weights.iter().all(|w| w.is_finite())
        };
        match self {
            Head::Logistic { weights } => finite(weights, FEATURES),
            Head::Mlp(mlp) => {
                finite(&mlp.hidden, HIDDEN * FEATURES)
                    && finite(&mlp.hidden_bias, HIDDEN)
                    && finite(&mlp.output, HIDDEN)
                    && mlp.output_bias.is_finite()
            }
        }
    }
}

fn dot(weights: &[f32], features: &Features) -> f32 {
    weights.iter().zip(features).map(|(w, x)| w * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_perceptron_computes_its_formula() {
        let mut hidden = vec![0.0; HIDDEN * FEATURES];
        hidden[0] = 2.0; // unit 0 reads feature 0
        hidden[FEATURES + 1] = -1.0; // unit 1 reads feature 1, negated
        let mut output = vec![0.0; HIDDEN];
        output[0] = 3.0;
        output[1] = 5.0;
        let mut hidden_bias = vec![0.0; HIDDEN];
        hidden_bias[0] = -0.5;
        let head = Head::Mlp(Mlp { hidden, hidden_bias, output, output_bias: 0.25 });
        let mut features = [0.0; FEATURES];
        features[0] = 1.0;
        features[1] = 4.0; // -4 before the ReLU: silent
        assert!(head.is_valid());
        assert!((head.score(&features) - (3.0 * 1.5 + 0.25)).abs() < 1e-6);
        features[1] = -2.0;
        assert!((head.score(&features) - (3.0 * 1.5 + 5.0 * 2.0 + 0.25)).abs() < 1e-6);
    }
}
