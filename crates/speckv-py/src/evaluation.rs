//! Evaluations of other engines with the laboratory's own tests.

use pyo3::prelude::*;
use speckv_lab::evaluation::{Evaluation, FORMAT};

use crate::{error::Fault, json};

/// See `_native.pyi`.
#[pyfunction]
pub(crate) fn judge_evaluation(
    py: Python<'_>,
    evaluation: &Bound<'_, PyAny>,
    baseline: &str,
) -> PyResult<String> {
    let whole = evaluation.call_method0("copy")?;
    whole.set_item("format", FORMAT)?;
    whole.set_item("version", env!("CARGO_PKG_VERSION"))?;
    whole.set_item("verdicts", Vec::<String>::new())?;
    let text = json::dumps(&whole)?;
    Ok(py.detach(|| {
        let hint = "an evaluation.json of `speckv evaluate --output DIR` shows the keys";
        let evaluation: Evaluation = serde_json::from_str(&text)
            .map_err(|error| Fault::argument(format!("evaluation: {error}"), hint))?;
        let cells = evaluation.prompts.len();
        if let Some(side) = evaluation.sides.iter().find(|side| side.cells.len() != cells) {
            let message = format!(
                "sides: expected {cells} cells, one per prompt, got {} for {}",
                side.cells.len(),
                side.name
            );
            return Err(Fault::argument(message, hint));
        }
        if !evaluation.sides.iter().any(|side| side.name == baseline) {
            let names: Vec<&str> = evaluation.sides.iter().map(|side| side.name.as_str()).collect();
            return Err(Fault::argument(
                format!("the baseline {baseline:?} does not take part"),
                names.join(", "),
            ));
        }
        json::written(serde_json::to_string_pretty(&evaluation.judged(baseline)))
    })?)
}
