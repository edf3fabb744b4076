//! `speckv evaluate`: controllers against a baseline, live and paired by prompt; or two saved
//! evaluations against each other.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use serde_json::json;
use speckv::model::LanguageModel;
use speckv_lab::{
    evaluation::{Conditions, Evaluation, FLIPS, FORMAT, File, PromptId, Side, Verdict},
    statistics::{
        FEWEST_UNITS,
        throughput::{Cell, RESAMPLES},
    },
};
use speckv_local::{
    failure::{Failure, Outcome},
    model_source::ModelSource,
    pair_settings::PairSettings,
    provenance,
    report::Reporter,
};

use crate::{
    args::EvaluateArgs,
    comparison::{
        Contestant, Sample, Text,
        live::{Contest, Live},
    },
    interrupt,
    printer::Printer,
    settings,
    table::Table,
};

pub(super) fn run(args: &EvaluateArgs, printer: &Printer) -> Outcome<()> {
    if args.saved.is_empty() { live(args, printer) } else { saved(args, printer) }
}

fn live(args: &EvaluateArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let contest = Contest::new(&args.comparison, false, &source)?;
    if !contest.contestants.iter().any(|contestant| contestant.name == args.baseline) {
        let names: Vec<&str> =
            contest.contestants.iter().map(|contestant| contestant.name.as_str()).collect();
        return Err(Failure::usage(
            format!("the baseline {:?} does not take part", args.baseline),
            format!("give it in --controllers or --gammas; {} took part", names.join(", ")),
        ));
    }
    let interrupt = interrupt::install();
    let threads = settings::capped_threads(args.threads, printer);
    let settings = PairSettings {
        context: args.comparison.ctx,
        devices: args.devices.choices(args.comparison.recalibrate),
        ..settings::pair_settings(
            contest.target.clone(),
            contest.draft.clone(),
            threads,
            &args.weights,
            args.cache,
        )
    };
    let (rounds, folder) = (args.rounds.unwrap_or(1), args.comparison.output.as_deref());
    let around = (&source, &interrupt, printer);
    let live = Live::run(&contest, &settings, &args.comparison, rounds, folder, around)?;
    let subject = &live.subject;
    let draft = subject.draft.clone().zip(subject.draft_sha256.clone());
    let conditions = Conditions {
        machine: subject.origin.machine.clone(),
        instruction_set: subject.instruction_set.clone(),
        threads: subject.threads,
        target: File { name: subject.target.clone(), sha256: subject.target_sha256.clone() },
        compression: provenance::weights_name(&subject.compression, settings.cache_type),
        draft: draft.map(|(name, sha256)| File { name, sha256 }),
        draft_compression: subject.draft_compression.clone(),
        draft_head: live.pair.draft.is_some().then(|| settings.draft_head.to_string()),
        spoiled_draft: subject.spoiled_draft,
        cold_draft: subject.cold_draft,
        predictor: Some(subject.predictor.clone()),
        ctx: Some(live.pair.engine.target().context_length()),
        max_tokens: subject.max_tokens,
    };
    let evaluation = evaluation(&live, &live.contestants, conditions).judged(&args.baseline);
    if let Some(folder) = &args.comparison.output {
        let path = folder.join("evaluation.json");
        let text = serde_json::to_string_pretty(&evaluation).map_err(Failure::bug)?;
        fs::write(&path, text + "\n").map_err(|error| Failure::io("write", &path, &error))?;
    }
    if args.json {
        printer.json(&evaluation)?;
    } else {
        let head = format!(
            "{} prompts ({} split), {} round{}, {}\n\n",
            evaluation.prompts.len(),
            evaluation.split,
            evaluation.rounds,
            if evaluation.rounds == 1 { "" } else { "s" },
            evaluation.conditions.machine
        );
        printer.data(&(head + &speeds(&evaluation) + "\n" + &text(&evaluation.verdicts)))?;
    }
    if evaluation.mismatches > 0 {
        return Err(Failure::new(
            format!("{} answers differ from plain decoding", evaluation.mismatches),
            "this is a bug in speckv; please report it with the output of `speckv identity --json`",
        ));
    }
    if evaluation.stopped {
        return Err(Failure::interrupted(
            "stopped before the end",
            "the numbers above are of what was measured so far",
        ));
    }
    Ok(())
}

fn evaluation(live: &Live, contestants: &[Contestant], conditions: Conditions) -> Evaluation {
    let samples = &live.race.samples;
    let answered: Vec<usize> = (0..live.texts.len())
        .filter(|&prompt| samples.iter().any(|sample| sample.prompt == prompt))
        .collect();
    let sides = contestants.iter().enumerate().map(|(index, contestant)| {
        let mine = || samples.iter().filter(move |sample| sample.contestant == index);
        let mut cells: BTreeMap<usize, Cell> = BTreeMap::new();
        for sample in mine() {
            let cell = cells.entry(sample.prompt).or_default();
            cell.tokens += sample.totals.produced as f64;
            cell.seconds += sample.totals.times.total.as_secs_f64();
        }
        Side {
            name: contestant.name.clone(),
            cells: cells.into_values().collect(),
            gamma_histogram: histogram(mine()),
        }
    });
    Evaluation {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        command: provenance::command(),
        conditions,
        split: live.subject.split.clone(),
        rounds: live.subject.rounds,
        seed: live.subject.seed,
        stopped: live.race.stopped,
        mismatches: samples.iter().filter(|sample| !sample.identical).count(),
        prompts: answered
            .iter()
            .map(|&prompt| {
                let Text { id, task, tokens } = &live.texts[prompt];
                PromptId {
                    id: id.clone(),
                    task: task.clone(),
                    digest: provenance::digest_of_tokens(tokens),
                }
            })
            .collect(),
        sides: sides.collect(),
        verdicts: Vec::new(),
    }
}

