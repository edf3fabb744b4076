//! Records as CSV and as Parquet, and back from CSV; [`super::parquet_rows`] reads Parquet.

use std::path::Path;

use parquet::errors::ParquetError;

use super::{StepRow, columns::columns};
use crate::{
    columns,
    sheet::{Row, Sheet, SheetError},
};

/// Name of the table in the Parquet file.
pub(super) const TABLE: &str = "speckv_steps";
/// Key of the Parquet file's metadata that holds the recording's [`GridRun`](super::GridRun) as
/// JSON.
pub const RUN_KEY: &str = "speckv.run";

/// The records as CSV, with a first line of names.
///
/// # Errors
/// None that memory does not cause.
pub fn to_csv(rows: &[StepRow]) -> Result<Vec<u8>, csv::Error> {
    columns::to_csv(&columns(rows))
}

/// Reads records back; everything that [`StepRow`] derives is checked against the file.
///
/// # Errors
/// [`SheetError`]: the first thing that is wrong, by file and line.
pub fn read_csv(path: &Path) -> Result<Vec<StepRow>, SheetError> {
    from_csv(path, &crate::sheet::bytes(path)?)
}

/// As [`read_csv`], from bytes; `path` is for messages.
///
/// # Errors
/// [`SheetError`].
pub fn from_csv(path: &Path, bytes: &[u8]) -> Result<Vec<StepRow>, SheetError> {
    let names: Vec<&str> = columns(&[]).iter().map(|column| column.name).collect();
    let sheet = Sheet::from_bytes(path, bytes, &names)?;
    sheet.rows().map(|row| read_row(&row)).collect()
}

fn read_row(row: &Row<'_>) -> Result<StepRow, SheetError> {
    const MOST: usize = 1 << 24;
    const HOUR: f64 = 3600.0;
    let one_of = |column: &str, names: &[&str]| {
        let text = row.text(column);
        if names.contains(&text) {
            Ok(text.to_owned())
        } else {
            Err(row.wrong(column, &names.join(" or ")))
        }
    };
    let name = |column: &str| row.value(column, "a name", |name: &String| !name.trim().is_empty());
    let step = StepRow {
        compression: row.value("compression", "a name in lower case", |name: &String| {
            !name.is_empty()
                && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        })?,
        gamma: row.whole("gamma", 0, 64)?,
        task: name("task")?,
        step: row.whole("step", 0, MOST)?,
        accepted: row.whole("accepted", 0, 64)?,
        tokens_produced: row.whole("tokens_produced", 1, 65)?,
        prompt_id: name("prompt_id")?,
        split: one_of("split", &["train", "test"])?,
        seed: row.value("seed", "a whole number", |_: &u64| true)?,
        temperature: row.number("temperature", 0.0, 10.0)?,
        place: row.whole("place", 0, 64)?,
        context: row.whole("context", 1, MOST)?,
        verified: row.whole("verified", 0, 64)?,
        last: one_of("last", &["plain", "recovered", "bonus", "accepted"])?,
        censored: row.value("censored", "true or false", |_| true)?,
        catch_up_seconds: row.number("catch_up_seconds", 0.0, HOUR)?,
        draft_seconds: row.number("draft_seconds", 0.0, HOUR)?,
        verify_seconds: row.number("verify_seconds", 0.0, HOUR)?,
        total_seconds: row.number("total_seconds", 0.0, HOUR)?,
        draft_entropy_bits: list(row, "draft_entropy_bits", |x: &f32| (0.0..=32.0).contains(x))?,
        draft_confidence: list(row, "draft_confidence", |x: &f32| (0.0..=1.0).contains(x))?,
        draft_margin: list(row, "draft_margin", |x: &f32| (0.0..=1.0).contains(x))?,
        draft_tokens: list(row, "draft_tokens", |_| true)?,
        tokens: list(row, "tokens", |_| true)?,
        pieces: serde_json::from_str(row.text("pieces"))
            .map_err(|_| row.wrong("pieces", "a JSON list of texts"))?,
    };
    let drafted = step.drafted();
    let lengths =
        [step.draft_entropy_bits.len(), step.draft_confidence.len(), step.draft_margin.len()];
    if lengths != [drafted; 3]
        || drafted > step.gamma
        || step.verified > drafted
        || step.accepted > step.verified
    {
        return Err(row.error(
            "gamma >= drafted >= verified >= accepted, and a signal of each kind per token drafted",
            format!(
                "{} >= {drafted} >= {} >= {}, {lengths:?} signals",
                step.gamma, step.verified, step.accepted
            ),
        ));
    }
    if step.tokens.len() != step.tokens_produced || step.pieces.len() != step.tokens_produced {
        let got = format!("{} tokens, {} pieces", step.tokens.len(), step.pieces.len());
        return Err(row.error(format!("{} of both", step.tokens_produced), got));
    }
    // What is derived must say the same; the paper's scripts wrote four decimals, so that is how
    // near it has to be.
    let derived = columns(std::slice::from_ref(&step));
    for column in derived.iter().filter(|column| DERIVED.contains(&column.name)) {
        let (ours, theirs) = (column.values.cell(0), row.text(column.name));
        let near = match (ours.parse::<f64>(), theirs.parse::<f64>()) {
            (Ok(a), Ok(b)) => (a - b).abs() < 6e-5,
            _ => ours == theirs,
        };
        if !near {
            return Err(row.wrong(column.name, &format!("{ours:?}, by the tokens of this row,")));
        }
    }
    Ok(step)
}

const DERIVED: [&str; 6] = [
    "acceptance_rate",
    "mean_draft_entropy",
    "mean_draft_confidence",
    "max_draft_entropy",
    "min_draft_confidence",
    "drafted",
];

fn list<T: std::str::FromStr>(
    row: &Row<'_>,
    column: &str,
    test: impl Fn(&T) -> bool,
) -> Result<Vec<T>, SheetError> {
    let values = row.text(column).split(' ').filter(|text| !text.is_empty());
    values
        .map(|text| text.parse().ok().filter(|value| test(value)))
        .collect::<Option<_>>()
        .ok_or_else(|| row.wrong(column, "numbers in range with spaces between"))
}

/// The records as Parquet, the run's facts in its metadata: the same bytes for the same content.
///
/// # Errors
/// The writer's; none that content causes.
pub fn to_parquet(rows: &[StepRow], run_json: &str) -> Result<Vec<u8>, ParquetError> {
    columns::to_parquet(TABLE, &columns(rows), RUN_KEY, run_json)
}
