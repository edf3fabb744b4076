//! `speckv train`: from recorded traces to the predictor's weights.

use std::collections::HashSet;

use serde_json::json;
use speckv::{cost::CostModel, predictor::Predictor};
use speckv_lab::{
    run_folder::{RunFolder, Settings},
    trace_file::TraceFile,
    training::{HeadReport, PromptExamples, Quality, TrainOptions, examples_of, fit, judge},
    workload::Split,
};

use super::profile::folder_failure;
use speckv_local::{
    failure::{Failure, Outcome},
    report::Reporter,
};

use crate::{
    args::{SplitChoice, TrainArgs},
    printer::Printer,
    table::Table,
};

pub(super) fn run(args: &TrainArgs, printer: &Printer) -> Outcome<()> {
    let (mut learned, mut others) = (Vec::new(), Vec::new());
    let (mut tokens, mut names) = (0, Vec::new());
    let (mut seen, mut repeated) = (HashSet::new(), 0);
    for folder in &args.trace {
        let folder = RunFolder::open(folder).map_err(|error| folder_failure(&error))?;
        let settings = &folder.run().settings;
        let cost = folder.run().origin.cost.clone().unwrap_or_default();
        let (name, pair) = (pair_name(settings), settings.pair());
        if !names.contains(&name) {
            names.push(name.clone());
        }
        for file in folder.load().map_err(|error| folder_failure(&error))? {
            // The same prompt of the same pair, recorded twice, teaches nothing twice.
            if !seen.insert((pair.clone(), file.prompt.id.clone())) {
                repeated += 1;
                continue;
            }
            let chosen = args.split.takes(file.prompt.split);
            let prompt = examples(&file, settings, &cost)?;
            if chosen {
                tokens += file.recording.trace.tokens.len();
                learned.push(prompt);
            } else {
                others.push(prompt);
            }
        }
    }
    let prompts = learned.iter().map(|prompt| &prompt.id).collect::<HashSet<_>>().len();
    if prompts < 2 {
        return Err(Failure::new(
            format!("expected traces of at least two prompts to train on, got {prompts}"),
            "record more with `speckv profile --trace`, or choose another --split",
        ));
    }
    if args.split.takes(Split::Test) && args.split != SplitChoice::Only(Split::Test) {
        printer.warning("training on test prompts: no figure on them means anything afterwards");
    }
    if repeated > 0 {
        printer.note(&format!(
            "{repeated} prompts were recorded more than once with the same pair and weights; the \
             first recording counts"
        ));
    }
    let texts = learned.len();
    printer.aside(&format!(
        "{prompts} prompts, {texts} texts, {tokens} tokens; cross-validation in {} parts",
        args.folds
    ));
    let options = TrainOptions {
        ridge: f64::from(args.ridge),
        epochs: args.epochs,
        seed: args.seed,
        ..TrainOptions::default()
    };
    let mut trained = fit(&learned, args.folds, &options);
    trained.predictor.origin = Some(format!(
        "{}; {prompts} prompts, {texts} texts, {tokens} tokens of greedy text",
        names.join(", ")
    ));
    let text = serde_json::to_string(&trained.predictor).map_err(Failure::bug)?;
    std::fs::write(&args.output, text + "\n")
        .map_err(|error| Failure::io("write", &args.output, &error))?;

    let unseen = (!others.is_empty()).then(|| judge(&trained.predictor, &others));
    let prior = (!others.is_empty()).then(|| judge(&Predictor::prior(), &others));
    if args.json {
        let of = |judged: &Option<Vec<_>>| {
            judged.as_ref().map(|heads: &Vec<(_, _, Option<Quality>)>| {
                let rows = heads.iter().map(
                    |(source, question, quality)| json!({"source": source, "question": question, "quality": quality}),
                );
                rows.collect::<Vec<_>>()
            })
        };
        return printer.json(&json!({
            "output": args.output.display().to_string(),
            "prompts": prompts,
            "texts": texts,
            "tokens": tokens,
            "folds": args.folds,
            "held_out": trained.heads,
            "other_split": {"prompts": others.len(), "trained": of(&unseen), "prior": of(&prior)},
        }));
    }
    printer
        .data(&format!("Held-out prompts of the training split:\n{}", held_out(&trained.heads)))?;
    if let (Some(unseen), Some(prior)) = (unseen, prior) {
        let mut table = Table::new(&HEADER);
        for ((source, question, ours), (.., prior)) in unseen.iter().zip(&prior) {
            for (kind, quality) in [("trained", ours), ("prior", prior)] {
                table.row(row(
                    &format!("{source:?}"),
                    &format!("{question:?}"),
                    kind,
                    *quality,
                    false,
                ));
            }
        }
        printer.data(&format!(
            "\n{} prompts of the other split, never trained on:\n{table}",
            others.len()
        ))?;
    }
    printer.data(&format!("\nweights: {}\n", args.output.display()))
}

const HEADER: [&str; 9] = [
    "source",
    "question",
    "weights",
    "outcomes",
    "true",
    "ECE",
    "Brier",
    "AUC",
    "gain over constant",
];

fn held_out(heads: &[HeadReport]) -> String {
    let mut table = Table::new(&HEADER);
    for head in heads {
        let kinds = [("logistic", head.logistic), ("mlp", head.mlp), ("prior", head.prior)];
        for (kind, quality) in kinds {
            let (source, question) = (format!("{:?}", head.source), format!("{:?}", head.question));
            table.row(row(&source, &question, kind, quality, head.chosen == kind));
        }
    }
    table.to_string()
}

fn row(
    source: &str,
    question: &str,
    kind: &str,
    quality: Option<Quality>,
    chosen: bool,
) -> Vec<String> {
    let kind = if chosen { format!("{kind} *") } else { kind.to_owned() };
    let mut cells = vec![source.to_lowercase(), question.to_lowercase(), kind];
    let Some(Quality { metrics, gain_over_constant }) = quality else {
        cells.push("0".into());
        return cells;
    };
    let number = |value: f64| format!("{value:.3}");
    cells.push(metrics.count.to_string());
    cells.extend([metrics.base_rate, metrics.ece_10, metrics.brier].map(number));
    cells.push(metrics.auc.map_or_else(|| "-".into(), number));
    cells.push(format!("{:.1} %", 100.0 * gain_over_constant));
    cells
}

fn examples(file: &TraceFile, settings: &Settings, cost: &CostModel) -> Outcome<PromptExamples> {
    let trace = &file.recording.trace;
    let examples = examples_of(trace, settings.facts(), cost).map_err(Failure::bug)?;
    Ok(PromptExamples { id: trace.prompt_id.clone(), task: trace.task.clone(), examples })
}

/// Target and draft in words.
fn pair_name(settings: &Settings) -> String {
    let draft = settings.draft.as_ref().map_or("look-up only", |draft| &draft.name);
    match settings.compression.as_str() {
        "asis" | "unknown" => format!("{} with {draft}", settings.target.name),
        compression => format!("{} as {compression} with {draft}", settings.target.name),
    }
}
