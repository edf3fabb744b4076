//! What recordings say of a model: name, sum, shape and what became of its weights.

use std::path::Path;

use speckv_lab::run_folder::ModelFacts;
use speckv_local::{
    backend::LocalModel,
    controllers,
    failure::Outcome,
    interrupt::Interrupt,
    provenance::{checksum, shown_name, weights_name},
};

use crate::printer::Printer;

/// What a recording says of a model that was asked for as `name` and is at `path`.
///
/// # Errors
/// A file that cannot be read, or an interruption.
pub fn facts(
    name: &str,
    path: &Path,
    model: &impl LocalModel,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Outcome<ModelFacts> {
    let (sha256, bytes) = checksum(path, interrupt, printer)?;
    let compression = weights_name(model.weight_type().name(), model.cache_type());
    Ok(ModelFacts {
        name: shown_name(name),
        sha256,
        bytes,
        shape: controllers::shape(model),
        compression,
    })
}
