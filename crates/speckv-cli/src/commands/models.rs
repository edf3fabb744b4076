//! `speckv models`: the catalogue, and what is here of it.

use serde_json::json;
use speckv_local::{
    failure::Outcome, model_source::ModelSource, report::Reporter, store::State, units,
};

use crate::{args::ModelsArgs, printer::Printer};

pub(super) fn run(args: &ModelsArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let store = source.store()?;
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
    let widths: [usize; 5] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let line: String =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    printer.data(&text)?;
    printer.note(&format!("models are in {}", store.folder().display()));
    Ok(())
}
