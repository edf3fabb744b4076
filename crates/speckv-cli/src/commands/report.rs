//! `speckv report`: recordings and measurements as one HTML file with figures.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Zoned;
use serde_json::json;
use speckv::cost::CostModel;
use speckv_lab::{
    grid::GridFolder,
    report::{
        Content, Inputs,
        figures::all,
        inputs::{Contest, CurveFile, TraceInput},
        origins::disagreements,
        page::html,
        svg::document,
    },
    run_folder::RunFolder,
};

use super::profile::{folder_failure, grid_failure};
use speckv_local::{
    failure::{Failure, Outcome, chain},
    predictor_weights::{self, Weights},
    report::Reporter,
};

use crate::{args::ReportArgs, printer::Printer};

pub(super) fn run(args: &ReportArgs, printer: &Printer) -> Outcome<()> {
    let inputs = read(args)?;
    if inputs.grid.is_none()
        && inputs.trace.is_none()
        && inputs.contests.is_empty()
        && inputs.curves.is_empty()
    {
        return Err(Failure::usage(
            "there is nothing to report on",
            "give --grid DIR, --trace DIR, --bench FILE, --evaluation FILE or --curve FILE; \
             `speckv report --help` says which command makes each",
        ));
    }
    let warnings = disagreements(&inputs);
    for warning in &warnings {
        printer.warning(warning);
    }
    let (figures, missing) = all(&inputs);
    let folder = args.output.join("figures");
    fs::create_dir_all(&folder).map_err(|error| Failure::io("make the folder", &folder, &error))?;
    let write = |path: PathBuf, text: &str| {
        fs::write(&path, text).map_err(|error| Failure::io("write", &path, &error)).map(|()| path)
    };
    let date = args.date.clone().unwrap_or_else(|| Zoned::now().date().to_string());
    let text = html(&args.title, &date, &inputs, &figures, &missing);
    let page = write(args.output.join("report.html"), &text)?;
    let mut drawn = Vec::new();
    for figure in &figures {
        if let Content::Panels(panels) = &figure.content {
            drawn.push(write(
                folder.join(format!("{}.svg", figure.id)),
                &document(figure.title, panels),
            )?);
        }
    }
    for figure in &missing {
        printer.note(&format!("left out: {}; its data: {}", figure.title, figure.command));
    }
    if args.json {
        return printer.json(&json!({
            "report": page.display().to_string(),
            "figures": drawn.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
            "left_out": missing,
            "warnings": warnings,
        }));
    }
    printer.data(&format!(
        "{} with {} figures, {} left out\n",
        page.display(),
        figures.len(),
        missing.len()
    ))
}

fn read(args: &ReportArgs) -> Outcome<Inputs> {
    let mut inputs = Inputs::default();
    if let Some(path) = &args.grid {
        let folder = GridFolder::open(path).map_err(|error| grid_failure(&error))?;
        let steps = folder.steps().map_err(|error| grid_failure(&error))?;
        inputs.grid = Some((folder.run().clone(), steps));
    }
    if let Some(path) = &args.trace {
        inputs.trace = Some(trace(path, args.predictor.as_deref())?);
    }
    for path in args.bench.iter().chain(&args.evaluation) {
        let hint = "give report.json of `speckv bench --output DIR`, or evaluation.json of \
            `speckv evaluate --output DIR`";
        let contests = Contest::from_json(&text(path)?)
            .map_err(|error| Failure::new(error, hint).about(path.display()))?;
        inputs.contests.extend(contests);
    }
    for path in &args.curve {
        let hint = "give what `speckv bench --curve MODEL --json` prints";
        let curve: CurveFile = serde_json::from_str(&text(path)?)
            .map_err(|error| Failure::new(error, hint).about(path.display()))?;
        inputs.curves.push(curve);
    }
    Ok(inputs)
}

fn text(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))
}

fn trace(path: &Path, predictor: Option<&str>) -> Outcome<TraceInput> {
    let folder = RunFolder::open(path).map_err(|error| folder_failure(&error))?;
    let files = folder.load().map_err(|error| folder_failure(&error))?;
    let run = folder.run().clone();
    let shapes =
        (&run.settings.target.shape, run.settings.draft.as_ref().map(|draft| &draft.shape));
    let Weights { predictor, name: predictor_name } =
        predictor_weights::read(predictor)?.of(shapes.0, shapes.1)?;
    let predictor = (*predictor).clone();
    let cost = run.origin.cost.clone().unwrap_or_else(CostModel::uncalibrated);
    if let Some(file) = files.iter().find(|file| file.recording.trace.check().is_err()) {
        let error =
            file.recording.trace.check().err().map_or_else(String::new, |error| chain(&error));
        return Err(Failure::new(
            error,
            "delete this prompt's file and run `speckv profile --trace` again",
        ));
    }
    Ok(TraceInput { run, files, predictor, predictor_name, cost })
}
