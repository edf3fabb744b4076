//! The tests that every model, every drafter and every controller must pass, for use in the tests
//! of any crate.
//!
//! Each check returns the first rule that does not hold, in words.

mod constraint;
mod controller;
mod drafter;
mod model;
pub mod statistics;

pub use constraint::check_constraint;
pub use controller::check_controller;
pub use drafter::check_drafter;
pub use model::{check_foreign_cache, check_model};

use crate::{
    model::{Feed, LanguageModel, PassOutput},
    sampling::{Chain, Distribution, SamplingSettings},
    token::Token,
};

/// Greedy decoding without any of the engine: one token per pass, `count` tokens after `prompt`,
/// the prompt left out.
///
/// # Errors
/// The model's, in words.
pub fn decode_plainly<M: LanguageModel>(
    model: &M,
    prompt: &[Token],
    count: usize,
) -> Result<Vec<Token>, String> {
    let mut cache = model.new_cache().map_err(|error| error.to_string())?;
    let mut output = model.new_output();
    let mut text = prompt.to_vec();
    let mut read = 0;
    for _ in 0..count {
        let mut feeds = [Feed::new(&mut cache, &text[read..], 1)];
        model.forward(&mut feeds, &mut output).map_err(|error| error.to_string())?;
        read = text.len();
        text.push(output.likeliest(0, model.vocab_size()).map_err(|error| error.to_string())?);
    }
    Ok(text.split_off(prompt.len()))
}

/// The exact joint distribution of the next `depth` tokens under plain sampling, `[vocab^depth]`,
/// the first token the most significant digit.
///
/// # Errors
/// The model's, in words.
pub fn joint_distribution<M: LanguageModel>(
    model: &M,
    prompt: &[Token],
    sampling: &SamplingSettings,
    depth: usize,
) -> Result<Vec<f64>, String> {
    let mut chain = Chain::new(sampling.clone()).map_err(|error| error.to_string())?;
    let mut level = vec![(prompt.to_vec(), 1.0)];
    for _ in 0..depth {
        let mut next = Vec::with_capacity(level.len() * model.vocab_size());
        for (text, weight) in level {
            let (mut distribution, mut output) = (Distribution::new(), model.new_output());
            if weight > 0.0 {
                let mut cache = model.new_cache().map_err(|error| error.to_string())?;
                let mut feeds = [Feed::new(&mut cache, &text, 1)];
                model.forward(&mut feeds, &mut output).map_err(|error| error.to_string())?;
                let logits = output.logits(0).map_err(|error| error.to_string())?;
                chain.fill(logits, &text, &mut distribution).map_err(|error| error.to_string())?;
            }
            for token in 0..model.vocab_size() as Token {
                let longer = text.iter().copied().chain([token]).collect();
                next.push((longer, weight * f64::from(distribution.probability(token))));
            }
        }
        level = next;
    }
    Ok(level.into_iter().map(|(_, weight)| weight).collect())
}

/// `Err` with the words unless the truth holds.
fn ensure(truth: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if truth { Ok(()) } else { Err(words()) }
}

/// A text of `len` tokens below `vocab_size`, the same for the same `seed`.
fn text(vocab_size: usize, len: usize, seed: u64) -> Vec<Token> {
    let mut randomness = crate::sampling::Randomness::new(seed);
    (0..len).map(|_| (randomness.uniform() * vocab_size as f64) as Token).collect()
}
