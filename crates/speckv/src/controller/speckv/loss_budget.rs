//! What drafting has earned and lost so far: the guarantee that a worthless draft loses little.

use crate::source::Source;

/// Balance of one source, in plain decoding steps.
///
/// Every token adds a small allowance; a step that drafted adds what it saved or takes what it lost
/// against plain decoding. Savings are capped, so that a good past cannot pay for an endless bad
/// present. Once the balance is used up the source rests, and it is probed again only when the
/// balance covers the price, at intervals that grow. Total loss against plain decoding is therefore
/// at most `credit + cap + allowance * tokens` and one step, whatever the draft does.
#[derive(Debug, Clone, Copy)]
pub(super) struct LossBudget {
    balance: f64,
    allowance: f64,
    idle_steps: u32,
    interval: u32,
    /// Realised minus predicted value of a step, in tokens: what the plan does not see (stopping
    /// early, choosing when to go on).
    surplus: f64,
    steps: f64,
    /// Acceptance after the first position.
    pub sustained: f64,
}

// The constants below were chosen by simulation on synthetic traces of seeds below 100;
// `tests/simulated.rs` of `speckv-lab` holds what they promise on seeds from 100 on.

/// Acceptance after the first position before anything was seen: what the default pair's recordings
/// show for the draft model, and a little more for look-up, whose finds run on.
pub(super) fn sustained_prior(source: Source) -> f64 {
    match source {
        Source::NGRAM => 0.85,
        Source::PARALLEL => super::block::PRIOR,
        _ => 0.8,
    }
}
/// Weight of a new outcome in `sustained`: a memory of 25 outcomes.
const SUSTAINED_RATE: f64 = 0.04;
/// Steps between the first and the second probe; each probe lengthens the interval by half.
const FIRST_INTERVAL: u32 = 8;
/// Longest interval between probes.
const LONGEST_INTERVAL: u32 = 32;
/// Share of the balance that a single step may lose in expectation.
const TOLERANCE: f64 = 0.1;
/// Steps without the source after which it counts as away.
const PAUSE: u32 = 4;
/// Savings that count, in plain steps: what a draft that turns bad may lose again.
const CAP: f64 = 12.0;
/// Largest error of a plan's value that a step may report, in tokens.
const LARGEST_ERROR: f64 = 4.0;
/// Steps that a surplus of 0 counts as before the first step.
const SURPLUS_EVIDENCE: f64 = 8.0;
/// Least weight of a new step in the surplus: a memory of 25 steps.
const SURPLUS_RATE: f64 = 0.04;
/// How much less each of several sequences may lose: the balance is divided by
/// `sequences^SHARE_EXPONENT`. The exponent is the one that loses least from 1 to 16 sequences in
/// `tests/load.rs`.
const SHARE_EXPONENT: f64 = 0.75;

impl LossBudget {
    /// `credit`: plain steps that may be lost before the source has to earn them.
    pub(super) fn new(credit: f64, allowance: f64, sustained: f64) -> Self {
        LossBudget {
            balance: credit,
            allowance,
            idle_steps: 0,
            interval: FIRST_INTERVAL,
            surplus: 0.0,
            steps: 0.0,
            sustained,
        }
    }

    /// `sequences` find out at the same time whether drafting pays in their pass, so each may lose
    /// less than it may alone; not `1 / sequences` of it, since a single bad step must not end what
    /// would have paid.
    pub(super) fn share(&mut self, sequences: usize) {
        self.balance /= (sequences.max(1) as f64).powf(SHARE_EXPONENT);
    }

    /// Whether losses have used up what may be lost.
    pub(super) fn is_exhausted(&self) -> bool {
        self.balance <= 0.0
    }

    /// Expected loss per step, in tokens, that is accepted while the balance is good. Stopping has
    /// a price that the plan does not see (the draft falls behind, and nothing more is learned),
    /// and a forecast just below zero is as likely to be wrong as not. The balance pays for it and
    /// ends it. No loss is accepted for a source that is away.
    pub(super) fn tolerance(&self) -> f64 {
        if self.is_away() { 0.0 } else { TOLERANCE * self.balance.max(0.0) }
    }

    /// Whether the source has rested for more than a pause between steps.
    pub(super) fn is_away(&self) -> bool {
        self.idle_steps > PAUSE
    }

    /// Whether it is time to probe, at a price of `price` plain steps.
    pub(super) fn may_probe(&self, price: f64) -> bool {
        self.idle_steps >= self.interval && self.balance >= price
    }

    /// Correction of a plan's value, in tokens.
    pub(super) fn surplus(&self) -> f64 {
        self.surplus
    }

    /// The source was chosen for what it is expected to earn.
    pub(super) fn chosen(&mut self) {
        self.interval = FIRST_INTERVAL;
    }

    /// The source was chosen only to learn.
    pub(super) fn probed(&mut self) {
        self.interval = (self.interval + self.interval / 2).min(LONGEST_INTERVAL);
    }

    /// A step without this source.
    pub(super) fn rest(&mut self, tokens: usize) {
        self.idle_steps += 1;
        self.earn(0.0, tokens);
    }

    /// A step with this source: plain steps saved, and value against the plan in tokens.
    pub(super) fn work(&mut self, saved: f64, tokens: usize, value: f64, predicted: f64) {
        self.idle_steps = 0;
        self.earn(saved, tokens);
        self.steps += 1.0;
        let error = (value - predicted).clamp(-LARGEST_ERROR, LARGEST_ERROR);
        let rate = (1.0 / (SURPLUS_EVIDENCE + self.steps)).max(SURPLUS_RATE);
        self.surplus += (error - self.surplus) * rate;
    }

    fn earn(&mut self, saved: f64, tokens: usize) {
        self.balance = (self.balance + saved + self.allowance * tokens as f64).min(CAP);
    }

    /// One outcome after the first position.
    pub(super) fn learn_sustained(&mut self, accepted: bool) {
        self.sustained += SUSTAINED_RATE * (f64::from(u8::from(accepted)) - self.sustained);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_bounded_whatever_the_draft_does() {
        let mut budget = LossBudget::new(4.0, 0.015, 0.8);
        let (mut lost, mut tokens) = (0.0, 0);
        for _ in 0..10_000 {
            let price = 0.6;
            if !budget.is_exhausted() && (budget.steps < 10.0 || budget.may_probe(price)) {
                budget.probed();
                budget.work(-price, 1, -1.0, 0.0);
                lost += price;
            } else {
                budget.rest(1);
            }
            tokens += 1;
            assert!(
                lost <= 4.0 + 0.015 * f64::from(tokens) + price + 1e-9,
                "{lost} after {tokens}"
            );
        }
        assert!(lost > 10.0, "it still probes from time to time: {lost}");
    }

    #[test]
    fn a_good_past_cannot_pay_for_an_endless_bad_present() {
        let mut budget = LossBudget::new(4.0, 0.015, 0.8);
        for _ in 0..1000 {
            budget.work(1.5, 3, 1.0, 1.0);
        }
        let mut bad = 0;
        while !budget.is_exhausted() {
            budget.work(-0.5, 1, -0.5, 0.5);
            bad += 1;
        }
        assert!(bad <= 25, "{bad}");
    }
}
