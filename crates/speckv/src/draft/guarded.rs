//! A drafter whose failures end drafting, not answers.

use std::collections::HashSet;

use super::{Ask, DraftError, Drafter, Reading, Slot, TargetRead, TextMemory};
use crate::{controller::Lookup, token::Token};

/// Failures of a drafter since the engine was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DraftFailures {
    /// Sequences for which drafting ended.
    pub count: u64,
    /// Why it ended last, with its causes.
    pub last: Option<String>,
}

/// Turns failures of a draft model's pass and logits that make no token (NaN, for example) into
/// "nothing to propose" for the sequence that they concern, which is not drafted for any more. Its
/// answer goes on by plain decoding, and other sequences of the same pass are not disturbed.
///
/// Slots that are not open are faults of the caller and stay errors.
pub struct GuardedDrafter {
    inner: Box<dyn Drafter>,
    failed: HashSet<Slot>,
    failures: DraftFailures,
    slots: Vec<Slot>, // of one call, since drafters may change those that they are given
}

impl GuardedDrafter {
    /// Guards a drafter.
    #[must_use]
    pub fn new(inner: Box<dyn Drafter>) -> Self {
        GuardedDrafter {
            inner,
            failed: HashSet::new(),
            failures: DraftFailures::default(),
            slots: Vec::new(),
        }
    }

    /// What failed so far.
    #[must_use]
    pub fn failures(&self) -> &DraftFailures {
        &self.failures
    }

    /// Whether a draft model can propose for this sequence: there is one, and it has not failed.
    #[must_use]
    pub fn has_model_for(&self, slot: Slot) -> bool {
        self.inner.has_model() && !self.failed.contains(&slot)
    }

    /// Ends drafting for a sequence.
    ///
    /// # Errors
    /// A slot that is not open.
    fn note(&mut self, slot: Slot, error: DraftError) -> Result<(), DraftError> {
        if matches!(error, DraftError::Slot(_)) {
            return Err(error);
        }
        if self.failed.insert(slot) {
            self.failures.count += 1;
            self.failures.last = Some(with_causes(&error));
        }
        Ok(())
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl Drafter for GuardedDrafter {
    fn open(&mut self) -> Result<Slot, DraftError> {
        self.inner.open()
    }

    fn close(&mut self, slot: Slot) {
        self.failed.remove(&slot);
        self.inner.close(slot);
    }

    fn has_model(&self) -> bool {
        self.inner.has_model()
    }

    fn parallel(&self) -> usize {
        self.inner.parallel()
    }

    fn behind(&self, slot: Slot, len: usize) -> usize {
        if self.failed.contains(&slot) { 0 } else { self.inner.behind(slot, len) }
    }

    fn makes(&self, slot: Slot, tokens: &[Token], ahead: usize) -> usize {
        self.inner.makes(slot, tokens, ahead)
    }

    fn lookup(&mut self, slot: Slot, tokens: &[Token]) -> Option<Lookup> {
        self.inner.lookup(slot, tokens)
    }

    fn catch_up_all(&mut self, readings: &mut [Reading<'_>]) -> Result<(), DraftError> {
        self.slots.clear();
        self.slots.extend(readings.iter().map(|reading| reading.slot));
        if !self.slots.iter().any(|slot| self.failed.contains(slot)) {
            match self.inner.catch_up_all(readings) {
                Ok(()) => return Ok(()),
                Err(error @ DraftError::Slot(_)) => return Err(error),
                Err(_) => {}
            }
        }
        // One by one, so that a failure is known to be one sequence's.
        for (index, reading) in readings.iter_mut().enumerate() {
            let slot = self.slots[index];
            reading.slot = slot;
            if self.failed.contains(&slot) {
                continue;
            }
            let alone = self.inner.catch_up_all(std::slice::from_mut(reading));
            if let Err(error) = alone {
                self.note(slot, error)?;
            }
        }
        Ok(())
    }

    fn wants_hidden(&self) -> bool {
        self.inner.wants_hidden()
    }

    fn target_read(&mut self, slot: Slot, read: &mut TargetRead<'_>) -> Result<(), DraftError> {
        if self.failed.contains(&slot) {
            return Ok(());
        }
        match self.inner.target_read(slot, read) {
            Ok(()) => Ok(()),
            Err(error) => self.note(slot, error),
        }
    }

    fn copy(&mut self, from: Slot, to: Slot, len: usize) {
        if !self.failed.contains(&from) {
            self.inner.copy(from, to, len);
        }
    }

    fn set_scope(&mut self, slot: Slot, scope: Option<u64>) {
        self.inner.set_scope(slot, scope);
    }

    fn remember(&mut self, slot: Slot, text: &[Token]) {
        self.inner.remember(slot, text);
    }

    fn predict(&mut self, slot: Slot, text: &[Token], next: &[Token]) {
        self.inner.predict(slot, text, next);
    }

    fn memory(&self) -> Option<&TextMemory> {
        self.inner.memory()
    }

    fn memory_mut(&mut self) -> Option<&mut TextMemory> {
        self.inner.memory_mut()
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        let model = |ask: &Ask<'_>| ask.source.is_of_model();
        let failed = &self.failed;
        if !asks.iter().any(|ask| model(ask) && failed.contains(&ask.slot)) {
            self.slots.clear();
            self.slots.extend(asks.iter().map(|ask| ask.slot));
            let outcome = self.inner.propose(asks);
            asks.iter_mut().zip(&self.slots).for_each(|(ask, slot)| ask.slot = *slot);
            match outcome {
                Ok(()) => return Ok(()),
                Err(error @ DraftError::Slot(_)) => return Err(error),
                Err(_) => {}
            }
        }
        for ask in asks {
            ask.proposal = None;
            let slot = ask.slot;
            if model(ask) && self.failed.contains(&slot) {
                continue;
            }
            let alone = self.inner.propose(std::slice::from_mut(ask));
            ask.slot = slot;
            if let Err(error) = alone {
                ask.proposal = None;
                self.note(slot, error)?;
            }
        }
        Ok(())
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        self.inner.truncate(slot, len);
    }
}
