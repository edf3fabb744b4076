//! SpecKV: lossless speculative decoding that finds its own speculation length.
//!
//! A small *draft* proposes tokens, a large *target* verifies them in one pass; how many to propose
//! (gamma) decides whether that is a gain or a loss. This crate is the algorithm: no tensors, no
//! files, no async, no printing. Its module list is one step:
//!
//! decide ([`controller`]) -> draft ([`draft`], reading [`signals`]) -> verify and accept
//! ([`verify`]) -> commit ([`engine`]) -> observe ([`record`]).
//!
//! Model backends implement [`model::LanguageModel`]; [`sim`] has models without weights that
//! implement it too.

mod exponential;
mod recycle;

pub mod conformance;
pub mod controller;
pub mod cost;
pub mod draft;
pub mod engine;
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
