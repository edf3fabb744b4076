//! The controllers whose steps examples are taken from.

use std::sync::Arc;

use speckv::{
    controller::{Chain, Controller, Fixed, Speckv, SpeckvOptions},
    cost::CostModel,
    predictor::{Predictor, SessionFacts},
    record::Source,
};

use super::{Example, examples};
use crate::{
    replay::replay,
    trace::{Trace, TraceError},
};

/// Shallow and deep drafts, from each source, and the default controller with the prior.
fn teachers(facts: SessionFacts, cost: &CostModel, parallel: bool) -> Vec<Box<dyn Controller>> {
    let fixed = |gamma| Box::new(Fixed::new(gamma));
    let prior = Arc::new(Predictor::prior());
    let mut teachers: Vec<Box<dyn Controller>> = vec![
        fixed(2),
        fixed(4),
        fixed(8),
        Box::new(Chain::new(fixed(3))),
        Box::new(Chain::new(fixed(8))),
        Box::new(Speckv::new(cost.clone(), prior, facts, SpeckvOptions::default())),
    ];
    if parallel {
        for gamma in [3, 8] {
            teachers.push(Box::new(Fixed::from_source(gamma, Source::PARALLEL)));
        }
    }
    teachers
}

/// All examples of one prompt.
///
/// # Errors
/// [`TraceError`] if the trace does not fit together.
pub fn examples_of(
    trace: &Trace,
    facts: SessionFacts,
    cost: &CostModel,
) -> Result<Vec<Example>, TraceError> {
    let mut all = Vec::new();
    for mut teacher in teachers(facts, cost, trace.depths.block_max > 0) {
        all.extend(examples(&replay(teacher.as_mut(), trace, cost)?, facts));
    }
    Ok(all)
}
