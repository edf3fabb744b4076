//! A controller of one's own: drafts until the product of the confidences falls below a threshold.
//!
//! `cargo run -p speckv --example custom_controller`

use std::{error::Error, sync::Arc, time::Duration};

use speckv::{
    conformance::check_controller,
    controller::{Controller, Fixed, Off, Plan, Situation, Verdict},
    draft::ModelDrafter,
    engine::{Clock, Engine, SequenceSettings, Totals},
    record::StepRecord,
    sampling::SamplingSettings,
    signals::Signals,
    sim::{Difference, SimCost, SimModel, SimSettings},
};

/// Drafts while it is likely that everything drafted so far is accepted. Where too few tokens were
/// accepted lately, it decodes plainly for some steps.
struct JointConfidence {
    threshold: f32,
    acceptance: f32, // moving average, tokens accepted by tokens drafted
    pause: usize,    // steps to decode plainly
}

impl JointConfidence {
    const GAMMA: usize = 12;
    const LEAST_ACCEPTANCE: f32 = 0.3;
    const PAUSE: usize = 16;

    fn new(threshold: f32) -> Self {
        JointConfidence { threshold, acceptance: 1.0, pause: 0 }
    }
}

impl Controller for JointConfidence {
    fn name(&self) -> String {
        format!("joint-confidence-{}", self.threshold)
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        if !situation.has_model || self.pause > 0 {
            self.pause = self.pause.saturating_sub(1);
            return Plan::OFF;
        }
        Plan::model(Self::GAMMA) // the engine keeps it within the situation's limit
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        let joint: f32 = signals.iter().map(|position| position.confidence).product();
        if joint < self.threshold { Verdict::Verify } else { Verdict::Continue }
    }

    fn observe(&mut self, record: &StepRecord) {
        let verified = record.outcome.verified;
        if verified == 0 || record.is_censored() {
            return; // nothing was seen of this rule
        }
        let share = record.outcome.accepted as f32 / verified as f32;
        self.acceptance += 0.1 * (share - self.acceptance);
        if self.acceptance < Self::LEAST_ACCEPTANCE {
            (self.acceptance, self.pause) = (0.5, Self::PAUSE);
        }
    }

    fn next_text(&mut self) {
        (self.acceptance, self.pause) = (1.0, 0);
    }
}

/// Tokens of 300, in simulated time: a target pass takes 40 ms and 2 ms per row, the draft a
/// quarter of that.
fn run(agreement: f64, controller: Box<dyn Controller>) -> Result<Totals, Box<dyn Error>> {
    let milliseconds = |pass, token| SimCost {
        pass: Duration::from_millis(pass),
        token: Duration::from_micros(token),
    };
    let target = SimModel::new(SimSettings::default()).costing(milliseconds(40, 2_000));
    let draft = target.draft(Difference::Share { agreement }).costing(milliseconds(10, 500));
    let time = target.time().clone();
    let mut engine =
        Engine::new(Arc::new(target), Box::new(ModelDrafter::new(Arc::new(draft), 32)));
    engine.set_clock(Clock::Virtual(time));
    let mut sequence = engine.sequence(SequenceSettings {
        prompt: vec![1, 2, 3],
        sampling: SamplingSettings::default(),
        end_tokens: vec![],
        max_tokens: 300,
        controller,
    })?;
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence])?;
    }
    Ok(sequence.totals().clone())
}

fn main() -> Result<(), Box<dyn Error>> {
    // Whatever a controller decides, the output stays the target's: the suite tests that.
    check_controller(&|| Box::new(JointConfidence::new(0.4)))?;
    println!("{:>9}  {:<22} {:>8} {:>10}", "agreement", "controller", "tokens/s", "acceptance");
    for agreement in [0.1, 0.6, 0.95] {
        let controllers: [Box<dyn Controller>; 3] =
            [Box::new(Off), Box::new(Fixed::new(4)), Box::new(JointConfidence::new(0.4))];
        for controller in controllers {
            let name = controller.name();
            let totals = run(agreement, controller)?;
            let speed = totals.tokens_per_second().unwrap_or(0.0);
            let rate = totals.acceptance_rate().map_or("-".into(), |rate| format!("{rate:.2}"));
            println!("{agreement:>9}  {name:<22} {speed:>8.1} {rate:>10}");
        }
    }
    Ok(())
}
