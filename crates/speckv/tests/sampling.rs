//! Speculation keeps the sampling distribution: chi-square tests against the exact distribution of
//! plain sampling.
//!
//! Each test draws 20,000 texts and compares the joint distribution of their first tokens with the
//! exactly computed one, at a significance of 1e-6. Its power is computed by
//! `GoodnessOfFit::detectable_distance` and asserted below: any total variation distance of 0.05 or
//! more is found with probability at least 0.99. Seeds are fixed, so that a test that passes once
//! passes always. The second half breaks verification on purpose and shows that the same test
//! fails.

use std::sync::Arc;

use speckv::{
    conformance::{joint_distribution, statistics::GoodnessOfFit},
    controller::{Beside, Controller, Drafting, Fixed, Plan, Situation, Verdict},
    draft::{Ask, Both, DraftError, Drafter, ModelDrafter, NgramDrafter, Slot},
    engine::{Engine, SequenceSettings},
    record::Source,
    sampling::{Distribution, Randomness, SamplingSettings},
    signals::Signals,
    sim::{Difference, SimModel, SimSettings},
    token::Token,
    verify::{Verified, is_accepted, verify},
};

const SAMPLES: u64 = 20_000;
/// Ends in a repeated pair, so that n-gram look-up has something to say.
const PROMPT: [Token; 8] = [0, 1, 2, 0, 1, 3, 0, 1];

fn target(vocab_size: usize) -> SimModel {
    SimModel::new(SimSettings {
        vocab_size,
        order: 2,
        sharpness: 1.2,
        seed: 11,
        ..SimSettings::default()
    })
}

fn settings() -> Vec<SamplingSettings> {
    let plain = SamplingSettings { temperature: 1.0, ..SamplingSettings::default() };
    vec![
        plain.clone(),
        SamplingSettings { temperature: 0.6, top_k: 3, ..plain.clone() },
        SamplingSettings { temperature: 1.4, top_p: 0.8, ..plain.clone() },
        SamplingSettings {
            min_p: 0.2,
            repetition_penalty: 1.5,
            repetition_window: 4,
            ..plain.clone()
        },
        SamplingSettings {
            top_k: 4,
            top_p: 0.9,
            min_p: 0.05,
            repetition_penalty: 1.2,
            repetition_window: 0,
            ..plain
        },
    ]
}

/// Counts the first `depth` tokens of many texts against their exact distribution.
fn sample(
    target: &SimModel,
    drafter: Box<dyn Drafter>,
    controller: Box<dyn Controller>,
    sampling: &SamplingSettings,
    vocab_size: usize,
    depth: usize,
) -> GoodnessOfFit {
    let expected = joint_distribution(target, &PROMPT, sampling, depth).unwrap();
    let mut engine = Engine::new(Arc::new(target.clone()), drafter);
    let prompt = PROMPT.to_vec();
    let settings = SequenceSettings {
        prompt,
        sampling: sampling.clone(),
        end_tokens: vec![],
        max_tokens: depth + 6,
        controller,
    };
    let mut sequence = engine.sequence(settings).unwrap();
    let mut fit = GoodnessOfFit::new(expected);
    for seed in 0..SAMPLES {
        sequence.rewind(PROMPT.len());
        *sequence.randomness_mut() = Randomness::new(seed);
        while sequence.generated() < depth {
            engine.step(&mut [&mut sequence]).unwrap();
        }
        let made = &sequence.tokens()[PROMPT.len()..PROMPT.len() + depth];
        fit.add(made.iter().fold(0, |cell, &token| cell * vocab_size + token as usize));
    }
    fit
}

/// Drops and verifies by what the signals say: the decisions depend on the distributions, never on
/// the draws.
struct BySignals;

