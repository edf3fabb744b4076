//! A request to stop, shared between the work and what may stop it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Whether the user asked to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Not raised; [`raise`](Self::raise) sets it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No work is going on that could be stopped: [`raise`](Self::raise) will say so.
    pub fn rest(&self) {
        self.0.store(1, Ordering::SeqCst);
    }

    /// Asks the work to stop. Returns whether there is nothing to wait for: the work was asked to
    /// stop before, or no work is going on.
    pub fn raise(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) > 0
    }

    /// Whether the work should stop.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// Work begins: forgets an earlier request.
    pub fn clear(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}
