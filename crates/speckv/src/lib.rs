//! SpecKV: lossless speculative decoding that finds its own speculation length.
//!
//! A small *draft* proposes tokens, a large *target* verifies them in one pass. How many to propose
//! (gamma) decides whether that is a gain or a loss. This crate is the algorithm: no tensors, no
//! files, no async, no printing.
//!
//! # Modules
//!
//! A step decides, drafts, judges, verifies, accepts, commits and observes.
//!
//! | module | what it has |
//! |---|---|
//! | [`step`] | the step's state machine: [`Stepper`] |
//! | [`controller`] | decides how far to draft: the trait [`Controller`], the default one and its baselines |
//! | [`draft`] | proposes tokens: the trait [`Drafter`], a draft model, look-up |
//! | [`source`] | names of sources of drafts |
//! | [`signals`], [`predictor`], [`cost`] | what a decision rests on |
//! | [`sampling`], [`verify`] | the distributions of draft and target, and acceptance by rejection sampling |
//! | [`model`] | the interface to model backends: the trait [`LanguageModel`] |
//! | [`engine`] | steps sequences: [`Engine`], [`Sequence`] |
//! | [`record`] | what a step knew, did and took |
//! | [`conformance`] | tests for implementations of the three traits |
//! | [`gamma`] | the limit on gamma |
//! | [`sim`] | models without weights, for tests and examples |
//!
//! # Generating
//!
//! ```
//! use std::sync::Arc;
//!
//! use speckv::{
//!     controller::Fixed,
//!     draft::ModelDrafter,
//!     engine::{Engine, SequenceSettings},
//!     sampling::SamplingSettings,
//!     sim::{Difference, SimModel, SimSettings},
//! };
//!
//! // Simulated models; `speckv-cpu` has real ones.
//! let target = SimModel::new(SimSettings::default());
//! let draft = target.draft(Difference::Share { agreement: 0.8 });
//! let drafter = ModelDrafter::new(Arc::new(draft), 32);
//! let mut engine = Engine::new(Arc::new(target), Box::new(drafter));
//! let mut sequence = engine.sequence(SequenceSettings {
//!     prompt: vec![1, 2, 3],
//!     sampling: SamplingSettings::default(), // greedy
//!     end_tokens: vec![],
//!     max_tokens: 20,
//!     controller: Box::new(Fixed::new(4)),
//! })?;
//! let tokens: Vec<u32> = engine.generate(&mut sequence).collect::<Result<_, _>>()?;
//! assert_eq!(tokens.len(), 20);
//! assert!(sequence.totals().steps < 20, "a step makes several tokens");
//! # Ok::<(), speckv::engine::EngineError>(())
//! ```
//!
//! # Extending
//!
//! - A backend implements [`LanguageModel`]: `examples/custom_model.rs`.
//! - A rule for gamma implements [`Controller`]: `examples/custom_controller.rs`.
//! - A source of drafts implements [`Drafter`]: see its documentation.
//! - An engine that has models of its own drives a [`Stepper`].

#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod exponential;
mod recycle;
mod sim_constraint;

pub mod conformance;
pub mod controller;
pub mod cost;
pub mod draft;
pub mod engine;
pub mod gamma;
pub mod logits;
pub mod model;
pub mod predictor;
pub mod record;
pub mod sampling;
pub mod signals;
pub mod sim;
pub mod source;
pub mod step;
pub mod token;
pub mod verify;

pub use controller::{Controller, Plan, Situation, Verdict};
pub use draft::Drafter;
pub use engine::{Engine, Sequence, SequenceSettings};
pub use model::LanguageModel;
pub use signals::Signals;
pub use step::Stepper;
pub use token::Token;
