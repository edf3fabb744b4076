//! `speckv identity`: plain and speculative greedy decoding, token by token.

use std::{num::NonZeroUsize, time::Duration};

use serde_json::json;
use speckv::{
    controller::Controller, cost::CostModel, engine::SequenceSettings, model::LanguageModel,
    sampling::SamplingSettings, token::Token,
};
use speckv_local::controllers::{ControllerKind, ControllerSpec};
use speckv_local::{
    controllers, devices,
    draft_choice::DraftChoice,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    model_source::ModelSource,
    pair::Pair,
    pair_settings::PairSettings,
    predictor_weights::Predictors,
    report::{Reporter, Unit},
    text::Conversation,
};

use crate::{answer, args::IdentityArgs, identity_prompts, interrupt, printer::Printer, settings};

/// One comparison that failed.
#[derive(Debug, serde::Serialize)]
struct Mismatch {
    prompt: usize,
    controller: String,
    threads: usize,
    /// First generated token that differs, from 0.
    position: usize,
    expected: Option<Token>,
    got: Option<Token>,
}

pub(super) fn run(args: &IdentityArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let (target, draft) = PairSettings::models(
        args.model.as_ref(),
        args.draft.as_ref(),
        DraftChoice::Ngram,
        &source.catalogue,
    );
    if draft == DraftChoice::None {
        return Err(Failure::usage(
            "without a draft there is nothing to compare",
            "give --draft MODEL or --draft ngram",
        ));
    }
    let predictors = Predictors::read(
        args.predictors.paper_weights.as_deref(),
        args.predictors.predictor.as_deref(),
    )?;
    let interrupt = interrupt::install();
    let mut specs = vec![controllers::OFF];
    let fixed =
        |gamma: &usize| ControllerSpec { chain: false, kind: ControllerKind::Fixed(Some(*gamma)) };
    specs.extend(args.gammas.iter().map(fixed));
    specs.extend(args.controllers.iter().filter(|spec| **spec != controllers::OFF));
    // Look-up beside the model is there for those that use it; the others do not see it.
    let draft = match draft {
        DraftChoice::Model(model) if specs.iter().any(ControllerSpec::may_look_up) => {
            DraftChoice::Both(model)
        }
        draft => draft,
    };
    let runs = args.prompts * args.threads_list.len() * specs.len();
    let mut progress = None;
    let (mut done, mut comparisons, mut steps) = (0, 0, 0);
    let (mut drafted, mut accepted) = (0, 0);
    // Plain decoding with the first number of threads is what everything else must equal.
    let mut references: Vec<Vec<Token>> = Vec::new();
    let mut mismatches = Vec::new();
    for (round, &threads) in args.threads_list.iter().enumerate() {
        let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        let (target, draft) = (target.clone(), draft.clone());
        let settings = PairSettings {
            devices: args.devices.choices(false),
            ..settings::pair_settings(target, draft, threads, &args.weights, args.cache)
        };
        let mut pair = Pair::load(
            &devices::of_pair(&settings, &source, &interrupt, printer)?,
            &settings,
            &source,
            &interrupt,
            printer,
        )?;
        let bar = progress
            .get_or_insert_with(|| printer.progress("comparing", Unit::Items, Duration::ZERO));
        for (number, text) in identity_prompts::TEXTS.iter().take(args.prompts).enumerate() {
            let prompt = Conversation::new(None).prompt(text, &pair.text)?.tokens;
            for (index, spec) in specs.iter().enumerate() {
                bar.at(done, runs as u64);
                // Measured costs would only change which drafts are tried; these are learned on the
                // way.
                let (parts, _) = controllers::parts(
                    &**pair.engine.target(),
                    pair.draft.as_deref(),
                    CostModel::uncalibrated(),
                    0.0,
                    None,
                    &predictors,
                )?;
                let controller = spec.build(&parts);
                let outcome =
                    decode(&mut pair, prompt.clone(), controller, args.max_tokens, &interrupt)?;
                done += 1;
                steps += outcome.steps;
                drafted += outcome.drafted;
                accepted += outcome.accepted;
                if index == 0 && round == 0 {
                    references.push(outcome.tokens);
                    continue;
                }
                comparisons += 1;
                let expected = &references[number];
                if let Some(position) = first_difference(expected, &outcome.tokens) {
                    mismatches.push(Mismatch {
                        prompt: number,
                        controller: spec.to_string(),
                        threads: threads.get(),
                        position,
                        expected: expected.get(position).copied(),
                        got: outcome.tokens.get(position).copied(),
                    });
                }
            }
        }
    }
    drop(progress);
    if args.json {
        printer.json(&json!({
            "mismatches": mismatches.len(),
            "comparisons": comparisons,
            "prompts": args.prompts,
            "controllers": specs.iter().skip(1).map(ToString::to_string).collect::<Vec<_>>(),
            "threads": args.threads_list,
            "max_tokens": args.max_tokens,
            "tokens": references.iter().map(Vec::len).sum::<usize>(),
            "steps": steps,
            "drafted": drafted,
            "accepted": accepted,
            "differences": mismatches,
        }))?;
    } else {
        for Mismatch { prompt, controller, threads, position, .. } in &mismatches {
            printer.data(&format!(
                "differs: prompt {prompt}, {controller}, {threads} threads, from generated token \
                 {position} on\n"
            ))?;
        }
        printer.note(&format!("{accepted} of {drafted} drafted tokens were accepted on the way"));
        printer
            .data(&format!("mismatches: {} of {comparisons} comparisons\n", mismatches.len()))?;
    }
    if mismatches.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        format!("{} of {comparisons} answers differ from plain decoding", mismatches.len()),
        "this is a bug in speckv; please report it with the output of `speckv identity --json` \
         and of `speckv inspect`",
    ))
}

