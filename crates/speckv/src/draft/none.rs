//! No draft at all.

use super::{Ask, DraftError, Drafter, Slot, Slots};

/// Never proposes anything.
#[derive(Debug, Default)]
pub struct NoDrafter {
    slots: Slots<()>,
}

impl NoDrafter {
    /// The drafter of plain decoding.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Drafter for NoDrafter {
    fn open(&mut self) -> Result<Slot, DraftError> {
        Ok(self.slots.open(()))
    }

    fn close(&mut self, slot: Slot) {
        self.slots.close(slot);
    }

    fn propose(&mut self, _: &mut [Ask<'_>]) -> Result<(), DraftError> {
        Ok(())
    }

    fn truncate(&mut self, _: Slot, _: usize) {}
}
