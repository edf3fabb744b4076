//! The perceptron of one hidden layer.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use speckv::predictor::{FEATURES, Features, HIDDEN, Head, Mlp, sigmoid};

use super::TrainOptions;

const BATCH: usize = 256;

/// A perceptron trained by Adam on log loss in batches of 256. A feature that never changes in the
/// examples gets no weight: it is the same as the bias there, and elsewhere it may have another
/// value.
#[must_use]
pub fn perceptron(examples: &[(Features, bool)], options: &TrainOptions) -> Head {
    const OUTPUT: usize = HIDDEN * FEATURES + HIDDEN; // [hidden | hidden bias | output | output bias]
    const ALL: usize = OUTPUT + HIDDEN + 1;
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let mut parameters = vec![0.0_f32; ALL];
    let bound = (6.0 / (FEATURES + HIDDEN) as f32).sqrt();
    for (index, parameter) in parameters.iter_mut().enumerate() {
        if index < HIDDEN * FEATURES || (OUTPUT..OUTPUT + HIDDEN).contains(&index) {
            *parameter = bound * (2.0 * uniform(&mut random) - 1.0);
        }
    }
    let varies: [bool; FEATURES] =
        std::array::from_fn(|index| examples.iter().any(|(x, _)| x[index] != examples[0].0[index]));
    let is_free = |index: usize| index >= HIDDEN * FEATURES || varies[index % FEATURES];
    parameters
        .iter_mut()
        .enumerate()
        .filter(|(index, _)| !is_free(*index))
        .for_each(|(_, parameter)| *parameter = 0.0);
    let (mut first, mut second) = (vec![0.0_f32; ALL], vec![0.0_f32; ALL]);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut update = 0;
    for _ in 0..options.epochs {
        for index in (1..order.len()).rev() {
            order.swap(index, (random.next_u64() % (index as u64 + 1)) as usize);
        }
        for batch in order.chunks(BATCH) {
            let mut gradient = vec![0.0_f32; ALL];
            for &index in batch {
                let (x, y) = &examples[index];
                let unit = |row: usize, parameters: &[f32]| -> f32 {
                    let weights = &parameters[row * FEATURES..(row + 1) * FEATURES];
                    weights.iter().zip(x).map(|(w, x)| w * x).sum::<f32>()
                        + parameters[HIDDEN * FEATURES + row]
                };
                let hidden: [f32; HIDDEN] =
                    std::array::from_fn(|row| unit(row, &parameters).max(0.0));
                let z: f32 =
                    hidden.iter().zip(&parameters[OUTPUT..]).map(|(h, w)| h * w).sum::<f32>()
                        + parameters[ALL - 1];
                let error = (sigmoid(z) - f32::from(u8::from(*y))) / batch.len() as f32;
                for row in 0..HIDDEN {
                    gradient[OUTPUT + row] += error * hidden[row];
                    if hidden[row] > 0.0 {
                        let back = error * parameters[OUTPUT + row];
                        gradient[HIDDEN * FEATURES + row] += back;
                        let weights = &mut gradient[row * FEATURES..(row + 1) * FEATURES];
                        weights.iter_mut().zip(x).for_each(|(g, x)| *g += back * x);
                    }
                }
                gradient[ALL - 1] += error;
            }
            update += 1;
            let (c1, c2) = (1.0 - 0.9_f32.powi(update), 1.0 - 0.999_f32.powi(update));
            for index in (0..ALL).filter(|&index| is_free(index)) {
                let g = gradient[index] + options.decay * parameters[index];
                first[index] = 0.9 * first[index] + 0.1 * g;
                second[index] = 0.999 * second[index] + 0.001 * g * g;
                parameters[index] -= options.learning_rate * (first[index] / c1)
                    / ((second[index] / c2).sqrt() + 1e-8);
            }
        }
    }
    Head::Mlp(Mlp {
        hidden: parameters[..HIDDEN * FEATURES].to_vec(),
        hidden_bias: parameters[HIDDEN * FEATURES..OUTPUT].to_vec(),
        output: parameters[OUTPUT..OUTPUT + HIDDEN].to_vec(),
        output_bias: parameters[ALL - 1],
    })
}

/// Uniform in [0, 1).
pub(super) fn uniform(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use speckv::predictor::features::index;

    use super::{
        super::{
            logistic,
            testing::{drawn, metrics},
        },
        *,
    };

    #[test]
    fn the_perceptron_learns_what_no_line_can_and_is_reproducible() {
        let bump = |x: &Features| 4.0 - 4.0 * (x[index::LOGIT_CONFIDENCE] - 1.0).abs();
        let examples = drawn(3_000, bump);
        let options = TrainOptions { epochs: 120, ..TrainOptions::default() };
        let (line, curve) = (logistic(&examples, &options), perceptron(&examples, &options));
        let (line, bent) = (metrics(&line, &examples), metrics(&curve, &examples));
        assert!(
            bent.brier < 0.6 * line.brier,
            "perceptron {}, logistic {}",
            bent.brier,
            line.brier
        );
        assert!(bent.ece_10 < 0.05 && bent.gain_over_constant() > 0.4, "{bent:?}");
        assert_eq!(perceptron(&examples, &options), curve);
    }

    #[test]
    fn a_feature_that_never_changed_in_training_changes_nothing_afterwards() {
        let mut examples = drawn(400, |x| x[index::LOGIT_CONFIDENCE]);
        examples.iter_mut().for_each(|(x, _)| x[index::COMPRESSION] = 0.7);
        let head = perceptron(&examples, &TrainOptions { epochs: 5, ..TrainOptions::default() });
        let mut elsewhere = examples[0].0;
        elsewhere[index::COMPRESSION] = 0.0;
        elsewhere[index::TEMPERATURE] = 0.8;
        assert_eq!(head.score(&elsewhere), head.score(&examples[0].0));
    }
}
