//! Several sequences share the passes that read ahead, drafters hear of the target's passes, and a
//! sequence belongs to one engine.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use speckv::{
    conformance::decode_plainly,
    controller::{Fixed, Off},
    draft::{Ask, DraftError, Drafter, ModelDrafter, NoDrafter, Reading, Slot, Slots, TargetRead},
    engine::{Engine, EngineError, SequenceSettings},
    logits::Logits,
    model::{Feed, LanguageModel, ModelError, PassOutput},
    sampling::SamplingSettings,
    sim::{Difference, SimCache, SimModel, SimSettings},
    token::Token,
};

fn sim() -> SimModel {
    SimModel::new(SimSettings { context_length: 2048, ..SimSettings::default() })
}

fn prompt(seed: Token, len: usize) -> Vec<Token> {
    (0..len as Token).map(|i| (i * 7 + seed * 13 + i * i) % 32).collect()
}

fn settings(prompt: Vec<Token>, gamma: usize) -> SequenceSettings {
    SequenceSettings {
        prompt,
        sampling: SamplingSettings::default(),
        end_tokens: vec![],
        max_tokens: 12,
        controller: if gamma > 0 { Box::new(Fixed::new(gamma)) } else { Box::new(Off) },
    }
}

/// A model that counts its passes and the tokens of the largest.
struct Counting {
    inner: SimModel,
    passes: AtomicUsize,
    most: AtomicUsize,
}

impl Counting {
    fn new(inner: SimModel) -> Arc<Self> {
        Arc::new(Counting { inner, passes: AtomicUsize::new(0), most: AtomicUsize::new(0) })
    }

    fn take(&self) -> (usize, usize) {
        (self.passes.swap(0, Ordering::Relaxed), self.most.swap(0, Ordering::Relaxed))
    }
}

impl LanguageModel for Counting {
    type Cache = SimCache;
    type Output = Logits;

    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.inner.context_length()
    }

    fn new_cache(&self) -> Result<SimCache, ModelError> {
        self.inner.new_cache()
    }

    fn new_output(&self) -> Logits {
        self.inner.new_output()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, SimCache>],
        output: &mut Logits,
    ) -> Result<(), ModelError> {
        feeds.iter().try_for_each(|feed| feed.check(self))?;
        self.passes.fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(feeds.iter().map(|feed| feed.tokens.len()).sum(), Ordering::Relaxed);
        self.inner.forward(feeds, output)
    }
}

#[test]
fn prompts_of_several_sequences_are_read_in_common_passes() {
    let target = Counting::new(sim());
    let draft = Counting::new(sim().draft(Difference::Share { agreement: 0.7 }));
    let drafter = ModelDrafter::new(Arc::clone(&draft), 32);
    let mut engine = Engine::new(Arc::clone(&target), Box::new(drafter));
    let lengths = [40, 3, 61, 100];
    let mut sequences: Vec<_> = lengths
        .iter()
        .zip(1..)
        .map(|(&len, seed)| engine.sequence(settings(prompt(seed, len), 2)).unwrap())
        .collect();
    let step = |engine: &mut Engine<Counting>, sequences: &mut [_]| {
        engine.step(&mut sequences.iter_mut().collect::<Vec<_>>()).unwrap();
    };
    step(&mut engine, &mut sequences);
    // 200 tokens in one pass, and verification in another.
    assert_eq!(target.take(), (2, 200));
    // 197 tokens, 128 at most per pass, and two rounds of drafting, the first of which reads along.
    assert_eq!(draft.take(), (4, 128));
    while sequences.iter().any(|sequence| sequence.finish_reason().is_none()) {
        step(&mut engine, &mut sequences);
    }
    for ((sequence, &len), seed) in sequences.iter().zip(&lengths).zip(1..) {
        let expected = decode_plainly(&sim(), &prompt(seed, len), 12).unwrap();
        assert_eq!(sequence.tokens()[len..], expected);
        assert_eq!(sequence.totals().prompt_tokens, len - 1);
    }
}

