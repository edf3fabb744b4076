//! A pair of models on this machine.
//!
//! Everything that the command line and the Python package share: models by name and how they are
//! fetched ([`catalogue`], [`download`], [`store`], [`model_source`]), devices that run them
//! ([`backend`], [`device_choice`], [`devices`], [`device_auto`]), loading a target with its draft
//! ([`pair`]), whether they fit in memory ([`memory`]), what their passes cost ([`calibration`]),
//! controllers and predictor weights by name ([`controllers`], [`predictor_weights`]), text to
//! tokens and back ([`text`]), and what a record says of files and machine ([`provenance`],
//! [`machine`]). Nothing here reads arguments or prints: long work reports to a
//! [`report::Reporter`], and errors are [`failure::Failure`]s with a hint.

#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

pub mod backend;
pub mod calibration;
pub mod catalogue;
pub mod controllers;
pub mod cost_file;
pub mod device_auto;
pub mod device_choice;
pub mod devices;
pub mod download;
pub mod draft_choice;
pub mod draft_search;
pub mod drafting;
pub mod energy;
pub mod failure;
pub mod found_models;
pub mod hub;
pub mod hub_cache;
pub mod interrupt;
pub mod known_drafts;
pub mod machine;
pub mod memory;
pub mod model_name;
pub mod model_source;
mod other_content;
pub mod pair;
pub mod pair_settings;
pub mod paper_weights;
pub mod predictor_weights;
pub mod provenance;
pub mod report;
pub mod store;
pub mod suggest;
pub mod text;
pub mod units;
