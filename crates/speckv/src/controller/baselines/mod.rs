//! The controllers that the default one is compared with: those of other engines and papers.
//!
//! | controller | rule | from |
//! |---|---|---|
//! | [`Off`] | plain decoding | |
//! | [`Fixed`] | a constant gamma | most engines |
//! | [`Confidence`] | stop below a confidence | llama.cpp, Hugging Face |
//! | [`Heuristic`] | 2 more after full acceptance, 1 fewer after a rejection | Hugging Face |
//! | [`Entropy`] | stop where a bound by the entropy says so | SVIP, AdaEDL |
//! | [`Ema`] | tiers by the moving average of accepted tokens | SGLang |
//! | [`ExpectedValue`] | the depth with the best expected tokens per second | Ollama |
//! | [`AdaptiveVerification`] | confidence against measured cost | vLLM |
//! | [`Paper`] | the rule of the SpecKV paper | Shukla 2026 |
//! | [`Chain`] | look-up first, any controller after it | |

mod adaptive_verification;
mod chain;
mod confidence;
mod ema;
mod entropy;
mod expected_value;
mod fixed;
mod heuristic;
mod off;
mod paper;

pub use adaptive_verification::AdaptiveVerification;
pub use chain::Chain;
pub use confidence::Confidence;
pub use ema::Ema;
pub use entropy::{Entropy, EntropyRule};
pub use expected_value::ExpectedValue;
pub use fixed::Fixed;
pub use heuristic::Heuristic;
pub use off::Off;
pub use paper::{PAPER_FEATURES, PAPER_HIDDEN, Paper, PaperPredictor};

use super::Situation;
use crate::record::Source;

/// The source of controllers that do not choose one: the draft model where there is one, one token
/// per pass where it may, else look-up.
fn default_source(situation: &Situation) -> Source {
    match situation {
        Situation { has_model: true, .. } => Source::MODEL,
        Situation { parallel: 1.., .. } => Source::PARALLEL,
        _ => Source::NGRAM,
    }
}
