//! `speckv quantize`: a model file with other weight types.

use std::{fs, time::Duration};

use serde_json::json;
use speckv_formats::{
    checkpoint::{Adapter, AdapterError},
    requantize::{RequantizeError, requantize_with},
};
use speckv_local::{
    failure::{Failure, Outcome, chain},
    model_source::ModelSource,
    pair,
    report::{Reporter, Unit},
    units,
};

use crate::{args::QuantizeArgs, interrupt, printer::Printer, settings};

pub(super) fn run(args: &QuantizeArgs, printer: &Printer) -> Outcome<()> {
    let interrupt = interrupt::install();
    let path = ModelSource::from_environment().file(&args.model, &interrupt, printer)?;
    let output = &args.output;
    if output.is_dir() {
        return Err(Failure::usage(
            format!("{} is a folder, and the result is one file", output.display()),
            "give the name of a file, such as MODEL-q4_0.gguf",
        ));
    }
    if output.exists() && !args.force {
        return Err(Failure::usage(
            format!("{} is there already", output.display()),
            "give another name, or --force to write over it",
        ));
    }
    let source = pair::open(&path)?;
    let adapter = args.adapter.as_deref().map(Adapter::open).transpose();
    let adapter = adapter.map_err(|error| adapter_failure(&error))?;
    let threads = settings::capped_threads(args.threads, printer);
    // Under its own name the file appears only when it is whole; its source may be the file that it
    // replaces.
    let mut part = output.clone().into_os_string();
    part.push(".part");
    let part = std::path::PathBuf::from(part);
    let mut progress = printer.progress("converting", Unit::Bytes, Duration::from_secs(2));
    let mut at = |done, total| {
        progress.at(done, total);
        !interrupt.is_raised()
    };
    let made = requantize_with(&source, adapter.as_ref(), args.to, threads.get(), &part, &mut at);
    progress.finish();
    let changes = match made {
        Ok(changes) => changes,
        Err(error) => {
            let _ = fs::remove_file(&part); // half a file is of no use
            return Err(match error {
                RequantizeError::Stopped => {
                    Failure::interrupted("stopped; nothing was written", "run it again")
                }
                RequantizeError::NotInFiles(_) => Failure::new(
                    chain(&error),
                    "give --type int8 or q4_0; `--compression nf4` gives it to a model while it \
                     is loaded, `--draft self:nf4` to a draft",
                ),
                RequantizeError::Gguf(error) => Failure::from_error(
                    &error,
                    error.hint(),
                    "check the folder and the room on the disk",
                ),
                RequantizeError::Folder(_) => Failure::new(
                    chain(&error),
                    "run the folder as it is: `--compression` gives its weights another type \
                     while they are loaded",
                ),
                RequantizeError::Adapter(error) => adapter_failure(&error),
                RequantizeError::Convert { .. } => {
                    Failure::new(chain(&error), "a wider --type can hold these weights")
                }
            });
        }
    };
    fs::rename(&part, output).map_err(|error| {
        let _ = fs::remove_file(&part);
        Failure::io("write", output, &error)
    })?;
    let bytes = |path: &std::path::Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let (before, after) = (source.file_size(), bytes(output));
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
            "{} matrices have rows that are no whole number of blocks of {} and became {to} or \
             F16, {name} the first",
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

fn adapter_failure(error: &AdapterError) -> Failure {
    Failure::new(
        chain(error),
        "an adapter is a PEFT folder, or a safetensors file with names such as \
         blk.0.attn_q.lora_a and alpha in its metadata, made for this model",
    )
}
