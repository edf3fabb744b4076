//! The simulated models, the drafters and the plainest controllers pass the conformance suite, and
//! broken ones do not.

use std::sync::Arc;

use speckv::{
    conformance::{check_controller, check_drafter, check_model},
    controller::{Controller, Fixed, Off, Plan, Situation, Verdict},
    draft::{
        Ask, Both, DraftError, Drafter, ModelDrafter, NgramDrafter, NgramSettings, NoDrafter,
        Reading, Slot,
    },
    logits::Logits,
    model::{Cache, Feed, LanguageModel, ModelError, PassOutput},
    record::Source,
    signals::Signals,
    sim::{Difference, SimCache, SimModel, SimSettings},
    token::Token,
};

fn sim(vocab_size: usize) -> SimModel {
    SimModel::new(SimSettings { vocab_size, context_length: 64, seed: 3, ..SimSettings::default() })
}

#[test]
fn simulated_models_are_language_models() {
    check_model(&sim(40)).unwrap();
    check_model(&sim(1)).unwrap();
    check_model(&sim(40).draft(Difference::Share { agreement: 0.5 })).unwrap();
    check_model(&sim(40).without(2, 1)).unwrap();
}

/// A model with one fault; the conformance suite must see each of them.
struct Faulty {
    inner: SimModel,
    fault: Option<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    DependsOnBatch,
    DependsOnCompany,
    RowsMissing,
    ErrorGrowsCache,
    AcceptsAnyToken,
    CacheKeepsTail,
    HiddenDependsOnBatch,
    HiddenStatesMissing,
    BranchesSeeSiblings,
    BranchesChangeTrunk,
    KeepKeepsTrunk,
    KeepsTwice,
}

const FAULTS: [Fault; 12] = [
    Fault::DependsOnBatch,
    Fault::DependsOnCompany,
    Fault::RowsMissing,
    Fault::ErrorGrowsCache,
    Fault::AcceptsAnyToken,
    Fault::CacheKeepsTail,
    Fault::HiddenDependsOnBatch,
    Fault::HiddenStatesMissing,
    Fault::BranchesSeeSiblings,
    Fault::BranchesChangeTrunk,
    Fault::KeepKeepsTrunk,
    Fault::KeepsTwice,
];

#[derive(Clone)]
struct FaultyCache {
    inner: SimCache,
    fault: Option<Fault>,
    start: usize,
}

impl Cache for FaultyCache {
    fn len(&self) -> usize {
        self.inner.len()
    }

    fn truncate(&mut self, len: usize) {
        let keeps_tail = self.fault == Some(Fault::CacheKeepsTail) && len > 0;
        self.inner.truncate(if keeps_tail { len + 1 } else { len });
    }

    fn keep(&mut self, path: &[usize]) -> Result<(), ModelError> {
        match self.fault {
            Some(Fault::KeepsTwice) if path.is_empty() => {
                self.inner.truncate(self.start);
                Ok(())
            }
            Some(Fault::KeepKeepsTrunk) if path.last().is_some_and(|&last| last >= path.len()) => {
                self.inner.keep(&(0..path.len()).collect::<Vec<_>>())
            }
            _ => self.inner.keep(path),
        }
    }
}

