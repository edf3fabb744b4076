//! Reads records from Parquet: its cells become those of a CSV file, so that one reader checks
//! both.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use parquet::{
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    record::{Field, Row},
    schema::parser::parse_message_type,
};

use super::{
    StepRow,
    columns::columns,
    table_file::{TABLE, from_csv},
};
use crate::{
    columns::schema,
    sheet::{self, SheetError},
};

/// Reads records; everything is checked as [`read_csv`](super::table_file::read_csv) does.
///
/// # Errors
/// [`SheetError`]: damaged, other columns, or the first row that is wrong.
pub fn read_parquet(path: &Path) -> Result<Vec<StepRow>, SheetError> {
    let bytes = sheet::bytes(path)?;
    // The Parquet library has panicked on broken input before; foreign bytes must not end the
    // process.
    let text = panic::catch_unwind(AssertUnwindSafe(|| to_csv(bytes)))
        .unwrap_or_else(|_| Err("its pages cannot be decoded".into()))
        .map_err(|got| SheetError::Content {
            path: path.to_owned(),
            expected: "a table of step records as Parquet".into(),
            got,
        })?;
    from_csv(path, &text)
}

fn to_csv(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let said = |error: parquet::errors::ParquetError| error.to_string();
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).map_err(said)?;
    let expected = parse_message_type(&schema(TABLE, &columns(&[]))).map_err(said)?;
    if reader.metadata().file_metadata().schema() != &expected {
        return Err("other columns".into());
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(expected.get_fields().iter().map(|field| field.name()))
        .map_err(|error| error.to_string())?;
    for row in reader.get_row_iter(None).map_err(said)? {
        writer.write_record(cells(&row.map_err(said)?)?).map_err(|error| error.to_string())?;
    }
    writer.into_inner().map_err(|error| error.to_string())
}

fn cells(row: &Row) -> Result<Vec<String>, String> {
    row.get_column_iter().map(|(_, field)| cell(field)).collect()
}

fn cell(field: &Field) -> Result<String, String> {
    Ok(match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Long(number) => number.to_string(),
        Field::Double(number) => number.to_string(),
        Field::Float(number) => number.to_string(),
        Field::UInt(number) => number.to_string(),
        Field::Bool(flag) => flag.to_string(),
        Field::ListInternal(list)
            if list.elements().iter().any(|element| matches!(element, Field::Str(_))) =>
        {
            let texts: Vec<&String> = list
                .elements()
                .iter()
                .filter_map(
                    |element| if let Field::Str(text) = element { Some(text) } else { None },
                )
                .collect();
            serde_json::to_string(&texts).map_err(|error| error.to_string())?
        }
        Field::ListInternal(list) => {
            list.elements().iter().map(cell).collect::<Result<Vec<String>, String>>()?.join(" ")
        }
        other => return Err(format!("a value of another type, {other}")),
    })
}
