//! A replayed controller takes the very steps that it takes live, on simulated models.

use std::sync::Arc;

use speckv::{
    controller::{Beside, Controller, Drafting, Lookup, MAX_GAMMA, Plan, Situation, Verdict},
    cost::CostModel,
    draft::{Both, Drafter, ModelDrafter, NgramDrafter},
    engine::{Clock, Engine, Sequence, SequenceSettings},
    record::{Source, StepRecord},
    sampling::SamplingSettings,
    signals::Signals,
    sim::{Difference, SimModel, SimSettings},
};
use speckv_lab::{
    replay::replay_counting,
    trace::{Depths, Position, Proposal, Trace},
};
use speckv_local::controllers::{ControllerParts, ControllerSpec};

const VOCAB: usize = 24;
const END: u32 = 5;
const MASK: u32 = 2;
const MAX_TOKENS: usize = 150;

/// Texts of models from seed 100 on repeat soon. Drafts for models from seed 200 on are often right
/// with their second choice.
fn target(seed: u64) -> SimModel {
    let order = if seed < 100 { 3 } else { 1 };
    let settings =
        SimSettings { vocab_size: VOCAB, context_length: 600, order, seed, sharpness: 3.0 };
    SimModel::new(settings)
}

fn engine(seed: u64) -> Engine<SimModel> {
    let target = target(seed);
    let difference = match seed < 200 {
        true => Difference::Share { agreement: 0.8 },
        false => Difference::Blend { weight: 0.35 },
    };
    let draft = target.draft(difference).with_mask(MASK);
    let model = ModelDrafter::new(Arc::new(draft), VOCAB).with_masks(vec![MASK]).expect("a token");
    let drafter: Box<dyn Drafter> = Box::new(Both::new(NgramDrafter::default(), model));
    let time = target.time().clone();
    let mut engine = Engine::new(Arc::new(target), drafter);
    engine.set_clock(Clock::Virtual(time)); // stands still: no times are learned from
    engine
}

fn sequence(
    engine: &mut Engine<SimModel>,
    prompt: &[u32],
    max_tokens: usize,
    controller: Box<dyn Controller>,
) -> Sequence<SimModel> {
    let settings = SequenceSettings {
        prompt: prompt.to_vec(),
        sampling: SamplingSettings::default(),
        end_tokens: vec![END],
        max_tokens,
        controller,
    };
    engine.sequence(settings).expect("good settings")
}

fn live(seed: u64, prompt: &[u32], controller: Box<dyn Controller>) -> Vec<StepRecord> {
    let mut engine = engine(seed);
    let mut sequence = sequence(&mut engine, prompt, MAX_TOKENS, controller);
    // A replay begins where measurements begin: both have read the prompt.
    engine.prefill_draft(&mut sequence).expect("simulated models do not fail");
    let mut records = Vec::new();
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).expect("simulated models do not fail");
        records.push(sequence.record().clone());
    }
    records
}

/// A controller that does not know that the draft proposes several tokens in one pass.
struct Serial(Box<dyn Controller>);

impl Controller for Serial {
    fn name(&self) -> String {
        self.0.name()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        self.0.plan(&Situation { parallel: 0, ..*situation })
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        self.0.judge(signals)
    }

    fn beside(&mut self) -> usize {
        self.0.beside()
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        self.0.branch(beside)
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        self.0.sibling(signals)
    }

    fn observe(&mut self, record: &StepRecord) {
        self.0.observe(record);
    }
}

/// Drafts with the model, and has look-up say up to six tokens beside it.
struct WithBranch(usize);

impl Controller for WithBranch {
    fn name(&self) -> String {
        "with-branch".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan {
            gamma: self.0,
            source: if self.0.is_multiple_of(2) { Source::MODEL } else { Source::PARALLEL },
        }
    }

    fn beside(&mut self) -> usize {
        6
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        beside.available
    }
}

#[test]
fn replayed_branches_are_the_live_ones() {
    let (mut beside, mut after) = (0, 0);
    for seed in 100..106 {
        let prompt: Vec<u32> = (0..14).map(|i| (i * 5 + seed as u32) % 7 + 6).collect();
        let trace = trace(seed, &prompt);
        for gamma in 1..=6 {
            let live = live(seed, &prompt, Box::new(WithBranch(gamma)));
            let (replayed, _) =
                replay_counting(&mut WithBranch(gamma), &trace, &CostModel::uncalibrated())
                    .expect("a good trace");
            for (live, replayed) in live.iter().zip(&replayed) {
                let step = live.before.step;
                assert_eq!(
                    live.before, replayed.before,
                    "gamma {gamma}, model {seed}, step {step}"
                );
                assert_eq!(
                    live.branch, replayed.branch,
                    "gamma {gamma}, model {seed}, step {step}"
                );
                assert_eq!(
                    live.tokens, replayed.tokens,
                    "gamma {gamma}, model {seed}, step {step}"
                );
                match live.branch.at == live.outcome.verified {
                    true => after += live.branch.accepted,
                    false => beside += live.branch.accepted,
                }
            }
            assert_eq!(live.len(), replayed.len(), "gamma {gamma}, model {seed}");
        }
    }
    assert!(beside > 20 && after > 20, "{beside} beside, {after} after");
}