impl LanguageModel for Faulty {
    type Cache = FaultyCache;
    type Output = Logits;

    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.inner.context_length()
    }

    fn hidden_size(&self) -> Option<usize> {
        self.inner.hidden_size()
    }

    fn takes_branches(&self) -> bool {
        self.inner.takes_branches()
    }

    fn new_cache(&self) -> Result<FaultyCache, ModelError> {
        Ok(FaultyCache { inner: self.inner.new_cache()?, fault: self.fault, start: 0 })
    }

    fn new_output(&self) -> Logits {
        self.inner.new_output()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, FaultyCache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        let fed = feeds[0].tokens.len();
        let count = feeds.len();
        let is_tree = feeds[0].trunk() < fed;
        let mut inner = Vec::new();
        for feed in feeds.iter_mut() {
            let trunk: &[usize] = &[];
            let sees = self.fault == Some(Fault::BranchesSeeSiblings) && is_tree;
            feed.cache.start = feed.cache.inner.len();
            inner.push(
                Feed::new(&mut feed.cache.inner, feed.tokens, feed.rows)
                    .with_hidden(feed.hidden)
                    .with_parents(if sees { trunk } else { feed.parents }),
            );
        }
        let fault = self.fault;
        if fault == Some(Fault::ErrorGrowsCache) {
            self.inner.forward(&mut inner[..1], logits)?;
            return if count > 1 { self.inner.forward(&mut inner[1..], logits) } else { Ok(()) };
        }
        if fault == Some(Fault::AcceptsAnyToken)
            && inner.iter().any(|f| f.tokens.iter().any(|&t| t as usize >= 40))
        {
            return Ok(());
        }
        self.inner.forward(&mut inner, logits)?;
        let (rows, hidden) = (logits.rows(), logits.hidden_rows());
        match fault {
            Some(Fault::DependsOnBatch) if fed > 8 && rows > 0 => logits.row_mut(0)[3] += 1e-6,
            Some(Fault::DependsOnCompany) if count > 1 && rows > 1 => {
                logits.row_mut(rows - 1)[3] += 1e-6;
            }
            Some(Fault::RowsMissing) if rows > 4 => _ = logits.reshape(rows - 1, 40),
            Some(Fault::HiddenDependsOnBatch) if fed < 8 && hidden > 0 => {
                logits.hidden_mut(0)[1] += 1e-6;
            }
            Some(Fault::HiddenStatesMissing) if hidden > 4 => logits.reshape_hidden(hidden - 1, 4),
            Some(Fault::BranchesChangeTrunk) if is_tree && rows == fed => {
                logits.row_mut(0)[3] += 1e-6;
            }
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn every_fault_of_a_model_is_seen() {
    check_model(&Faulty { inner: sim(40), fault: None }).unwrap();
    for fault in FAULTS {
        // A buffer with too few rows may panic, which is as good as an error here.
        let model = Faulty { inner: sim(40), fault: Some(fault) };
        let seen = std::panic::catch_unwind(|| check_model(&model).is_err()).unwrap_or(true);
        assert!(seen, "{fault:?} was not seen");
    }
}

fn model_drafter() -> ModelDrafter<SimModel> {
    ModelDrafter::new(Arc::new(sim(40).draft(Difference::Share { agreement: 0.5 })), 40)
}

/// A draft that proposes several tokens in one pass too.
fn parallel(masks: &[Token]) -> ModelDrafter<SimModel> {
    model_drafter().with_masks(masks.to_vec()).expect("tokens of the vocabulary")
}

#[test]
fn masks_outside_the_vocabulary_are_refused() {
    let refused = model_drafter().with_masks(vec![39, 40]).err();
    assert!(matches!(refused, Some(ModelError::UnknownToken { token: 40, vocab_size: 40 })));
}

#[test]
fn drafters_are_drafters() {
    let exact = NgramSettings { min_match: 1, max_match: 3 };
    let drafters: Vec<(&str, Box<dyn Drafter>)> = vec![
        ("none", Box::new(NoDrafter::new())),
        ("n-gram", Box::new(NgramDrafter::default())),
        ("short n-gram", Box::new(NgramDrafter::new(exact))),
        ("model", Box::new(model_drafter())),
        ("padded model", Box::new(ModelDrafter::new(Arc::new(sim(40)), 30))),
        ("both", Box::new(Both::new(NgramDrafter::default(), model_drafter()))),
        ("parallel", Box::new(parallel(&[7]))),
        ("parallel with a mask for each position", Box::new(parallel(&[7, 3]))),
        ("all", Box::new(Both::new(NgramDrafter::default(), parallel(&[7])))),
    ];
    for (name, mut drafter) in drafters {
        let vocab_size = if name == "padded model" { 30 } else { 40 };
        check_drafter(drafter.as_mut(), vocab_size)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Forgets to forget.
struct Stubborn(ModelDrafter<SimModel>);

impl Drafter for Stubborn {
    fn open(&mut self) -> Result<Slot, DraftError> {
        self.0.open()
    }

    fn close(&mut self, slot: Slot) {
        self.0.close(slot);
    }

    fn catch_up_all(&mut self, readings: &mut [Reading<'_>]) -> Result<(), DraftError> {
        self.0.catch_up_all(readings)
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        self.0.propose(asks)
    }

    fn truncate(&mut self, _: Slot, _: usize) {}
}

#[test]
fn a_drafter_that_does_not_truncate_is_seen() {
    check_drafter(&mut Stubborn(model_drafter()), 40).unwrap_err();
}

#[test]
fn plain_controllers_are_controllers() {
    check_controller(&|| Box::new(Off)).unwrap();
    for gamma in [0, 1, 4, 1000] {
        check_controller(&|| Box::new(Fixed::new(gamma))).unwrap();
    }
    check_controller(&|| Box::new(Fixed::from_source(3, Source::NGRAM))).unwrap();
}

/// Asks for everything, then drops or verifies by signals.
struct Moody;

impl Controller for Moody {
    fn name(&self) -> String {
        "moody".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        if situation.context.is_multiple_of(3) && situation.lookup.is_some() {
            Plan::ngram(1000)
        } else {
            Plan::model(1000)
        }
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        match signals.last() {
            Some(newest) if newest.confidence < 0.4 => Verdict::Drop,
            Some(newest) if newest.entropy_bits > 1.5 => Verdict::Verify,
            _ => Verdict::Continue,
        }
    }
}

#[test]
fn a_controller_may_drop_and_verify_as_it_likes() {
    check_controller(&|| Box::new(Moody)).unwrap();
}
