//! What drafting has earned and cost so far: the guarantee that a worthless draft stays cheap.

/// Balance of one source, in plain decoding steps.
///
/// Every token adds a small allowance; a step that drafted adds what it saved or takes what it lost
/// against plain decoding. Savings are capped, so that a good past cannot pay for an endless bad
/// present. Once the balance is below its floor the source rests, and it is probed again only when
/// the balance covers the price, at intervals that double. Total loss against plain decoding is
/// therefore at most `credit + cap + allowance * tokens` and one step, whatever the draft does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ledger {
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

const FIRST_INTERVAL: u32 = 8;
const LONGEST_INTERVAL: u32 = 32;
const PATIENCE: f64 = 0.1;
const PAUSE: u32 = 4;
/// Savings that count, in plain steps: what a draft that turns bad may lose again.
const CAP: f64 = 12.0;

impl Ledger {
    /// `credit`: plain steps that may be lost before the source has to earn them.
    pub fn new(credit: f64, allowance: f64, sustained: f64) -> Self {
        Ledger {
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
    /// would have paid. The exponent is the one that loses least from 1 to 16 sequences in
    /// `tests/load.rs`.
    pub fn share(&mut self, sequences: usize) {
        self.balance /= (sequences.max(1) as f64).powf(0.75);
    }

    /// Whether losses have used up what may be lost.
    pub fn is_exhausted(&self) -> bool {
        self.balance <= 0.0
    }

    /// Loss per step, in tokens, that is put up with while the balance is good: stopping is dear
    /// (the draft falls behind, and nothing more is learned), and a forecast just below zero is as
    /// likely to be wrong as not. The balance pays for it and ends it. Nothing is put up with for
    /// coming back.
    pub fn patience(&self) -> f64 {
        if self.is_away() { 0.0 } else { PATIENCE * self.balance.max(0.0) }
    }

    /// Whether the source has rested for more than a pause between steps.
    pub fn is_away(&self) -> bool {
        self.idle_steps > PAUSE
    }

    /// Whether it is time to look again, at a price of `price` plain steps.
    pub fn may_probe(&self, price: f64) -> bool {
        self.idle_steps >= self.interval && self.balance >= price
    }

    /// Correction of a plan's value, in tokens.
    pub fn surplus(&self) -> f64 {
        self.surplus
    }

    /// The source was chosen for what it is expected to earn.
    pub fn chosen(&mut self) {
        self.interval = FIRST_INTERVAL;
    }

    /// The source was chosen only to learn.
    pub fn probed(&mut self) {
        self.interval = (self.interval + self.interval / 2).min(LONGEST_INTERVAL);
    }

    /// A step without this source.
    pub fn rest(&mut self, tokens: usize) {
        self.idle_steps += 1;
        self.earn(0.0, tokens);
    }

    /// A step with this source: plain steps saved, and value against the plan in tokens.
    pub fn work(&mut self, saved: f64, tokens: usize, value: f64, predicted: f64) {
        self.idle_steps = 0;
        self.earn(saved, tokens);
        self.steps += 1.0;
        let error = (value - predicted).clamp(-4.0, 4.0);
        self.surplus += (error - self.surplus) * (1.0 / (8.0 + self.steps)).max(0.04);
    }

    fn earn(&mut self, saved: f64, tokens: usize) {
        self.balance = (self.balance + saved + self.allowance * tokens as f64).min(CAP);
    }

    /// One outcome after the first position.
    pub fn learn_sustained(&mut self, accepted: bool) {
        self.sustained += 0.04 * (f64::from(u8::from(accepted)) - self.sustained);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_bounded_whatever_the_draft_does() {
        let mut ledger = Ledger::new(4.0, 0.015, 0.8);
        let (mut lost, mut tokens) = (0.0, 0);
        for _ in 0..10_000 {
            let price = 0.6;
            if !ledger.is_exhausted() && (ledger.steps < 10.0 || ledger.may_probe(price)) {
                ledger.probed();
                ledger.work(-price, 1, -1.0, 0.0);
                lost += price;
            } else {
                ledger.rest(1);
            }
            tokens += 1;
            assert!(
                lost <= 4.0 + 0.015 * f64::from(tokens) + price + 1e-9,
                "{lost} after {tokens}"
            );
        }
        assert!(lost > 10.0, "it still looks again from time to time: {lost}");
    }

    #[test]
    fn a_good_past_cannot_pay_for_an_endless_bad_present() {
        let mut ledger = Ledger::new(4.0, 0.015, 0.8);
        for _ in 0..1000 {
            ledger.work(1.5, 3, 1.0, 1.0);
        }
        let mut bad = 0;
        while !ledger.is_exhausted() {
            ledger.work(-0.5, 1, -0.5, 0.5);
            bad += 1;
        }
        assert!(bad <= 25, "{bad}");
    }
}
