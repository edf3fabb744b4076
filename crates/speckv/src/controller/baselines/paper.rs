//! The SpecKV paper's rule (Shukla 2026, arXiv 2605.02888), on the last step's signals.

use super::default_source;
use crate::{
    controller::{Controller, Plan, Situation},
    record::StepRecord,
};

/// Features of the paper's predictor: mean entropy (bits), mean confidence, greatest entropy, least
/// confidence, compression (0 FP16, 1 INT8, 2 NF4), gamma.
pub const PAPER_FEATURES: usize = 6;
/// Hidden units of the released perceptron.
pub const PAPER_HIDDEN: usize = 16;
const GAMMAS: [usize; 4] = [2, 4, 6, 8];

/// Acceptance rate from the paper's features.
#[derive(Debug, Clone, PartialEq)]
pub enum PaperPredictor {
    /// `clip(w . x + b, 0, 1)`.
    Linear {
        /// One per feature.
        weights: [f64; PAPER_FEATURES],
        /// Intercept.
        bias: f64,
    },
    /// `clip(relu(x W1 + b1) . W2 + b2, 0, 1)`, as released.
    Mlp {
        /// `[features, hidden]`
        hidden: Box<[[f64; PAPER_HIDDEN]; PAPER_FEATURES]>,
        /// `[hidden]`
        hidden_bias: Box<[f64; PAPER_HIDDEN]>,
        /// `[hidden]`
        output: Box<[f64; PAPER_HIDDEN]>,
        /// Output bias.
        output_bias: f64,
    },
}

impl Default for PaperPredictor {
    /// Ridge regression (penalty 1) refitted on all 5,112 steps of the paper's public data: the
    /// rule's fallback without released weights.
    fn default() -> Self {
        PaperPredictor::Linear {
            weights: [0.131_727, 1.061_332, -0.121_740, 0.034_672, -0.007_912, -0.015_979],
            bias: 0.022_587,
        }
    }
}

impl PaperPredictor {
    /// Predicted acceptance rate, in [0, 1].
    #[must_use]
    pub fn acceptance_rate(&self, x: &[f64; PAPER_FEATURES]) -> f64 {
        let raw = match self {
            PaperPredictor::Linear { weights, bias } => {
                weights.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias
            }
            PaperPredictor::Mlp { hidden, hidden_bias, output, output_bias } => {
                let mut units = **hidden_bias;
                for (row, x) in hidden.iter().zip(x) {
                    units.iter_mut().zip(row).for_each(|(unit, w)| *unit += w * x);
                }
                units.iter().zip(output.iter()).map(|(unit, w)| unit.max(0.0) * w).sum::<f64>()
                    + output_bias
            }
        };
        if raw.is_nan() { 0.0 } else { raw.clamp(0.0, 1.0) }
    }
}

/// `argmax over gamma in {2, 4, 6, 8} of acceptance_rate(gamma) * gamma + 1`, the first of equals.
/// The paper's features exist only once a draft was made, so a step decides by the signals of the
/// step before; the first one drafts 4.
#[derive(Debug, Clone)]
pub struct Paper {
    predictor: PaperPredictor,
    compression: f64,
    last: Option<[f64; 4]>,
}

impl Paper {
    /// `compression`: 0 FP16, 1 INT8, 2 NF4 or another 4-bit format.
    #[must_use]
    pub fn new(predictor: PaperPredictor, compression: u8) -> Self {
        Paper { predictor, compression: f64::from(compression.min(2)), last: None }
    }
}

impl Controller for Paper {
    fn name(&self) -> String {
        match self.predictor {
            PaperPredictor::Linear { .. } => "paper-linear".into(),
            PaperPredictor::Mlp { .. } => "paper-mlp".into(),
        }
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        let mut gamma = 4;
        if let Some([mean_entropy, mean_confidence, max_entropy, min_confidence]) = self.last {
            let mut best = f64::NEG_INFINITY;
            for candidate in GAMMAS {
                let x = [
                    mean_entropy,
                    mean_confidence,
                    max_entropy,
                    min_confidence,
                    self.compression,
                    candidate as f64,
                ];
                let tokens = self.predictor.acceptance_rate(&x) * candidate as f64 + 1.0;
                if tokens > best {
                    (best, gamma) = (tokens, candidate);
                }
            }
        }
        Plan { gamma, source: default_source(situation) }
    }

    fn ahead(&self) -> usize {
        usize::MAX
    }

    fn observe(&mut self, record: &StepRecord) {
        if record.drafted.is_empty() {
            return;
        }
        let count = record.drafted.len() as f64;
        let entropies =
            record.drafted.iter().map(|drafted| f64::from(drafted.signals.entropy_bits));
        let confidences =
            record.drafted.iter().map(|drafted| f64::from(drafted.signals.confidence));
        self.last = Some([
            entropies.clone().sum::<f64>() / count,
            confidences.clone().sum::<f64>() / count,
            entropies.fold(f64::NEG_INFINITY, f64::max),
            confidences.fold(f64::INFINITY, f64::min),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{record, situation};

    #[test]
    fn gamma_is_the_argmax_of_predicted_tokens_on_the_last_steps_signals() {
        // acceptance = mean confidence - 0.1 * gamma. At 0.9: 0.7 * 2, 0.5 * 4, 0.3 * 6, 0.1 * 8: 4
        // is best. At 0.5: 0.3 * 2 = 0.6, 0.1 * 4: 2.
        let predictor =
            PaperPredictor::Linear { weights: [0.0, 1.0, 0.0, 0.0, 0.0, -0.1], bias: 0.0 };
        let mut controller = Paper::new(predictor, 0);
        assert_eq!(controller.plan(&situation(9)).gamma, 4, "nothing is known yet");
        controller.observe(&record(&[0.4, 0.6], 0));
        assert_eq!(controller.plan(&situation(9)).gamma, 2);
        controller.observe(&record(&[0.8, 1.0], 0));
        assert_eq!(controller.plan(&situation(9)).gamma, 4);
    }

    #[test]
    fn the_perceptron_is_the_released_formula() {
        let mut hidden = Box::new([[0.0; PAPER_HIDDEN]; PAPER_FEATURES]);
        hidden[1][0] = 2.0;
        hidden[5][1] = -1.0; // silent for every gamma
        let mut output = Box::new([0.0; PAPER_HIDDEN]);
        (output[0], output[1]) = (0.25, 9.0);
        let mlp = PaperPredictor::Mlp {
            hidden,
            hidden_bias: Box::new([0.0; PAPER_HIDDEN]),
            output,
            output_bias: 0.125,
        };
        assert!((mlp.acceptance_rate(&[0.0, 0.5, 0.0, 0.0, 0.0, 4.0]) - 0.375).abs() < 1e-12);
        assert_eq!(mlp.acceptance_rate(&[0.0, 5.0, 0.0, 0.0, 0.0, 4.0]), 1.0);
    }

    #[test]
    fn the_fallback_prefers_long_drafts_of_a_sure_model_as_the_paper_reports() {
        let mut controller = Paper::new(PaperPredictor::default(), 2);
        controller.observe(&record(&[0.95; 4], 4));
        assert_eq!(controller.plan(&situation(9)).gamma, 8);
    }
}
