//! All contestants on all prompts, interleaved.

use std::ops::ControlFlow;

use speckv::{
    engine::{Clock, Engine, EngineError, Sequence, SequenceSettings},
    model::LanguageModel,
    sampling::{Randomness, SamplingSettings},
    token::Token,
};
use speckv_local::controllers::ControllerParts;

use super::{Contestant, Sample, sample::HEAD_TOKENS, statistics::Cell};

/// Tokens per pass while the target reads a prompt.
const PREFILL_CHUNK: usize = 256;
/// Tokens that are generated before anything counts.
const WARM_UP: usize = 8;

/// A prompt as the models read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// Name of the prompt.
    pub id: String,
    /// What kind of work it is.
    pub task: String,
    /// The prompt.
    pub tokens: Vec<Token>,
}

/// Who runs over what.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    /// The prompts.
    pub texts: &'a [Text],
    /// The first decodes plainly.
    pub contestants: &'a [Contestant],
    /// What controllers are made of.
    pub parts: &'a ControllerParts,
}

/// How the race is run.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Every contestant answers every prompt once in each round.
    pub rounds: usize,
    /// Decides the order of the contestants on every prompt.
    pub seed: u64,
    /// Tokens that end an answer.
    pub end_tokens: Vec<Token>,
    /// The draft reads each prompt as part of each measured answer, anew for every setting.
    pub cold_draft: bool,
}

/// What is read around answers.
pub struct Meters<'a> {
    /// The clock.
    pub clock: &'a Clock,
    /// Joules that the machine has used so far above what it uses when idle; `None` where they are
    /// not counted.
    pub joules: &'a mut dyn FnMut() -> Option<f64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Race {
    /// Whole blocks only: all contestants on one prompt in one round.
    pub samples: Vec<Sample>,
    /// It was stopped before the end.
    pub stopped: bool,
}

/// Has every contestant (the first decodes plainly) answer every prompt, greedily, in an order
/// shuffled per prompt and round.
///
/// In each block target and draft read the prompt once, before any contestant's time is taken
/// ([`Rules::cold_draft`] keeps the draft from it); the contestants then start one after the other
/// from the same caches, cut back to the prompt, each with a fresh controller. `at(done, total)`
/// counts answers and says whether to go on; `block` gets the samples of each finished block.
///
/// # Errors
/// The engine's.
pub fn race<M: LanguageModel>(
    engine: &mut Engine<M>,
    meters: &mut Meters<'_>,
    field: &Field<'_>,
    rules: &Rules,
    at: &mut dyn FnMut(u64, u64) -> bool,
    block: &mut dyn FnMut(&[Sample]),
) -> Result<Race, EngineError> {
    let Field { texts, contestants, parts } = *field;
    let total = (rules.rounds * texts.len() * contestants.len()) as u64;
    let mut race = Race::default();
    let mut randomness = Randomness::new(rules.seed);
    let mut done = 0;
    for round in 0..rules.rounds {
        for (prompt, text) in texts.iter().enumerate() {
            let mut sequence = engine.sequence(SequenceSettings {
                prompt: text.tokens.clone(),
                sampling: SamplingSettings::default(),
                end_tokens: rules.end_tokens.clone(),
                max_tokens: rules.max_tokens,
                controller: contestants[0].build(parts),
            })?;
            let _ = engine.prefill(&mut sequence, PREFILL_CHUNK, |_| ControlFlow::Continue(()))?;
            let start = meters.clock.now();
            let draft_prompt_seconds = if rules.cold_draft {
                0.0
            } else {
                engine.prefill_draft(&mut sequence)?;
                (meters.clock.now() - start).as_secs_f64()
            };
            if done == 0 {
                warm_up(engine, &mut sequence, field, rules)?;
            }
            let order = shuffled(contestants.len(), &mut randomness);
            let mut answers: Vec<Option<(Sample, Vec<Token>)>> = vec![None; contestants.len()];
            for (place, &contestant) in order.iter().enumerate() {
                sequence.rewind(text.tokens.len());
                if rules.cold_draft {
                    sequence.forget_draft();
                }
                sequence.set_controller(contestants[contestant].build(parts));
                sequence.reset_totals();
                let mut head = None;
                let before = (meters.joules)();
                while sequence.finish_reason().is_none() {
                    if !at(done, total) {
                        engine.close(sequence);
                        return Ok(Race { stopped: true, ..race });
                    }
                    engine.step(&mut [&mut sequence])?;
                    if head.is_none() && sequence.totals().produced >= HEAD_TOKENS {
                        head = Some(Cell::of(sequence.totals()));
                    }
                }
                let joules = before.zip((meters.joules)()).map(|(before, after)| after - before);
                done += 1;
                let totals = sequence.totals().clone();
                let head = head.unwrap_or_else(|| Cell::of(&totals));
                let sample = Sample {
                    round,
                    prompt,
                    contestant,
                    place,
                    totals,
                    head,
                    draft_prompt_seconds,
                    joules,
                    identical: true,
                };
                answers[contestant] =
                    Some((sample, sequence.tokens()[text.tokens.len()..].to_vec()));
            }
            engine.close(sequence);
            let answers: Vec<(Sample, Vec<Token>)> = answers.into_iter().flatten().collect();
            let plain = answers[0].1.clone();
            let first = race.samples.len();
            race.samples.extend(
                answers
                    .into_iter()
                    .map(|(sample, tokens)| Sample { identical: tokens == plain, ..sample }),
            );
            block(&race.samples[first..]);
        }
    }
    Ok(race)
}

