//! The columns of a trace file. `docs/reference/trace.md` explains them; a test holds the two
//! together.

use std::sync::Arc;

use parquet::{
    errors::ParquetError,
    schema::{parser::parse_message_type, types::Type},
};

/// The format's number. Files of earlier ones are read, of later ones refused; format 1 has no
/// column [`SECOND`].
pub const FORMAT: u32 = 2;

/// Key of the file's metadata that holds the recording's [`Run`](crate::run::Run) as JSON.
pub const RUN_KEY: &str = "speckv.run";

/// Key of the file's metadata that holds the prompt's facts as JSON.
pub const PROMPT_KEY: &str = "speckv.prompt";

/// The schema in Parquet's own language: one row per token of target, draft model or look-up.
pub const SCHEMA: &str = "message speckv_trace {
    REQUIRED BYTE_ARRAY prompt_id (UTF8);
    REQUIRED BYTE_ARRAY task (UTF8);
    REQUIRED INT32 position (INTEGER(32, false));
    REQUIRED BYTE_ARRAY source (UTF8);
    REQUIRED INT32 draft_index (INTEGER(32, false));
    REQUIRED INT32 token (INTEGER(32, false));
    OPTIONAL BOOLEAN agrees;
    OPTIONAL FLOAT entropy_bits;
    OPTIONAL FLOAT confidence;
    OPTIONAL FLOAT margin;
    OPTIONAL INT32 match_length (INTEGER(32, false));
    OPTIONAL INT32 available (INTEGER(32, false));
    OPTIONAL DOUBLE seconds;
    OPTIONAL INT32 second (INTEGER(32, false));
}";

/// The column that format 2 added.
pub const SECOND: &str = "second";

/// Whether files of a format have the column [`SECOND`].
pub(super) fn has_second(format: u32) -> bool {
    format >= 2
}

/// The schema of a format, parsed.
pub(super) fn schema(format: u32) -> Result<Arc<Type>, ParquetError> {
    let is_new = |line: &&str| line.contains(&format!(" {SECOND} "));
    let lines = SCHEMA.lines().filter(|line| has_second(format) || !is_new(line));
    parse_message_type(&lines.collect::<Vec<_>>().join("\n")).map(Arc::new)
}
