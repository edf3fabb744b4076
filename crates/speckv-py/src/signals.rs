//! Signals of logits that stay where they are.
//!
//! The GIL is held while an array of NumPy is read: without it another thread could write to the
//! array, or resize it, which frees its memory.

use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArray,
    PyUntypedArrayMethods, ndarray::Axis,
};
use pyo3::prelude::*;
use speckv::{logits::LogitsError, token::Token};

use crate::error::{Fault, Outcome};

/// See `_native.pyi`.
#[pyclass(frozen, eq)]
#[derive(Clone, Copy, PartialEq)]
pub struct Signals(pub speckv::signals::Signals);

#[pymethods]
impl Signals {
    #[new]
    #[pyo3(signature = (entropy_bits, confidence, margin, match_length = 0))]
    fn new(entropy_bits: f32, confidence: f32, margin: f32, match_length: u16) -> Self {
        Signals(speckv::signals::Signals { entropy_bits, confidence, margin, match_length })
    }

    #[getter]
    fn entropy_bits(&self) -> f32 {
        self.0.entropy_bits
    }

    #[getter]
    fn confidence(&self) -> f32 {
        self.0.confidence
    }

    #[getter]
    fn margin(&self) -> f32 {
        self.0.margin
    }

    #[getter]
    fn match_length(&self) -> u16 {
        self.0.match_length
    }

    fn __repr__(&self) -> String {
        let speckv::signals::Signals { entropy_bits, confidence, margin, match_length } = self.0;
        format!(
            "Signals(entropy_bits={entropy_bits}, confidence={confidence}, margin={margin}, \
             match_length={match_length})"
        )
    }
}

const LAYOUT: &str = "give float32 logits as they lie in memory: numpy.ascontiguousarray(logits, \
    dtype=numpy.float32) makes such a copy";

/// What is wrong with an argument that should be logits.
pub(crate) fn wrong_array(logits: &Bound<'_, PyAny>, dimensions: &str) -> PyErr {
    let got = match logits.cast::<PyUntypedArray>() {
        Ok(array) => format!("an array of {} with {} dimensions", array.dtype(), array.ndim()),
        Err(_) => logits.get_type().to_string(),
    };
    Fault::argument(format!("expected float32 logits with {dimensions}, got {got}"), LAYOUT).into()
}

/// Logits with gaps between.
pub(crate) fn not_contiguous() -> Fault {
    Fault::argument("expected logits that lie one after the other in memory", LAYOUT)
}

fn read(logits: &[f32]) -> Outcome<(Token, Signals)> {
    let read = speckv::signals::read(logits).map_err(broken)?;
    Ok((read.token, Signals(read.signals)))
}

/// Logits of which no token can be made.
pub(crate) fn broken(error: LogitsError) -> Fault {
    Fault::argument(
        error,
        "the model's weights or its precision are broken: no token can be made of such logits",
    )
}

/// See `_native.pyi`.
#[pyfunction]
pub(crate) fn read_signals(logits: &Bound<'_, PyAny>) -> PyResult<(Token, Signals)> {
    let array: PyReadonlyArray1<'_, f32> = logits
        .cast::<PyArray1<f32>>()
        .map_err(|_| wrong_array(logits, "one dimension"))?
        .readonly();
    let values = array.as_slice().map_err(|_| not_contiguous())?;
    Ok(read(values)?)
}

/// See `_native.pyi`.
#[pyfunction]
pub(crate) fn read_signals_rows(logits: &Bound<'_, PyAny>) -> PyResult<Vec<(Token, Signals)>> {
    let array: PyReadonlyArray2<'_, f32> = logits
        .cast::<PyArray2<f32>>()
        .map_err(|_| wrong_array(logits, "two dimensions"))?
        .readonly();
    let view = array.as_array();
    let rows = view.axis_iter(Axis(0));
    let read =
        |row: numpy::ndarray::ArrayView1<'_, f32>| read(row.to_slice().ok_or_else(not_contiguous)?);
    Ok(rows.map(read).collect::<Outcome<Vec<_>>>()?)
}
