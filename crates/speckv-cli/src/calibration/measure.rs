//! Reading the clock around passes of target and draft.

use std::time::Duration;

use speckv::{
    cost::{MEASURED_ROWS, Samples, TimeSample, VerifySample},
    engine::Clock,
    logits::Logits,
    model::{Cache, Feed, LanguageModel, ModelError},
    signals,
    token::Token,
};

/// Row counts timed at the near context; those between are interpolated.
const ROWS: [usize; 11] = [1, 2, 3, 4, 5, 6, 8, 9, 12, 16, 17];
/// Row counts timed at the far context too: how time grows with context changes little from one to the next.
const FAR_ROWS: [usize; 3] = [1, 5, 17];
const NEAR: usize = 64;
const FAR: usize = 1024;
/// Tokens that the draft reads at once where catching up is timed.
const READ: usize = 32;
/// Single tokens drafted one after the other, after every second pass of the target: the first finds the caches full of the target's
/// weights, the second of its own, as in a step.
const DRAFTED: usize = 2;
/// Three rounds make a median that one stall cannot move; more only where they are quick.
const LEAST_ROUNDS: u64 = 3;
const MOST_ROUNDS: u64 = 7;
const BUDGET: Duration = Duration::from_millis(2500);

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A pass failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The caller did not want to go on.
    #[error("stopped while measuring what passes cost")]
    Stopped,
}

/// One thing to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Verify { far: bool, rows: usize },
    Draft { far: bool },
    CatchUp,
}

/// Times target passes of 1 to 17 rows, single draft tokens and the draft's reading, in rounds that go forwards and backwards in turn, so that a
/// drift of the machine falls on all alike. `at(done, total)` says whether to go on.
///
/// Contexts are pretended (see [`Cache::pretend`]), which takes no time; where that is not possible, a short one is read.
///
/// # Errors
/// See [`MeasureError`].
pub fn measure<M: LanguageModel, D: LanguageModel>(
    target: &M,
    draft: Option<&D>,
    clock: &Clock,
    at: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Samples, MeasureError> {
    let mut target = Subject::new(target)?;
    let mut draft = draft.map(Subject::new).transpose()?;
    let items = items(&target, draft.as_ref());
    let mut samples = Samples::default();
    for item in [Item::Verify { far: false, rows: 1 }, Item::Draft { far: false }] {
        let _ = time(item, &mut target, draft.as_mut(), clock)?; // the first pass touches all memory
    }
    let began = clock.now();
    let (mut done, mut round) = (0, 0);
    let mut total = LEAST_ROUNDS * items.len() as u64;
    while round < LEAST_ROUNDS
        || (round < MOST_ROUNDS && (clock.now() - began) * (round as u32 + 1) / (round as u32) <= BUDGET)
    {
        total = total.max((round + 1) * items.len() as u64);
        for index in 0..items.len() {
            if !at(done, total) {
                return Err(MeasureError::Stopped);
            }
            let item = items[if round % 2 == 0 { index } else { items.len() - 1 - index }];
            for seconds in time(item, &mut target, draft.as_mut(), clock)? {
                match item {
                    Item::Verify { far, rows } => {
                        samples.verify.push(VerifySample { rows, context: target.context(far), seconds });
                    }
                    Item::Draft { far } => {
                        let context = draft.as_ref().map_or(0, |draft| draft.context(far));
                        samples.draft.push(TimeSample { tokens: 1, context, seconds });
                    }
                    Item::CatchUp => samples.catch_up.push(TimeSample { tokens: READ, context: NEAR, seconds }),
                }
            }
            done += 1;
        }
        round += 1;
    }
    Ok(samples)
}

/// What one round times.
fn items<M: LanguageModel, D: LanguageModel>(target: &Subject<'_, M>, draft: Option<&Subject<'_, D>>) -> Vec<Item> {
    let mut items = Vec::new();
    for (number, rows) in ROWS.into_iter().filter(|&rows| rows <= target.room(false)).enumerate() {
        items.push(Item::Verify { far: false, rows });
        if target.has_far() && FAR_ROWS.contains(&rows) {
            items.push(Item::Verify { far: true, rows });
        }
        if let Some(draft) = draft.filter(|_| number % 2 == 0) {
            items.push(Item::Draft { far: draft.has_far() && number % 4 == 2 });
        }
    }
    if draft.is_some_and(|draft| READ <= draft.room(false)) {
        items.push(Item::CatchUp);
    }
    items
}

/// Seconds of an item, one entry for each time that it was done.
fn time<M: LanguageModel, D: LanguageModel>(
    item: Item,
    target: &mut Subject<'_, M>,
    draft: Option<&mut Subject<'_, D>>,
    clock: &Clock,
) -> Result<Vec<f64>, ModelError> {
    match (item, draft) {
        (Item::Verify { far, rows }, _) => Ok(vec![target.pass(far, rows, rows, clock)?]),
        (Item::Draft { far }, Some(draft)) => (0..DRAFTED).map(|_| draft.pass(far, 1, 1, clock)).collect(),
        (Item::CatchUp, Some(draft)) => Ok(vec![draft.pass(false, READ, 0, clock)?]),
        (_, None) => Ok(Vec::new()),
    }
}

/// A model with a cache at each of the two contexts.
struct Subject<'a, M: LanguageModel> {
    model: &'a M,
    near: (usize, M::Cache),
    far: Option<(usize, M::Cache)>,
    logits: Logits,
    next: usize,
}

