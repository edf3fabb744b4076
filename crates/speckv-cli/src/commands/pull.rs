//! `speckv pull`: downloads models by name.

use serde_json::json;
use speckv_local::{failure::Outcome, model_source::ModelSource, report::Reporter, units};

use crate::{args::PullArgs, interrupt, printer::Printer};

pub(super) fn run(args: &PullArgs, printer: &Printer) -> Outcome<()> {
    let source = ModelSource::from_environment();
    let names = if args.names.is_empty() {
        source.catalogue.default_pair().as_slice()
    } else {
        &args.names
    };
    // All names are checked before the first byte is fetched.
    let entries = names.iter().map(|name| source.entry(name)).collect::<Outcome<Vec<_>>>()?;
    let interrupt = interrupt::install();
    let mut report = Vec::new();
    for entry in entries {
        let installed = source.pull(entry, &interrupt, printer)?;
        if args.json {
            report.push(json!({
                "name": entry.name,
                "path": installed.path.display().to_string(),
                "size": entry.size,
                "sha256": entry.sha256,
                "licence": entry.licence.name,
                "downloaded": installed.source.is_some(),
                "source": installed.source,
            }));
        } else {
            let how = if installed.source.is_some() {
                "installed and verified"
            } else {
                "already here, verified"
            };
            printer.note(&format!("{}: {how} ({})", entry.name, units::bytes(entry.size)));
            printer.data(&format!("{}\n", installed.path.display()))?;
        }
    }
    if args.json { printer.json(&json!({ "models": report })) } else { Ok(()) }
}
