//! What long work tells its caller while it goes on: notes, warnings and progress.

use std::time::Duration;

/// What the numbers of a [`Progress`] count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown with rate and time left.
    Bytes,
    /// Tokens.
    Tokens,
    /// Anything else, shown as "3 of 12".
    Items,
}

/// A display of progress. It disappears when it is dropped.
pub trait Progress {
    /// `done` of `total` are finished. The first call's `done` existed before the work began and
    /// does not count for the rate.
    fn at(&mut self, done: u64, total: u64);

    /// Runs `body` while the display is hidden, so that `body` may write lines.
    fn suspend(&self, body: &mut dyn FnMut());

    /// Removes the display.
    fn finish(&mut self);
}

/// Receives what long work reports. A command line prints it, a library may ignore it.
pub trait Reporter {
    /// Information that no action follows from.
    fn note(&self, text: &str);

    /// Something that the user should know even where notes are off.
    fn warning(&self, text: &str);

    /// A display of progress that appears once the work has taken `patience`.
    fn progress(&self, label: &str, unit: Unit, patience: Duration) -> Box<dyn Progress>;
}

/// Ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

struct Hidden;

impl Progress for Hidden {
    fn at(&mut self, _: u64, _: u64) {}

    fn suspend(&self, body: &mut dyn FnMut()) {
        body();
    }

    fn finish(&mut self) {}
}

impl Reporter for Silent {
    fn note(&self, _: &str) {}

    fn warning(&self, _: &str) {}

    fn progress(&self, _: &str, _: Unit, _: Duration) -> Box<dyn Progress> {
        Box::new(Hidden)
    }
}
