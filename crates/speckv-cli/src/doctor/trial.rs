//! Answers each prompt with and without speculation, in turn, from an empty cache.

use std::{ops::ControlFlow, time::Duration};

use serde::Serialize;
use speckv::{
    controller::Controller,
    engine::{Clock, Engine, EngineError, SequenceSettings},
    model::LanguageModel,
    sampling::SamplingSettings,
    token::Token,
};

use crate::comparison::Text;

/// Tokens per pass while a prompt is read.
const PREFILL_CHUNK: usize = 256;
/// Tokens of the answers that nothing is measured on: memory is touched, threads are awake.
const WARM_UP: usize = 4;

/// Makes a controller for each answer.
pub type Controllers<'a> = dyn Fn() -> Box<dyn Controller> + 'a;

/// How prompts are answered.
pub struct Rules<'a> {
    /// Plain decoding first; speculation second, if anything drafts.
    pub controllers: Vec<&'a Controllers<'a>>,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Tokens that end an answer.
    pub end_tokens: Vec<Token>,
    /// Time at which no further prompt may end, by the clock.
    pub deadline: Duration,
}

/// What an answer took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Timing {
    /// Tokens of the answer.
    pub tokens: usize,
    /// Seconds of the target's reading of the prompt.
    pub reading: f64,
    /// Seconds of all steps, the draft's reading of the prompt included.
    pub decoding: f64,
    /// Tokens drafted.
    pub drafted: usize,
    /// Draft tokens kept.
    pub accepted: usize,
}

/// One prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// Its name.
    pub id: String,
    /// Its task.
    pub task: String,
    /// Tokens of it.
    pub prompt_tokens: usize,
    /// Without speculation.
    pub plain: Timing,
    /// With speculation, if anything drafts.
    pub speculative: Option<Timing>,
    /// Whether both answers have the same tokens.
    pub identical: bool,
}

