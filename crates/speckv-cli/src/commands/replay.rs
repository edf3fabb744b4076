//! `speckv replay`: what any controller would have done on recorded texts.

use std::path::Path;

use serde_json::json;
use speckv::cost::CostModel;
use speckv_lab::{
    comparison::{Comparison, Group, Row, compare},
    run_folder::{Run, RunFolder},
    trace::Trace,
};
use speckv_local::controllers::ControllerParts;

use super::profile::folder_failure;
use speckv_local::{
    cost_file,
    failure::{Failure, Outcome, chain},
    predictor_weights::{Predictors, Weights},
    report::Reporter,
};

use crate::{args::ReplayArgs, comparison::contestant, printer::Printer, table::Table};

/// Controllers beside the fixed gammas, where the user names none.
const DEFAULT: [&str; 14] = [
    "off",
    "confidence",
    "confidence:0.4",
    "heuristic",
    "entropy:svip",
    "entropy:adaedl",
    "ema",
    "expected-value",
    "adaptive-verification",
    "paper",
    "chain+fixed:3",
    "chain+speckv",
    "speckv@model",
    "speckv",
];

pub(super) fn run(args: &ReplayArgs, printer: &Printer) -> Outcome<()> {
    let folder = RunFolder::open(&args.trace).map_err(|error| folder_failure(&error))?;
    let run = folder.run();
    let cost = cost(&args.cost, run)?;
    let Predictors { paper, acceptance } = Predictors::read(
        args.predictors.paper_weights.as_deref(),
        args.predictors.predictor.as_deref(),
    )?;
    let Weights { predictor, name: predictor_name } = acceptance
        .of(&run.settings.target.shape, run.settings.draft.as_ref().map(|draft| &draft.shape))?;
    let traces: Vec<Trace> = folder
        .load()
        .map_err(|error| folder_failure(&error))?
        .into_iter()
        .filter(|file| args.split.takes(file.prompt.split))
        .map(|file| file.recording.trace)
        .collect();
    let gamma_max = run.settings.gamma_max;
    let has_model = run.settings.draft.is_some();
    let names = if args.controllers.is_empty() {
        let mut names = all_controllers(gamma_max, has_model);
        if run.settings.block_max > 0 {
            names.extend(contestant::parallel_names().map(str::to_owned));
        }
        names
    } else {
        args.controllers.clone()
    };
    let contestants: Result<Vec<_>, _> =
        names.iter().map(|name| contestant::parse(name, has_model)).collect();
    let contestants = contestants
        .map_err(|words| Failure::told(&words, "`speckv replay --help` names the controllers"))?;
    contestant::check_parallel(&contestants, run.settings.block_max > 0)
        .map_err(|words| Failure::told(&words, "`speckv replay --help` names the controllers"))?;
    let parts = ControllerParts {
        cost: cost.clone(),
        predictor: Some(predictor),
        facts: run.settings.facts(),
        paper,
        ..ControllerParts::default()
    };
    let comparison = compare(&contestants, &parts, &traces, &cost, gamma_max).map_err(|error| {
        Failure::new(
            chain(&error),
            "`speckv profile --trace DIR --gamma-max N` records deeper; --split chooses prompts",
        )
    })?;
    if args.json {
        return printer.json(&json!({
            "traces": args.trace.display().to_string(),
            "target": run.settings.target.name,
            "draft": run.settings.draft.as_ref().map(|draft| &draft.name),
            "gamma_max": gamma_max,
            "predictor": predictor_name,
            "cost": cost,
            "groups": comparison.groups,
        }));
    }
    printer.data(&text(&comparison))?;
    let cut = comparison.groups.first().into_iter().flat_map(|group| &group.controllers);
    let cut: Vec<String> = cut
        .filter(|row| row.cut_steps > 0)
        .map(|row| format!("{} in {}", row.controller, row.cut_steps))
        .collect();
    if !cut.is_empty() {
        printer.note(&format!(
            "the recording is {gamma_max} tokens deep, and these would have drafted further in \
             some steps: {}; their rows are \
             exact only up to there",
            cut.join(", ")
        ));
    }
    printer.aside(&format!(
        "steps and acceptance are exact, all speeds are modelled by the cost model; predictor: \
         {predictor_name}; drafts cut at {gamma_max}"
    ));
    Ok(())
}

fn all_controllers(gamma_max: usize, has_model: bool) -> Vec<String> {
    let fixed = (1..=gamma_max.min(8)).map(|gamma| format!("fixed:{gamma}"));
    let rest = DEFAULT[1..].iter().filter(|name| {
        (gamma_max >= 3 || !name.ends_with(":3")) && (has_model || !name.ends_with("@model"))
    });
    let names = DEFAULT[..1].iter().map(|&name| name.to_owned()).chain(fixed);
    names.chain(rest.map(|&name| name.to_owned())).collect()
}

fn cost(asked: &str, run: &Run) -> Outcome<CostModel> {
    match (asked, &run.origin.cost) {
        ("trace", Some(cost)) => Ok(cost.clone()),
        ("trace", None) => Err(Failure::usage(
            "these traces were recorded without measured costs",
            "give --cost FILE with a curve such as {\"verify_ms\": [40, 41, 43], \"draft_ms\": \
             14, \"catch_up_ms\": 4}",
        )),
        (path, _) => cost_file::read(Path::new(path)),
    }
}

fn text(comparison: &Comparison) -> String {
    let mut text = String::new();
    for group in &comparison.groups {
        text.push_str(&heading(group));
        let mut table = Table::new(&[
            "controller",
            "modelled tokens/s",
            "modelled x off",
            "modelled x best fixed",
            "modelled share of oracle",
            "rate",
            "length",
            "steps by gamma 0, 1, 2, ...",
        ]);
        group.controllers.iter().for_each(|row| table.row(cells(row)));
        text.push_str(&table.to_string());
        text.push('\n');
    }
    text
}

fn heading(group: &Group) -> String {
    format!(
        "{}: {} prompts, {} tokens; modelled: off {:.2} tokens/s, best fixed gamma {} makes {:.3} \
         x off, the oracle {:.3} x off, {:.3} with the model alone\n",
        group.task,
        group.prompts,
        group.tokens,
        group.modelled_off_tokens_per_second,
        group.best_fixed_gamma,
        group.modelled_best_fixed_ratio_to_off,
        group.modelled_oracle_ratio_to_off,
        group.modelled_model_oracle_ratio_to_off
    )
}

fn cells(row: &Row) -> Vec<String> {
    let histogram: Vec<String> = row.gamma_histogram.iter().map(ToString::to_string).collect();
    vec![
        row.controller.clone(),
        format!("{:.2}", row.modelled_tokens_per_second),
        format!("{:.3}", row.modelled_ratio_to_off),
        format!("{:.3}", row.modelled_ratio_to_best_fixed),
        format!("{:.1} %", 100.0 * row.modelled_share_of_oracle),
        row.acceptance_rate.map_or_else(|| "-".into(), |rate| format!("{rate:.3}")),
        format!("{:.2}", row.acceptance_length),
        histogram.join(" "),
    ]
}
