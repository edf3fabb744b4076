//! JSON between Rust and Python's own objects, through Python's `json`.

use pyo3::prelude::*;
use speckv_local::failure::chain;

use crate::error::{Fault, Outcome};

/// The text of what Rust could write.
///
/// # Errors
/// The writer's; none that content causes.
pub(crate) fn written(text: serde_json::Result<String>) -> Outcome<String> {
    text.map_err(|error| {
        Fault::argument(chain(&error), "this is a bug in speckv; please report it")
    })
}

/// Python's objects for a text.
///
/// # Errors
/// Not JSON.
pub(crate) fn loads<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (text,))
}

/// The text of Python's objects.
///
/// # Errors
/// Objects that JSON does not know.
pub(crate) fn dumps(value: &Bound<'_, PyAny>) -> PyResult<String> {
    value.py().import("json")?.call_method1("dumps", (value,))?.extract()
}
