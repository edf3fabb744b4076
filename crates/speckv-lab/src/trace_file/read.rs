//! From Parquet's bytes to a recording, with every value checked.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use parquet::{
    column::reader::get_typed_column_reader,
    data_type::{BoolType, ByteArrayType, DataType, DoubleType, FloatType, Int32Type},
    file::{
        reader::{FileReader, RowGroupReader},
        serialized_reader::SerializedFileReader,
    },
};
use speckv::{controller::Lookup, record::Drafted, signals::Signals};

use super::{PROMPT_KEY, PromptFacts, RUN_KEY, TraceFile, TraceFileError, schema};
use crate::{
    recorder::Recording,
    run::Run,
    trace::{Depths, Position, Proposal, Trace},
};

/// Reads a trace file.
///
/// # Errors
/// [`TraceFileError`]: unreadable, damaged, of another format, or with parts that contradict each other.
pub fn read(path: &Path) -> Result<TraceFile, TraceFileError> {
    let bytes = fs::read(path)
        .map_err(|source| TraceFileError::Unreadable { path: path.to_owned(), source })?;
    // The Parquet library has panicked on broken input before; foreign bytes must not end the
    // process.
    let parsed = panic::catch_unwind(AssertUnwindSafe(|| parse(path, bytes)));
    parsed.unwrap_or_else(|_| Err(damaged(path, "its pages cannot be decoded")))
}

fn damaged(path: &Path, reason: impl ToString) -> TraceFileError {
    TraceFileError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

/// A row, before it is known to make sense.
#[derive(Debug)]
struct Row {
    position: usize,
    source: String,
    draft_index: usize,
    token: u32,
    agrees: Option<bool>,
    signals: Option<Signals>,
    available: Option<usize>,
    seconds: Option<f64>,
    second: Option<u32>,
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<TraceFile, TraceFileError> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes))
        .map_err(|error| damaged(path, error))?;
    let wrong = |expected: &str, got: String| TraceFileError::NotATrace {
        path: path.to_owned(),
        expected: expected.into(),
        got,
    };
    let facts = reader.metadata().file_metadata();
    let is_of = |format: &u32| {
        schema::schema(*format).is_ok_and(|expected| facts.schema() == expected.as_ref())
    };
    let Some(format) = (1..=super::FORMAT).find(is_of) else {
        let expected = schema::schema(super::FORMAT).map_err(|error| damaged(path, error))?;
        let names = |schema: &parquet::schema::types::Type| -> Vec<String> {
            schema.get_fields().iter().map(|field| field.name().to_owned()).collect()
        };
        return Err(wrong(
            &format!("the columns {} with their types", names(&expected).join(", ")),
            names(facts.schema()).join(", "),
        ));
    };
    let value = |key: &str| {
        let pairs = facts.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
        let found =
            pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref());
        found.ok_or_else(|| wrong(&format!("the metadata key {key}"), "none".into()))
    };
    let broken = |key: &str, error: serde_json::Error| {
        wrong(&format!("facts under {key}"), error.to_string())
    };
    let run: Run = serde_json::from_str(value(RUN_KEY)?).map_err(|error| broken(RUN_KEY, error))?;
    if run.settings.format != format {
        return Err(wrong(&format!("trace format {format}"), run.settings.format.to_string()));
    }
    let prompt: PromptFacts =
        serde_json::from_str(value(PROMPT_KEY)?).map_err(|error| broken(PROMPT_KEY, error))?;
    let mut rows = Vec::new();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(|error| damaged(path, error))?;
        rows.extend(read_rows(group.as_ref(), format).map_err(|reason| damaged(path, reason))?);
    }
    let recording = assemble(&prompt, run.settings.depths(), &rows)
        .map_err(|(expected, got)| wrong(expected, got))?;
    recording.trace.check().map_err(|error| wrong("parts that fit together", error.to_string()))?;
    Ok(TraceFile { run, prompt, recording })
}

/// All values of a column, `None` for null.
fn column<D: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
) -> Result<Vec<Option<D::T>>, String> {
    let rows = usize::try_from(group.metadata().num_rows())
        .map_err(|_| "a negative number of rows".to_owned())?;
    let reader = group.get_column_reader(index).map_err(|error| error.to_string())?;
    let mut reader = get_typed_column_reader::<D>(reader);
    let optional = group.metadata().column(index).column_descr().max_def_level() > 0;
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, ..) = reader
            .read_records(rows - read, optional.then_some(&mut levels), None, &mut values)
            .map_err(|error| error.to_string())?;
        if records == 0 {
            return Err(format!("expected {rows} rows in column {index}, got {read}"));
        }
        read += records;
    }
    if !optional {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    Ok(levels.iter().map(|&level| if level > 0 { values.next() } else { None }).collect())
}

