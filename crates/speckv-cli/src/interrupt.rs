//! Ctrl-C: the first asks the work to stop, the second ends the process.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Exit status of a process ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Whether the user asked to stop. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// One that no key is tied to; [`raise`](Self::raise) sets it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that Ctrl-C sets. A second Ctrl-C before [`clear`](Self::clear) ends the process with
    /// status 130. Only the first call in a process is tied to the key.
    #[must_use]
    pub fn install() -> Self {
        let interrupt = Self::new();
        let in_handler = interrupt.clone();
        // Where no handler can be set, Ctrl-C keeps its default meaning and ends the process:
        // nothing is lost.
        let _ = ctrlc::set_handler(move || {
            if in_handler.0.fetch_add(1, Ordering::SeqCst) > 0 {
                std::process::exit(INTERRUPTED);
            }
        });
        interrupt
    }

    /// Nothing is going on that could be stopped: the next Ctrl-C ends the process.
    pub fn rest(&self) {
        self.0.store(1, Ordering::SeqCst);
    }

    /// Asks the work to stop.
    pub fn raise(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
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
