//! The devices of target and draft.

use super::Backend;

/// What loads target and draft: one device for both, or two.
#[derive(Clone)]
pub struct PairBackends<B> {
    /// Loads the target.
    pub target: B,
    /// Loads the draft.
    pub draft: B,
    shared: bool,
}

impl<B: Backend + Clone> PairBackends<B> {
    /// One device for both.
    #[must_use]
    pub fn same(backend: B) -> Self {
        PairBackends { draft: backend.clone(), target: backend, shared: true }
    }

    /// A device each; the first for both where they are the same.
    #[must_use]
    pub fn new(target: B, draft: B) -> Self {
        if target.name() == draft.name() {
            return PairBackends::same(target);
        }
        PairBackends { target, draft, shared: false }
    }

    /// Whether both models are in the memory of one device.
    #[must_use]
    pub fn share_memory(&self) -> bool {
        self.shared
    }
}