impl Controller for BySignals {
    fn name(&self) -> String {
        "by-signals".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        let source = match situation {
            Situation { has_model: true, .. } => Source::MODEL,
            Situation { parallel: 1.., .. } => Source::PARALLEL,
            _ => Source::NGRAM,
        };
        Plan { gamma: 4, source }
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        match signals.last().map_or(0.0, |newest| newest.confidence) {
            confidence if confidence < 0.35 => Verdict::Drop,
            confidence if confidence < 0.45 => Verdict::Verify,
            _ => Verdict::Continue,
        }
    }
}

#[test]
fn with_a_draft_model_samples_have_the_targets_distribution() {
    let target = target(5);
    let differences = [
        Difference::Blend { weight: 0.0 },
        Difference::Blend { weight: 0.4 },
        Difference::Share { agreement: 0.5 },
        Difference::Opposed,
    ];
    for sampling in settings() {
        for difference in differences {
            for controller in [Box::new(Fixed::new(3)) as Box<dyn Controller>, Box::new(BySignals)]
            {
                let name = controller.name();
                let drafter = ModelDrafter::new(Arc::new(target.draft(difference)), 5);
                let fit = sample(&target, Box::new(drafter), controller, &sampling, 5, 3);
                assert!(fit.detectable_distance() < 0.05, "power: {}", fit.detectable_distance());
                fit.check().unwrap_or_else(|error| {
                    panic!("{name}, {difference:?}, {sampling:?}: {error}")
                });
            }
        }
    }
}

#[test]
fn with_a_parallel_draft_samples_have_the_targets_distribution() {
    const VOCAB: usize = 5;
    const DEPTH: usize = 3;
    let target = target(VOCAB);
    for difference in [Difference::Blend { weight: 0.4 }, Difference::Opposed] {
        for sampling in settings() {
            for controller in [0, 1] {
                let draft = target.draft(difference).with_mask(0);
                let model = ModelDrafter::new(Arc::new(draft), VOCAB).with_masks(vec![0]).unwrap();
                let controller: Box<dyn Controller> = match controller {
                    0 => Box::new(Fixed::from_source(4, Source::PARALLEL)),
                    _ => Drafting::Parallel.restrict(Box::new(BySignals)),
                };
                let name = controller.name();
                let fit = sample(&target, Box::new(model), controller, &sampling, VOCAB, DEPTH);
                assert!(fit.detectable_distance() < 0.05, "power: {}", fit.detectable_distance());
                fit.check().unwrap_or_else(|error| {
                    panic!("{name}, {difference:?}, {sampling:?}: {error}")
                });
            }
        }
    }
}

/// Drafts two tokens with the model, and has look-up say up to three beside it.
struct WithBranch;

impl Controller for WithBranch {
    fn name(&self) -> String {
        "with-branch".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan::model(2)
    }

    fn beside(&mut self) -> usize {
        3
    }

    /// Depends on where look-up leaves the draft, and so on draws; the distribution does not.
    fn branch(&mut self, beside: &Beside) -> usize {
        if beside.at == 1 { beside.available.min(1) } else { beside.available }
    }
}

#[test]
fn with_a_branch_beside_the_draft_samples_have_the_targets_distribution() {
    const VOCAB: usize = 5;
    let target = target(VOCAB);
    for difference in [Difference::Blend { weight: 0.4 }, Difference::Opposed] {
        for sampling in settings() {
            let draft = Arc::new(target.draft(difference));
            let model = ModelDrafter::new(draft, VOCAB);
            let drafter = Box::new(Both::new(NgramDrafter::default(), model));
            let fit = sample(&target, drafter, Box::new(WithBranch), &sampling, VOCAB, 3);
            assert!(fit.detectable_distance() < 0.05, "power: {}", fit.detectable_distance());
            fit.check().unwrap_or_else(|error| panic!("{difference:?}, {sampling:?}: {error}"));
        }
    }
}

/// Drafts three tokens, and has the draft's second choice verified where it is least sure.
struct WithSibling(Source);

impl Controller for WithSibling {
    fn name(&self) -> String {
        "with-sibling".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan { gamma: 3, source: self.0 }
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        let margin = |place: &usize| signals[*place].margin;
        (0..signals.len()).min_by(|a, b| margin(a).total_cmp(&margin(b)))
    }
}

