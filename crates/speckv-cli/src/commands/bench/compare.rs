//! `speckv bench`: plain decoding, fixed gammas and controllers on one workload, in one table.

use std::fs;

use crate::{
    args::ComparisonOptions,
    comparison::{Report, live::Live},
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    printer::Printer,
};

pub(super) fn run(
    options: &ComparisonOptions,
    rounds: Option<usize>,
    threads: Option<usize>,
    json: bool,
    printer: &Printer,
) -> Outcome<()> {
    let live = Live::run(options, rounds, threads, &Interrupt::install(), printer)?;
    let Live { subject, texts, contestants, race, .. } = live;
    let report = Report::new(subject, &texts, &contestants, &race.samples, race.stopped);
    if let Some(folder) = &options.output {
        let path = folder.join("report.json");
        let text = serde_json::to_string_pretty(&report).map_err(Failure::bug)?;
        fs::write(&path, text + "\n").map_err(|error| Failure::io("write", &path, &error))?;
    }
    if json {
        printer.json(&report)?
    } else {
        printer.data(&report.as_text())?
    }
    if report.mismatches > 0 {
        return Err(Failure::new(
            format!("{} answers differ from plain decoding", report.mismatches),
            "this is a bug in speckv; please report it with the output of `speckv identity --json`",
        ));
    }
    if race.stopped {
        return Err(Failure::interrupted(
            "stopped before the end",
            "the numbers above are of what was measured so far",
        ));
    }
    Ok(())
}
