//! A draft model that makes several tokens in one submission gives the drafts of one that makes
//! them one by one, in fewer submissions.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use speckv::{
    conformance::{check_drafter, check_model, decode_plainly},
    controller::{Confidence, Controller, Fixed},
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NgramSettings},
    engine::{Engine, SequenceSettings},
    logits::{Logits, LogitsError},
    model::{Best, Cache, Feed, LanguageModel, ModelError, PassOutput},
    record::StepRecord,
    sampling::SamplingSettings,
    sim::{Difference, SimCache, SimModel, SimSettings},
    token::Token,
};

const ANSWER: usize = 48;

fn target() -> Arc<SimModel> {
    Arc::new(SimModel::new(SimSettings::default()))
}

/// A model that continues texts in one submission, up to a limit of tokens of all together.
struct Continuing {
    inner: SimModel,
    limit: usize,
    submissions: AtomicUsize,
    /// Position from which on rows make no token.
    broken: usize,
}

impl Continuing {
    fn new(limit: usize) -> Arc<Self> {
        let inner = target().draft(Difference::Share { agreement: 0.8 });
        let submissions = AtomicUsize::new(0);
        Arc::new(Continuing { inner, limit, submissions, broken: usize::MAX })
    }

    fn pass(&self, feeds: &mut [Feed<'_, SimCache>], rows: &mut Rows) -> Result<(), ModelError> {
        self.inner.forward(feeds, &mut rows.pass)?;
        for (row, feed) in feeds.iter().enumerate() {
            let mut logits = rows.pass.logits(row)?.to_vec();
            if feed.cache.len() > self.broken {
                logits.fill(f32::NAN);
            }
            rows.rows.push(logits);
        }
        Ok(())
    }
}

/// The rows of all passes of a submission.
struct Rows {
    pass: Logits,
    rows: Vec<Vec<f32>>,
    one: Logits,
}

impl PassOutput for Rows {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn vocab_size(&self) -> usize {
        PassOutput::vocab_size(&self.pass)
    }

    fn best(&mut self, row: usize, vocab: usize) -> Result<Best, ModelError> {
        let rows = self.rows.len();
        let logits = self.rows.get(row).ok_or(ModelError::Row { row, rows })?;
        self.one.reshape(1, logits.len());
        self.one.row_mut(0).copy_from_slice(logits);
        self.one.best(0, vocab)
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], ModelError> {
        let rows = self.rows.len();
        self.rows.get(row).map(Vec::as_slice).ok_or(ModelError::Row { row, rows })
    }
}

impl LanguageModel for Continuing {
    type Cache = SimCache;
    type Output = Rows;

    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.inner.context_length()
    }

    fn new_cache(&self) -> Result<SimCache, ModelError> {
        self.inner.new_cache()
    }

    fn new_output(&self) -> Rows {
        Rows { pass: Logits::new(), rows: Vec::new(), one: Logits::new() }
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, SimCache>],
        output: &mut Rows,
    ) -> Result<(), ModelError> {
        feeds.iter().try_for_each(|feed| feed.check(self))?;
        self.submissions.fetch_add(1, Ordering::Relaxed);
        self.inner.forward(feeds, &mut output.pass)?;
        output.rows.clear();
        for row in 0..output.pass.rows() {
            output.rows.push(output.pass.logits(row)?.to_vec());
        }
        Ok(())
    }

    fn continuation_limit(&self, sequences: usize) -> usize {
        (self.limit / sequences).max(1)
    }

    fn continue_greedily(
        &self,
        feeds: &mut [Feed<'_, SimCache>],
        count: usize,
        vocab: usize,
        output: &mut Rows,
    ) -> Result<usize, ModelError> {
        feeds.iter().try_for_each(|feed| feed.check(self))?;
        self.submissions.fetch_add(1, Ordering::Relaxed);
        let ends = feeds.iter().map(|feed| feed.cache.len() + feed.tokens.len());
        let room = self.context_length() + 1 - ends.max().unwrap_or(0);
        let count = count.min(room).min(self.continuation_limit(feeds.len()));
        output.rows.clear();
        self.pass(feeds, output)?;
        for made in 1..count {
            let mut next = Vec::new();
            for feed in 0..feeds.len() {
                next.push(
                    output
                        .best((made - 1) * feeds.len() + feed, vocab)
                        .map_or(0, |best| best.token),
                );
            }
            let mut fed: Vec<_> = feeds
                .iter_mut()
                .zip(&next)
                .map(|(feed, token)| Feed::new(&mut *feed.cache, std::slice::from_ref(token), 1))
                .collect();
            self.pass(&mut fed, output)?;
        }
        Ok(count)
    }
}

/// The steps of an answer.
fn steps(
    drafter: Box<dyn Drafter>,
    controller: Box<dyn Controller>,
    sampling: &SamplingSettings,
) -> (Vec<StepRecord>, Vec<Token>) {
    let mut engine = Engine::new(target(), drafter);
    let settings = SequenceSettings {
        prompt: vec![3, 1, 4, 1, 5],
        sampling: sampling.clone(),
        end_tokens: vec![],
        max_tokens: ANSWER,
        controller,
    };
    let mut sequence = engine.sequence(settings).unwrap();
    let mut records = Vec::new();
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).unwrap();
        let mut record = sequence.record().clone();
        record.times = speckv::record::Times::default();
        records.push(record);
    }
    assert_eq!(engine.draft_failures().count, 0);
    (records, sequence.tokens()[5..].to_vec())
}

fn drafter(model: &Arc<Continuing>, with_ngram: bool) -> Box<dyn Drafter> {
    let drafter = ModelDrafter::new(Arc::clone(model), model.vocab_size());
    if with_ngram {
        Box::new(Both::new(NgramDrafter::new(NgramSettings::default()), drafter))
    } else {
        Box::new(drafter)
    }
}

