//! `speckv models`: the catalogue, what is here of it, and what lies in other programs' caches.

use serde_json::{Value as Json, json};
use speckv_local::{
    failure::Outcome,
    found_models::{FoundModel, obstacles_of},
    model_source::ModelSource,
    report::Reporter,
    store::State,
    units,
};

use crate::{args::ModelsArgs, printer::Printer};

pub(super) fn run(args: &ModelsArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let store = source.store()?;
    let found = source.caches.models();
    if args.json {
        let models: Vec<_> = source
            .catalogue
            .entries()
            .iter()
            .map(|entry| {
                let (state, bytes) = match store.state(entry) {
                    State::Absent => ("absent", 0),
                    State::Partial(bytes) => ("partial", bytes),
                    State::Ready => ("ready", entry.size),
                    State::WrongSize(bytes) => ("wrong_size", bytes),
                };
                json!({
                    "name": entry.name,
                    "title": entry.title,
                    "purpose": entry.purpose,
                    "size": entry.size,
                    "sha256": entry.sha256,
                    "licence": { "name": entry.licence.name, "url": entry.licence.url, "restricted": entry.licence.restricted },
                    "sources": entry.sources.iter().map(speckv_local::catalogue::Source::describe).collect::<Vec<_>>(),
                    "state": state,
                    "bytes_here": bytes,
                    "path": store.path(entry).display().to_string(),
                })
            })
            .collect();
        return printer.json(&json!({
            "folder": store.folder(),
            "default_target": source.catalogue.default_pair()[0],
            "default_draft": source.catalogue.default_pair()[1],
            "models": models,
            "found": found.iter().map(found_json).collect::<Vec<_>>(),
        }));
    }
    let header = ["NAME", "SIZE", "LICENCE", "HERE", "WHAT FOR"].map(str::to_owned);
    let rows = source.catalogue.entries().iter().map(|entry| {
        let here = match store.state(entry) {
            State::Absent => "no".into(),
            State::Partial(bytes) => format!("{} %", bytes * 100 / entry.size.max(1)),
            State::Ready => "yes".into(),
            State::WrongSize(bytes) => format!("another file of {}", units::bytes(bytes)),
        };
        [
            entry.name.clone(),
            units::bytes(entry.size),
            entry.licence.name.clone(),
            here,
            entry.purpose.clone(),
        ]
    });
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(rows).collect();
    printer.data(&table(&rows))?;
    if !found.is_empty() {
        let header = ["IN THE CACHE OF", "SIZE", "RUNS", "NAME"].map(str::to_owned);
        let rows: Vec<[String; 4]> =
            std::iter::once(header).chain(found.iter().map(found_row)).collect();
        printer.data(&format!("\n{}", table(&rows)))?;
        printer.note("`speckv models --json` has their paths; `speckv inspect PATH` says why not");
    }
    printer.note(&format!("models are in {}", store.folder().display()));
    Ok(())
}

/// A model of another program's cache. Whether it runs is told from its header.
fn found_row(model: &FoundModel) -> [String; 4] {
    let runs = if obstacles_of(&model.path).is_empty() { "yes" } else { "no" };
    let owner = model.owner.name().to_owned();
    [owner, units::bytes(model.size), runs.to_owned(), model.name.clone()]
}

fn found_json(model: &FoundModel) -> Json {
    let obstacles = obstacles_of(&model.path);
    json!({
        "cache": model.owner.name(),
        "name": model.name,
        "path": model.path.display().to_string(),
        "size": model.size,
        "supported": obstacles.is_empty(),
        "obstacles": obstacles,
    })
}

/// Rows in columns.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for row in rows {
        let line: String =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
