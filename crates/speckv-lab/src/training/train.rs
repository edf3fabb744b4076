//! Examples -> weights. Pure and seeded.

use speckv::{
    predictor::{Features, Predictor, Question},
    record::Source,
};

use super::{Example, logistic_from, perceptron};

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
    /// Perceptron of 16 units.
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
    for source in [Source::MODEL, Source::NGRAM, Source::PARALLEL] {
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

#[cfg(test)]
mod tests {
    use super::{super::testing::drawn, *};

    #[test]
    fn heads_without_examples_keep_their_start() {
        let examples: Vec<Example> = drawn(500, |_| 1.0)
            .into_iter()
            .map(|(features, accepted)| Example {
                source: Source::MODEL,
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