fn read_rows(group: &dyn RowGroupReader, format: u32) -> Result<Vec<Row>, String> {
    // Columns 0 and 1, prompt and task, repeat the metadata for readers of many files.
    let positions = column::<Int32Type>(group, 2)?;
    let sources = column::<ByteArrayType>(group, 3)?;
    let indices = column::<Int32Type>(group, 4)?;
    let tokens = column::<Int32Type>(group, 5)?;
    let agrees = column::<BoolType>(group, 6)?;
    let entropies = column::<FloatType>(group, 7)?;
    let confidences = column::<FloatType>(group, 8)?;
    let margins = column::<FloatType>(group, 9)?;
    let matches = column::<Int32Type>(group, 10)?;
    let available = column::<Int32Type>(group, 11)?;
    let seconds = column::<DoubleType>(group, 12)?;
    let choices = match schema::has_second(format) {
        true => column::<Int32Type>(group, 13)?,
        false => vec![None; positions.len()],
    };
    let number = |value: Option<i32>| value.and_then(|value| usize::try_from(value).ok());
    (0..positions.len())
        .map(|row| {
            let source = sources[row].as_ref().and_then(|source| source.as_utf8().ok());
            let signals =
                match (entropies[row], confidences[row], margins[row], number(matches[row])) {
                    (Some(entropy_bits), Some(confidence), Some(margin), Some(length)) => {
                        Some(Signals {
                            entropy_bits,
                            confidence,
                            margin,
                            match_length: u16::try_from(length)
                                .map_err(|_| format!("row {row}: a match of {length} tokens"))?,
                        })
                    }
                    _ => None,
                };
            let missing = |what: &str| format!("row {row}: no {what}");
            Ok(Row {
                position: number(positions[row]).ok_or_else(|| missing("position"))?,
                source: source.ok_or_else(|| missing("source"))?.to_owned(),
                draft_index: number(indices[row]).ok_or_else(|| missing("draft index"))?,
                token: tokens[row].ok_or_else(|| missing("token"))?.cast_unsigned(),
                agrees: agrees[row],
                signals,
                available: number(available[row]),
                seconds: seconds[row],
                second: choices[row].map(i32::cast_unsigned),
            })
        })
        .collect()
}

/// Rows in the order of positions, the target's first, each chain in its own order: anything else
/// is refused.
fn assemble(
    prompt: &PromptFacts,
    depths: Depths,
    rows: &[Row],
) -> Result<Recording, (&'static str, String)> {
    let mut trace = Trace {
        prompt_id: prompt.id.clone(),
        task: prompt.task.clone(),
        prompt_tokens: prompt.tokens.len(),
        max_tokens: prompt.max_tokens,
        end_tokens: prompt.end_tokens.clone(),
        depths,
        tokens: Vec::new(),
        positions: Vec::new(),
    };
    let (mut plain_seconds, mut draft_seconds) = (Vec::new(), Vec::new());
    for (number, row) in rows.iter().enumerate() {
        let out_of_order =
            || ("rows in the order of positions and chains", format!("row {number}: {row:?}"));
        if row.source == "target" {
            if row.position != trace.tokens.len() || row.draft_index != 0 {
                return Err(out_of_order());
            }
            trace.tokens.push(row.token);
            trace.positions.push(Position::default());
            plain_seconds.extend(row.seconds);
            draft_seconds.push(Vec::new());
            continue;
        }
        let (Some(position), Some(seconds)) =
            (trace.positions.last_mut(), draft_seconds.last_mut())
        else {
            return Err(out_of_order());
        };
        let (Some(signals), Some(agrees)) = (row.signals, row.agrees) else {
            return Err((
                "signals and agreement of every drafted token",
                format!("none in row {number}"),
            ));
        };
        let proposal = match row.source.as_str() {
            "model" => {
                seconds.push(row.seconds);
                &mut position.model
            }
            "parallel" => &mut position.parallel,
            "ngram" => {
                if row.draft_index == 0 {
                    let Some(available) = row.available else {
                        return Err((
                            "how much look-up could offer",
                            format!("nothing in row {number}"),
                        ));
                    };
                    let lookup = Lookup {
                        match_length: usize::from(signals.match_length),
                        available,
                        signals,
                    };
                    position.ngram = Some((lookup, Proposal::default()));
                }
                match &mut position.ngram {
                    Some((_, proposal)) => proposal,
                    None => return Err(out_of_order()),
                }
            }
            other => {
                return Err((
                    "the source target, model, parallel or ngram",
                    format!("{other:?} in row {number}"),
                ));
            }
        };
        if row.position + 1 != trace.tokens.len() || row.draft_index != proposal.drafted.len() {
            return Err(out_of_order());
        }
        proposal.agreed += usize::from(agrees);
        proposal.drafted.push(Drafted { token: row.token, second: row.second, signals });
    }
    Ok(Recording { trace, plain_seconds, draft_seconds })
}
