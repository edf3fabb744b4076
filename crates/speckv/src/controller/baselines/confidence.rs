//! Stops below a confidence: llama.cpp's `p_min`, Hugging Face's confidence threshold.

use super::default_source;
use crate::{
    controller::{Controller, Plan, Situation, Verdict},
    signals::Signals,
};

/// Drafts until the confidence (largest probability) falls below a threshold; that token is not
/// verified.
#[derive(Debug, Clone, Copy)]
pub struct Confidence {
    threshold: f32,
    gamma: usize,
}

impl Confidence {
    /// llama.cpp's long-time `p_min`; Hugging Face uses 0.4.
    pub const THRESHOLD: f32 = 0.75;
    /// llama.cpp's long-time `draft-max`.
    pub const GAMMA: usize = 16;

    /// Stops below `threshold`, at `gamma` tokens at the latest.
    #[must_use]
    pub fn new(threshold: f32, gamma: usize) -> Self {
        Confidence { threshold, gamma }
    }
}

impl Controller for Confidence {
    fn name(&self) -> String {
        format!("confidence-{}-{}", self.threshold, self.gamma)
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        Plan { gamma: self.gamma, source: default_source(situation) }
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        match signals.last() {
            Some(newest) if newest.confidence < self.threshold => Verdict::Drop,
            _ => Verdict::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_unsure_token_is_not_verified() {
        let mut controller = Confidence::new(0.75, 8);
        let signals =
            [0.9, 0.75, 0.7].map(|confidence| Signals { confidence, ..Signals::default() });
        let verdicts: Vec<Verdict> =
            (1..=3).map(|count| controller.judge(&signals[..count])).collect();
        assert_eq!(verdicts, [Verdict::Continue, Verdict::Continue, Verdict::Drop]);
        assert_eq!(controller.name(), "confidence-0.75-8");
    }
}
