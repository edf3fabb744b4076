//! What a rendering may take: steps of work and bytes of live values.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Failure;

/// Native work on this many bytes counts as one step.
const BYTES_PER_STEP: u64 = 128;
/// Native work on fewer bytes counts as on so many.
const LEAST_BYTES: u64 = 48;

/// Counts the steps and the live bytes of one rendering, and refuses what exceeds the limits.
///
/// Only one thread uses a meter. The counters are atomic because constants of a parsed template,
/// which threads share, have the same type as values that are counted.
#[derive(Debug)]
pub(super) struct Meter {
    /// In units of `1 / BYTES_PER_STEP` steps.
    work_left: AtomicU64,
    bytes: AtomicU64,
    most_bytes: u64,
}

impl Meter {
    pub(super) fn new(steps: u64, most_bytes: u64) -> Arc<Self> {
        let work_left = AtomicU64::new(steps.saturating_mul(BYTES_PER_STEP));
        Arc::new(Self { work_left, bytes: AtomicU64::new(0), most_bytes })
    }

    /// Counts steps.
    pub(super) fn steps(&self, steps: u64) -> Result<(), Failure> {
        self.units(steps.saturating_mul(BYTES_PER_STEP))
    }

    fn units(&self, units: u64) -> Result<(), Failure> {
        let left = self.work_left.load(Relaxed);
        let rest = left.checked_sub(units);
        self.work_left.store(rest.unwrap_or(0), Relaxed);
        rest.map(|_| ()).ok_or(Failure::Steps)
    }

    /// Counts native work on this many elements: each is one step.
    pub(super) fn elements(&self, count: usize) -> Result<(), Failure> {
        self.steps(count as u64)
    }

    /// Counts native work on this many bytes.
    pub(super) fn work(&self, bytes: usize) -> Result<(), Failure> {
        self.units((bytes as u64).max(LEAST_BYTES))
    }

    /// Counts bytes as live until the charge is dropped.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Result<Charge, Failure> {
        let mut charge = Charge { meter: Arc::clone(self), bytes: 0 };
        charge.grow(bytes)?;
        Ok(charge)
    }
}

/// Live bytes of one value. Dropping it gives them back.
#[derive(Debug)]
pub(super) struct Charge {
    meter: Arc<Meter>,
    bytes: u64,
}

impl Charge {
    /// Counts more bytes, and the work of writing them.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        self.meter.work(bytes)?;
        let live = self.meter.bytes.load(Relaxed).saturating_add(bytes as u64);
        if live > self.meter.most_bytes {
            return Err(Failure::Memory(self.meter.most_bytes));
        }
        self.meter.bytes.store(live, Relaxed);
        self.bytes += bytes as u64;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let live = self.meter.bytes.load(Relaxed);
        self.meter.bytes.store(live.saturating_sub(self.bytes), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_bytes_are_given_back_and_steps_are_not() {
        let meter = Meter::new(10, 1000);
        let first = meter.hold(900).unwrap();
        assert!(matches!(meter.hold(101), Err(Failure::Memory(1000))));
        drop(first);
        let _second = meter.hold(128).unwrap();
        assert!(meter.steps(1).is_ok());
        assert!(matches!(meter.steps(1), Err(Failure::Steps)), "7.03, 0.8, 1 and 1 were taken");
    }
}
