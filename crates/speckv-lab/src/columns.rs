//! Tables as columns, written as CSV and as Parquet from the same values, so that the two cannot
//! differ.

use std::sync::Arc;

use parquet::{
    basic::Compression,
    data_type::{
        BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
    },
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

/// Rows of a group of a Parquet file.
const GROUP: usize = 1 << 16;

/// The values of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Text.
    Text(Vec<String>),
    /// Whole numbers.
    Whole(Vec<i64>),
    /// Numbers, some missing.
    Number(Vec<Option<f64>>),
    /// Yes or no.
    Flag(Vec<bool>),
    /// A list of numbers per row.
    Numbers(Vec<Vec<f32>>),
    /// A list of whole numbers per row.
    Wholes(Vec<Vec<u32>>),
    /// A list of texts per row.
    Texts(Vec<Vec<String>>),
}

/// A named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name in both kinds of files.
    pub name: &'static str,
    /// One value per row.
    pub values: Values,
}

impl Values {
    /// A row's value as a cell of comma-separated values: lists of numbers with spaces between,
    /// lists of texts as JSON, nothing where a value is missing.
    #[must_use]
    pub fn cell(&self, row: usize) -> String {
        fn joined<T: ToString>(values: &[T]) -> String {
            values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        match self {
            Values::Text(values) => values[row].clone(),
            Values::Whole(values) => values[row].to_string(),
            Values::Number(values) => {
                values[row].map_or_else(String::new, |value| value.to_string())
            }
            Values::Flag(values) => values[row].to_string(),
            Values::Numbers(values) => joined(&values[row]),
            Values::Wholes(values) => joined(&values[row]),
            Values::Texts(values) => serde_json::Value::from(values[row].clone()).to_string(),
        }
    }

    /// Rows of the column.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Values::Text(values) => values.len(),
            Values::Whole(values) => values.len(),
            Values::Number(values) => values.len(),
            Values::Flag(values) => values.len(),
            Values::Numbers(values) => values.len(),
            Values::Wholes(values) => values.len(),
            Values::Texts(values) => values.len(),
        }
    }

    /// Whether the column has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn part(&self, rows: std::ops::Range<usize>) -> Self {
        match self {
            Values::Text(values) => Values::Text(values[rows].to_vec()),
            Values::Whole(values) => Values::Whole(values[rows].to_vec()),
            Values::Number(values) => Values::Number(values[rows].to_vec()),
            Values::Flag(values) => Values::Flag(values[rows].to_vec()),
            Values::Numbers(values) => Values::Numbers(values[rows].to_vec()),
            Values::Wholes(values) => Values::Wholes(values[rows].to_vec()),
            Values::Texts(values) => Values::Texts(values[rows].to_vec()),
        }
    }
}

/// The table as CSV, with a first line of names.
///
/// # Errors
/// None that memory does not cause.
pub fn to_csv(columns: &[Column]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns.iter().map(|column| column.name))?;
    for row in 0..columns.first().map_or(0, |column| column.values.len()) {
        writer.write_record(columns.iter().map(|column| column.values.cell(row)))?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

/// The schema in Parquet's own language; `name` is the message's.
#[must_use]
pub fn schema(name: &str, columns: &[Column]) -> String {
    let mut text = format!("message {name} {{\n");
    for Column { name, values } in columns {
        let list = |element: &str| {
            format!(
                "REQUIRED group {name} (LIST) {{ REPEATED group list {{ REQUIRED {element}; }} }}"
            )
        };
        let line = match values {
            Values::Text(_) => format!("REQUIRED BYTE_ARRAY {name} (UTF8);"),
            Values::Whole(_) => format!("REQUIRED INT64 {name};"),
            Values::Number(_) => format!("OPTIONAL DOUBLE {name};"),
            Values::Flag(_) => format!("REQUIRED BOOLEAN {name};"),
            Values::Numbers(_) => list("FLOAT element"),
            Values::Wholes(_) => list("INT32 element (INTEGER(32, false))"),
            Values::Texts(_) => list("BYTE_ARRAY element (UTF8)"),
        };
        text.push_str(&format!("    {line}\n"));
    }
    text + "}"
}

/// The table as Parquet with one entry of metadata: the same bytes for the same content.
///
/// # Errors
/// The writer's; none that content causes.
pub fn to_parquet(
    name: &str,
    columns: &[Column],
    key: &str,
    value: &str,
) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("speckv {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![KeyValue::new(key.into(), value.to_owned())]))
        .build();
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(&schema(name, columns))?);
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let rows = columns.first().map_or(0, |column| column.values.len());
    for start in (0..rows).step_by(GROUP) {
        let mut group = writer.next_row_group()?;
        for column in columns {
            write_column(&mut group, &column.values.part(start..rows.min(start + GROUP)))?;
        }
        group.close()?;
    }
    writer.close()?;
    Ok(bytes)
}

fn write_column<W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &Values,
) -> Result<(), ParquetError> {
    let bytes = |text: &String| ByteArray::from(text.as_str());
    match values {
        Values::Text(values) => put::<ByteArrayType, W>(
            group,
            &values.iter().map(bytes).collect::<Vec<_>>(),
            None,
            None,
        ),
        Values::Whole(values) => put::<Int64Type, W>(group, values, None, None),
        Values::Flag(values) => put::<BoolType, W>(group, values, None, None),
        Values::Number(values) => {
            let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
            put::<DoubleType, W>(
                group,
                &values.iter().flatten().copied().collect::<Vec<_>>(),
                Some(&levels),
                None,
            )
        }
        Values::Numbers(lists) => put_lists::<FloatType, _, W>(group, lists, |value| *value),
        Values::Wholes(lists) => {
            put_lists::<Int32Type, _, W>(group, lists, |value| value.cast_signed())
        }
        Values::Texts(lists) => put_lists::<ByteArrayType, _, W>(group, lists, bytes),
    }
}

/// A value begins a row where its repetition level is 0; an empty list is one place with definition
/// level 0 and no value.
fn put_lists<D: DataType, T, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    lists: &[Vec<T>],
    value: impl Fn(&T) -> D::T,
) -> Result<(), ParquetError> {
    let (mut defined, mut repeated) = (Vec::new(), Vec::new());
    for list in lists {
        defined.extend(std::iter::repeat_n(i16::from(!list.is_empty()), list.len().max(1)));
        repeated.push(0);
        repeated.extend(std::iter::repeat_n(1, list.len().saturating_sub(1)));
    }
    let values: Vec<D::T> = lists.iter().flatten().map(value).collect();
    put::<D, W>(group, &values, Some(&defined), Some(&repeated))
}

fn put<D: DataType, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[D::T],
    defined: Option<&[i16]>,
    repeated: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the schema has fewer columns than are written".into());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<D>().write_batch(values, defined, repeated)?;
    column.close()
}
