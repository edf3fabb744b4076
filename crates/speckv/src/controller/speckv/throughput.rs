//! The price of time: tokens that the controller makes per plain step's worth of time.

/// Expected tokens and modelled time of the steps of the last window.
///
/// Both are free of the noise of single outcomes and of the machine's stalls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Throughput {
    tokens: f64,
    time: f64, // in plain steps
}

/// Steps that the first guess of the throughput counts as: it is outvoted after a few steps, and
/// the first outcome alone does not move it far.
const FIRST_GUESS_STEPS: f64 = 8.0;

impl Throughput {
    /// Before a text's first step.
    pub(super) const UNKNOWN: Throughput = Throughput { tokens: 0.0, time: 0.0 };

    /// `rate` tokens per plain step, as a first guess.
    pub(super) fn guess(rate: f64) -> Self {
        Throughput { tokens: rate * FIRST_GUESS_STEPS, time: FIRST_GUESS_STEPS }
    }

    /// Whether there is neither a guess nor a step.
    pub(super) fn is_unknown(self) -> bool {
        self.time == 0.0
    }

    /// Tokens per plain step, never below the 1 that plain decoding makes.
    pub(super) fn rate(self) -> f64 {
        (self.tokens / self.time).max(1.0)
    }

    /// Adds a step; older ones fade over `window` steps.
    pub(super) fn observe(&mut self, tokens: f64, time: f64, window: f64) {
        let keep = 1.0 - 1.0 / window.max(1.0);
        self.tokens = self.tokens * keep + tokens;
        self.time = self.time * keep + time;
    }
}
