//! `speckv run`: one prompt, one answer.

use serde_json::json;
use speckv::engine::SequenceSettings;
use speckv_local::{
    backend::Backend,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    model_source::ModelSource,
    pair::{Pair, PairFiles},
    pair_settings::PairSettings,
    report::Reporter,
    text::Conversation,
};

use crate::{
    answer::{self, Finish},
    args::RunArgs,
    device::{self, OnDevice},
    interrupt,
    printer::Printer,
    prompt,
    settings::{self, AnswerSettings},
    stats::Stats,
};

pub(super) fn run(args: &RunArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let (pair, answer) = settings::resolve(&args.models, &args.sampling, &source.catalogue)?;
    let text = prompt::read(&args.prompt, printer)?;
    settings::warn_of_threads(args.models.threads, printer);
    let interrupt = interrupt::install();
    device::run(&pair, Run { args, pair: &pair, answer, text, source, interrupt, printer })
}

/// One prompt, and what answers it.
struct Run<'a> {
    args: &'a RunArgs,
    pair: &'a PairSettings,
    answer: AnswerSettings,
    text: String,
    source: ModelSource,
    interrupt: Interrupt,
    printer: &'a Printer,
}

impl OnDevice for Run<'_> {
    type Output = ();

    fn run<B: Backend>(self, backend: &B) -> Outcome<()> {
        let Run {
            args,
            pair: pair_settings,
            answer: mut settings,
            text,
            source,
            interrupt,
            printer,
        } = self;
        // What the prompt needs is known before gigabytes are read.
        let files = PairFiles::open(pair_settings, &source, &interrupt, printer)?;
        let mut stop = settings.stop.clone();
        let prompt = if settings.raw {
            files.text.raw(&text)?
        } else {
            if let Some(warning) = files.text.template_warning() {
                printer.warning(warning);
            }
            stop.extend(files.text.stop_strings());
            // The newline that ends a file or a line of input is no part of the prompt.
            let said = text.strip_suffix('\n').unwrap_or(&text);
            let said = said.strip_suffix('\r').unwrap_or(said);
            Conversation::new(settings.system.as_deref()).prompt(said, &files.text)?.tokens
        };
        let (prompt_tokens, context) = (prompt.len(), files.context(pair_settings.context)?);
        if prompt_tokens >= context {
            return Err(answer::prompt_too_long(prompt_tokens, context));
        }
        let mut pair = Pair::from_files(backend, pair_settings, files, printer)?;
        settings.follow(&pair.drafting, args.models.controller.is_some())?;
        printer.note(&pair.drafting.to_string());
        let costs = settings.costs(&pair, &interrupt, printer)?;
        let parts = settings.parts(&pair, costs.as_ref())?;
        let mut sequence = pair
            .engine
            .sequence(SequenceSettings {
                prompt,
                sampling: settings.sampling.clone(),
                end_tokens: pair.text.end_tokens().to_vec(),
                max_tokens: settings.max_tokens,
                controller: settings.controller.build(&parts),
            })
            .map_err(|error| answer::engine_failure(&error))?;

        let decoder = pair.text.decoder(settings.raw, stop);
        let mut say = |text: &str| if args.json { Ok(()) } else { printer.data(text) };
        let answer =
            answer::give(&mut pair.engine, &mut sequence, decoder, &interrupt, printer, &mut say)?;
        let costs = costs.map(|costs| costs.view());
        let stats = Stats::of(sequence.totals(), sequence.controller().name(), costs);
        if args.json {
            printer.json(&json!({
                "text": answer.text,
                "tokens": answer.tokens,
                "prompt_tokens": prompt_tokens,
                "finish_reason": answer.finish,
                "draft": pair.drafting.name(),
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
}
