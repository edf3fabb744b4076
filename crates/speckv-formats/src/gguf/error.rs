//! What can be wrong with a GGUF file.

use std::path::PathBuf;

use crate::quant::UnsupportedTensorType;

/// Why a GGUF file could not be opened, read, asked or written. Offsets are bytes from the start of
/// the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file at `path` is wrong in itself.
    #[error("{}: {problem}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<GgufError>,
    },
    /// The operating system could not open, map or write the file.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: open, map, read, write.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file was changed while it was read.
    #[error(
        "{} was changed while it was read: it had {before} bytes and now has {now}",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Its length when it was opened, in bytes.
        before: u64,
        /// Its length now.
        now: u64,
    },
    /// The path names a folder.
    #[error("expected a GGUF file, got a folder")]
    Folder,
    /// There are no bytes.
    #[error("expected a GGUF file, got an empty file")]
    Empty,
    /// The file does not begin with `GGUF`.
    #[error("expected a GGUF file, which begins with \"GGUF\", got \"{}\"", first.escape_ascii())]
    NotGguf {
        /// The first bytes, at most eight.
        first: Vec<u8>,
    },
    /// The file is of the big endian flavour.
    #[error("expected a little endian GGUF file, got a big endian one (version {version})")]
    BigEndian {
        /// Its format version.
        version: u32,
    },
    /// A format version that this reader does not know.
    #[error("expected GGUF version 2 or 3, got version {version}")]
    Version {
        /// The version found.
        version: u32,
    },
    /// The file ends inside something.
    #[error(
        "expected {what} of {needed} bytes at offset {offset}, got {left} bytes before the end of \
         the file"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// Bytes it takes.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// A count that cannot be true, as even the smallest such things would not fit.
    #[error(
        "expected a {what} that fits into the {left} bytes left at offset {offset}, got {count}"
    )]
    Count {
        /// What is counted.
        what: &'static str,
        /// Where the count stands.
        offset: u64,
        /// The count.
        count: u64,
        /// Bytes left after the count.
        left: u64,
    },
    /// A number or byte that the format gives no meaning there.
    #[error("expected {expected} at offset {offset}, got {got}")]
    Invalid {
        /// What the format allows.
        expected: &'static str,
        /// Where it stands.
        offset: u64,
        /// What was found.
        got: String,
    },
    /// Two metadata entries with one key.
    #[error("expected every metadata key once, got `{key}` again at offset {offset}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where the second one begins.
        offset: u64,
    },
    /// Two tensors with one name.
    #[error("expected every tensor name once, got `{name}` again")]
    DuplicateTensor {
        /// The name.
        name: String,
    },
    /// The alignment is no power of two.
    #[error("expected `general.alignment` to be a power of two, got {alignment}")]
    Alignment {
        /// The alignment found.
        alignment: u64,
    },
    /// One of several files that only together are a model.
    #[error("expected a model in one file, got part {part} of {count} (`split.count`)")]
    Split {
        /// Its number, from 1.
        part: u64,
        /// How many there are.
        count: u64,
    },
    /// One of several files under a name that does not lead to the others.
    #[error(
        "part {part} of {count}, whose name does not end in `{expected}` as those of the others"
    )]
    SplitName {
        /// Its number, from 1.
        part: u64,
        /// How many there are.
        count: u64,
        /// How its name should end.
        expected: String,
    },
    /// A part of a model that is not there.
    #[error("{}: part {part} of {count} is missing", path.display())]
    MissingPart {
        /// Where it should be.
        path: PathBuf,
        /// Its number, from 1.
        part: u64,
        /// How many there are.
        count: u64,
    },
    /// A part that is not the one that its name says.
    #[error("expected {expected}, got {got}")]
    SplitPart {
        /// What the model needs.
        expected: String,
        /// What the file is.
        got: String,
    },
    /// A tensor type without a decoder here.
    #[error("tensor `{name}`: {source}")]
    TensorType {
        /// The tensor.
        name: String,
        /// The type, and what is supported.
        source: UnsupportedTensorType,
    },
    /// A shape that is empty, too large, or does not divide into blocks.
    #[error("tensor `{name}`: expected {expected}, got shape {shape:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// What was expected of the shape.
        expected: String,
        /// The shape, innermost dimension first.
        shape: Vec<u64>,
    },
    /// A tensor's data do not begin at a multiple of the alignment.
    #[error("tensor `{name}`: expected an offset that is a multiple of {alignment}, got {offset}")]
    Unaligned {
        /// The tensor.
        name: String,
        /// Offset into the tensor data.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A tensor's data end outside the file.
    #[error(
        "tensor `{name}`: expected {len} bytes at offset {offset}, got a file of {file_size} bytes"
    )]
    TensorOutside {
        /// The tensor.
        name: String,
        /// Where its data begin.
        offset: u64,
        /// How long they are.
        len: u64,
        /// Size of the file.
        file_size: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "expected tensors that do not overlap, got `{first}` and `{second}` sharing the byte at \
         offset {offset}"
    )]
    Overlap {
        /// The tensor that begins earlier.
        first: String,
        /// The tensor that begins inside it.
        second: String,
        /// Where the second one begins.
        offset: u64,
    },
    /// A metadata entry that is needed is not there.
    #[error("expected the metadata key `{key}` ({expected}), which is absent")]
    MissingKey {
        /// The key.
        key: String,
        /// The type it should have.
        expected: &'static str,
    },
    /// A metadata entry has another type, or a value outside the type's range.
    #[error("metadata key `{key}`: expected {expected}, got {got}")]
    WrongType {
        /// The key.
        key: String,
        /// The type asked for.
        expected: &'static str,
        /// The type and value found.
        got: String,
    },
    /// Bytes handed to the writer do not fit the shape.
    #[error("tensor `{name}`: expected {expected} bytes for its shape and type, got {got}")]
    TensorBytes {
        /// The tensor.
        name: String,
        /// Bytes that shape and type make.
        expected: u64,
        /// Bytes handed over.
        got: u64,
    },
}

impl GgufError {
    /// What a user can do next, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::InFile { problem, .. } => problem.hint(),
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("check the path, or name a model of the catalogue (`speckv models`)")
            }
            Self::Changed { .. } => Some(
                "wait until the file is complete; replace a model file by renaming another to its \
                 name",
            ),
            Self::Folder => Some("name the `.gguf` file inside the folder"),
            Self::NotGguf { .. } | Self::Version { .. } => {
                Some("convert the model to GGUF version 3 with llama.cpp's conversion script")
            }
            Self::BigEndian { .. } => {
                Some("convert the file with `gguf_convert_endian.py` of llama.cpp")
            }
            Self::Empty
            | Self::Truncated { .. }
            | Self::Count { .. }
            | Self::TensorOutside { .. } => {
                Some("the download may be incomplete: fetch the file again")
            }
            Self::Split { .. } => Some(
                "join the parts: `llama-gguf-split --merge FIRST-PART.gguf WHOLE.gguf`, a tool of \
                 llama.cpp",
            ),
            Self::SplitName { .. } => Some("give all parts the names under which they came"),
            Self::MissingPart { .. } => Some("fetch all parts into one folder"),
            Self::TensorType { .. } => {
                Some("take the model in one of the supported types, for example Q4_K_M or Q8_0")
            }
            _ => None,
        }
    }
}
