//! From a recording to Parquet's bytes.

use std::sync::Arc;

use parquet::{
    basic::Compression,
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
};
use speckv::record::Drafted;

use super::{TraceFile, TraceFileError, schema};

/// The columns, filled row by row.
#[derive(Default)]
struct Columns {
    position: Vec<i32>,
    source: Vec<ByteArray>,
    draft_index: Vec<i32>,
    token: Vec<i32>,
    agrees: Vec<Option<bool>>,
    entropy_bits: Vec<Option<f32>>,
    confidence: Vec<Option<f32>>,
    margin: Vec<Option<f32>>,
    match_length: Vec<Option<i32>>,
    available: Vec<Option<i32>>,
    seconds: Vec<Option<f64>>,
    second: Vec<Option<i32>>,
}

impl Columns {
    fn of(file: &TraceFile) -> Self {
        let recording = &file.recording;
        let mut columns = Columns::default();
        for (position, proposals) in recording.trace.positions.iter().enumerate() {
            let seconds = recording.plain_seconds.get(position).copied();
            columns.push(position, "target", 0, recording.trace.tokens[position], seconds);
            columns.signals(None, None, None);
            for (index, drafted) in proposals.model.drafted.iter().enumerate() {
                let seconds = recording
                    .draft_seconds
                    .get(position)
                    .and_then(|chain| chain.get(index).copied().flatten());
                columns.push(position, "model", index, drafted.token, seconds);
                columns.signals(Some(drafted), Some(index < proposals.model.agreed), None);
            }
            for (index, drafted) in proposals.parallel.drafted.iter().enumerate() {
                columns.push(position, "parallel", index, drafted.token, None);
                columns.signals(Some(drafted), Some(index < proposals.parallel.agreed), None);
            }
            if let Some((lookup, proposal)) = &proposals.ngram {
                for (index, drafted) in proposal.drafted.iter().enumerate() {
                    columns.push(position, "ngram", index, drafted.token, None);
                    let available = (index == 0).then_some(int(lookup.available));
                    columns.signals(Some(drafted), Some(index < proposal.agreed), available);
                }
            }
        }
        columns
    }

    fn push(
        &mut self,
        position: usize,
        source: &str,
        index: usize,
        token: u32,
        seconds: Option<f64>,
    ) {
        self.position.push(int(position));
        self.source.push(source.into());
        self.draft_index.push(int(index));
        self.token.push(token.cast_signed());
        self.seconds.push(seconds);
    }

    fn signals(&mut self, drafted: Option<&Drafted>, agrees: Option<bool>, available: Option<i32>) {
        let signals = drafted.map(|drafted| drafted.signals);
        self.agrees.push(agrees);
        self.entropy_bits.push(signals.map(|signals| signals.entropy_bits));
        self.confidence.push(signals.map(|signals| signals.confidence));
        self.margin.push(signals.map(|signals| signals.margin));
        self.match_length.push(signals.map(|signals| i32::from(signals.match_length)));
        self.available.push(available);
        let second = drafted.and_then(|drafted| drafted.second);
        self.second.push(second.map(u32::cast_signed));
    }
}

/// Positions and lengths are far below the limit; one beyond it would not fit a context either.
fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The file's bytes: the same for the same content.
///
/// # Errors
/// [`TraceFileError::Unwritable`].
pub fn to_bytes(file: &TraceFile) -> Result<Vec<u8>, TraceFileError> {
    let failed =
        |reason: String| TraceFileError::Unwritable { prompt_id: file.prompt.id.clone(), reason };
    file.recording.trace.check().map_err(|error| failed(error.to_string()))?;
    let json =
        |value: Result<String, serde_json::Error>| value.map_err(|error| failed(error.to_string()));
    let metadata = vec![
        KeyValue::new(super::RUN_KEY.into(), json(serde_json::to_string(&file.run))?),
        KeyValue::new(super::PROMPT_KEY.into(), json(serde_json::to_string(&file.prompt))?),
    ];
    write(file, metadata).map_err(|error| failed(error.to_string()))
}

fn write(file: &TraceFile, metadata: Vec<KeyValue>) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by(format!("speckv {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(metadata))
        .build();
    let columns = Columns::of(file);
    let mut bytes = Vec::new();
    let format = file.run.settings.format;
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema::schema(format)?, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let rows = columns.position.len();
    let same = |text: &str| vec![ByteArray::from(text); rows];
    required::<ByteArrayType, _>(&mut group, &same(&file.prompt.id))?;
    required::<ByteArrayType, _>(&mut group, &same(&file.prompt.task))?;
    required::<Int32Type, _>(&mut group, &columns.position)?;
    required::<ByteArrayType, _>(&mut group, &columns.source)?;
    required::<Int32Type, _>(&mut group, &columns.draft_index)?;
    required::<Int32Type, _>(&mut group, &columns.token)?;
    optional::<BoolType, _>(&mut group, &columns.agrees)?;
    optional::<FloatType, _>(&mut group, &columns.entropy_bits)?;
    optional::<FloatType, _>(&mut group, &columns.confidence)?;
    optional::<FloatType, _>(&mut group, &columns.margin)?;
    optional::<Int32Type, _>(&mut group, &columns.match_length)?;
    optional::<Int32Type, _>(&mut group, &columns.available)?;
    optional::<DoubleType, _>(&mut group, &columns.seconds)?;
    if schema::has_second(format) {
        optional::<Int32Type, _>(&mut group, &columns.second)?;
    }
    group.close()?;
    writer.close()?;
    Ok(bytes)
}

fn required<D: DataType, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[D::T],
) -> Result<(), ParquetError> {
    put::<D, W>(group, values, None)
}

fn optional<D: DataType, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[Option<D::T>],
) -> Result<(), ParquetError> {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let present: Vec<D::T> = values.iter().flatten().cloned().collect();
    put::<D, W>(group, &present, Some(&levels))
}

fn put<D: DataType, W: std::io::Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[D::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("the schema has fewer columns than are written".into());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<D>().write_batch(values, levels, None)?;
    column.close()
}
