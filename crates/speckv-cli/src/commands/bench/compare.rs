//! `speckv bench`: plain decoding, fixed gammas and controllers on one workload, in one table.

use std::fs;

use speckv_lab::columns;
use speckv_local::{
    failure::{Failure, Outcome},
    model_source::ModelSource,
    pair_settings::PairSettings,
};

use crate::{
    args::{BenchArgs, WeightArgs},
    comparison::{
        self, Report, Sample,
        live::{Contest, Live},
    },
    interrupt,
    printer::Printer,
    settings,
};

/// Rounds where the user gives no number.
const ROUNDS: usize = 1;

pub(super) fn run(args: &BenchArgs, printer: &Printer) -> Outcome<()> {
    let BenchArgs {
        comparison: options,
        compression: compressions,
        draft_weights,
        rounds,
        threads,
        json,
        ..
    } = args;
    let json = *json;
    let source = ModelSource::from_environment();
    let several = compressions.len() > 1;
    let contest = Contest::new(options, several, &source)?;
    let interrupt = interrupt::install();
    let threads = settings::capped_threads(*threads, printer);
    let mut reports = Vec::new();
    for &compression in compressions {
        let weights = WeightArgs { compression, draft: draft_weights.clone() };
        let settings = PairSettings {
            context: options.ctx,
            devices: args.devices.choices(options.recalibrate),
            ..settings::pair_settings(
                contest.target.clone(),
                contest.draft.clone(),
                threads,
                &weights,
                args.cache,
            )
        };
        let folder = match &options.output {
            Some(folder) if several => Some(folder.join(compression.to_string())),
            folder => folder.clone(),
        };
        let around = (&source, &interrupt, printer);
        let live = Live::run(
            &contest,
            &settings,
            options,
            rounds.unwrap_or(ROUNDS),
            folder.as_deref(),
            around,
        )?;
        let Live { subject, texts, contestants, race, energy, .. } = live;
        let report =
            Report::new(subject, &texts, &contestants, &race.samples, energy, race.stopped);
        if let Some(folder) = folder {
            let path = folder.join("report.json");
            let text = serde_json::to_string_pretty(&report).map_err(Failure::bug)?;
            let table = Sample::columns(&race.samples, &texts, &contestants);
            let parquet = columns::to_parquet(Sample::TABLE, &table, Sample::REPORT_KEY, &text)
                .map_err(Failure::bug)?;
            fs::write(&path, text + "\n").map_err(|error| Failure::io("write", &path, &error))?;
            let path = folder.join("samples.parquet");
            fs::write(&path, parquet).map_err(|error| Failure::io("write", &path, &error))?;
        }
        if !json {
            let head = if several { format!("{compression}\n") } else { String::new() };
            printer.data(&format!("{head}{}", report.as_text()))?;
        }
        let stopped = report.stopped;
        reports.push(report);
        if stopped {
            break;
        }
    }
    match reports.as_slice() {
        [report] if json && !several => printer.json(report)?,
        reports if json => printer.json(&reports)?,
        [_] => {}
        reports => printer.data(&comparison::across_compressions(reports))?,
    }
    let mismatches: usize = reports.iter().map(|report| report.mismatches).sum();
    if mismatches > 0 {
        return Err(Failure::new(
            format!("{mismatches} answers differ from plain decoding"),
            "this is a bug in speckv; please report it with the output of `speckv identity --json`",
        ));
    }
    if reports.last().is_some_and(|report| report.stopped) {
        return Err(Failure::interrupted(
            "stopped before the end",
            "the numbers above are of what was measured so far",
        ));
    }
    Ok(())
}