/// Answers the prompts until the deadline would be passed, one at least. `at(done, total)` counts
/// answers and says whether to go on; what is whole at a stop is kept.
///
/// # Errors
/// The engine's.
pub fn run<M: LanguageModel>(
    engine: &mut Engine<M>,
    clock: &Clock,
    texts: &[Text],
    rules: &Rules<'_>,
    at: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Vec<Trial>, EngineError> {
    let total = (texts.len() * rules.controllers.len()) as u64;
    let mut trials: Vec<Trial> = Vec::new();
    let mut longest = Duration::ZERO;
    for controller in rules.controllers.iter().filter(|_| !texts.is_empty()) {
        answer(engine, &texts[0], controller(), WARM_UP, rules, &mut || true)?;
    }
    for (number, text) in texts.iter().enumerate() {
        let began = clock.now();
        if number > 0 && began + longest > rules.deadline {
            break;
        }
        let mut answers = vec![None; rules.controllers.len()];
        let mut order: Vec<usize> = (0..answers.len()).collect();
        // Who goes first changes, so that a drift of the machine falls on both alike.
        if number % 2 == 1 {
            order.reverse();
        }
        for (place, index) in order.into_iter().enumerate() {
            let done = (number * answers.len() + place) as u64;
            let controller = rules.controllers[index]();
            let max_tokens = rules.max_tokens;
            let go_on = &mut || at(done, total);
            answers[index] = answer(engine, text, controller, max_tokens, rules, go_on)?;
            if answers[index].is_none() {
                return Ok(trials);
            }
        }
        longest = longest.max(clock.now() - began);
        let mut answers = answers.into_iter().flatten();
        let Some((plain, expected)) = answers.next() else { break };
        let speculative = answers.next();
        trials.push(Trial {
            id: text.id.clone(),
            task: text.task.clone(),
            prompt_tokens: text.tokens.len(),
            plain,
            identical: speculative.as_ref().is_none_or(|(_, tokens)| *tokens == expected),
            speculative: speculative.map(|(timing, _)| timing),
        });
    }
    Ok(trials)
}

/// One greedy answer from an empty cache and its tokens; `None` where `go_on` ended it.
fn answer<M: LanguageModel>(
    engine: &mut Engine<M>,
    text: &Text,
    controller: Box<dyn Controller>,
    max_tokens: usize,
    rules: &Rules<'_>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<(Timing, Vec<Token>)>, EngineError> {
    let mut sequence = engine.sequence(SequenceSettings {
        prompt: text.tokens.clone(),
        sampling: SamplingSettings::default(),
        end_tokens: rules.end_tokens.clone(),
        max_tokens,
        controller,
    })?;
    let mut stopped = engine
        .prefill(&mut sequence, PREFILL_CHUNK, |_| {
            if go_on() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?
        .is_break();
    while !stopped && sequence.finish_reason().is_none() {
        stopped = !go_on();
        if !stopped {
            engine.step(&mut [&mut sequence])?;
        }
    }
    let totals = sequence.totals();
    let timing = Timing {
        tokens: totals.produced,
        reading: totals.prefill.as_secs_f64(),
        decoding: totals.times.total.as_secs_f64(),
        drafted: totals.drafted,
        accepted: totals.accepted,
    };
    let tokens = sequence.tokens()[text.tokens.len()..].to_vec();
    engine.close(sequence);
    Ok((!stopped).then_some((timing, tokens)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use speckv::{
        draft::ModelDrafter,
        sim::{Difference, SimCost, SimModel, SimSettings},
    };
    use speckv_local::controllers::{self, ControllerParts};

    use super::*;

    const PASS: Duration = Duration::from_millis(30);

    fn tried(deadline: Duration, prompts: usize, stop_at: u64) -> Vec<Trial> {
        let cost = |pass: Duration| SimCost { pass, token: Duration::ZERO };
        let target =
            SimModel::new(SimSettings { seed: 5, ..SimSettings::default() }).costing(cost(PASS));
        let draft = target.draft(Difference::Share { agreement: 1.0 }).costing(cost(PASS / 30));
        let drafter = ModelDrafter::new(Arc::new(draft), 32);
        let mut engine = Engine::new(Arc::new(target.clone()), Box::new(drafter));
        let clock = Clock::Virtual(target.time().clone());
        engine.set_clock(clock.clone());
        let texts: Vec<Text> = (0..prompts)
            .map(|number| Text {
                id: format!("t-{number}"),
                task: "t".into(),
                tokens: (0..20).map(|token| (token * 5 + number as Token) % 32).collect(),
            })
            .collect();
        let parts = ControllerParts::default();
        let make = |name: &str| {
            let spec = controllers::parse(name).expect("known");
            let parts = parts.clone();
            move || spec.build(&parts)
        };
        let (off, fixed) = (make("off"), make("fixed:4"));
        let rules = Rules {
            controllers: vec![&off, &fixed],
            max_tokens: 40,
            end_tokens: Vec::new(),
            deadline,
        };
        let mut at = |done, _| done < stop_at;
        run(&mut engine, &clock, &texts, &rules, &mut at).expect("simulated passes do not fail")
    }

    #[test]
    fn each_prompt_is_answered_twice_with_the_reading_counted() {
        let trials = tried(Duration::from_secs(3600), 3, u64::MAX);
        assert_eq!(trials.len(), 3);
        for trial in &trials {
            let speculative = trial.speculative.expect("a draft");
            assert!(trial.identical && trial.prompt_tokens == 20);
            assert_eq!((trial.plain.tokens, speculative.tokens), (40, 40));
            assert_eq!((trial.plain.drafted, speculative.drafted > 0), (0, true));
            // One pass reads the prompt; a plain token is a pass.
            assert_eq!((trial.plain.reading, trial.plain.decoding), (0.03, 40.0 * 0.03));
            // A draft that is always right makes steps of 5 tokens: 8 passes and their drafts.
            assert!(speculative.decoding < 0.4 * trial.plain.decoding, "{speculative:?}");
        }
    }

    #[test]
    fn the_deadline_keeps_whole_prompts_and_one_at_least() {
        let one = tried(Duration::ZERO, 5, u64::MAX);
        assert_eq!(one.len(), 1);
        let seconds = |trial: &Trial| {
            let with = trial.speculative.expect("a draft");
            trial.plain.reading + trial.plain.decoding + with.reading + with.decoding
        };
        let all = tried(Duration::from_secs(3600), 5, u64::MAX);
        let two = Duration::from_secs_f64(2.5 * seconds(&all[0]) + 0.3);
        assert_eq!(tried(two, 5, u64::MAX).len(), 2);
    }

    #[test]
    fn a_stop_keeps_what_is_whole() {
        assert_eq!(tried(Duration::from_secs(3600), 5, 5).len(), 2);
        assert!(tried(Duration::from_secs(3600), 5, 1).is_empty());
    }
}
