//! Examples with a known truth, for the tests of training.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use speckv::predictor::{FEATURES, Features, Head, Metrics, features::index, sigmoid};

use super::perceptron::uniform;

/// Examples whose truth is `sigmoid(truth(x))`.
pub(super) fn drawn(count: usize, truth: impl Fn(&Features) -> f32) -> Vec<(Features, bool)> {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    (0..count)
        .map(|_| {
            let mut x = [0.0; FEATURES];
            x[index::BIAS] = 1.0;
            x[index::LOGIT_CONFIDENCE] = 6.0 * uniform(&mut random) - 2.0;
            x[index::ENTROPY_BITS] = 4.0 * uniform(&mut random);
            let accepted = uniform(&mut random) < sigmoid(truth(&x));
            (x, accepted)
        })
        .collect()
}

pub(super) fn metrics(head: &Head, examples: &[(Features, bool)]) -> Metrics {
    let pairs: Vec<(f32, bool)> =
        examples.iter().map(|(x, y)| (sigmoid(head.score(x)), *y)).collect();
    Metrics::of(&pairs).expect("not empty")
}