#[test]
fn with_siblings_samples_have_the_targets_distribution() {
    const VOCAB: usize = 5;
    let target = target(VOCAB);
    for source in [Source::MODEL, Source::PARALLEL] {
        for difference in [Difference::Blend { weight: 0.4 }, Difference::Opposed] {
            for sampling in settings() {
                let draft = Arc::new(target.draft(difference).with_mask(0));
                let model = ModelDrafter::new(draft, VOCAB).with_masks(vec![0]).unwrap();
                let controller = Box::new(WithSibling(source));
                let fit = sample(&target, Box::new(model), controller, &sampling, VOCAB, 3);
                assert!(fit.detectable_distance() < 0.05, "power: {}", fit.detectable_distance());
                fit.check().unwrap_or_else(|error| {
                    panic!("{source}, {difference:?}, {sampling:?}: {error}")
                });
            }
        }
    }
}

#[test]
fn with_look_up_samples_have_the_targets_distribution() {
    let target = target(5);
    for sampling in settings() {
        let drafters: [(Box<dyn Drafter>, Box<dyn Controller>); 2] = [
            (Box::new(NgramDrafter::default()), Box::new(Fixed::new(3))),
            (
                Box::new(Both::new(
                    NgramDrafter::default(),
                    ModelDrafter::new(Arc::new(target.draft(Difference::Opposed)), 5),
                )),
                Box::new(Fixed::from_source(2, Source::NGRAM)),
            ),
        ];
        for (drafter, controller) in drafters {
            let fit = sample(&target, drafter, controller, &sampling, 5, 3);
            fit.check().unwrap_or_else(|error| panic!("{sampling:?}: {error}"));
        }
    }
}

/// Where target and draft cannot say the same tokens: p(x) = 0 for drafted x, q(x) = 0 for what the
/// target says, and both at once.
#[test]
fn with_impossible_tokens_samples_have_the_targets_distribution() {
    let cases = [
        ("the draft says what the target cannot", target(8).without(3, 0), target(8)),
        (
            "the target says what the draft cannot",
            target(8),
            target(8).draft(Difference::Blend { weight: 0.5 }).without(3, 1),
        ),
        ("each has its own", target(8).without(3, 0), target(8).without(3, 1)),
        ("nothing in common", target(8).without(2, 0), target(8).without(2, 1)),
    ];
    for sampling in [settings().remove(0), settings().remove(2)] {
        for (name, target, draft) in &cases {
            let drafter = ModelDrafter::new(Arc::new(draft.clone()), 8);
            let fit = sample(target, Box::new(drafter), Box::new(Fixed::new(3)), &sampling, 8, 2);
            fit.check().unwrap_or_else(|error| panic!("{name}, {sampling:?}: {error}"));
        }
    }
}

/// Draws from the model's distribution and reports another one: what a mistake in the bookkeeping
/// of q would look like.
struct WrongProbabilities(ModelDrafter<SimModel>);

impl Drafter for WrongProbabilities {
    fn open(&mut self) -> Result<Slot, DraftError> {
        self.0.open()
    }

    fn close(&mut self, slot: Slot) {
        self.0.close(slot);
    }

    fn has_model(&self) -> bool {
        true
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        self.0.propose(asks)?;
        for ask in asks {
            let tempered: Vec<_> =
                ask.distribution.iter().map(|(token, q)| (token, q.sqrt())).collect();
            ask.distribution.set_weights(tempered);
        }
        Ok(())
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        self.0.truncate(slot, len);
    }
}

#[test]
fn a_wrong_draft_distribution_is_seen() {
    let target = target(5);
    let wrong =
        WrongProbabilities(ModelDrafter::new(Arc::new(target.draft(Difference::Opposed)), 5));
    let fit = sample(&target, Box::new(wrong), Box::new(Fixed::new(3)), &settings()[0], 5, 3);
    fit.check().unwrap_err();
}