/// Drafts with the model, has look-up say up to six tokens beside it, and the second choice of the
/// least sure token verified in every other step.
struct WithSibling(WithBranch, bool);

impl Controller for WithSibling {
    fn name(&self) -> String {
        "with-sibling".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        self.1 = situation.context.is_multiple_of(2);
        self.0.plan(situation)
    }

    fn beside(&mut self) -> usize {
        self.0.beside()
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        self.0.branch(beside)
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        let margin = |place: &usize| signals[*place].margin;
        (0..signals.len()).min_by(|a, b| margin(a).total_cmp(&margin(b))).filter(|_| self.1)
    }
}

#[test]
fn replayed_siblings_are_the_live_ones() {
    let (mut accepted, mut not_accepted, mut looked_up) = (0, 0, 0);
    for seed in 200..206 {
        let prompt: Vec<u32> = (0..14).map(|i| (i * 5 + seed as u32) % 7 + 6).collect();
        let trace = trace(seed, &prompt);
        for gamma in 1..=6 {
            let controller = || WithSibling(WithBranch(gamma), false);
            let live = live(seed, &prompt, Box::new(controller()));
            let replayed = replay_counting(&mut controller(), &trace, &CostModel::uncalibrated());
            let (replayed, _) = replayed.expect("a good trace");
            for (live, replayed) in live.iter().zip(&replayed) {
                let step = live.before.step;
                let of = |record: &StepRecord| {
                    let (drafted, branch) = (record.drafted.clone(), record.branch.clone());
                    (record.before, drafted, branch, record.outcome, record.tokens.clone())
                };
                assert_eq!(of(live), of(replayed), "gamma {gamma}, model {seed}, step {step}");
                match (live.branch.sibling, live.branch.accepted) {
                    (true, 1) => accepted += 1,
                    (true, _) => not_accepted += 1,
                    (false, tokens) => looked_up += tokens,
                }
            }
            assert_eq!(live.len(), replayed.len(), "gamma {gamma}, model {seed}");
        }
    }
    let all = [accepted, not_accepted, looked_up];
    assert!(all.iter().all(|&count| count > 10), "{all:?}");
}

/// Drafts as deep as it may from one source, and remembers what look-up offered.
struct Probe {
    source: Source,
    seen: Arc<std::sync::Mutex<Option<Lookup>>>,
}

impl Controller for Probe {
    fn name(&self) -> String {
        "probe".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        *self.seen.lock().expect("one thread") = situation.lookup;
        Plan { gamma: 16, source: self.source }
    }
}

/// What a source proposes after `text`: one step of a fresh engine.
fn proposal(seed: u64, text: &[u32], rest: &[u32], source: Source) -> (Option<Lookup>, Proposal) {
    let seen = Arc::new(std::sync::Mutex::new(None));
    let mut engine = engine(seed);
    let probe = Box::new(Probe { source, seen: seen.clone() });
    let mut sequence = sequence(&mut engine, text, 40, probe);
    engine.step(&mut [&mut sequence]).expect("simulated models do not fail");
    let drafted = sequence.record().drafted.clone();
    let agreed =
        drafted.iter().zip(rest).take_while(|(drafted, token)| drafted.token == **token).count();
    let lookup = *seen.lock().expect("one thread");
    (lookup, Proposal { drafted, agreed })
}

