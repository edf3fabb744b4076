//! Step records of other engines in the laboratory's own files.

use std::{path::PathBuf, sync::Mutex};

use pyo3::prelude::*;
use speckv_lab::{
    grid::{
        GridFolder, GridRun, GridSettings, StepRow,
        folder::{BlockName, FORMAT},
    },
    run_folder::{Origin, Settings},
};
use speckv_local::{machine, provenance};

use crate::{
    error::{Fault, Outcome},
    json, lock,
    record::StepRecord,
    tokens,
};

const SETTINGS_HINT: &str =
    "docs/reference/steps.md and a run.json of `speckv profile --grid` show the keys of settings";

/// See `_native.pyi`.
#[pyfunction]
pub(crate) fn block_order(
    seed: u64,
    compression: String,
    prompt_id: String,
    gammas: usize,
) -> Vec<usize> {
    speckv_lab::grid::block_order(
        &StepRow { seed, compression, prompt_id, ..StepRow::default() },
        gammas,
    )
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct StepGrid(Mutex<GridFolder>);

/// A gamma's answer: gamma, place, steps, pieces of each step's tokens.
type Answer = (usize, usize, Vec<Py<StepRecord>>, Vec<Vec<String>>);

fn name(compression: &str, prompt_id: &str, prompt: &Bound<'_, PyAny>) -> PyResult<BlockName> {
    let bytes: Vec<u8> =
        tokens::read(prompt)?.iter().flat_map(|token| token.to_le_bytes()).collect();
    let digest = provenance::digest(&bytes)[..12].to_owned();
    let plain = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    for (what, text) in [("compression", compression), ("prompt_id", prompt_id)] {
        if !plain(text) {
            let message = format!("{what}: expected letters, digits, - and _, got {text:?}");
            return Err(Fault::argument(message, "it names a file").into());
        }
    }
    Ok(BlockName { compression: compression.into(), prompt_id: prompt_id.into(), digest })
}

#[pymethods]
impl StepGrid {
    #[new]
    #[pyo3(signature = (path, settings, *, command = Vec::new(), machine = None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        settings: &Bound<'_, PyAny>,
        command: Vec<String>,
        machine: Option<String>,
    ) -> PyResult<Self> {
        let whole = settings.call_method0("copy")?;
        whole.set_item("format", FORMAT)?;
        whole.set_item("version", Settings::version())?;
        let text = json::dumps(&whole)?;
        let folder = py.detach(|| {
            let settings: GridSettings = serde_json::from_str(&text)
                .map_err(|error| Fault::argument(format!("settings: {error}"), SETTINGS_HINT))?;
            if let Some(folder) = GridFolder::resume(&path, &settings)? {
                return Ok::<_, Fault>(folder);
            }
            let machine = machine.unwrap_or_else(machine::describe);
            Ok(GridFolder::create(
                &path,
                &GridRun { settings, origin: Origin { machine, command, cost: None } },
            )?)
        })?;
        Ok(StepGrid(Mutex::new(folder)))
    }

    fn holds(
        &self,
        py: Python<'_>,
        compression: &str,
        prompt_id: &str,
        prompt: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let name = name(compression, prompt_id, prompt)?;
        Ok(py.detach(|| {
            let folder = lock(&self.0);
            let there = folder.blocks()?;
            Ok::<_, Fault>(folder.holds(&name, &there)?)
        })?)
    }

    #[pyo3(signature = (compression, prompt_id, prompt, *, task, split, temperature, answers))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn save(
        &self,
        py: Python<'_>,
        compression: &str,
        prompt_id: &str,
        prompt: &Bound<'_, PyAny>,
        task: &str,
        split: &str,
        temperature: f64,
        answers: Vec<Answer>,
    ) -> PyResult<()> {
        let name = name(compression, prompt_id, prompt)?;
        Ok(py.detach(|| {
            let folder = lock(&self.0);
            let settings = &folder.run().settings;
            let gammas: Vec<usize> = answers.iter().map(|answer| answer.0).collect();
            if gammas != settings.gammas {
                let message =
                    format!("answers: expected the gammas {:?}, got {gammas:?}", settings.gammas);
                return Err(Fault::argument(
                    message,
                    "one answer per gamma, in the order of the settings",
                ));
            }
            let row = StepRow {
                compression: compression.into(),
                prompt_id: prompt_id.into(),
                task: task.into(),
                split: split.into(),
                seed: settings.seed,
                temperature,
                ..StepRow::default()
            };
            let rows =
                answers.iter().map(|answer| rows(&row, answer)).collect::<Outcome<Vec<_>>>()?;
            Ok(folder.save(&name, &rows.into_iter().flatten().collect())?)
        })?)
    }

    fn assemble(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(py.detach(|| lock(&self.0).assemble().map_err(Fault::from))?)
    }
}

fn rows(row: &StepRow, (gamma, place, records, pieces): &Answer) -> Outcome<Vec<StepRow>> {
    let lengths_fit = records.len() == pieces.len()
        && records
            .iter()
            .zip(pieces)
            .all(|(record, pieces)| record.get().0.tokens.len() == pieces.len());
    if !lengths_fit {
        return Err(Fault::argument(
            "answers: expected a piece of text per token of each step",
            "an empty one will do",
        ));
    }
    let steps = records.iter().zip(pieces).enumerate();
    Ok(steps
        .map(|(step, (record, pieces))| {
            StepRow { gamma: *gamma, place: *place, step, ..row.clone() }
                .with(&record.get().0, pieces.clone())
        })
        .collect())
}
