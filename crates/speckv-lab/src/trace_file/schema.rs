//! The columns of a trace file. `docs/reference/trace.md` explains them; a test holds the two
//! together.

use std::sync::Arc;

use parquet::{
    errors::ParquetError,
    schema::{parser::parse_message_type, types::Type},
};

/// The format's number; a file of another one is refused.
pub const FORMAT: u32 = 1;

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
}";

/// The schema, parsed.
pub(super) fn schema() -> Result<Arc<Type>, ParquetError> {
    parse_message_type(SCHEMA).map(Arc::new)
}
