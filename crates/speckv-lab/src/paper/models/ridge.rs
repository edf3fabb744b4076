//! Linear regression with an L2 penalty (Hoerl and Kennard 1970).

use super::{super::data::FEATURES, Features, Regressor};

/// `w . x + b` with the least `sum (y - w . x - b)^2 + penalty |w|^2`; the intercept is not
/// penalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Ridge {
    /// One weight per feature.
    pub weights: [f64; FEATURES],
    /// Intercept.
    pub bias: f64,
}

/// The inputs determine no weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected features that determine the weights, got a singular system at feature {feature}")]
pub struct RidgeError {
    /// The feature where elimination stopped.
    pub feature: usize,
}

impl Ridge {
    /// Solves the normal equations on centred values, exactly as far as 64 bits go.
    ///
    /// # Errors
    /// A singular system, which a penalty above 0 rules out for finite inputs.
    ///
    /// # Panics
    /// If the lengths differ or there are no rows.
    pub fn fit(x: &[Features], y: &[f64], penalty: f64) -> Result<Self, RidgeError> {
        assert!(x.len() == y.len() && !x.is_empty(), "a value for every row");
        let count = x.len() as f64;
        let mean_x: Features =
            std::array::from_fn(|at| x.iter().map(|x| x[at]).sum::<f64>() / count);
        let mean_y = y.iter().sum::<f64>() / count;
        let mut system = [[0.0; FEATURES + 1]; FEATURES]; // [features, features + right-hand side]
        for (x, y) in x.iter().zip(y) {
            let centred: Features = std::array::from_fn(|at| x[at] - mean_x[at]);
            for (row, left) in system.iter_mut().zip(&centred) {
                row.iter_mut().zip(&centred).for_each(|(sum, right)| *sum += left * right);
                row[FEATURES] += left * (y - mean_y);
            }
        }
        for (at, row) in system.iter_mut().enumerate() {
            row[at] += penalty;
        }
        let weights = solve(system)?;
        let bias = mean_y - weights.iter().zip(&mean_x).map(|(w, x)| w * x).sum::<f64>();
        Ok(Ridge { weights, bias })
    }
}

/// Gaussian elimination with partial pivoting.
fn solve(mut system: [[f64; FEATURES + 1]; FEATURES]) -> Result<[f64; FEATURES], RidgeError> {
    for column in 0..FEATURES {
        let largest = (column..FEATURES)
            .max_by(|&a, &b| system[a][column].abs().total_cmp(&system[b][column].abs()));
        system.swap(column, largest.unwrap_or(column));
        let pivot = system[column];
        if !(pivot[column].abs() > f64::MIN_POSITIVE && pivot[column].is_finite()) {
            return Err(RidgeError { feature: column });
        }
        for row in &mut system[column + 1..] {
            let factor = row[column] / pivot[column];
            row.iter_mut()
                .zip(&pivot)
                .skip(column)
                .for_each(|(value, above)| *value -= factor * above);
        }
    }
    let mut solution = [0.0; FEATURES];
    for row in (0..FEATURES).rev() {
        let known: f64 = (row + 1..FEATURES).map(|at| system[row][at] * solution[at]).sum();
        solution[row] = (system[row][FEATURES] - known) / system[row][row];
    }
    Ok(solution)
}

impl Regressor for Ridge {
    fn raw(&self, x: &Features) -> f64 {
        self.weights.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + self.bias
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::rows, *};

    /// Oracle: scikit-learn 1.9, `Ridge(1.0).fit(X, y).predict(X[:3])`.
    #[test]
    fn predictions_are_those_of_scikit_learn() {
        let (x, y) = rows(300);
        let model = Ridge::fit(&x, &y, 1.0).expect("a solution");
        for (x, expected) in x.iter().zip([
            0.518_918_564_133_158_7,
            0.267_066_496_226_951_9,
            0.624_762_212_802_582_7,
        ]) {
            assert!((model.raw(x) - expected).abs() < 1e-12, "{} for {expected}", model.raw(x));
        }
    }

    #[test]
    fn without_a_penalty_a_linear_truth_is_found() {
        let (x, _) = rows(50);
        let y: Vec<f64> = x.iter().map(|x| 2.0 * x[0] - x[5] + 0.5).collect();
        let model = Ridge::fit(&x, &y, 0.0).expect("a solution");
        assert!(
            (model.weights[0] - 2.0).abs() < 1e-10 && (model.bias - 0.5).abs() < 1e-10,
            "{model:?}"
        );
    }

    #[test]
    fn a_constant_feature_without_a_penalty_is_refused() {
        assert!(Ridge::fit(&[[1.0; 6]; 4], &[1.0, 2.0, 3.0, 4.0], 0.0).is_err());
        assert!(Ridge::fit(&[[1.0; 6]; 4], &[1.0, 2.0, 3.0, 4.0], 1.0).is_ok());
    }
}
