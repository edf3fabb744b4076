//! The engine's clock: the machine's, or a simulated one.

#![expect(clippy::disallowed_methods, reason = "the one clock of the library")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Where the engine reads the time.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's monotonic clock, from when the engine was made.
    System(Instant),
    /// Simulated time, which only [`VirtualTime::advance`] moves: simulated models advance it by
    /// what a pass would cost, so that controllers can be tested against any cost, exactly and
    /// without waiting.
    Virtual(VirtualTime),
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Clock::System(Instant::now())
    }

    /// Time since some fixed moment.
    #[must_use]
    pub fn now(&self) -> Duration {
        match self {
            Clock::System(start) => start.elapsed(),
            Clock::Virtual(time) => time.now(),
        }
    }
}

/// Simulated time, shared by all its clones.
#[derive(Debug, Clone, Default)]
pub struct VirtualTime(Arc<AtomicU64>); // nanoseconds

impl VirtualTime {
    /// Time 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Time passed since 0.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}
