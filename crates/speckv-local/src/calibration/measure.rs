//! Reading the clock around passes of target and draft.

use std::time::Duration;

use speckv::{
    cost::{MEASURED_ROWS, Samples, TimeSample, VerifySample},
    engine::Clock,
    model::{Cache, Feed, LanguageModel, ModelError, PassOutput},
    token::Token,
};

/// Row counts timed at the near context, dense where steps are mostly; those between are
/// interpolated.
const ROWS: [usize; 7] = [1, 2, 3, 5, 8, 12, 17];
/// Row counts of a crowd's passes, timed at the near context and in the first rounds only: they are
/// long, and few.
const CROWD_ROWS: [usize; 3] = [24, 32, 48];
const CROWD_ROUNDS: usize = 2;
/// Row counts of draft passes, as rounds of so many sequences have them, timed at the near context
/// and in the first rounds only.
const ROUND_ROWS: [usize; 4] = [2, 4, 8, 16];
/// Row counts timed at the far context too: how time grows with context changes little from one to
/// the next.
const FAR_ROWS: [usize; 3] = [1, 5, 17];
const NEAR: usize = 64;
const FAR: usize = 1024;
/// Tokens that the draft reads at once where catching up is timed.
const READ: usize = 32;
/// Single tokens drafted one after the other, beside every second pass of the target, and timed
/// together: the first finds the caches full of the target's weights, the second of its own, as in
/// a step.
const DRAFTED: usize = 2;
/// Everything is timed once, and again as long as that ends within the budget.
const MOST_ROUNDS: usize = 7;
const BUDGET: Duration = Duration::from_millis(1500);
/// A pass that took so many times what one of more rows took was disturbed, and is timed twice
/// more, which makes a median that it cannot move.
const STALLED: f64 = 1.15;

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
    Round { rows: usize },
    CatchUp,
}

impl Item {
    /// Whether it is timed in the first rounds only.
    fn is_of_crowds(self) -> bool {
        match self {
            Item::Verify { rows, .. } => rows > MEASURED_ROWS,
            Item::Round { .. } => true,
            Item::Draft { .. } | Item::CatchUp => false,
        }
    }
}

