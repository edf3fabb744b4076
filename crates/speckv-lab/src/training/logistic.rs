//! Logistic regression.

use speckv::predictor::{FEATURES, Features, Head};

use super::TrainOptions;

/// Ridge logistic regression by Newton's method (iteratively reweighted least squares) over all
/// examples, with step halving.
#[must_use]
pub fn logistic(examples: &[(Features, bool)], options: &TrainOptions) -> Head {
    logistic_from(&Head::Logistic { weights: vec![0.0; FEATURES] }, examples, options)
}

/// The same, pulled towards the weights of `start`: what few examples do not say is left to it.
#[must_use]
pub fn logistic_from(start: &Head, examples: &[(Features, bool)], options: &TrainOptions) -> Head {
    let centre: [f64; FEATURES] = std::array::from_fn(|index| match start {
        Head::Logistic { weights } => weights.get(index).map_or(0.0, |&weight| f64::from(weight)),
        Head::Mlp(_) => 0.0,
    });
    let penalty = |index: usize| if index == 0 { 1e-6 } else { options.ridge.max(1e-6) };
    let loss = |weights: &[f64; FEATURES]| -> f64 {
        let data: f64 = examples
            .iter()
            .map(|(x, y)| softplus(if *y { -score(weights, x) } else { score(weights, x) }))
            .sum();
        let pulled = |index: usize| penalty(index) * (weights[index] - centre[index]).powi(2);
        data + 0.5 * (0..FEATURES).map(pulled).sum::<f64>()
    };
    let mut weights = centre;
    let mut best = loss(&weights);
    for _ in 0..50 {
        let mut gradient = [0.0; FEATURES];
        let mut hessian = [[0.0; FEATURES]; FEATURES];
        for (x, y) in examples {
            let p = 1.0 / (1.0 + (-score(&weights, x)).exp());
            let (error, curvature) = (p - f64::from(u8::from(*y)), p * (1.0 - p));
            for row in 0..FEATURES {
                gradient[row] += error * f64::from(x[row]);
                for column in 0..=row {
                    hessian[row][column] += curvature * f64::from(x[row]) * f64::from(x[column]);
                }
            }
        }
        for index in 0..FEATURES {
            gradient[index] += penalty(index) * (weights[index] - centre[index]);
            hessian[index][index] += penalty(index) + 1e-9;
        }
        let step = solve_positive_definite(&mut hessian, gradient);
        let mut share = 1.0;
        let improved = loop {
            let trial: [f64; FEATURES] =
                std::array::from_fn(|index| weights[index] - share * step[index]);
            let trial_loss = loss(&trial);
            if trial_loss < best {
                let gain = best - trial_loss;
                (weights, best) = (trial, trial_loss);
                break gain > 1e-9 * best.abs().max(1.0);
            }
            share *= 0.5;
            if share < 1e-6 {
                break false;
            }
        };
        if !improved {
            break;
        }
    }
    Head::Logistic { weights: weights.iter().map(|&w| w as f32).collect() }
}

fn score(weights: &[f64; FEATURES], x: &Features) -> f64 {
    weights.iter().zip(x).map(|(w, &x)| w * f64::from(x)).sum()
}

/// `ln(1 + exp(z))` without overflow.
fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// Solves `A x = b` for a symmetric positive definite `A` given by its lower triangle, by
/// Cholesky's decomposition in place.
fn solve_positive_definite(
    a: &mut [[f64; FEATURES]; FEATURES],
    b: [f64; FEATURES],
) -> [f64; FEATURES] {
    for row in 0..FEATURES {
        for column in 0..=row {
            let sum: f64 = (0..column).map(|k| a[row][k] * a[column][k]).sum();
            let rest = a[row][column] - sum;
            a[row][column] =
                if row == column { rest.max(1e-12).sqrt() } else { rest / a[column][column] };
        }
    }
    let mut x = b;
    for row in 0..FEATURES {
        let sum: f64 = (0..row).map(|k| a[row][k] * x[k]).sum();
        x[row] = (x[row] - sum) / a[row][row];
    }
    for row in (0..FEATURES).rev() {
        let sum: f64 = (row + 1..FEATURES).map(|k| a[k][row] * x[k]).sum();
        x[row] = (x[row] - sum) / a[row][row];
    }
    x
}

#[cfg(test)]
mod tests {
    use speckv::predictor::features::index;

    use super::{super::testing::drawn, *};

    #[test]
    fn logistic_regression_finds_the_weights_that_made_the_data() {
        let examples = drawn(20_000, |x| {
            0.5 + 0.8 * x[index::LOGIT_CONFIDENCE] - 0.6 * x[index::ENTROPY_BITS]
        });
        let Head::Logistic { weights } = logistic(&examples, &TrainOptions::default()) else {
            panic!("another kind of head")
        };
        for (at, expected) in
            [(index::BIAS, 0.5), (index::LOGIT_CONFIDENCE, 0.8), (index::ENTROPY_BITS, -0.6)]
        {
            assert!((weights[at] - expected).abs() < 0.08, "{at}: {}", weights[at]);
        }
        assert_eq!(weights[index::MARGIN], 0.0, "a feature that is always 0 gets no weight");
    }
}
