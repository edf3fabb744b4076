//! Offline training: examples -> weights. Pure and seeded.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{
    FEATURES, FeatureState, Features, HIDDEN, Head, Mlp, Predictor, Question, SessionFacts,
};
use crate::record::{Source, StepRecord};

/// One outcome with what was known before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Example {
    /// Which source drafted.
    pub source: Source,
    /// Which question it answers.
    pub question: Question,
    /// What was known.
    pub features: Features,
    /// What happened.
    pub accepted: bool,
}

/// All examples of one sequence's steps, in order. Positions after the first rejection, past an end
/// token or beyond what was verified make none: they were not seen.
#[must_use]
pub fn examples(records: &[StepRecord], facts: SessionFacts) -> Vec<Example> {
    let mut state = FeatureState::new(facts);
    let mut examples = Vec::new();
    for record in records {
        let source = record.before.plan.source;
        let mut add = |question, features, accepted| {
            examples.push(Example { source, question, features, accepted })
        };
        state.begin(source, record.before.context);
        let label = |position: usize| record.outcome.label(position);
        if !record.drafted.is_empty()
            && let Some(accepted) = label(0)
        {
            add(Question::First, state.start(), accepted);
        }
        for (position, drafted) in record.drafted.iter().enumerate() {
            let Some(accepted) = label(position) else { break };
            let features = state.push(&drafted.signals);
            add(Question::Accept, features, accepted);
            if accepted && let Some(next) = label(position + 1) {
                add(Question::Next, features, next);
            }
        }
        state.observe(record);
    }
    examples
}

/// How to train.
///
/// | option | default | range | effect |
/// |---|---|---|---|
/// | `ridge` | 1 | >= 0 | pull of every weight but the bias towards the start's, or towards 0 where the start is no logistic head (logistic), in units of examples |
/// | `epochs` | 200 | >= 1 | passes of Adam over all examples (perceptron) |
/// | `learning_rate` | 0.01 | > 0 | Adam's step (perceptron) |
/// | `decay` | 1e-4 | >= 0 | weight decay (perceptron) |
/// | `seed` | 0 | | initial weights and order of the batches (perceptron) |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainOptions {
    /// See the table.
    pub ridge: f64,
    /// See the table.
    pub epochs: usize,
    /// See the table.
    pub learning_rate: f32,
    /// See the table.
    pub decay: f32,
    /// See the table.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions { ridge: 1.0, epochs: 200, learning_rate: 0.01, decay: 1e-4, seed: 0 }
    }
}

/// Kind of head to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Logistic regression.
    Logistic,
    /// Perceptron of [`HIDDEN`] units.
    Mlp,
}

/// Fewest examples that a head is trained on; below that the start's head stays.
pub const FEWEST_EXAMPLES: usize = 50;

/// A predictor whose heads are trained where there are at least [`FEWEST_EXAMPLES`] examples, and
/// those of `start` elsewhere.
#[must_use]
pub fn train(
    examples: &[Example],
    kind: Kind,
    start: &Predictor,
    options: &TrainOptions,
) -> Predictor {
    let mut predictor = start.clone();
    for source in [Source::Model, Source::Ngram] {
        for question in Question::ALL {
            let chosen: Vec<(Features, bool)> = examples
                .iter()
                .filter(|example| example.source == source && example.question == question)
                .map(|example| (example.features, example.accepted))
                .collect();
            if chosen.len() >= FEWEST_EXAMPLES {
                let head = match kind {
                    Kind::Logistic => logistic_from(start.head(source, question), &chosen, options),
                    Kind::Mlp => perceptron(&chosen, options),
                };
                if head.is_valid() {
                    predictor.set_head(source, question, head);
                }
            }
        }
    }
    predictor
}

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

const BATCH: usize = 256;

/// A perceptron trained by Adam on log loss in batches of 256. A feature that never changes in the
/// examples gets no weight: it cannot be told from the bias, and elsewhere it may have another
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
                let error = (super::sigmoid(z) - f32::from(u8::from(*y))) / batch.len() as f32;
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

fn uniform(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Metrics, features::index, sigmoid},
        *,
    };
    use crate::{
        controller::Plan,
        record::{Before, Drafted, Last, Outcome, Times},
        signals::Signals,
    };

    /// Examples whose truth is `sigmoid(truth(x))`.
    fn drawn(count: usize, truth: impl Fn(&Features) -> f32) -> Vec<(Features, bool)> {
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

    fn metrics(head: &Head, examples: &[(Features, bool)]) -> Metrics {
        let pairs: Vec<(f32, bool)> =
            examples.iter().map(|(x, y)| (sigmoid(head.score(x)), *y)).collect();
        Metrics::of(&pairs).expect("not empty")
    }

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

    #[test]
    fn examples_are_what_was_seen_and_what_the_features_were_then() {
        let step = |confidences: &[f32], verified: usize, accepted: usize| StepRecord {
            before: Before {
                step: 0,
                context: 9,
                draft_behind: 0,
                gamma_limit: 9,
                plan: Plan::model(4),
            },
            drafted: confidences
                .iter()
                .map(|&confidence| Drafted {
                    token: 1,
                    signals: Signals { confidence, ..Signals::default() },
                })
                .collect(),
            outcome: Outcome {
                verified,
                accepted,
                last: Last::Recovered,
                produced: accepted + 1,
                ended: false,
            },
            times: Times::default(),
            tokens: vec![1; accepted + 1],
        };
        let records = [step(&[0.9, 0.8, 0.7], 3, 1), step(&[], 0, 0), step(&[0.6, 0.2], 1, 1)];
        let got: Vec<(Question, bool, f32)> = examples(&records, SessionFacts::default())
            .iter()
            .map(|example| {
                (example.question, example.accepted, example.features[index::LOGIT_CONFIDENCE])
            })
            .collect();
        let z = super::super::logit;
        let expected = [
            (Question::First, true, 0.0),
            (Question::Accept, true, z(0.9)),
            (Question::Next, false, z(0.9)),
            (Question::Accept, false, z(0.8)),
            (Question::First, true, 0.0),
            (Question::Accept, true, z(0.6)), // the second token was not verified: neither accepted nor next
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn heads_without_examples_keep_their_start() {
        let examples: Vec<Example> = drawn(500, |_| 1.0)
            .into_iter()
            .map(|(features, accepted)| Example {
                source: Source::Model,
                question: Question::Accept,
                features,
                accepted,
            })
            .collect();
        let start = Predictor::prior();
        let trained = train(&examples, Kind::Logistic, &start, &TrainOptions::default());
        assert_ne!(trained.model.accept, start.model.accept);
        assert_eq!((&trained.model.next, &trained.ngram), (&start.model.next, &start.ngram));
    }
}
