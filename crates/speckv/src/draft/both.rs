//! Look-up and a draft model as one drafter; the controller chooses between them per step.

use super::{Ask, DraftError, Drafter, NgramDrafter, Reading, Slot, Slots, TargetRead, TextMemory};
use crate::{controller::Lookup, token::Token};

/// An n-gram drafter and another drafter; each answers the asks of its own source.
#[derive(Debug)]
pub struct Both<D> {
    ngram: NgramDrafter,
    other: D,
    slots: Slots<Pair>,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    ngram: Slot,
    other: Slot,
}

impl<D: Drafter> Both<D> {
    /// Both of them.
    #[must_use]
    pub fn new(ngram: NgramDrafter, other: D) -> Self {
        Both { ngram, other, slots: Slots::default() }
    }
}

impl<D: Drafter> Drafter for Both<D> {
    fn open(&mut self) -> Result<Slot, DraftError> {
        let ngram = self.ngram.open()?;
        match self.other.open() {
            Ok(other) => Ok(self.slots.open(Pair { ngram, other })),
            Err(error) => {
                self.ngram.close(ngram);
                Err(error)
            }
        }
    }

    fn close(&mut self, slot: Slot) {
        if let Some(pair) = self.slots.close(slot) {
            self.ngram.close(pair.ngram);
            self.other.close(pair.other);
        }
    }

    fn has_model(&self) -> bool {
        self.other.has_model()
    }

    fn parallel(&self) -> usize {
        self.other.parallel()
    }

    fn behind(&self, slot: Slot, len: usize) -> usize {
        self.slots.get(slot).map_or(0, |pair| self.other.behind(pair.other, len))
    }

    fn makes(&self, slot: Slot, tokens: &[Token], ahead: usize) -> usize {
        self.slots.get(slot).map_or(1, |pair| self.other.makes(pair.other, tokens, ahead))
    }

    fn lookup(&mut self, slot: Slot, tokens: &[Token]) -> Option<Lookup> {
        let pair = *self.slots.get(slot)?;
        self.ngram.lookup(pair.ngram, tokens)
    }

    fn catch_up_all(&mut self, readings: &mut [Reading<'_>]) -> Result<(), DraftError> {
        for reading in readings.iter_mut() {
            reading.slot = self.slots.get_mut(reading.slot)?.other;
        }
        self.other.catch_up_all(readings)
    }

    fn wants_hidden(&self) -> bool {
        self.other.wants_hidden()
    }

    fn target_read(&mut self, slot: Slot, read: &mut TargetRead<'_>) -> Result<(), DraftError> {
        let other = self.slots.get_mut(slot)?.other;
        self.other.target_read(other, read)
    }

    fn copy(&mut self, from: Slot, to: Slot, len: usize) {
        if let (Some(&from), Some(&to)) = (self.slots.get(from), self.slots.get(to)) {
            self.ngram.copy(from.ngram, to.ngram, len);
            self.other.copy(from.other, to.other, len);
        }
    }

    fn set_scope(&mut self, slot: Slot, scope: Option<u64>) {
        if let Some(&pair) = self.slots.get(slot) {
            self.ngram.set_scope(pair.ngram, scope);
            self.other.set_scope(pair.other, scope);
        }
    }

    fn remember(&mut self, slot: Slot, text: &[Token]) {
        if let Some(&pair) = self.slots.get(slot) {
            self.ngram.remember(pair.ngram, text);
            self.other.remember(pair.other, text);
        }
    }

    fn predict(&mut self, slot: Slot, text: &[Token], next: &[Token]) {
        if let Some(&pair) = self.slots.get(slot) {
            self.ngram.predict(pair.ngram, text, next);
            self.other.predict(pair.other, text, next);
        }
    }

    fn memory(&self) -> Option<&TextMemory> {
        self.ngram.memory()
    }

    fn memory_mut(&mut self) -> Option<&mut TextMemory> {
        self.ngram.memory_mut()
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        for ask in asks.iter_mut() {
            let pair = *self.slots.get_mut(ask.slot)?;
            ask.slot = pair.ngram;
            self.ngram.propose(std::slice::from_mut(ask))?;
            ask.slot = pair.other;
        }
        self.other.propose(asks)
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        if let Some(&pair) = self.slots.get(slot) {
            self.ngram.truncate(pair.ngram, len);
            self.other.truncate(pair.other, len);
        }
    }
}
