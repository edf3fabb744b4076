//! Energy of some work: the idle machine is measured before it and subtracted.

#![expect(clippy::disallowed_methods, reason = "power is energy by the clock")]

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{EnergyCounter, NoCounter};

/// Time that the idle machine is measured.
pub const IDLE: Duration = Duration::from_secs(1);

/// Energy of some work.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Energy {
    /// Joules of the machine while the work went on.
    pub joules: f64,
    /// Watts of the machine before the work.
    pub idle_watts: f64,
    /// Seconds of the work.
    pub seconds: f64,
    /// What was counted.
    pub source: String,
}

impl Energy {
    /// Joules of the work: what the idle machine would have taken is subtracted.
    #[must_use]
    pub fn net_joules(&self) -> f64 {
        self.balance().max(0.0)
    }

    /// The same, below zero where the machine took less than before: differences of balances are
    /// those of the work between them.
    #[must_use]
    pub fn balance(&self) -> f64 {
        self.joules - self.idle_watts * self.seconds
    }
}

/// Measures the energy of work: first the idle machine, then the work.
#[derive(Debug)]
pub struct EnergyMeter {
    counter: EnergyCounter,
    idle_watts: f64,
    start: f64, // joules
    began: Instant,
}

impl EnergyMeter {
    /// Measures the idle machine for a time; then the work begins.
    ///
    /// # Errors
    /// A counter that cannot be read.
    pub fn start(mut counter: EnergyCounter, idle: Duration) -> Result<Self, NoCounter> {
        let (before, began) = (counter.joules()?, Instant::now());
        thread::sleep(idle);
        let seconds = began.elapsed().as_secs_f64().max(1e-9);
        let start = counter.joules()?;
        let idle_watts = (start - before) / seconds;
        Ok(EnergyMeter { counter, idle_watts, start, began: Instant::now() })
    }

    /// The energy since the work began.
    ///
    /// # Errors
    /// A counter that can no longer be read.
    pub fn so_far(&mut self) -> Result<Energy, NoCounter> {
        let seconds = self.began.elapsed().as_secs_f64();
        let joules = self.counter.joules()? - self.start;
        let source = self.counter.source();
        Ok(Energy { joules, idle_watts: self.idle_watts, seconds, source })
    }

    /// Watts of the idle machine.
    #[must_use]
    pub fn idle_watts(&self) -> f64 {
        self.idle_watts
    }

    /// What is counted.
    #[must_use]
    pub fn source(&self) -> String {
        self.counter.source()
    }
}
