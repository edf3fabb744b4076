//! An OpenAI-compatible server over the engine of [`speckv`].
//!
//! The path of a request: [`http`] reads and checks it into [`api`] types -> one [`scheduler::Job`]
//! per answer, placed in a bounded, fair queue -> the scheduler's thread, which owns the engine,
//! steps all running sequences together -> events back to the handler -> JSON or server-sent
//! events.
//!
//! This crate sees no tensor: a model is any [`speckv::model::LanguageModel`], its
//! tokenizer and chat template are a [`language::Language`].

#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

pub mod api;
pub mod constraints;
pub mod energy;
pub mod error;
pub mod grammars;
pub mod http;
pub mod language;
pub mod lookup_file;
pub mod metrics;
pub mod scheduler;
pub mod server;
pub mod settings;
pub mod tools;