/// Says nothing, and keeps what it hears of the target's passes: per slot, the tokens of each
/// position and their hidden states.
#[derive(Default)]
struct Listener {
    slots: Slots<Vec<Heard>>,
    heard: Arc<Mutex<Vec<Vec<Heard>>>>, // of closed slots
    drafts: Option<ModelDrafter<SimModel>>,
    fails: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Heard {
    token: Token,
    hidden: Vec<f32>,
}

impl Drafter for Listener {
    fn open(&mut self) -> Result<Slot, DraftError> {
        if let Some(drafts) = &mut self.drafts {
            drafts.open()?;
        }
        Ok(self.slots.open(Vec::new()))
    }

    fn close(&mut self, slot: Slot) {
        if let Some(drafts) = &mut self.drafts {
            drafts.close(slot);
        }
        self.heard.lock().unwrap().extend(self.slots.close(slot));
    }

    fn has_model(&self) -> bool {
        self.drafts.is_some()
    }

    fn catch_up_all(&mut self, readings: &mut [Reading<'_>]) -> Result<(), DraftError> {
        self.drafts.as_mut().map_or(Ok(()), |drafts| drafts.catch_up_all(readings))
    }

    fn wants_hidden(&self) -> bool {
        true
    }

    fn target_read(&mut self, slot: Slot, read: &mut TargetRead<'_>) -> Result<(), DraftError> {
        if std::mem::take(&mut self.fails) {
            return Err(DraftError::Slot(slot));
        }
        let heard = self.slots.get_mut(slot)?;
        assert_eq!(heard.len(), read.from(), "a position was left out or told twice");
        let tokens = read.tokens();
        for (position, &token) in tokens.iter().enumerate().skip(read.from()) {
            let hidden = read.hidden(position)?.to_vec();
            heard.push(Heard { token, hidden });
        }
        assert!(matches!(read.hidden(tokens.len()), Err(ModelError::Row { .. })));
        Ok(())
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        self.drafts.as_mut().map_or(Ok(()), |drafts| drafts.propose(asks))
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        if let Some(drafts) = &mut self.drafts {
            drafts.truncate(slot, len);
        }
        if let Ok(heard) = self.slots.get_mut(slot) {
            heard.truncate(len);
        }
    }
}

#[test]
fn a_drafter_hears_every_token_that_stays_with_its_hidden_state() {
    let target = Arc::new(sim());
    for agreement in [None, Some(0.6)] {
        let heard = Arc::default();
        let draft = |agreement| {
            ModelDrafter::new(Arc::new(target.draft(Difference::Share { agreement })), 32)
        };
        let listener = Listener {
            heard: Arc::clone(&heard),
            drafts: agreement.map(draft),
            ..Listener::default()
        };
        let mut engine = Engine::new(Arc::clone(&target), Box::new(listener));
        let mut sequences =
            [2, 9, 300].map(|len| engine.sequence(settings(prompt(4, len), 3)).unwrap());
        while sequences.iter().any(|sequence| sequence.finish_reason().is_none()) {
            engine.step(&mut sequences.iter_mut().collect::<Vec<_>>()).unwrap();
        }
        let texts = sequences.each_ref().map(|sequence| sequence.tokens().to_vec());
        sequences.into_iter().for_each(|sequence| engine.close(sequence));
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), texts.len());
        for (heard, text) in heard.iter().zip(&texts) {
            assert_eq!(heard.len(), text.len() - 1, "the last token was not read yet");
            let (mut cache, mut output) = (target.new_cache().unwrap(), target.new_output());
            let fed = &text[..heard.len()];
            let feed = Feed::new(&mut cache, fed, 0).with_hidden(fed.len());
            target.forward(&mut [feed], &mut output).unwrap();
            for (position, Heard { token, hidden }) in heard.iter().enumerate() {
                assert_eq!(*token, text[position]);
                assert_eq!(*hidden, output.hidden(position).unwrap(), "position {position}");
            }
        }
    }
}