#[test]
fn a_model_that_continues_conforms() {
    for limit in [1, 2, 3, 8, 64] {
        check_model(&*Continuing::new(limit)).unwrap();
    }
}

#[test]
fn a_drafter_of_a_model_that_continues_conforms() {
    for limit in [2, 3, 8] {
        let model = Continuing::new(limit);
        check_drafter(&mut *drafter(&model, false), 32).unwrap();
        check_drafter(&mut *drafter(&model, true), 32).unwrap();
        check_drafter(&mut ModelDrafter::new(model, 20), 20).unwrap();
    }
}

#[test]
fn every_step_drafts_what_single_passes_draft_in_fewer_submissions() {
    let greedy = SamplingSettings::default();
    let expected = decode_plainly(&*target(), &[3, 1, 4, 1, 5], ANSWER).unwrap();
    for gamma in [1, 2, 4, 7, 16] {
        for with_ngram in [false, true] {
            let (single, several) = (Continuing::new(1), Continuing::new(6));
            let run =
                |model| steps(drafter(model, with_ngram), Box::new(Fixed::new(gamma)), &greedy);
            let (one_by_one, answer) = run(&single);
            let (ahead, same) = run(&several);
            assert_eq!(ahead, one_by_one, "gamma {gamma}");
            assert_eq!((&answer, &same), (&expected, &expected));
            let [single, several] =
                [&single, &several].map(|model| model.submissions.load(Ordering::Relaxed));
            let drafted = |record: &StepRecord| record.drafted.len().div_ceil(6);
            assert_eq!(several, ahead.iter().map(drafted).sum::<usize>(), "gamma {gamma}");
            assert!(gamma == 1 || several < single, "gamma {gamma}: {several} and {single}");
        }
    }
}

#[test]
fn what_is_judged_token_by_token_or_drawn_is_made_token_by_token() {
    let judged = || Box::new(Confidence::new(0.3, 8)) as Box<dyn Controller>;
    let fixed = || Box::new(Fixed::new(5)) as Box<dyn Controller>;
    let greedy = SamplingSettings::default();
    let sampled = SamplingSettings { temperature: 0.8, seed: 7, ..greedy.clone() };
    let penalized = SamplingSettings { repetition_penalty: 1.3, ..greedy.clone() };
    for (controller, sampling) in
        [(&judged as &dyn Fn() -> _, &greedy), (&fixed, &sampled), (&fixed, &penalized)]
    {
        let (single, several) = (Continuing::new(1), Continuing::new(6));
        let expected = steps(drafter(&single, false), controller(), sampling);
        assert_eq!(steps(drafter(&several, false), controller(), sampling), expected);
        let [single, several] =
            [&single, &several].map(|model| model.submissions.load(Ordering::Relaxed));
        assert_eq!(several, single);
    }
}

#[test]
fn sequences_of_one_round_are_continued_together() {
    let greedy = SamplingSettings::default();
    let model = Continuing::new(8);
    let mut engine = Engine::new(target(), drafter(&model, false));
    let mut start = |prompt: &[Token], gamma| {
        engine
            .sequence(SequenceSettings {
                prompt: prompt.to_vec(),
                sampling: greedy.clone(),
                end_tokens: vec![],
                max_tokens: ANSWER,
                controller: Box::new(Fixed::new(gamma)),
            })
            .unwrap()
    };
    let (mut a, mut b) = (start(&[1, 2, 3, 4], 4), start(&[9, 9], 4));
    engine.step(&mut [&mut a, &mut b]).unwrap();
    // Four tokens of each; no more than eight together.
    assert_eq!(model.submissions.swap(0, Ordering::Relaxed), 1);
    assert!(engine.last_rounds().is_empty(), "a submission of several tokens is no round's cost");
    while a.finish_reason().is_none() || b.finish_reason().is_none() {
        engine.step(&mut [&mut a, &mut b]).unwrap();
    }
    for (sequence, prompt) in [(&a, &[1, 2, 3, 4][..]), (&b, &[9, 9])] {
        let expected = decode_plainly(&*target(), prompt, ANSWER).unwrap();
        assert_eq!(sequence.tokens()[prompt.len()..], expected);
    }
}

#[test]
fn a_row_that_makes_no_token_ends_drafting_where_single_passes_end_it() {
    let broken = |limit| {
        let mut model = Arc::into_inner(Continuing::new(limit)).unwrap();
        model.broken = 20;
        Arc::new(model)
    };
    // One by one, rows are broken by `continue_greedily` alone: both take that way.
    let run = |model: &Arc<Continuing>| {
        let mut engine = Engine::new(target(), drafter(model, false));
        let settings = SequenceSettings {
            prompt: vec![3, 1, 4, 1, 5],
            sampling: SamplingSettings::default(),
            end_tokens: vec![],
            max_tokens: ANSWER,
            controller: Box::new(Fixed::new(6)),
        };
        let mut sequence = engine.sequence(settings).unwrap();
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).unwrap();
        }
        (sequence.tokens().to_vec(), sequence.totals().drafted, engine.draft_failures().clone())
    };
    let (answer, drafted, failures) = run(&broken(8));
    let (same, drafted_singly, failures_singly) = run(&broken(2));
    assert_eq!(answer[5..], decode_plainly(&*target(), &[3, 1, 4, 1, 5], ANSWER).unwrap());
    assert_eq!((answer, drafted), (same, drafted_singly));
    assert_eq!((failures.count, failures_singly.count), (1, 1));
    assert!(failures.last.unwrap().contains(&LogitsError::NotANumber.to_string()));
}