/// Times target passes of 1 to 17 rows and of a few more as crowds have them, single draft tokens,
/// rounds of a few sequences, and the draft's reading: each at least once, from the longest to the
/// shortest, then again from the shortest on while the budget of 1.5 seconds lasts, in rounds that
/// go forwards and backwards in turn, so that a drift of the machine falls on all alike. A pair
/// whose single round takes longer than that is timed once, and again only where a time contradicts
/// the others. `at(done, total)` says whether to go on; the total is estimated.
///
/// Contexts are pretended (see [`Cache::pretend`]), which takes no time; where that is not
/// possible, a short one is read.
///
/// # Errors
/// See [`MeasureError`].
pub fn measure<M: LanguageModel, D: LanguageModel>(
    target: &M,
    draft: Option<&D>,
    clock: &Clock,
    at: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Samples, MeasureError> {
    let mut target = Subject::new(target, false)?;
    let mut draft = draft.map(|draft| Subject::new(draft, true)).transpose()?;
    let items = items(&target, draft.as_ref());
    let mut samples = Samples::default();
    for item in [Item::Verify { far: false, rows: 1 }, Item::Draft { far: false }] {
        time(item, &mut target, draft.as_mut(), clock)?; // the first pass touches all memory
    }
    let began = clock.now();
    let mut took = vec![Duration::ZERO; items.len()]; // each item, the last time
    let mut done = 0;
    for round in 0..MOST_ROUNDS {
        for index in 0..items.len() {
            let index = if round % 2 == 0 { items.len() - 1 - index } else { index };
            let before = clock.now();
            if round > 0 && before - began + took[index] > BUDGET {
                continue; // a shorter one may still fit
            }
            if round >= CROWD_ROUNDS && items[index].is_of_crowds() {
                continue;
            }
            if !at(done as u64, estimate(done, items.len(), before - began)) {
                return Err(MeasureError::Stopped);
            }
            sample(items[index], &mut target, draft.as_mut(), clock, &mut samples)?;
            took[index] = clock.now() - before;
            done += 1;
        }
    }
    for item in stalled(&samples, target.context(false)) {
        for _ in 0..2 {
            if !at(done as u64, done as u64 + 1) {
                return Err(MeasureError::Stopped);
            }
            sample(item, &mut target, draft.as_mut(), clock, &mut samples)?;
            done += 1;
        }
    }
    Ok(samples)
}

/// How many items it will be, after `done` in so much time: a round at least, and as many as the
/// budget holds at that pace.
fn estimate(done: usize, items: usize, elapsed: Duration) -> u64 {
    let within = done as f64 * BUDGET.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
    (within as usize).min(MOST_ROUNDS * items).max(items).max(done + 1) as u64
}

/// Passes near the start of a context whose only times contradict those of more rows.
fn stalled(samples: &Samples, context: usize) -> Vec<Item> {
    let times = |rows: usize| {
        let of = move |sample: &&VerifySample| sample.rows == rows && sample.context == context;
        samples.verify.iter().filter(of).map(|sample| sample.seconds)
    };
    let best = |rows: usize| times(rows).min_by(f64::total_cmp);
    let all: Vec<usize> = ROWS.into_iter().chain(CROWD_ROWS).collect();
    let contradicted = |&(at, &rows): &(usize, &usize)| {
        let quickest = all[at + 1..].iter().filter_map(|&more| best(more)).min_by(f64::total_cmp);
        times(rows).count() < 3
            && best(rows).zip(quickest).is_some_and(|(ours, theirs)| ours > STALLED * theirs)
    };
    all.iter()
        .enumerate()
        .filter(contradicted)
        .map(|(_, &rows)| Item::Verify { far: false, rows })
        .collect()
}

/// Times an item and keeps what it took.
fn sample<M: LanguageModel, D: LanguageModel>(
    item: Item,
    target: &mut Subject<'_, M>,
    draft: Option<&mut Subject<'_, D>>,
    clock: &Clock,
    samples: &mut Samples,
) -> Result<(), ModelError> {
    let draft_context = |far| draft.as_ref().map_or(0, |draft| draft.context(far));
    let context = match item {
        Item::Verify { far, .. } => target.context(far),
        Item::Draft { far } => draft_context(far),
        Item::Round { .. } | Item::CatchUp => draft_context(false),
    };
    let Some(seconds) = time(item, target, draft, clock)? else { return Ok(()) };
    match item {
        Item::Verify { rows, .. } => samples.verify.push(VerifySample { rows, context, seconds }),
        Item::Draft { .. } => samples.draft.push(TimeSample { tokens: DRAFTED, context, seconds }),
        Item::Round { rows } => {
            samples.draft_passes.push(VerifySample { rows, context, seconds });
        }
        Item::CatchUp => samples.catch_up.push(TimeSample { tokens: READ, context, seconds }),
    }
    Ok(())
}

/// What one round times.
fn items<M: LanguageModel, D: LanguageModel>(
    target: &Subject<'_, M>,
    draft: Option<&Subject<'_, D>>,
) -> Vec<Item> {
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
    let crowd = CROWD_ROWS.into_iter().filter(|&rows| rows <= target.room(false));
    items.extend(crowd.map(|rows| Item::Verify { far: false, rows }));
    if let Some(draft) = draft {
        let rounds = ROUND_ROWS.into_iter().filter(|&rows| rows <= draft.room(false));
        items.extend(rounds.map(|rows| Item::Round { rows }));
        if READ <= draft.room(false) {
            items.push(Item::CatchUp);
        }
    }
    items
}

/// Seconds of an item; `None` for the draft's where there is none.
fn time<M: LanguageModel, D: LanguageModel>(
    item: Item,
    target: &mut Subject<'_, M>,
    draft: Option<&mut Subject<'_, D>>,
    clock: &Clock,
) -> Result<Option<f64>, ModelError> {
    match (item, draft) {
        (Item::Verify { far, rows }, _) => target.pass(far, rows, rows, clock).map(Some),
        (Item::Draft { far }, Some(draft)) => {
            (0..DRAFTED).map(|_| draft.pass(far, 1, 1, clock)).sum::<Result<_, _>>().map(Some)
        }
        (Item::Round { rows }, Some(draft)) => draft.pass(false, rows, rows, clock).map(Some),
        (Item::CatchUp, Some(draft)) => draft.pass(false, READ, 0, clock).map(Some),
        (_, None) => Ok(None),
    }
}

/// A model with a cache at each of the two contexts.
struct Subject<'a, M: LanguageModel> {
    model: &'a M,
    near: (usize, M::Cache),
    far: Option<(usize, M::Cache)>,
    output: M::Output,
    next: usize,
    drafts: bool,
}

