//! Constraints on answers, compiled from JSON schemas, grammars, regular expressions and choices.
//!
//! [`Grammars`] compiles a [`GrammarSource`] for the vocabulary of one model. The result, a
//! [`Grammar`], makes a [`Constraint`] for each answer. The parser is the crate `llguidance`.
//!
//! ```
//! use serde_json::json;
//! use speckv_grammar::{GrammarSource, Grammars, Words};
//!
//! // A vocabulary of single bytes, of which 0 ends an answer.
//! let words = Words::new((0..=255_u8).map(|byte| vec![byte]).collect(), vec![0]);
//! let encode = |text: &str| text.bytes().map(u32::from).collect();
//! let grammars = Grammars::new(words, Box::new(encode))?;
//! let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}},
//!     "required": ["ok"], "additionalProperties": false});
//! let grammar = grammars.compile(&GrammarSource::JsonSchema(schema))?;
//! let mut constraint = grammar.constraint();
//! for byte in br#"{"ok": "# {
//!     assert_eq!(constraint.forced()?, Some(u32::from(*byte)));
//!     constraint.advance(u32::from(*byte))?;
//! }
//! assert!(constraint.is_allowed(u32::from(b't'))? && !constraint.is_allowed(u32::from(b'1'))?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Constraint`]: speckv::sampling::Constraint

#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod channel_budget;
mod constraint;
mod error;
mod gbnf;
mod grammars;
mod reasoning;
mod schema;
mod source;
mod then;
mod trigger;
mod words;

pub use channel_budget::{ChannelBudget, ChannelMarks};
pub use error::GrammarError;
pub use gbnf::gbnf_to_lark;
pub use grammars::{Grammar, Grammars};
pub use reasoning::{Reasoning, ReasoningMarks};
pub use source::GrammarSource;
pub use then::Then;
pub use trigger::{Begins, Trigger, Triggered};
pub use words::Words;
