//! Constraints on the answers to a request.

use std::sync::Arc;

use speckv::sampling::Constraint;

/// Makes the constraint of each answer to a request.
#[derive(Clone)]
pub struct Constraints(Arc<dyn Fn() -> Box<dyn Constraint> + Send + Sync>);

impl Constraints {
    /// What `make` makes.
    pub fn new(make: impl Fn() -> Box<dyn Constraint> + Send + Sync + 'static) -> Self {
        Constraints(Arc::new(make))
    }

    /// A constraint at the start of an answer.
    #[must_use]
    pub fn make(&self) -> Box<dyn Constraint> {
        (self.0)()
    }
}

impl std::fmt::Debug for Constraints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Constraints")
    }
}