fn histogram<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<usize> {
    let mut counts = Vec::new();
    for of_sample in samples.map(|sample| &sample.totals.gamma_histogram) {
        if counts.len() < of_sample.len() {
            counts.resize(of_sample.len(), 0);
        }
        counts.iter_mut().zip(of_sample).for_each(|(sum, count)| *sum += count);
    }
    counts
}

fn saved(args: &EvaluateArgs, printer: &Printer) -> Outcome<()> {
    let [before, after] = &args.saved[..] else {
        return Err(Failure::usage(
            "expected two saved evaluations",
            "give --saved BEFORE.json --saved AFTER.json",
        ));
    };
    let (before, after) = (read(before)?, read(after)?);
    let differences = after.differences(&before);
    if !differences.is_empty() {
        let said = differences.join("; ");
        if !args.despite_differences {
            return Err(Failure::new(
                format!("the two runs were not made under the same conditions: {said}"),
                "measure both on one machine with the same files; --despite-differences compares \
                 them as they are",
            ));
        }
        printer.warning(&format!("not the same conditions: {said}"));
    }
    let verdicts = after.against(&before);
    if verdicts.is_empty() {
        return Err(Failure::new(
            "the two runs have no contestant and prompt in common",
            "evaluate the same --controllers on the same --split and --tasks",
        ));
    }
    if args.json {
        return printer.json(&json!({ "differences": differences, "verdicts": verdicts }));
    }
    printer.data(&text(&verdicts))
}

/// A saved evaluation.
pub(super) fn read(path: &Path) -> Outcome<Evaluation> {
    let hint = "`speckv evaluate --output DIR` writes DIR/evaluation.json; give that file";
    let text = fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    let evaluation: Evaluation = serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!("no evaluation: {error}"), hint).about(path.display())
    })?;
    let wrong = |what: String| Err(Failure::new(what, hint).about(path.display()));
    if evaluation.format != FORMAT {
        return wrong(format!("expected format {FORMAT}, got {}", evaluation.format));
    }
    match evaluation.sides.iter().find(|side| side.cells.len() != evaluation.prompts.len()) {
        Some(side) => wrong(format!(
            "expected {} answers of {}, got {}",
            evaluation.prompts.len(),
            side.name,
            side.cells.len()
        )),
        None => Ok(evaluation),
    }
}

fn speeds(evaluation: &Evaluation) -> String {
    let mut table = Table::new(&["setting", "tokens/s"]);
    for side in &evaluation.sides {
        let speed = speckv_lab::statistics::throughput::throughput(&side.cells);
        table.row(vec![
            side.name.clone(),
            speed.map_or_else(|| "-".into(), |speed| format!("{speed:.2}")),
        ]);
    }
    table.to_string()
}

fn text(verdicts: &[Verdict]) -> String {
    let head = [
        "of",
        "against",
        "ratio of tokens/s",
        "typical prompt",
        "faster on",
        "Wilcoxon p",
        "Holm p",
        "sign-flip p",
        "rank-biserial",
        "d_z",
    ];
    let mut table = Table::new(&head);
    let p = |p: f64| if p < 1e-4 { format!("{p:.1e}") } else { format!("{p:.4}") };
    for verdict in verdicts {
        let ratio = verdict.ratio;
        table.row(vec![
            verdict.of.clone(),
            verdict.against.clone(),
            crate::comparison::table::bracketed(&ratio),
            format!("{:.3}", verdict.typical_ratio),
            format!("{}/{}", verdict.faster_on, verdict.prompts),
            verdict.signed_rank.map_or_else(|| "-".into(), |test| p(test.p_value)),
            p(verdict.holm_p),
            p(verdict.sign_flip_p),
            format!("{:+.2}", verdict.rank_biserial),
            verdict.cohens_dz.map_or_else(|| "-".into(), |d| format!("{d:+.2}")),
        ]);
    }
    let mut text = table.to_string();
    let _ = write!(
        text,
        "\nPaired by prompt. Brackets: 95 % intervals, {RESAMPLES} resamples of prompts. Tests \
         are two-sided, on logarithms of the ratios per prompt: Wilcoxon's signed\n\
         ranks and {FLIPS} flips of signs. "
    );
    text.push_str(&match verdicts.len() {
        0 | 1 => "One comparison: nothing to adjust.\n".to_owned(),
        count => format!(
            "{count} comparisons were made together: of unadjusted p-values below 0.05 one in \
             twenty would come by chance;\n\
             hold Holm's p against 0.05 instead.\n"
        ),
    });
    if verdicts.iter().any(|verdict| verdict.prompts < FEWEST_UNITS) {
        let _ = writeln!(
            text,
            "With fewer than {FEWEST_UNITS} prompts there are no intervals, and no p-value can be \
             below 0.05, however large the difference."
        );
    }
    text
}