fn trace(seed: u64, prompt: &[u32]) -> Trace {
    let off: ControllerSpec = "off".parse().expect("known");
    let tokens: Vec<u32> = live(seed, prompt, off.build(&ControllerParts::default()))
        .iter()
        .flat_map(|record| record.tokens.clone())
        .collect();
    let positions = (0..tokens.len())
        .map(|done| {
            let text = [prompt, &tokens[..done]].concat();
            let (_, model) = proposal(seed, &text, &tokens[done..], Source::MODEL);
            let (lookup, ngram) = proposal(seed, &text, &tokens[done..], Source::NGRAM);
            let (_, parallel) = proposal(seed, &text, &tokens[done..], Source::PARALLEL);
            Position { model, parallel, ngram: lookup.map(|lookup| (lookup, ngram)) }
        })
        .collect();
    Trace {
        prompt_id: format!("sim-{seed}"),
        task: "sim".into(),
        prompt_tokens: prompt.len(),
        max_tokens: MAX_TOKENS,
        end_tokens: vec![END],
        depths: Depths { gamma_max: 16, ngram_max: 16, block_max: 16, gamma_limit: MAX_GAMMA },
        tokens,
        positions,
    }
}

#[test]
fn a_replayed_controller_takes_its_live_steps() {
    // With the controller's own costs as the truth, a replay teaches it nothing about time, and
    // neither does a clock that stands still.
    let parts = ControllerParts::default();
    let (mut ended, mut drafted_from) = (0, [0; 3]);
    for seed in 0..6 {
        let prompt: Vec<u32> = (0..14).map(|i| (i * 5 + seed as u32) % 7 + 6).collect();
        let trace = trace(seed, &prompt);
        for name in [
            "speckv",
            "speckv:siblings=off",
            "speckv@serial",
            "speckv@parallel",
            "fixed:5@parallel",
            "confidence:0.4@parallel",
            "chain+ema@parallel",
            "expected-value@parallel",
            "adaptive-verification@parallel",
            "chain+fixed:3",
            "fixed:5",
            "confidence:0.4",
            "heuristic",
            "entropy:adaedl",
            "expected-value",
            "ema",
            "adaptive-verification",
            "chain+speckv",
            "paper",
        ] {
            let (spec, drafting) = match name.split_once('@') {
                Some((spec, "parallel")) => (spec, Drafting::Parallel),
                Some((spec, _)) => (spec, Drafting::Both),
                None => (name, Drafting::Both),
            };
            let spec: ControllerSpec = spec.parse().expect("known");
            let build = || -> Box<dyn Controller> {
                let built = drafting.restrict(spec.build(&parts));
                if name.ends_with("@serial") { Box::new(Serial(built)) } else { built }
            };
            let live = live(seed, &prompt, build());
            let (replayed, cut) =
                replay_counting(build().as_mut(), &trace, &CostModel::uncalibrated())
                    .expect("a good trace");
            assert_eq!(cut, 0, "{name}: 16 is the limit, and recorded");
            for (live, replayed) in live.iter().zip(&replayed) {
                let step = live.before.step;
                assert_eq!(live.before, replayed.before, "{name}, model {seed}, step {step}");
                assert_eq!(live.drafted, replayed.drafted, "{name}, model {seed}, step {step}");
                assert_eq!(live.outcome, replayed.outcome, "{name}, model {seed}, step {step}");
                assert_eq!(live.branch, replayed.branch, "{name}, model {seed}, step {step}");
                assert_eq!(live.tokens, replayed.tokens, "{name}, model {seed}, step {step}");
                if name.starts_with("speckv") {
                    drafted_from[live.before.plan.source.index()] += live.drafted.len();
                }
            }
            assert_eq!(live.len(), replayed.len(), "{name}, model {seed}");
            ended +=
                usize::from(live.last().is_some_and(|record| record.tokens.last() == Some(&END)));
        }
    }
    assert!(
        ended > 0 && drafted_from.iter().all(|&count| count > 0),
        "the test sees every case: {ended} {drafted_from:?}"
    );
}

#[test]
fn steps_that_a_shallow_recording_cuts_are_counted() {
    let prompt: Vec<u32> = (0..14).map(|i| (i * 5) % 7 + 6).collect();
    let deep = trace(0, &prompt);
    let mut shallow = deep.clone();
    shallow.depths.gamma_max = 3;
    for position in &mut shallow.positions {
        position.model.drafted.truncate(3);
        position.model.agreed = position.model.agreed.min(3);
    }
    let cut = |name: &str, trace: &Trace| {
        let spec: ControllerSpec = name.parse().expect("known");
        let mut controller = spec.build(&ControllerParts::default());
        replay_counting(controller.as_mut(), trace, &CostModel::uncalibrated())
            .expect("a good trace")
            .1
    };
    for (name, at_most) in [("off", 0), ("fixed:3", 0), ("fixed:5", usize::MAX)] {
        assert_eq!(cut(name, &deep), 0, "{name}");
        let cut = cut(name, &shallow);
        assert!(cut <= at_most && (at_most == 0 || cut > 0), "{name}: {cut}");
    }
}
