//! The Python module `speckv._native`: a thin layer over the other crates. What each function
//! promises is written where Python looks for it, in `python/speckv/_native.pyi`.

#![warn(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used
)]

mod constraint;
mod controller;
mod cost;
mod drafter;
mod error;
mod evaluation;
mod grid;
mod json;
mod lab;
mod model;
mod ngram;
mod predictor;
mod random;
mod record;
mod signals;
mod step;
mod tokens;

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

/// A lock whose holder may have panicked: what it guards is kept consistent call by call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SpecKV's Rust code for Python.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::{
        constraint::Constraint,
        controller::{Controller, controllers},
        cost::{CostModel, PassCurve},
        drafter::{DraftSequence, DraftWork, Drafter},
        evaluation::judge_evaluation,
        grid::{StepGrid, block_order},
        lab::{Trace, TraceFolder, replay},
        model::{Cache, LocalModel, Tokenizer},
        ngram::NgramText,
        predictor::{ModelShape, OnlinePredictor, Predictor},
        random::{Distribution, Randomness, Sampler, verify},
        record::StepRecord,
        signals::{Signals, read_signals, read_signals_rows},
        step::{Lookup, Plan, SharedPass, Source, Verdict},
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("MAX_GAMMA", speckv::controller::MAX_GAMMA)?;
        module.add("LEAST_DRAFT_READING", speckv::step::LEAST_DRAFT_READING)
    }
}
