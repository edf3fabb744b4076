//! `speckv run`: one prompt, one answer.

use serde_json::json;
use speckv::{engine::SequenceSettings, model::LanguageModel};
use speckv_local::{
    conversation::Conversation,
    failure::{Failure, Outcome},
    model_source::Shelf,
    pair::Pair,
    report::Reporter,
};

use crate::{
    answer::{self, Finish, Voice},
    args::RunArgs,
    interrupt,
    printer::Printer,
    prompt, settings,
    stats::Stats,
};

pub(super) fn run(args: &RunArgs, printer: &Printer) -> Outcome<()> {
    let shelf = Shelf::from_environment()?;
    let (pair_settings, settings) =
        settings::resolve(&args.models, &args.sampling, &shelf.catalogue)?;
    let text = prompt::read(&args.prompt)?;
    let interrupt = interrupt::install();
    let mut pair = Pair::load(&pair_settings, &shelf, &interrupt, printer)?;

    let mut stop = settings.stop.clone();
    let prompt = if settings.raw {
        pair.raw(&text)?
    } else {
        if let Some(warning) = pair.template_warning() {
            printer.warning(warning);
        }
        stop.extend(pair.stop_strings());
        // The newline that ends a file or a line of input is no part of what is said.
        let said = text.strip_suffix('\n').unwrap_or(&text);
        Conversation::new(settings.system.as_deref()).prompt(said, &pair)?.tokens
    };
    let (prompt_tokens, context) = (prompt.len(), pair.engine.target().context_length());
    if prompt_tokens >= context {
        return Err(answer::prompt_too_long(prompt_tokens, context));
    }
    let costs = settings.costs(&pair, &interrupt, printer)?;
    let parts = settings.parts(&pair, costs.as_ref())?;
    let mut sequence = pair
        .engine
        .sequence(SequenceSettings {
            prompt,
            sampling: settings.sampling.clone(),
            end_tokens: pair.tokenizer.end_tokens().to_vec(),
            max_tokens: settings.max_tokens,
            controller: settings.controller.build(&parts),
        })
        .map_err(|error| answer::engine_failure(&error))?;

    let voice = Voice { tokenizer: &pair.tokenizer, stop, continues: settings.raw };
    let mut say = |text: &str| if args.json { Ok(()) } else { printer.data(text) };
    let answer =
        answer::give(&mut pair.engine, &mut sequence, voice, &interrupt, printer, &mut say)?;
    let stats =
        Stats::of(sequence.totals(), sequence.controller().name(), costs.map(|costs| costs.view()));
    if args.json {
        printer.json(&json!({
            "text": answer.text,
            "tokens": answer.tokens,
            "prompt_tokens": prompt_tokens,
            "finish_reason": answer.finish,
            "draft_failures": pair.engine.draft_failures().count,
            "stats": stats.report(),
        }))?;
    } else {
        printer.data("\n")?;
        match answer.finish {
            Finish::Length if sequence.tokens().len() >= context => {
                printer.aside(&format!(
                    "the context of {context} tokens is full; --ctx makes it larger"
                ));
            }
            Finish::Length => {
                printer.aside(&format!(
                    "ended after {} tokens; --max-tokens allows more",
                    answer.tokens.len()
                ));
            }
            Finish::Stop | Finish::Interrupted => {}
        }
        stats.lines().iter().for_each(|line| printer.aside(line));
    }
    match answer.finish {
        Finish::Interrupted => Err(Failure::interrupted(
            format!("stopped after {} tokens", answer.tokens.len()),
            "run it again for the whole answer; `speckv chat` goes on after a stopped one",
        )),
        Finish::Stop | Finish::Length => Ok(()),
    }
}