#[test]
fn a_drafter_that_fails_to_hear_fails_the_step_and_nothing_is_lost() {
    let listener = Listener { fails: true, ..Listener::default() };
    let mut engine = Engine::new(Arc::new(sim()), Box::new(listener));
    let mut sequence = engine.sequence(settings(vec![5], 0)).unwrap();
    assert!(matches!(engine.step(&mut [&mut sequence]), Err(EngineError::Draft(_))));
    assert_eq!(sequence.tokens(), [5]);
    let made: Vec<_> = engine.generate(&mut sequence).map(Result::unwrap).collect();
    assert_eq!(made, decode_plainly(&sim(), &[5], 12).unwrap());
}

#[test]
fn a_target_without_hidden_states_cannot_be_listened_to() {
    let mut engine = Engine::new(Counting::new(sim()), Box::new(Listener::default()));
    let mut sequence = engine.sequence(settings(vec![1], 0)).unwrap();
    let outcome = engine.step(&mut [&mut sequence]);
    assert!(
        matches!(outcome, Err(EngineError::Model(ModelError::Unsupported { .. }))),
        "{outcome:?}"
    );
}

#[test]
fn a_sequence_of_another_engine_is_refused_and_stays_as_it_is() {
    let engine = || {
        let drafter = ModelDrafter::new(Arc::new(sim().draft(Difference::Opposed)), 32);
        Engine::new(Arc::new(sim()), Box::new(drafter))
    };
    let (mut ours, mut theirs) = (engine(), engine());
    let mut own = ours.sequence(settings(prompt(1, 20), 2)).unwrap();
    let mut foreign = theirs.sequence(settings(prompt(1, 30), 2)).unwrap();
    let refused = |outcome: Result<(), EngineError>, sequence: usize| {
        assert!(
            matches!(outcome, Err(EngineError::ForeignSequence { sequence: at }) if at == sequence),
            "{outcome:?}"
        );
    };
    refused(ours.step(&mut [&mut own, &mut foreign]), 1);
    let go_on = |_| std::ops::ControlFlow::Continue(());
    refused(ours.prefill(&mut foreign, 8, go_on).map(drop), 0);
    refused(ours.prefill_draft(&mut foreign), 0);
    refused(ours.renew(&mut foreign, settings(prompt(2, 4), 2)).map(drop), 0);
    ours.recover(&mut [&mut foreign]);
    let _ = theirs.prefill(&mut foreign, 100, go_on).unwrap();
    assert_eq!(ours.copy_read(&foreign, &mut own), 0, "nothing is copied across engines");
    assert_eq!((own.tokens().len(), foreign.tokens().len()), (20, 30));
    for (engine, sequence, len) in [(&mut ours, own, 20), (&mut theirs, foreign, 30)] {
        let mut sequence = sequence;
        let made: Vec<_> = engine.generate(&mut sequence).map(Result::unwrap).collect();
        assert_eq!(made, decode_plainly(&sim(), &prompt(1, len), 12).unwrap());
    }
}

/// Counts open slots.
struct Open(NoDrafter, Arc<AtomicUsize>);

impl Drafter for Open {
    fn open(&mut self) -> Result<Slot, DraftError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.open()
    }

    fn close(&mut self, slot: Slot) {
        self.1.fetch_sub(1, Ordering::Relaxed);
        self.0.close(slot);
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        self.0.propose(asks)
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        self.0.truncate(slot, len);
    }
}

#[test]
fn a_dropped_sequence_gives_its_slot_back() {
    let open = Arc::new(AtomicUsize::new(0));
    let count = || open.load(Ordering::Relaxed);
    let mut engine =
        Engine::new(Arc::new(sim()), Box::new(Open(NoDrafter::new(), Arc::clone(&open))));
    let mut sequences: Vec<_> =
        (1..=3).map(|seed| engine.sequence(settings(prompt(seed, 5), 0)).unwrap()).collect();
    assert_eq!(count(), 3);
    engine.close(sequences.pop().unwrap());
    assert_eq!(count(), 2, "closed at once");
    drop(sequences.pop());
    engine.step(&mut [&mut sequences[0]]).unwrap();
    assert_eq!(count(), 1, "closed when the engine is used");
    drop(sequences);
    let last = engine.sequence(settings(prompt(9, 5), 0)).unwrap();
    assert_eq!(count(), 1);
    drop(engine);
    drop(last); // outlives its engine
}