struct Decoded {
    tokens: Vec<Token>,
    steps: usize,
    drafted: usize,
    accepted: usize,
}

fn decode(
    pair: &mut Pair,
    prompt: Vec<Token>,
    controller: Box<dyn Controller>,
    max_tokens: usize,
    interrupt: &Interrupt,
) -> Outcome<Decoded> {
    let context = pair.engine.target().context_length();
    if prompt.len() + max_tokens > context {
        return Err(answer::prompt_too_long(prompt.len() + max_tokens, context));
    }
    let settings = SequenceSettings {
        prompt,
        sampling: SamplingSettings::default(),
        end_tokens: pair.text.tokenizer().end_tokens().to_vec(),
        max_tokens,
        controller,
    };
    let mut sequence =
        pair.engine.sequence(settings).map_err(|error| answer::engine_failure(&error))?;
    let mut tokens = Vec::with_capacity(max_tokens);
    for token in pair.engine.generate(&mut sequence) {
        if interrupt.is_raised() {
            return Err(Failure::interrupted(
                "stopped before all comparisons were done",
                "fewer --prompts, --gammas or --max-tokens take less time",
            ));
        }
        tokens.push(token.map_err(|error| answer::engine_failure(&error))?);
    }
    let totals = sequence.totals();
    let decoded =
        Decoded { tokens, steps: totals.steps, drafted: totals.drafted, accepted: totals.accepted };
    pair.engine.close(sequence);
    Ok(decoded)
}

/// The first position where two lists differ, their ends included.
fn first_difference(a: &[Token], b: &[Token]) -> Option<usize> {
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (common < a.len() || common < b.len()).then_some(common)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_count_ends() {
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
        assert_eq!(first_difference(&[1, 2], &[1, 3]), Some(1));
        assert_eq!(first_difference(&[1, 2], &[1, 2, 3]), Some(2));
        assert_eq!(first_difference(&[1, 2], &[]), Some(0));
    }
}
