//! `speckv quantize`: a model file with other weight types.

use std::{fs, num::NonZeroUsize, time::Duration};

use serde_json::json;
use speckv_cpu::{
    checkpoint::Checkpoint,
    requantize::{RequantizeError, requantize},
};

use crate::{
    args::QuantizeArgs,
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    obtain::Shelf,
    pair,
    printer::Printer,
    progress::Unit,
    settings, units,
};

pub(super) fn run(args: &QuantizeArgs, printer: &Printer) -> Outcome<()> {
    let interrupt = Interrupt::install();
    let path = Shelf::from_environment()?.file(&args.model, &interrupt, printer)?;
    let output = &args.output;
    if output.exists() && !args.force {
        return Err(Failure::usage(
            format!("{} is there already", output.display()),
            "give another name, or --force to write over it",
        ));
    }
    let Checkpoint::Gguf(file) = pair::open(&path)? else {
        return Err(Failure::new(
            "only GGUF files can be converted to GGUF files",
            "`--compression` gives a folder's weights another type while they are loaded",
        )
        .about(path.display()));
    };
    let threads = args.threads.and_then(NonZeroUsize::new).unwrap_or_else(settings::cores);
    // Under its own name the file appears only when it is whole; its source may be the file that it replaces.
    let mut part = output.clone().into_os_string();
    part.push(".part");
    let part = std::path::PathBuf::from(part);
    let mut progress = printer.progress("converting", Unit::Bytes, Duration::from_secs(2));
    let made = requantize(&file, args.to, threads.get(), &part, &mut |done, total| {
        progress.at(done, total);
        !interrupt.is_raised()
    });
    progress.finish();
    let changes = match made {
        Ok(changes) => changes,
        Err(error) => {
            let _ = fs::remove_file(&part); // half a file is of no use
            return Err(match error {
                RequantizeError::Stopped => Failure::interrupted("stopped; nothing was written", "run it again"),
                RequantizeError::NotInFiles(_) => Failure::new(
                    chain(&error),
                    "`--compression nf4` gives it to a model while it is loaded, `--draft self:nf4` to a draft",
                ),
                RequantizeError::Gguf(error) => {
                    Failure::from_error(&error, error.hint(), "check the folder and the room on the disk")
                }
                RequantizeError::Convert { .. } => Failure::new(chain(&error), "a wider --type can hold these weights"),
            });
        }
    };
    fs::rename(&part, output).map_err(|error| Failure::io("write", output, &error))?;
    let bytes = |path: &std::path::Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let (before, after) = (file.file_size(), bytes(output));
    if args.json {
        return printer.json(&json!({
            "output": output.display().to_string(),
            "type": args.to.to_string(),
            "converted": changes.converted,
            "kept": changes.kept,
            "fallen_back": changes.fallen_back.iter().map(|(name, to)| json!({"tensor": name, "type": to.name()})).collect::<Vec<_>>(),
            "bytes_before": before,
            "bytes": after,
        }));
    }
    if let Some((name, to)) = changes.fallen_back.first() {
        printer.note(&format!(
            "{} matrices have rows that are no whole number of blocks of {} and became {to} or F16, {name} the first",
            changes.fallen_back.len(),
            args.to,
        ));
    }
    printer.data(&format!(
        "{}: {} of {} tensors converted to {}, {} -> {}\n",
        output.display(),
        changes.converted,
        changes.converted + changes.kept,
        args.to,
        units::bytes(before),
        units::bytes(after)
    ))
}
