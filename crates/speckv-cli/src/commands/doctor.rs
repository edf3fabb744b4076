//! `speckv doctor`: whether speculation helps on this machine with this model, in under a minute.

use std::{sync::Arc, time::Duration};

use speckv::engine::Clock;
use speckv_cpu::pool::Pool;
use speckv_lab::workload::{Split, Workload};
use speckv_local::{
    backend::{Backend, LocalModel, PairBackends},
    calibration::{self, Costs},
    controllers,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    machine, memory,
    model_source::ModelSource,
    pair::{Pair, PairFiles},
    pair_settings::PairSettings,
    provenance::shown_name,
    report::{Reporter, Unit},
    text::Conversation,
    units,
};

use crate::{
    answer,
    args::DoctorArgs,
    comparison::Text,
    curve::{
        read_buffer::{HostMemory, ReadBuffer, ReadMemory as _},
        spread::Spread,
    },
    device::{self, OnDevice},
    doctor::{
        advice::{self, Facts},
        report::{Report, Subject},
        selection,
        trial::{self, Controllers, Rules, Trial},
    },
    interrupt,
    pace::Pace,
    printer::Printer,
    settings::{self, AnswerSettings},
};

/// Context at which costs are shown.
const CONTEXT: usize = 256;
/// Tokens in a pass of the target, as shown.
const ROWS: [usize; 7] = [1, 2, 3, 5, 8, 12, 17];
/// Share of the time that is left for the comparison in any case.
const LEAST_SHARE: f64 = 0.25;
/// Reads of memory; their median is the rate.
const READS: usize = 5;

pub(super) fn run(args: &DoctorArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let sampling = crate::serving::no_sampling();
    let (pair, answers) = settings::resolve(&args.models, &sampling, &source.catalogue)?;
    settings::warn_of_threads(args.models.threads, printer);
    let interrupt = interrupt::install();
    let heard = interrupt.clone();
    let doctor = Doctor { args, pair: &pair, answers, source: &source, interrupt, printer };
    device::run(&pair, (&source, &heard), printer, doctor)
}

/// What is checked.
struct Doctor<'a> {
    args: &'a DoctorArgs,
    pair: &'a PairSettings,
    answers: AnswerSettings,
    source: &'a ModelSource,
    interrupt: Interrupt,
    printer: &'a Printer,
}

impl OnDevice for Doctor<'_> {
    type Output = ();

    fn run<B: Backend + Clone>(mut self, backends: &PairBackends<B>) -> Outcome<()> {
        let (printer, interrupt) = (self.printer, self.interrupt.clone());
        let files = PairFiles::open(self.pair, self.source, &interrupt, printer)?;
        let clock = Clock::system();
        let began = clock.now();
        let deadline = began + Duration::from_secs(self.args.seconds);
        let mut pair = Pair::from_files(backends, self.pair, files, printer)?;
        self.answers.follow(&pair.drafting, self.args.models.controller.is_some())?;
        printer.note(&pair.drafting.to_string());
        let drafts = self.answers.controller != controllers::OFF;
        let costs = calibration::costs(&pair, true, &interrupt, printer)?;
        let read_rate = read_rate(backends.target.name(), &pair);

        let pace = Pace::of(&costs.model);
        let left = deadline.saturating_sub(clock.now()).as_secs_f64();
        let budget = left.max(LEAST_SHARE * self.args.seconds as f64);
        let candidates = candidates(&pair)?;
        let times = if drafts { 2 } else { 1 };
        let chosen = selection::select(&candidates, pace, budget, times);
        printer.note(&format!(
            "answering {} built-in prompts{}, about {} at most",
            chosen.texts.len(),
            if drafts { " with and without speculation" } else { "" },
            units::duration(Duration::from_secs_f64(chosen.seconds.min(budget)))
        ));
        let parts = self.answers.parts(&pair, Some(&costs))?;
        let (plain, speculative) =
            (|| controllers::OFF.build(&parts), || self.answers.controller.build(&parts));
        let all: [&Controllers<'_>; 2] = [&plain, &speculative];
        let rules = Rules {
            controllers: all[..times].to_vec(),
            max_tokens: chosen.max_tokens,
            end_tokens: pair.text.end_tokens().to_vec(),
            deadline: clock.now() + Duration::from_secs_f64(budget),
        };
        let mut progress = printer.progress("answering", Unit::Items, Duration::from_secs(1));
        let trials =
            trial::run(&mut pair.engine, &clock, &chosen.texts, &rules, &mut |done, total| {
                progress.at(done, total);
                !interrupt.is_raised()
            });
        progress.finish();
        let trials = trials.map_err(|error| answer::engine_failure(&error))?;
        if trials.is_empty() {
            return Err(Failure::interrupted(
                "stopped before a prompt had been answered",
                "run it again for a verdict; --seconds takes less time",
            ));
        }
        if let Some(why) = &pair.engine.draft_failures().last {
            printer.warning(&format!("drafting ended, answers went on without it: {why}"));
        }
        let seconds = (clock.now() - began).as_secs_f64();
        let report = self.report(
            backends.target.name(),
            &pair,
            &costs,
            read_rate,
            (trials, seconds),
            &rules,
        );
        if self.args.json {
            printer.json(&report)?
        } else {
            printer.data(&report.as_text())?
        }
        if report.mismatches() > 0 {
            return Err(Failure::new(
                format!("{} answers differ from plain decoding", report.mismatches()),
                "this is a bug in speckv; please report it with the output of `speckv identity \
                 --json`",
            ));
        }
        Ok(())
    }
}