/// A few tokens with every contestant's parts, so that memory is mapped and threads run.
fn warm_up<M: LanguageModel>(
    engine: &mut Engine<M>,
    sequence: &mut Sequence<M>,
    field: &Field<'_>,
    rules: &Rules,
) -> Result<(), EngineError> {
    let Field { contestants, parts, .. } = *field;
    let prompt_tokens = sequence.tokens().len();
    for contestant in
        [contestants.first(), contestants.get(1), contestants.last()].into_iter().flatten()
    {
        sequence.rewind(prompt_tokens);
        sequence.set_controller(contestant.build(parts));
        sequence.set_max_tokens(WARM_UP.min(rules.max_tokens));
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut *sequence])?;
        }
    }
    sequence.rewind(prompt_tokens);
    sequence.set_max_tokens(rules.max_tokens);
    Ok(())
}

/// The numbers below `count` in a random order (Fisher and Yates).
fn shuffled(count: usize, randomness: &mut Randomness) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, ((last + 1) as f64 * randomness.uniform()) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use speckv::{
        draft::{Both, ModelDrafter, NgramDrafter, NgramSettings},
        sim::{Difference, SimCost, SimModel, SimSettings},
    };

    use super::*;
    use crate::comparison::{contestant, spoiled::Spoiled};

    fn cost(pass: u64, token: u64) -> SimCost {
        SimCost { pass: Duration::from_micros(pass), token: Duration::from_micros(token) }
    }

    /// A machine that works at 20 W above idle.
    fn joules(clock: &Clock) -> Option<f64> {
        Some(20.0 * clock.now().as_secs_f64())
    }

    fn run(rounds: usize, spoil: bool, stop_at: u64) -> (Vec<Contestant>, Race, usize) {
        run_with(rounds, spoil, stop_at, false)
    }

    fn run_with(
        rounds: usize,
        spoil: bool,
        stop_at: u64,
        cold_draft: bool,
    ) -> (Vec<Contestant>, Race, usize) {
        let target = SimModel::new(SimSettings { seed: 5, ..SimSettings::default() })
            .costing(cost(30_000, 3_000));
        let draft =
            Arc::new(target.draft(Difference::Share { agreement: 0.9 }).costing(cost(3_000, 300)));
        let ngram = NgramDrafter::new(NgramSettings::default());
        let mut engine = if spoil {
            Engine::new(
                Arc::new(target.clone()),
                Box::new(Both::new(ngram, ModelDrafter::new(Arc::new(Spoiled(draft)), 32))),
            )
        } else {
            Engine::new(
                Arc::new(target.clone()),
                Box::new(Both::new(ngram, ModelDrafter::new(draft, 32))),
            )
        };
        let clock = Clock::Virtual(target.time().clone());
        engine.set_clock(clock.clone());
        let text = |id: &str, first: Token| Text {
            id: id.into(),
            task: "t".into(),
            tokens: (first..first + 30).map(|token| token * 5 % 32).collect(),
        };
        let contestants =
            contestant::list(&[2, 4], &["fixed:4@ngram", "chain+fixed:3", "speckv"], true)
                .expect("known");
        let rules = Rules { max_tokens: 50, rounds, seed: 1, end_tokens: vec![], cold_draft };
        let mut blocks = 0;
        let race = race(
            &mut engine,
            &mut Meters { clock: &clock, joules: &mut || joules(&clock) },
            &Field {
                texts: &[text("t-01", 0), text("t-02", 7)],
                contestants: &contestants,
                parts: &ControllerParts::default(),
            },
            &rules,
            &mut |done, _| done < stop_at,
            &mut |samples| {
                assert_eq!(samples.len(), contestants.len());
                blocks += 1;
            },
        );
        (contestants, race.expect("simulated passes do not fail"), blocks)
    }

    #[test]
    fn everybody_answers_everything_alike_and_pays_for_nothing_but_steps() {
        let (contestants, race, blocks) = run(2, false, u64::MAX);
        assert_eq!(
            (race.samples.len(), blocks, race.stopped),
            (2 * 2 * contestants.len(), 4, false)
        );
        for sample in &race.samples {
            assert!(sample.identical && sample.totals.produced == 50, "{sample:?}");
            let joules = 20.0 * sample.totals.times.total.as_secs_f64();
            assert!((sample.joules.expect("counted") - joules).abs() < 1e-9, "{sample:?}");
            assert!(sample.totals.prefill == Duration::ZERO, "the prompt was read before");
            assert_eq!(
                sample.draft_prompt_seconds, 0.0117,
                "one pass over the 29 tokens before the last"
            );
            // Simulated time: a plain step costs 33 ms exactly.
            if sample.contestant == 0 {
                assert_eq!(sample.totals.times.total, Duration::from_millis(50 * 33));
            }
        }
        let places: Vec<usize> =
            race.samples.iter().filter(|s| s.contestant == 0).map(|s| s.place).collect();
        assert!(places.iter().any(|place| *place != places[0]), "the order changes: {places:?}");
        // Rounds repeat each other exactly where the controller does not depend on what it has
        // learned of time.
        let half = race.samples.len() / 2;
        for (first, second) in race.samples[..half].iter().zip(&race.samples[half..]) {
            assert_eq!((first.prompt, first.contestant), (second.prompt, second.contestant));
            assert_eq!(first.totals.times.total, second.totals.times.total, "{first:?}");
        }
        let drafted = |name: &str| {
            let index =
                contestants.iter().position(|contestant| contestant.name == name).expect(name);
            race.samples
                .iter()
                .filter(|s| s.contestant == index)
                .map(|s| s.totals.drafted)
                .sum::<usize>()
        };
        assert!(drafted("off") == 0 && drafted("fixed:4") > drafted("fixed:2"));
    }

    #[test]
    fn a_cold_draft_reads_the_prompt_on_the_clock_of_the_contestant_that_drafts() {
        let (contestants, cold, _) = run_with(1, false, u64::MAX, true);
        let (_, warm, _) = run(1, false, u64::MAX);
        let reading = Duration::from_micros(11_700);
        for (cold, warm) in cold.samples.iter().zip(&warm.samples) {
            assert!(cold.identical && cold.draft_prompt_seconds == 0.0);
            let extra = cold.totals.times.total.saturating_sub(warm.totals.times.total);
            match contestants[cold.contestant].name.as_str() {
                "off" | "fixed:4@ngram" => assert_eq!(extra, Duration::ZERO),
                "speckv" => {} // takes it into account
                _ => assert_eq!(extra, reading, "{cold:?}"),
            }
        }
    }

    #[test]
    fn a_spoiled_draft_changes_no_token_and_is_hardly_ever_right() {
        let (contestants, race, _) = run(1, true, u64::MAX);
        let fixed = contestants
            .iter()
            .position(|contestant| contestant.name == "fixed:2")
            .expect("it takes part");
        for sample in &race.samples {
            assert!(sample.identical);
            if sample.contestant == fixed {
                assert!(sample.totals.accepted * 10 < sample.totals.drafted, "{sample:?}");
            }
        }
    }

    #[test]
    fn a_stopped_race_keeps_whole_blocks() {
        let (contestants, race, blocks) = run(2, false, contestants_of_a_block() * 2 + 3);
        assert!(race.stopped && blocks == 2);
        assert_eq!(race.samples.len(), 2 * contestants.len());
    }

    fn contestants_of_a_block() -> u64 {
        6
    }

    #[test]
    fn every_order_is_as_likely() {
        let mut randomness = Randomness::new(3);
        let mut counts = [[0_u32; 4]; 4];
        for _ in 0..8000 {
            for (place, who) in shuffled(4, &mut randomness).into_iter().enumerate() {
                counts[who][place] += 1;
            }
        }
        assert!(counts.iter().flatten().all(|count| (1850..2150).contains(count)), "{counts:?}");
    }
}
