//! Which engine a sequence belongs to, and what happens to its slot.

use std::sync::{Arc, Mutex, PoisonError};

use crate::draft::Slot;

/// An engine, as its sequences know it: where they put their slots when they are dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Home(Arc<Mutex<Vec<Slot>>>);

/// A sequence's place in the drafter of its engine. Dropping it gives the slot back.
#[derive(Debug)]
pub(super) struct Place {
    slot: Slot,
    home: Home,
}

impl Home {
    /// A place for a slot that the engine's drafter has opened.
    pub(super) fn place(&self, slot: Slot) -> Place {
        Place { slot, home: self.clone() }
    }

    /// Whether `place` is one of this engine.
    pub(super) fn owns(&self, place: &Place) -> bool {
        Arc::ptr_eq(&self.0, &place.home.0)
    }

    /// A slot of a dropped sequence, to be closed; `None` when there are no more.
    pub(super) fn returned(&self) -> Option<Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}

impl Place {
    /// The slot.
    pub(super) fn slot(&self) -> Slot {
        self.slot
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}
