//! Requests and answers as types: what clients may send, with every range checked, and what they
//! get.

pub mod answer;
pub mod asked;
mod channel_history;
pub mod chat;
pub mod completion;
pub mod fields;
pub mod message;
pub mod number;
pub mod options;
pub mod prediction;
pub mod sampling;
pub mod speculation;
pub mod structured;
pub mod text;

use speckv::engine::FinishReason;

use crate::error::ApiError;

/// A reason as OpenAI writes it.
#[must_use]
pub fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// Reads a request from bytes. A byte order mark before them is passed over (RFC 8259 allows it).
///
/// # Errors
/// Bytes that are not JSON, JSON of another shape, or fields that are not known and could change
/// the answer; the error names the field.
pub fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let message = format!("Cannot read the request: {}.", error.inner());
        if path == "." || path == "?" || error.inner().is_syntax() || error.inner().is_eof() {
            ApiError::invalid(message)
        } else {
            ApiError::field(path, message)
        }
    })?;
    json.end().map_err(|error| ApiError::invalid(format!("Cannot read the request: {error}.")))?;
    fields::check::<T>(bytes)?;
    Ok(value)
}