impl<'a, M: LanguageModel> Subject<'a, M> {
    fn new(model: &'a M, drafts: bool) -> Result<Self, ModelError> {
        let length = model.context_length();
        let near = NEAR.min(length / 4);
        let far = FAR.min(length.saturating_sub(MEASURED_ROWS));
        let mut subject = Subject {
            model,
            near: (near, model.new_cache()?),
            far: None,
            output: model.new_output(),
            next: 0,
            drafts,
        };
        if !subject.near.1.pretend(near) && near > 0 {
            let tokens = subject.tokens(near);
            model
                .forward(&mut [Feed::new(&mut subject.near.1, &tokens, 0)], &mut subject.output)?;
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
        let tokens =
            (self.next..self.next + count).map(|i| (i * 7919 % vocab_size) as Token).collect();
        self.next += count;
        tokens
    }

    /// Seconds of a pass over `count` tokens; those of a draft and of a single row include the
    /// reading of the rows.
    fn pass(
        &mut self,
        far: bool,
        count: usize,
        rows: usize,
        clock: &Clock,
    ) -> Result<f64, ModelError> {
        let tokens = self.tokens(count);
        let (context, cache) = self.far.as_mut().filter(|_| far).unwrap_or(&mut self.near);
        let start = clock.now();
        self.model.forward(&mut [Feed::new(&mut *cache, &tokens, rows)], &mut self.output)?;
        let read = if self.drafts || rows == 1 { rows } else { 0 };
        for row in 0..read {
            // Made-up positions may give logits of any kind; only the time counts.
            let _ = std::hint::black_box(self.output.best(row, self.model.vocab_size()));
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
        let cost =
            SimCost { pass: Duration::from_micros(pass), token: Duration::from_micros(token) };
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
        let cost =
            SimCost { pass: Duration::from_micros(9_000), token: Duration::from_micros(500) };
        let draft = target.draft(Difference::Opposed).costing(cost);
        let model =
            CostModel::from_samples(&measured(&target, Some(&draft))).expect("good samples");
        for rows in (1..=MEASURED_ROWS).chain([20, 24, 30, 48, 80]) {
            for context in [0, 64, 1024] {
                let expected = 0.030 + 0.002 * rows as f64;
                assert!(
                    (model.verify_seconds(rows, context) / expected - 1.0).abs() < 1e-6,
                    "{rows} at {context}"
                );
            }
        }
        assert!((model.draft_seconds(500) - 0.0095).abs() < 1e-9);
        for rows in [2, 3, 16, 24] {
            let expected = 0.009 + 0.0005 * rows as f64;
            assert!((model.draft_round_seconds(rows, 64) / expected - 1.0).abs() < 1e-6, "{rows}");
        }
        assert!((model.catch_up_seconds(READ) - 0.025).abs() < 1e-9);
    }

    #[test]
    fn everything_is_measured_once_and_again_while_the_budget_lasts() {
        let run = |pass| {
            let target = sim(pass, 0, 4096);
            let samples = measured(&target, None);
            let count = |rows| samples.verify.iter().filter(|sample| sample.rows == rows).count();
            assert!(CROWD_ROWS.iter().all(|&rows| (1..=CROWD_ROUNDS).contains(&count(rows))));
            (ROWS.map(count), samples.verify.len() as u32 * Duration::from_micros(pass))
        };
        let far = |rows| FAR_ROWS.contains(&rows);
        assert!(
            run(100)
                .0
                .iter()
                .zip(ROWS)
                .all(|(&count, rows)| count == MOST_ROUNDS * (1 + usize::from(far(rows))))
        );
        let (counts, took) = run(1_000_000);
        assert!(
            counts.iter().zip(ROWS).all(|(&count, rows)| count == 1 + usize::from(far(rows))),
            "{counts:?}"
        );
        assert_eq!(took, Duration::from_secs(13), "a slow model is not spared its one round");
        let (counts, took) = run(100_000); // 13 passes in a round, and 2 more
        assert!(
            took == BUDGET && counts[0] > 2 && counts[6] == 2,
            "the second round begins with few rows: {counts:?}"
        );
    }

    #[test]
    fn a_time_that_contradicts_the_others_is_taken_twice_more() {
        let pass = |rows: usize, seconds: f64| VerifySample { rows, context: 64, seconds };
        let verify = ROWS.map(|rows| pass(rows, 0.04 + 0.002 * rows as f64)).to_vec();
        let mut samples = Samples { verify, ..Samples::default() };
        assert_eq!(stalled(&samples, 64), []);
        samples.verify[1].seconds = 0.2;
        assert_eq!(stalled(&samples, 64), [Item::Verify { far: false, rows: 2 }]);
        samples.verify.extend([pass(2, 0.044), pass(2, 0.045)]);
        assert_eq!(stalled(&samples, 64), [], "the median of three is sound");
        samples.verify.extend([pass(24, 0.3), pass(48, 0.2)]);
        assert_eq!(stalled(&samples, 64), [Item::Verify { far: false, rows: 24 }]);
        let model = CostModel::from_samples(&samples).expect("good samples");
        assert!(model.verify_seconds(2, 64) < 0.05);
    }

    #[test]
    fn small_contexts_are_measured_as_far_as_they_go() {
        for context in [2, 3, 10, 17, 18, 40, 100, 256] {
            let samples = measured(&sim(1_000, 10, context), Some(&sim(500, 5, context)));
            assert!(samples.verify.iter().any(|sample| sample.rows == 1), "{context}");
            assert!(
                samples.verify.iter().all(|sample| sample.context + sample.rows <= context),
                "{context}"
            );
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
