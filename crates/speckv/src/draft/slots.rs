//! Per-sequence state of a drafter, by number.

use super::DraftError;

/// A sequence's place in a drafter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(usize);

/// A table of per-sequence states.
#[derive(Debug)]
pub struct Slots<T> {
    states: Vec<Option<T>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { states: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Puts a state into the first free slot.
    pub fn open(&mut self, state: T) -> Slot {
        let free = self.states.iter().position(Option::is_none).unwrap_or_else(|| {
            self.states.push(None);
            self.states.len() - 1
        });
        self.states[free] = Some(state);
        Slot(free)
    }

    /// Takes a state out.
    pub fn close(&mut self, slot: Slot) -> Option<T> {
        self.states.get_mut(slot.0)?.take()
    }

    /// The state in a slot, if it is open.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.states.get(slot.0)?.as_ref()
    }

    /// The state in a slot.
    ///
    /// # Errors
    /// The slot is not open.
    pub fn get_mut(&mut self, slot: Slot) -> Result<&mut T, DraftError> {
        self.states.get_mut(slot.0).and_then(Option::as_mut).ok_or(DraftError::Slot(slot))
    }
}