impl<'a, M: LanguageModel> Subject<'a, M> {
    fn new(model: &'a M) -> Result<Self, ModelError> {
        let length = model.context_length();
        let near = NEAR.min(length / 4);
        let far = FAR.min(length.saturating_sub(MEASURED_ROWS));
        let mut subject =
            Subject { model, near: (near, model.new_cache()?), far: None, logits: Logits::new(), next: 0 };
        if !subject.near.1.pretend(near) && near > 0 {
            let tokens = subject.tokens(near);
            model.forward(&mut [Feed { cache: &mut subject.near.1, tokens: &tokens, rows: 0 }], &mut subject.logits)?;
        } else if far > 2 * near {
            let mut cache = model.new_cache()?;
            subject.far = cache.pretend(far).then_some((far, cache));
        }
        Ok(subject)
    }

    fn has_far(&self) -> bool {
        self.far.is_some()
    }

    /// Positions in the cache before a pass.
    fn context(&self, far: bool) -> usize {
        self.far.as_ref().filter(|_| far).map_or(self.near.0, |far| far.0)
    }

    /// Tokens that a pass may have.
    fn room(&self, far: bool) -> usize {
        self.model.context_length() - self.context(far)
    }

    /// Tokens of no meaning, spread over the vocabulary.
    fn tokens(&mut self, count: usize) -> Vec<Token> {
        let vocab_size = self.model.vocab_size();
        let tokens = (self.next..self.next + count).map(|i| (i * 7919 % vocab_size) as Token).collect();
        self.next += count;
        tokens
    }

    /// Seconds of a pass over `count` tokens; a draft token's include the reading of its signals.
    fn pass(&mut self, far: bool, count: usize, rows: usize, clock: &Clock) -> Result<f64, ModelError> {
        let tokens = self.tokens(count);
        let (context, cache) = self.far.as_mut().filter(|_| far).unwrap_or(&mut self.near);
        let start = clock.now();
        self.model.forward(&mut [Feed { cache: &mut *cache, tokens: &tokens, rows }], &mut self.logits)?;
        if rows == 1 {
            // Made-up positions may give logits of any kind; only the time counts.
            let _ = std::hint::black_box(signals::read(self.logits.row(0)));
        }
        let seconds = (clock.now() - start).as_secs_f64();
        cache.truncate(*context);
        Ok(seconds)
    }
}

#[cfg(test)]
mod tests {
    use speckv::{
        cost::CostModel,
        sim::{Difference, SimCost, SimModel, SimSettings},
    };

    use super::*;

    fn sim(pass: u64, token: u64, context_length: usize) -> SimModel {
        let cost = SimCost { pass: Duration::from_micros(pass), token: Duration::from_micros(token) };
        SimModel::new(SimSettings { context_length, ..SimSettings::default() }).costing(cost)
    }

    fn measured(target: &SimModel, draft: Option<&SimModel>) -> Samples {
        let clock = Clock::Virtual(target.time().clone());
        measure(target, draft, &clock, &mut |done, total| {
            assert!(done < total);
            true
        })
        .expect("simulated passes do not fail")
    }

    #[test]
    fn known_costs_come_back_exactly() {
        let target = sim(30_000, 2_000, 4096);
        let cost = SimCost { pass: Duration::from_micros(9_000), token: Duration::from_micros(500) };
        let draft = target.draft(Difference::Opposed).costing(cost);
        let model = CostModel::from_samples(&measured(&target, Some(&draft))).expect("good samples");
        for rows in 1..=MEASURED_ROWS {
            for context in [0, 64, 1024] {
                let expected = 0.030 + 0.002 * rows as f64;
                assert!((model.verify_seconds(rows, context) / expected - 1.0).abs() < 1e-6, "{rows} at {context}");
            }
        }
        assert!((model.draft_seconds(500) - 0.0095).abs() < 1e-9);
        assert!((model.catch_up_seconds(READ) - 0.025).abs() < 1e-9);
    }

    #[test]
    fn quick_models_get_more_rounds_and_slow_ones_three() {
        let rounds = |pass| {
            let samples = measured(&sim(pass, 0, 4096), None);
            samples.verify.iter().filter(|sample| sample.rows == 2).count() as u64
        };
        assert_eq!((rounds(100), rounds(1_000_000)), (MOST_ROUNDS, LEAST_ROUNDS));
        assert!((LEAST_ROUNDS + 1..MOST_ROUNDS).contains(&rounds(35_000)), "the budget counts: {}", rounds(35_000));
    }

    #[test]
    fn small_contexts_are_measured_as_far_as_they_go() {
        for context in [2, 3, 10, 17, 18, 40, 100, 256] {
            let samples = measured(&sim(1_000, 10, context), Some(&sim(500, 5, context)));
            assert!(samples.verify.iter().any(|sample| sample.rows == 1), "{context}");
            assert!(samples.verify.iter().all(|sample| sample.context + sample.rows <= context), "{context}");
        }
    }

    #[test]
    fn stopping_is_an_error() {
        let target = sim(1, 1, 64);
        let mut calls = 0;
        let outcome = measure(&target, None::<&SimModel>, &Clock::system(), &mut |_, _| {
            calls += 1;
            calls < 4
        });
        assert!(matches!(outcome, Err(MeasureError::Stopped)) && calls == 4);
    }
}
