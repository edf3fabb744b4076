//! Corrections learned while decoding: one factor for the machine, one for the ratio of draft to
//! target, one per row count.

use super::MEASURED_ROWS;

/// Logarithms of factors on the measured times, and how much evidence each rests on.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Online {
    /// Common to everything: what else runs on the machine.
    machine: f64,
    machine_evidence: f64,
    draft: f64,
    draft_evidence: f64,
    catch_up: f64,
    catch_up_evidence: f64,
    verify: [f64; MEASURED_ROWS],
    verify_evidence: [f64; MEASURED_ROWS],
    overhead_seconds: f64,
}

/// Observations that a calibration is worth.
const CALIBRATION: f64 = 20.0;
/// Slowest learning rates: the machine may drift within tens of steps, ratios and shape hardly
/// drift at all.
const MACHINE_RATE: f64 = 0.06;
const RATIO_RATE: f64 = 0.03;
/// Share of a correction that the neighbouring row count gets: they run through the same kernels.
const NEIGHBOUR: f64 = 0.5;

impl Default for Online {
    fn default() -> Self {
        Self::calibrated()
    }
}

impl Online {
    pub(super) fn calibrated() -> Self {
        Self::with_evidence(CALIBRATION)
    }

    pub(super) fn uncalibrated() -> Self {
        Self::with_evidence(0.0)
    }

    fn with_evidence(evidence: f64) -> Self {
        Online {
            machine: 0.0,
            machine_evidence: evidence,
            draft: 0.0,
            draft_evidence: evidence,
            catch_up: 0.0,
            catch_up_evidence: evidence,
            verify: [0.0; MEASURED_ROWS],
            verify_evidence: [evidence; MEASURED_ROWS],
            overhead_seconds: 0.0,
        }
    }

    pub(super) fn is_sane(&self) -> bool {
        let factors = [self.machine, self.draft, self.catch_up].into_iter().chain(self.verify);
        let evidence = [
            self.machine_evidence,
            self.draft_evidence,
            self.catch_up_evidence,
            self.overhead_seconds,
        ];
        factors.into_iter().all(|factor| factor.abs() < 50.0)
            && evidence
                .into_iter()
                .chain(self.verify_evidence)
                .all(|amount| amount.is_finite() && amount >= 0.0)
    }

    pub(super) fn draft_factor(&self) -> f64 {
        (self.machine + self.draft).exp()
    }

    pub(super) fn catch_up_factor(&self) -> f64 {
        (self.machine + self.draft + self.catch_up).exp()
    }

    pub(super) fn verify_factor(&self, rows: usize) -> f64 {
        (self.machine + self.verify[rows - 1]).exp()
    }

    pub(super) fn overhead(&self) -> f64 {
        self.overhead_seconds
    }

    /// `ratio`: measured by expected. Returns whether something was learned.
    pub(super) fn observe_draft(&mut self, ratio: f64) -> bool {
        let Some(error) = self.clamped(ratio) else { return false };
        let rest = error - self.move_machine(error);
        self.draft += rate(RATIO_RATE, self.draft_evidence) * rest;
        self.draft_evidence += 1.0;
        true
    }

    pub(super) fn observe_catch_up(&mut self, ratio: f64) -> bool {
        let Some(error) = self.clamped(ratio) else { return false };
        self.catch_up += rate(RATIO_RATE, self.catch_up_evidence) * error;
        self.catch_up_evidence += 1.0;
        true
    }

    pub(super) fn observe_verify(&mut self, rows: usize, ratio: f64) -> bool {
        let Some(error) = self.clamped(ratio) else { return false };
        let rest = error - self.move_machine(error);
        let seen = rows.clamp(1, MEASURED_ROWS) - 1;
        for (index, correction) in self.verify.iter_mut().enumerate() {
            let share = NEIGHBOUR.powi(index.abs_diff(seen) as i32);
            *correction += share * rate(RATIO_RATE, self.verify_evidence[index]) * rest;
            self.verify_evidence[index] += share;
        }
        true
    }

    /// A pass of a known size: what it took more or less than expected is the machine's.
    pub(super) fn observe_machine(&mut self, ratio: f64) -> bool {
        let Some(error) = self.clamped(ratio) else { return false };
        let _ = self.move_machine(error);
        true
    }

    pub(super) fn observe_overhead(&mut self, seconds: f64, plain_seconds: f64) {
        // A stall outside both models is not overhead of the next step.
        let seconds = seconds.min(2.0 * self.overhead_seconds + 0.01 * plain_seconds);
        self.overhead_seconds += 0.05 * (seconds - self.overhead_seconds);
    }

    /// Logarithm of the ratio within [0.5, 2]; the very first observation of an uncalibrated model
    /// may be anything.
    fn clamped(&self, ratio: f64) -> Option<f64> {
        if !(ratio.is_finite() && ratio > 0.0) {
            return None;
        }
        let limit = if self.machine_evidence == 0.0 { 20.0 } else { std::f64::consts::LN_2 };
        Some(ratio.ln().clamp(-limit, limit))
    }

    fn move_machine(&mut self, error: f64) -> f64 {
        let moved = rate(MACHINE_RATE, self.machine_evidence) * error;
        self.machine += moved;
        self.machine_evidence += 1.0;
        moved
    }
}

/// A plain mean while evidence is scarce, a moving average after that.
fn rate(slowest: f64, evidence: f64) -> f64 {
    (1.0 / (1.0 + evidence)).max(slowest)
}
