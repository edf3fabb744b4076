//! Fits the predictor to traces and measures it on prompts that it has not seen.
//!
//! Which positions a step begins at, and what it has seen before, depends on the controller; so
//! examples are taken from replays of several controllers over each trace. Replays of one prompt
//! always stay in one part of a split, and so do its recordings under other compressions or with
//! another draft: their texts have most tokens in common.
//!
//! | module | what it does |
//! |---|---|
//! | `teachers` | replays controllers over a trace for their steps |
//! | `examples` | turns steps into outcomes with what was known before them |
//! | `train` | trains the heads of a predictor, with `logistic` or `perceptron` |
//! | `cross_validation` | chooses each head by its quality on held-out prompts |

mod cross_validation;
mod examples;
mod logistic;
mod perceptron;
mod teachers;
#[cfg(test)]
mod testing;
mod train;

pub use cross_validation::{HeadReport, PromptExamples, Quality, Trained, fit, judge};
pub use examples::{Example, examples};
pub use logistic::{logistic, logistic_from};
pub use perceptron::perceptron;
pub use teachers::examples_of;
pub use train::{FEWEST_EXAMPLES, Kind, TrainOptions, train};
