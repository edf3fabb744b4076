//! `speckv run`: one prompt, one answer.

use serde_json::{Value, json};
use speckv::engine::SequenceSettings;
use speckv_grammar::GrammarSource;
use speckv_local::{
    backend::{Backend, PairBackends},
    energy::{Energy, EnergyCounter, EnergyMeter, IDLE, NoCounter},
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
    args::{RunArgs, names_model},
    device::{self, OnDevice},
    grammar, interrupt,
    printer::Printer,
    prompt,
    settings::{self, AnswerSettings},
    stats::Stats,
};

pub(super) fn run(args: &RunArgs, printer: &Printer) -> Outcome<()> {
    if let (None, Some(prompt)) = (&args.models.model, &args.prompt.prompt)
        && names_model(prompt)
    {
        return Err(Failure::usage(
            format!("{prompt} is the name of a model, and stands where the prompt does"),
            format!("-m names the model: speckv run -m {prompt} \"Why is the sky blue?\""),
        ));
    }
    let source = ModelSource::from_environment();
    let (pair, answer) = settings::resolve(&args.models, &args.sampling, &source.catalogue)?;
    let grammar = grammar::read(&args.grammar)?;
    let text = prompt::read(&args.prompt, printer)?;
    settings::warn_of_threads(args.models.threads, printer);
    let interrupt = interrupt::install();
    let heard = interrupt.clone();
    let run = Run { args, pair: &pair, answer, grammar, text, source: &source, interrupt, printer };
    device::run(&pair, (&source, &heard), printer, run)
}

/// One prompt, and what answers it.
struct Run<'a> {
    args: &'a RunArgs,
    pair: &'a PairSettings,
    answer: AnswerSettings,
    grammar: Option<GrammarSource>,
    text: String,
    source: &'a ModelSource,
    interrupt: Interrupt,
    printer: &'a Printer,
}

impl OnDevice for Run<'_> {
    type Output = ();

    fn run<B: Backend + Clone>(self, backends: &PairBackends<B>) -> Outcome<()> {
        let Run {
            args,
            pair: pair_settings,
            answer: mut settings,
            grammar,
            text,
            source,
            interrupt,
            printer,
        } = self;
        // What the prompt needs is known before gigabytes are read.
        let files = PairFiles::open(pair_settings, source, &interrupt, printer)?;
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
        let constraint =
            grammar.map(|source| grammar::constraint(&source, &files.text)).transpose()?;
        let (prompt_tokens, context) = (prompt.len(), files.context(pair_settings.context)?);
        if prompt_tokens >= context {
            return Err(answer::prompt_too_long(prompt_tokens, context));
        }
        let mut pair = Pair::from_files(backends, pair_settings, files, printer)?;
        settings.follow(&pair.drafting, args.models.controller.is_some())?;
        printer.note(&pair.drafting.to_string());
        let costs = settings.costs(&pair, &interrupt, printer)?;
        let parts = settings.parts(&pair, costs.as_ref())?;
        let meter = args
            .energy
            .then(|| EnergyCounter::open().and_then(|counter| EnergyMeter::start(counter, IDLE)));
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

        if constraint.is_some() {
            sequence.constrain(constraint);
        }
        let decoder = pair.text.decoder(settings.raw, stop);
        let mut say = |text: &str| if args.json { Ok(()) } else { printer.data(text) };
        let answer =
            answer::give(&mut pair.engine, &mut sequence, decoder, &interrupt, printer, &mut say)?;
        let energy = meter.map(|meter| meter.and_then(|mut meter| meter.so_far()));
        let costs = costs.map(|costs| costs.view());
        let stats = Stats::of(sequence.totals(), sequence.controller().name(), costs);
        if args.json {
            printer.json(&json!({
                "text": answer.text,
                "tokens": answer.tokens,
                "prompt_tokens": prompt_tokens,
                "finish_reason": answer.finish,
                "draft": pair.drafting.name(),
                "draft_failures": pair.engine.draft_failures().count,
                "stats": stats.report(),
                "energy": energy.map(|energy| energy_json(&energy, answer.tokens.len())),
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
            if let Some(energy) = &energy {
                printer.aside(&energy_line(energy, answer.tokens.len()));
            }
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

/// Joules per token in a line, or why there are none.
fn energy_line(energy: &Result<Energy, NoCounter>, tokens: usize) -> String {
    match energy {
        Ok(energy) => format!(
            "energy: {:.2} J per token, prompt and idle subtraction of {:.1} W included ({})",
            energy.net_joules() / tokens.max(1) as f64,
            energy.idle_watts,
            energy.source
        ),
        Err(reason) => format!("energy: not measured: {reason}"),
    }
}

fn energy_json(energy: &Result<Energy, NoCounter>, tokens: usize) -> Value {
    match energy {
        Ok(energy) => json!({
            "joules_per_token": energy.net_joules() / tokens.max(1) as f64,
            "joules": energy.joules,
            "idle_watts": energy.idle_watts,
            "seconds": energy.seconds,
            "source": energy.source,
        }),
        Err(reason) => json!({ "absent": reason.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_per_token_above_idle_or_its_absence_is_stated() {
        let energy =
            Energy { joules: 50.0, idle_watts: 10.0, seconds: 2.0, source: "a counter".into() };
        let line = energy_line(&Ok(energy.clone()), 15);
        assert!(line.starts_with("energy: 2.00 J per token") && line.contains("a counter"));
        assert_eq!(energy_json(&Ok(energy), 15)["joules_per_token"], 2.0);
        let absent = NoCounter::Absent("/sys/class/powercap".into());
        assert!(energy_line(&Err(absent.clone()), 1).starts_with("energy: not measured: "));
        assert!(energy_json(&Err(absent), 1)["absent"].is_string());
    }
}
