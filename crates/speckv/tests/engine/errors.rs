//! Failed passes, failing drafts, broken logits.

use super::*;

/// Fails in chosen passes, before or after the numbers are made.
struct Flaky {
    inner: SimModel,
    passes: AtomicUsize,
    refuses: fn(usize) -> bool,
    spoils: fn(usize) -> bool,
}

impl LanguageModel for Flaky {
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
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed);
        if (self.refuses)(pass) {
            return Err(ModelError::Backend("refused".into()));
        }
        self.inner.forward(feeds, logits)?;
        if (self.spoils)(pass) && logits.rows() > 0 {
            logits.row_mut(logits.rows() - 1)[0] = f32::NAN;
        }
        Ok(())
    }
}

/// Makes no cache the first times.
struct Cacheless {
    inner: SimModel,
    refusals: AtomicUsize,
    error: fn() -> ModelError,
}

impl LanguageModel for Cacheless {
    type Cache = SimCache;
    type Output = Logits;

    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.inner.context_length()
    }

    fn new_cache(&self) -> Result<SimCache, ModelError> {
        let left = self.refusals.load(Ordering::Relaxed);
        self.refusals.store(left.saturating_sub(1), Ordering::Relaxed);
        if left > 0 { Err((self.error)()) } else { self.inner.new_cache() }
    }

    fn new_output(&self) -> Logits {
        self.inner.new_output()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, SimCache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        self.inner.forward(feeds, logits)
    }
}

#[test]
fn a_draft_that_makes_no_cache_is_asked_again_and_ends_no_answer() {
    let target = sim(4096);
    let expected = decode_plainly(&target, &PROMPT, 25).unwrap();
    let engine = |refusals, error| {
        let refusals = AtomicUsize::new(refusals);
        let draft = Cacheless { inner: target.clone(), refusals, error };
        let drafter = ModelDrafter::new(Arc::new(draft), 32);
        Engine::new(Arc::new(target.clone()), Box::new(drafter))
    };
    for (refusals, failed) in [(0, 0), (1, 0), (usize::MAX, 1)] {
        let mut engine = engine(refusals, || ModelError::Backend("lost".into()));
        let mut sequence = engine.sequence(settings(25, vec![], Fixed::new(3))).unwrap();
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).unwrap();
        }
        assert_eq!(sequence.tokens()[3..], expected);
        assert_eq!(engine.draft_failures().count, failed, "{refusals} refusals");
        assert_eq!(sequence.totals().drafted > 0, failed == 0, "{refusals} refusals");
    }
    let mut engine = engine(1, || ModelError::OutOfMemory { bytes: 1 });
    assert!(engine.sequence(settings(25, vec![], Fixed::new(3))).is_err(), "it waits for memory");
}

/// Numbers without a period that could fall in step with the engine's passes.
fn scatter(pass: usize) -> u64 {
    (pass as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[test]
fn after_an_error_the_step_can_be_repeated_as_if_nothing_had_happened() {
    let target = sim(4096);
    let flaky = |salt: usize, refuses: fn(usize) -> bool, spoils: fn(usize) -> bool| {
        Arc::new(Flaky { inner: target.clone(), passes: AtomicUsize::new(salt), refuses, spoils })
    };
    let never = |_| false;
    let often: fn(usize) -> bool = |pass| scatter(pass) % 100 < 12;
    let seldom: fn(usize) -> bool = |pass| scatter(pass) / 100 % 100 < 5;
    let mut total = 0;
    for salt in 0..12 {
        let salt = 1_000 * salt;
        for (target_model, draft_model) in [
            (flaky(salt, often, seldom), flaky(0, never, never)),
            (flaky(0, never, never), flaky(salt, often, seldom)),
            (flaky(salt, seldom, often), flaky(salt, seldom, seldom)),
        ] {
            let mut engine =
                Engine::new(target_model, Box::new(ModelDrafter::new(draft_model, 32)));
            let mut first = engine.sequence(settings(25, vec![], Fixed::new(3))).unwrap();
            let mut second = engine.sequence(settings(25, vec![], Fixed::new(1))).unwrap();
            let mut errors = 0;
            while first.finish_reason().is_none() || second.finish_reason().is_none() {
                let before = [first.tokens().to_vec(), second.tokens().to_vec()];
                if engine.step(&mut [&mut first, &mut second]).is_err() {
                    errors += 1;
                    assert!(errors < 200);
                    assert_eq!([first.tokens(), second.tokens()], [&before[0][..], &before[1][..]]);
                }
                assert!(
                    first.read() < first.tokens().len() && second.read() < second.tokens().len()
                );
            }
            total += errors;
            let expected = decode_plainly(&target, &PROMPT, 25).unwrap();
            assert_eq!(
                [&first.tokens()[3..], &second.tokens()[3..]],
                [&expected[..], &expected[..]]
            );
        }
    }
    assert!(total > 30, "only {total} errors: this test tested little");
}

#[test]
fn a_failing_draft_ends_drafting_and_not_the_answer() {
    let target = sim(4096);
    let expected = decode_plainly(&target, &PROMPT, 25).unwrap();
    let never = |_| false;
    type When = fn(usize) -> bool;
    let cases: [(When, When); 4] = [
        (|pass| pass == 7, never),
        (never, |pass| pass == 7),
        (|_| true, never),
        (never, |_| true),
    ];
    for (refuses, spoils) in cases {
        let draft = Flaky { inner: target.clone(), passes: AtomicUsize::new(0), refuses, spoils };
        let drafter = Both::new(NgramDrafter::default(), ModelDrafter::new(Arc::new(draft), 32));
        let mut engine = Engine::new(Arc::new(target.clone()), Box::new(drafter));
        let mut first = engine.sequence(settings(25, vec![], Fixed::new(3))).unwrap();
        let mut second = engine.sequence(settings(25, vec![], Fixed::new(3))).unwrap();
        while first.finish_reason().is_none() || second.finish_reason().is_none() {
            engine.step(&mut [&mut first, &mut second]).unwrap();
        }
        assert_eq!([&first.tokens()[3..], &second.tokens()[3..]], [&expected[..], &expected[..]]);
        let failures = engine.draft_failures();
        // A pass that fails once is tried again for each sequence alone: drafting goes on.
        let always = refuses(0) || spoils(0);
        assert_eq!(failures.count, if always { 2 } else { 0 });
        assert_eq!(failures.count > 0, failures.last.is_some());
        let drafted = first.totals().drafted + second.totals().drafted;
        // Look-up goes on where the model has failed, and finds less to draft.
        assert_eq!(drafted < 20, always, "{drafted} drafted");
    }
}

#[test]
fn broken_logits_end_the_iterator_with_an_error() {
    let flaky = Flaky {
        inner: sim(4096),
        passes: AtomicUsize::new(0),
        refuses: |_| false,
        spoils: |pass| pass == 4,
    };
    let mut engine = Engine::new(Arc::new(flaky), Box::new(NoDrafter::new()));
    let mut sequence = engine.sequence(settings(25, vec![], Off)).unwrap();
    let got: Vec<_> = engine.generate(&mut sequence).collect();
    assert_eq!(got.iter().filter(|token| token.is_ok()).count() + 1, got.len());
    assert!(matches!(got.last(), Some(Err(EngineError::Logits { sequence: 0, .. }))));
}
