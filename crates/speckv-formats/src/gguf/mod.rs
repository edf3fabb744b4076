//! GGUF: one file, or a few, that hold a model's metadata, vocabulary and weights.
//!
//! [`Gguf`] reads versions 2 and 3, little endian, over a memory map; [`Writer`] makes such files.
//! The layout, all integers little endian, a string being its length in bytes (u64) and then its
//! bytes:
//!
//! ```text
//! "GGUF"  version u32  tensor count u64  metadata count u64
//! per metadata entry   key string, value type u32, value        (array: element type u32, count u64, elements)
//! per tensor           name string, dimension count u32, dimensions u64, tensor type u32, offset u64
//! zeros up to the next multiple of the alignment (`general.alignment`, 32 if absent)
//! tensor data          each tensor at its offset from here, a multiple of the alignment
//! ```
//!
//! Files are untrusted. Reading checks every count, length and offset before use, reserves no
//! memory for a count that the file cannot hold, and refuses duplicate names and overlapping
//! tensors. What a reader allocates per tensor is thus bounded by the size of the file.

mod cursor;
mod error;
mod file;
mod metadata;
mod source;
mod split;
mod tensor;
mod value;
#[cfg(unix)]
mod watch;
mod writer;

pub use error::GgufError;
pub use file::Gguf;
pub use metadata::Metadata;
pub(crate) use source::Source;
pub use split::part_of_name;
pub use tensor::{Tensor, TensorInfo};
pub use value::{Array, Value};
pub use writer::Writer;

/// The first four bytes of every GGUF file.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Metadata key of the alignment of tensor data, in bytes.
pub const ALIGNMENT_KEY: &str = "general.alignment";

/// Alignment of tensor data, in bytes, where the metadata do not say.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// Most dimensions that a tensor may have.
pub const MAX_DIMENSIONS: u32 = 4;