/// Looks at the drawn token (which a controller cannot see, but a cheat may know): dropping by the
/// draw biases the text.
struct DropsByDraw(ModelDrafter<SimModel>);

impl Drafter for DropsByDraw {
    fn open(&mut self) -> Result<Slot, DraftError> {
        self.0.open()
    }

    fn close(&mut self, slot: Slot) {
        self.0.close(slot);
    }

    fn has_model(&self) -> bool {
        true
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        self.0.propose(asks)?;
        for ask in asks {
            ask.proposal = ask.proposal.filter(|proposal| proposal.token < 3);
        }
        Ok(())
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        self.0.truncate(slot, len);
    }
}

#[test]
fn a_decision_that_depends_on_the_draw_is_seen() {
    let target = target(5);
    let cheat = DropsByDraw(ModelDrafter::new(
        Arc::new(target.draft(Difference::Blend { weight: 0.4 })),
        5,
    ));
    let fit = sample(&target, Box::new(cheat), Box::new(Fixed::new(3)), &settings()[0], 5, 3);
    fit.check().unwrap_err();
}

type Verifier = fn(Token, &Distribution, &Distribution, f64, f64, &mut Distribution) -> Verified;

/// One position, many times, with a verifier of choice.
fn verified_with(verifier: Verifier) -> GoodnessOfFit {
    let (weights_p, weights_q) = ([0.4_f32, 0.3, 0.2, 0.1], [0.1_f32, 0.2, 0.3, 0.4]);
    let distribution = |weights: [f32; 4]| {
        let mut made = Distribution::new();
        made.set_weights((0..).zip(weights));
        made
    };
    let (p, q, mut rest) = (distribution(weights_p), distribution(weights_q), Distribution::new());
    let mut fit = GoodnessOfFit::new(p.iter().map(|(_, p)| f64::from(p)).collect());
    let mut randomness = Randomness::new(1);
    for _ in 0..SAMPLES {
        let drafted = q.draw(randomness.uniform());
        let (u_accept, u_draw) = (randomness.uniform(), randomness.uniform());
        fit.add(match verifier(drafted, &p, &q, u_accept, u_draw, &mut rest) {
            Verified::Accepted => drafted as usize,
            Verified::Recovered { token, .. } => token as usize,
        });
    }
    fit
}

#[test]
fn verification_passes_and_every_broken_verification_fails_the_same_test() {
    verified_with(verify).check().unwrap();
    let broken: [(&str, Verifier); 5] = [
        ("accepts always", |_, _, _, _, _, _| Verified::Accepted),
        ("recovers from p instead of (p - q)+", |x, p, q, u, v, _| {
            if is_accepted(p.probability(x), q.probability(x), u) {
                Verified::Accepted
            } else {
                Verified::Recovered { token: p.draw(v), rest_was_empty: false }
            }
        }),
        ("accepts with probability p(x)", |x, p, q, u, v, rest| {
            if u < f64::from(p.probability(x)) {
                Verified::Accepted
            } else if rest.set_rest(p, q) {
                Verified::Recovered { token: rest.draw(v), rest_was_empty: false }
            } else {
                Verified::Recovered { token: p.draw(v), rest_was_empty: true }
            }
        }),
        ("uses one random number for both", |x, p, q, u, _, rest| verify(x, p, q, u, u, rest)),
        ("takes the likeliest of the rest", |x, p, q, u, _, rest| {
            match verify(x, p, q, u, 0.5, rest) {
                Verified::Accepted => Verified::Accepted,
                Verified::Recovered { .. } => {
                    let likeliest = rest
                        .iter()
                        .max_by(|a, b| a.1.total_cmp(&b.1))
                        .map_or(0, |(token, _)| token);
                    Verified::Recovered { token: likeliest, rest_was_empty: false }
                }
            }
        }),
    ];
    for (what, verifier) in broken {
        assert!(verified_with(verifier).check().is_err(), "a verifier that {what} was not seen");
    }
}