impl Doctor<'_> {
    fn report<M: LocalModel>(
        &self,
        device: &str,
        pair: &Pair<M>,
        costs: &Costs,
        read_rate: Option<f64>,
        (trials, seconds): (Vec<Trial>, f64),
        rules: &Rules<'_>,
    ) -> Report {
        let target = pair.engine.target();
        let verify_ms =
            ROWS.map(|rows| (rows, 1e3 * costs.model.verify_seconds(rows, CONTEXT))).into_iter();
        let draft = pair.draft.as_ref().map(|_| costs.model.draft_seconds(CONTEXT));
        let one = costs.model.verify_seconds(1, CONTEXT);
        let drafting = pair.drafting.to_string();
        let changes = advice::changes(&Facts {
            drafting: &pair.drafting,
            threads: target.threads(),
            default_threads: machine::threads().get(),
            five_to_one: costs.model.verify_seconds(5, CONTEXT) / one,
            draft_to_one: draft.map(|seconds| seconds / one),
        });
        let subject = Subject {
            model: shown_name(&pair.target_path.display().to_string()),
            weights: target.weight_type().name().to_owned(),
            pass_bytes: target.pass_bytes(),
            device: device.to_owned(),
            processor: target.processor(),
            machine: machine::describe(),
            threads: target.threads(),
            draft: pair.drafting.name(),
            drafting: drafting.strip_prefix("drafting: ").unwrap_or(&drafting).to_owned(),
            controller: self.answers.controller.to_string(),
            read_rate,
            verify_ms: verify_ms.collect(),
            draft_ms: draft.map(|seconds| 1e3 * seconds),
            max_tokens: rules.max_tokens,
        };
        Report::new(subject, trials, changes, seconds)
    }
}

/// Bytes of main memory that the model's threads read per second; `None` for models elsewhere, and
/// where there is no room to measure.
fn read_rate<M: LocalModel>(device: &str, pair: &Pair<M>) -> Option<f64> {
    let target = pair.engine.target();
    let bytes = target.pass_bytes();
    // As much as a pass reads, so that caches help both alike; twice that has to be free.
    if device != "cpu" || memory::available().is_some_and(|free| free < 2 * bytes) {
        return None;
    }
    let threads = target.threads().try_into().ok()?;
    let pool = Arc::new(Pool::new(threads).ok()?);
    let buffer = ReadBuffer::new(usize::try_from(bytes).ok()?).ok()?;
    let memory = HostMemory { buffer, pool };
    let rates: Option<Vec<f64>> = (0..READS).map(|_| memory.rate().ok()).collect();
    Some(Spread::of(rates?).median).filter(|rate| *rate > 0.0)
}

/// The built-in test prompts that leave room for an answer.
fn candidates<M: LocalModel>(pair: &Pair<M>) -> Outcome<Vec<Text>> {
    let workload = Workload::builtin().map_err(Failure::bug)?;
    let context = pair.engine.target().context_length();
    let mut texts = Vec::new();
    for prompt in workload.select(Split::Test, None) {
        let conversation = Conversation::new(prompt.system.as_deref());
        let tokens = conversation.prompt(&prompt.prompt, &pair.text)?.tokens;
        if 2 * tokens.len() < context {
            texts.push(Text { id: prompt.id.clone(), task: prompt.task.clone(), tokens });
        }
    }
    if texts.is_empty() {
        return Err(Failure::new(
            format!("no built-in prompt fits a context of {context} tokens"),
            "give a larger --ctx, or a model that was made for more",
        ));
    }
    Ok(texts)
}
