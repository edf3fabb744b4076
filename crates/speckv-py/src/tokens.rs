//! Token ids out of whatever Python has: arrays without a loop in Python, sequences one by one.

use numpy::{Element, PyArray1, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use speckv::token::Token;

use crate::error::Fault;

const HINT: &str = "token ids are whole numbers from 0 to 4294967295, in a list or a \
    one-dimensional array of int32, int64 or uint32";

/// Reads token ids.
///
/// # Errors
/// Something that is neither an array of such a type nor a sequence of such numbers.
pub(crate) fn read(tokens: &Bound<'_, PyAny>) -> PyResult<Vec<Token>> {
    if let Ok(array) = tokens.cast::<PyUntypedArray>() {
        if array.ndim() != 1 {
            return Err(Fault::argument(
                format!("expected one dimension of tokens, got {}", array.ndim()),
                HINT,
            )
            .into());
        }
        return of_array::<i32>(tokens)
            .or_else(|| of_array::<i64>(tokens))
            .or_else(|| of_array::<u32>(tokens))
            .unwrap_or_else(|| {
                Err(Fault::argument(
                    format!("expected whole numbers, got an array of {}", array.dtype()),
                    HINT,
                )
                .into())
            });
    }
    let wrong =
        |error: PyErr| PyErr::from(Fault::argument(format!("expected tokens: {error}"), HINT));
    tokens.try_iter().map_err(wrong)?.map(|token| token?.extract().map_err(wrong)).collect()
}

/// `None` if it is an array of another type.
fn of_array<T: Element + Copy + TryInto<Token> + std::fmt::Display>(
    tokens: &Bound<'_, PyAny>,
) -> Option<PyResult<Vec<Token>>> {
    let array = tokens.cast::<PyArray1<T>>().ok()?.readonly();
    let read = |&value: &T| {
        value.try_into().map_err(|_| {
            PyErr::from(Fault::argument(format!("expected token ids, got {value}"), HINT))
        })
    };
    Some(array.as_array().iter().map(read).collect())
}
