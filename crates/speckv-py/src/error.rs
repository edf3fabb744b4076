//! Failures as Python exceptions: the classes are Python's own (`speckv/errors.py`), the hints are
//! those of the command line.

use std::fmt::Display;

use pyo3::{prelude::*, types::PyType};
use speckv::{model::ModelError, step::StepError};
use speckv_lab::run_folder::RunFolderError;
use speckv_local::failure::{Failure, chain};

/// A result in Python's terms.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// What went wrong, before it is an exception: may be made without the GIL.
#[derive(Debug)]
pub struct Fault {
    class: &'static str,
    message: String,
    hint: String,
}

impl Fault {
    /// An argument outside its range, of another type or shape.
    pub fn argument(message: impl Display, hint: impl Display) -> Self {
        Fault { class: "ArgumentError", message: message.to_string(), hint: hint.to_string() }
    }

    /// Calls out of order.
    pub fn order(message: impl Display, hint: impl Display) -> Self {
        Fault { class: "OrderError", message: message.to_string(), hint: hint.to_string() }
    }

    /// A model, its file or its pass.
    pub fn model(message: impl Display, hint: impl Display) -> Self {
        Fault { class: "ModelError", message: message.to_string(), hint: hint.to_string() }
    }

    /// A file or folder that is no model.
    pub fn file(message: impl Display, hint: impl Display) -> Self {
        Fault { class: "FileError", message: message.to_string(), hint: hint.to_string() }
    }

    /// A failure of the command line's code about an argument.
    pub fn of_argument(failure: &Failure) -> Self {
        Fault::argument(failure.message(), failure.hint())
    }

    /// A failure of the command line's code about a model.
    pub fn of_model(failure: &Failure) -> Self {
        Fault::model(failure.message(), failure.hint())
    }

    /// A failure of the command line's code about a file.
    pub fn of_file(failure: &Failure) -> Self {
        Fault::file(failure.message(), failure.hint())
    }
}

impl From<StepError> for Fault {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Counts { .. } | StepError::NothingProduced => Fault::argument(
                error,
                "accepted counts the kept draft tokens that stay; token is the one after them",
            ),
            StepError::UnderWay => Fault::order(error, "observe() or abandon() ends it"),
            StepError::NotUnderWay => Fault::order(error, "plan() begins one"),
            StepError::WantsNoMore { .. } => {
                Fault::order(error, "ask wants_more before each draft token")
            }
            _ => Fault::order(error, "plan(), judge() and observe() are called in this order"),
        }
    }
}

impl From<ModelError> for Fault {
    fn from(error: ModelError) -> Self {
        let hint = match &error {
            ModelError::Rows { .. } => {
                "rows counts the last of the fed positions whose logits are wanted"
            }
            ModelError::UnknownToken { .. } => "draft and target must share a vocabulary",
            ModelError::ContextFull { .. } => {
                "give a longer context to LocalModel.load, or truncate the cache"
            }
            ModelError::ForeignCache { .. } => "take caches from new_cache() of the same model",
            ModelError::OutOfMemory { .. } => {
                "give a shorter context or kv_type=\"q8_0\" to LocalModel.load"
            }
            // Feeds from Python are chains, and rows are those that were asked for.
            ModelError::Parents { .. }
            | ModelError::Parent { .. }
            | ModelError::Path { .. }
            | ModelError::Row { .. }
            | ModelError::Unsupported { .. } => "this is an error of the package: please report it",
            other => speckv_local::backend::device_hint(other)
                .unwrap_or("the file may be damaged: fetch it again and compare its checksum"),
        };
        Fault::model(chain(&error), hint)
    }
}

impl From<speckv::draft::DraftError> for Fault {
    fn from(error: speckv::draft::DraftError) -> Self {
        match error {
            speckv::draft::DraftError::Model(error) => error.into(),
            error => Fault::model(
                chain(&error),
                "the draft's file may be damaged: fetch it again and compare its checksum",
            ),
        }
    }
}

impl From<RunFolderError> for Fault {
    fn from(error: RunFolderError) -> Self {
        Fault::file(chain(&error), error.hint())
    }
}

impl From<speckv_lab::grid::GridError> for Fault {
    fn from(error: speckv_lab::grid::GridError) -> Self {
        Fault::file(chain(&error), error.hint())
    }
}

impl From<Fault> for PyErr {
    fn from(fault: Fault) -> PyErr {
        Python::attach(|py| {
            let class = py
                .import("speckv.errors")
                .and_then(|module| module.getattr(fault.class))
                .and_then(|class| Ok(class.cast_into::<PyType>()?));
            match class {
                Ok(class) => PyErr::from_type(class, (fault.message, fault.hint)),
                Err(error) => error,
            }
        })
    }
}
