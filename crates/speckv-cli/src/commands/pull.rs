//! `speckv pull`: downloads models by catalogue name or by repository.

use serde_json::{Value as Json, json};
use speckv_local::{
    catalogue::Entry, failure::Outcome, hub::HubName, interrupt::Interrupt,
    model_source::ModelSource, report::Reporter, units,
};

use crate::{args::PullArgs, interrupt, printer::Printer};

pub(super) fn run(args: &PullArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let names = if args.names.is_empty() {
        source.catalogue.default_pair().as_slice()
    } else {
        &args.names
    };
    // All names are checked before the first byte is fetched.
    let wanted = names.iter().map(|name| Wanted::of(name, &source)).collect::<Outcome<Vec<_>>>()?;
    let interrupt = interrupt::install();
    let mut report = Vec::new();
    for one in wanted {
        let found = match one {
            Wanted::Entry(entry) => from_catalogue(entry, &source, &interrupt, printer)?,
            Wanted::Repository(name) => from_hub(&name, &source, &interrupt, printer)?,
        };
        if !args.json {
            printer.data(&format!("{}\n", found["path"].as_str().unwrap_or_default()))?;
        }
        report.push(found);
    }
    if args.json { printer.json(&json!({ "models": report })) } else { Ok(()) }
}

/// What a name stands for.
enum Wanted<'a> {
    Entry(&'a Entry),
    Repository(HubName),
}

impl<'a> Wanted<'a> {
    fn of(name: &str, source: &'a ModelSource) -> Outcome<Self> {
        match HubName::parse(name) {
            Some(name) => Ok(Wanted::Repository(name)),
            None => source.entry(name).map(Wanted::Entry),
        }
    }
}

fn from_catalogue(
    entry: &Entry,
    source: &ModelSource,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Outcome<Json> {
    let installed = source.pull(entry, interrupt, printer)?;
    let how = match installed.source {
        Some(_) => "installed and verified",
        None => "already here, verified",
    };
    printer.note(&format!("{}: {how} ({})", entry.name, units::bytes(entry.size)));
    Ok(json!({
        "name": entry.name,
        "path": installed.path.display().to_string(),
        "size": entry.size,
        "sha256": entry.sha256,
        "licence": entry.licence.name,
        "downloaded": installed.source.is_some(),
        "source": installed.source,
    }))
}

fn from_hub(
    name: &HubName,
    source: &ModelSource,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Outcome<Json> {
    let pulled = source.pull_from_hub(name, interrupt, printer)?;
    let how = if pulled.fetched > 0 { "fetched" } else { "already here" };
    let quant = pulled.quant.as_ref().map_or(String::new(), |quant| format!(", {quant}"));
    printer.note(&format!("{}{quant}: {how} ({})", name.repo, units::bytes(pulled.size)));
    Ok(json!({
        "name": name.to_string(),
        "path": pulled.path.display().to_string(),
        "size": pulled.size,
        "quant": pulled.quant,
        "downloaded": pulled.fetched > 0,
        "source": format!("Hugging Face Hub, {}", name.repo),
    }))
}
