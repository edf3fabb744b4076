//! Online correction of a score: intercept and slope, each moved as far as its variance allows.

use super::sigmoid;

/// `p = sigmoid(intercept + slope * score)`, both learned from outcomes by the extended Kalman
/// filter of logistic regression.
///
/// With `x = (1, score)`, `g = p (1 - p)` and covariance `P` of (intercept, slope), an outcome `y`
/// moves them by `P x (y - p) / (1 + g x'Px)` and shrinks `P` by `g (Px)(Px)' / (1 + g x'Px)`; a
/// little process noise keeps it able to follow change. It starts from the identity with standard
/// deviations of 1 (intercept) and 0.3 (slope): a wrong pair is calibrated within a hundred
/// outcomes, and a right one hardly moves.
///
/// ```
/// use speckv::predictor::Calibrator;
///
/// let mut calibrator = Calibrator::default();
/// assert_eq!(calibrator.probability(0.0), 0.5);
/// for _ in 0..50 {
///     calibrator.observe(0.0, true);
/// }
/// assert!(calibrator.probability(0.0) > 0.9);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibrator {
    intercept: f32,
    slope: f32,
    covariance: [f32; 3], // intercept^2, intercept * slope, slope^2
}

/// Variances of the start: standard deviations of 1 and 0.3.
const VARIANCE: [f32; 3] = [1.0, 0.0, 0.09];
/// Variances of [`Calibrator::damped`]: standard deviations of 0.3 and 0.3.
const DAMPED_VARIANCE: [f32; 3] = [0.1, 0.0, 0.09];
/// Process noise per outcome: the filter's memory is some hundred outcomes.
const NOISE: [f32; 2] = [2e-3, 1e-4];
/// Process noise per step without an outcome.
const IDLE_NOISE: [f32; 2] = [4e-3, 1e-4];
/// Largest change of the logit by one outcome: a token of confidence 0.9999 that is rejected must
/// not outweigh all others.
const LARGEST_STEP: f32 = 1.5;
/// Bounds of intercept and slope: a logit of 8 is a probability of 0.9997, and a slope that changed
/// its sign would turn sure tokens into unsure ones.
const LARGEST_INTERCEPT: f32 = 8.0;
const LEAST_SLOPE: f32 = 0.1;
const LARGEST_SLOPE: f32 = 3.0;
/// Least curvature `p (1 - p)`, so that a certain outcome still shrinks the covariance.
const LEAST_CURVATURE: f32 = 1e-4;

impl Default for Calibrator {
    fn default() -> Self {
        Calibrator { intercept: 0.0, slope: 1.0, covariance: VARIANCE }
    }
}

impl Calibrator {
    /// A correction that is slow to move at first (standard deviation 0.3 of the intercept): for
    /// heads whose features follow the running acceptance by themselves, so that three bad tokens
    /// are not counted twice.
    #[must_use]
    pub fn damped() -> Self {
        Calibrator { covariance: DAMPED_VARIANCE, ..Self::default() }
    }

    /// Corrected probability of a score.
    #[must_use]
    pub fn probability(&self, score: f32) -> f32 {
        sigmoid(self.intercept + self.slope * score)
    }

    /// Learns one outcome of a score.
    pub fn observe(&mut self, score: f32, accepted: bool) {
        if !score.is_finite() {
            return;
        }
        let p = self.probability(score);
        let g = (p * (1.0 - p)).max(LEAST_CURVATURE);
        let [a, b, c] = self.covariance;
        let (px0, px1) = (a + b * score, b + c * score); // P x
        let spread = px0 + px1 * score; // x' P x
        let gain = 1.0 / (1.0 + g * spread);
        let error = f32::from(u8::from(accepted)) - p;
        let step = (gain * error * spread).abs().max(1e-12);
        let gain_on_mean = gain * (LARGEST_STEP / step).min(1.0);
        self.intercept = (self.intercept + px0 * error * gain_on_mean)
            .clamp(-LARGEST_INTERCEPT, LARGEST_INTERCEPT);
        self.slope = (self.slope + px1 * error * gain_on_mean).clamp(LEAST_SLOPE, LARGEST_SLOPE);
        self.covariance =
            [a - g * gain * px0 * px0, b - g * gain * px0 * px1, c - g * gain * px1 * px1];
        self.widen(NOISE);
    }

    /// A step passed without an outcome: the variance of what was learned grows.
    pub fn idle(&mut self) {
        self.widen(IDLE_NOISE);
    }

    fn widen(&mut self, noise: [f32; 2]) {
        self.covariance[0] = (self.covariance[0] + noise[0]).clamp(1e-4, VARIANCE[0]);
        self.covariance[2] = (self.covariance[2] + noise[1]).clamp(1e-5, VARIANCE[2]);
        // Stays positive definite when the clamps bite.
        let bound = 0.99 * (self.covariance[0] * self.covariance[2]).sqrt();
        self.covariance[1] = self.covariance[1].clamp(-bound, bound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic numbers in [0, 1).
    fn uniform(state: &mut u64) -> f32 {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1u64 << 24) as f32
    }

    #[test]
    fn the_first_update_is_the_one_worked_by_hand() {
        let mut calibrator = Calibrator::default();
        calibrator.observe(0.0, true); // p = 0.5, g = 0.25, x'Px = 1: step = 0.5 / 1.25 = 0.4
        assert!((calibrator.intercept - 0.4).abs() < 1e-6);
        assert_eq!(calibrator.slope, 1.0);
        assert!((calibrator.covariance[0] - (1.0 - 0.25 / 1.25 + NOISE[0])).abs() < 1e-6);
    }

    #[test]
    fn a_wrong_pair_is_calibrated_within_a_hundred_outcomes() {
        for (offset, scale) in [(-3.0, 1.0), (1.5, 0.6), (-1.0, 0.4), (0.0, 1.0)] {
            let mut seed = 7;
            let mut calibrator = Calibrator::default();
            for _ in 0..100 {
                let score = 5.0 * uniform(&mut seed) - 1.0;
                calibrator.observe(score, uniform(&mut seed) < sigmoid(offset + scale * score));
            }
            let mut error = 0.0;
            for step in 0..=20 {
                let score = -1.0 + 0.25 * step as f32;
                error +=
                    (calibrator.probability(score) - sigmoid(offset + scale * score)).abs() / 21.0;
            }
            assert!(error < 0.1, "offset {offset}, scale {scale}: mean error {error}");
        }
    }

    #[test]
    fn any_history_keeps_probabilities_inside_and_the_slope_positive() {
        let mut seed = 3;
        let mut calibrator = Calibrator::default();
        for step in 0..20_000 {
            let score = 14.0 * uniform(&mut seed) - 7.0;
            calibrator.observe(score, step % 997 < 500);
            if step % 3 == 0 {
                calibrator.idle();
            }
            let [a, b, c] = calibrator.covariance;
            assert!(
                a > 0.0 && c > 0.0 && a * c > b * b,
                "step {step}: {:?}",
                calibrator.covariance
            );
            assert!(
                calibrator.slope >= 0.1 && (0.0..=1.0).contains(&calibrator.probability(score))
            );
        }
    }
}
