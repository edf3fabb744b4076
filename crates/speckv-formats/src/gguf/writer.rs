//! Making GGUF files.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::Path,
};

use super::{
    ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, GgufError, MAGIC, Value, tensor, value::type_id,
};
use crate::quant::TensorType;

/// Collects metadata and tensors, then writes them as GGUF version 3. The tensors' bytes may be
/// borrowed.
#[derive(Debug, Clone, Default)]
pub struct Writer<'a> {
    version: Option<u32>,
    metadata: Vec<(String, Value)>,
    tensors: Vec<Entry<'a>>,
}

#[derive(Debug, Clone)]
struct Entry<'a> {
    name: String,
    shape: Vec<usize>,
    tensor_type: TensorType,
    byte_len: usize,
    bytes: Cow<'a, [u8]>, // empty where they come only when the file is written
}

/// Gives the bytes of a tensor by its name.
pub(super) type BytesOf<'f, 'b, E> = dyn FnMut(&str) -> Result<Cow<'b, [u8]>, E> + 'f;

impl<'a> Writer<'a> {
    /// A file without metadata and tensors.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the format version 2 or 3 instead of 3.
    ///
    /// # Errors
    /// [`GgufError::Version`] for another one.
    pub fn set_version(&mut self, version: u32) -> Result<&mut Self, GgufError> {
        if !matches!(version, 2 | 3) {
            return Err(GgufError::Version { version });
        }
        self.version = Some(version);
        Ok(self)
    }

    /// Sets a metadata entry, in place of an earlier one with the same key.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        match self.metadata.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => self.metadata.push((key, value)),
        }
        self
    }

    /// Adds a tensor of `shape` (innermost dimension first) from its stored bytes.
    ///
    /// # Errors
    /// [`GgufError::DuplicateTensor`], [`GgufError::Shape`], or [`GgufError::TensorBytes`] where
    /// the bytes do not fit the shape.
    pub fn tensor(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        tensor_type: TensorType,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Result<&mut Self, GgufError> {
        self.announce(name, shape, tensor_type)?;
        if let Some(entry) = self.tensors.last_mut() {
            entry.bytes = bytes.into();
        }
        self.check_last()
    }

    /// Adds a tensor whose bytes come when the file is written: see [`save_with`](Self::save_with).
    ///
    /// # Errors
    /// [`GgufError::DuplicateTensor`], [`GgufError::Shape`].
    pub fn announce(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        tensor_type: TensorType,
    ) -> Result<&mut Self, GgufError> {
        let name = name.into();
        if self.tensors.iter().any(|entry| entry.name == name) {
            return Err(GgufError::DuplicateTensor { name });
        }
        let wide: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
        let (_, byte_len) = tensor::check_shape(&name, &wide, tensor_type)?;
        self.tensors.push(Entry {
            name,
            shape: shape.to_vec(),
            tensor_type,
            byte_len,
            bytes: Cow::Borrowed(&[]),
        });
        Ok(self)
    }

    /// Takes the newest tensor back if its bytes do not fit its shape.
    fn check_last(&mut self) -> Result<&mut Self, GgufError> {
        match self.tensors.pop_if(|entry| entry.bytes.len() != entry.byte_len) {
            Some(entry) => Err(wrong_length(&entry, entry.bytes.len())),
            None => Ok(self),
        }
    }

    /// The file in memory.
    ///
    /// # Errors
    /// [`GgufError::Alignment`] or [`GgufError::WrongType`] for an alignment in the metadata that
    /// no reader would take.
    pub fn to_bytes(&self) -> Result<Vec<u8>, GgufError> {
        let alignment = self.alignment()?;
        let mut bytes = self.header(alignment);
        for entry in &self.tensors {
            if entry.bytes.len() != entry.byte_len {
                return Err(wrong_length(entry, entry.bytes.len()));
            }
            bytes.extend_from_slice(&entry.bytes);
            pad(&mut bytes, alignment);
        }
        Ok(bytes)
    }

    /// Writes the file to `path`, in place of what is there.
    ///
    /// # Errors
    /// See [`to_bytes`](Self::to_bytes); [`GgufError::Io`] with the path.
    pub fn save(&self, path: &Path) -> Result<(), GgufError> {
        self.save_with(path, &mut |name| {
            let entry = self.tensors.iter().find(|entry| entry.name == name);
            Ok(entry.map(|entry| Cow::Borrowed(&*entry.bytes)).unwrap_or_default())
        })
    }

    /// As [`save`](Self::save), with the bytes of each tensor from `bytes`, called by name in the
    /// order in which they were added: never more than one tensor is in memory.
    ///
    /// # Errors
    /// As [`save`](Self::save), and those of `bytes`. What was written until then stays.
    pub fn save_with<'b, E: From<GgufError>>(
        &self,
        path: &Path,
        bytes: &mut BytesOf<'_, 'b, E>,
    ) -> Result<(), E> {
        let alignment = self.alignment()?; // checked before there is a file
        let failed = |source| GgufError::Io { action: "write", path: path.to_owned(), source };
        let mut out = BufWriter::new(File::create(path).map_err(failed)?);
        out.write_all(&self.header(alignment)).map_err(failed)?;
        for entry in &self.tensors {
            let bytes = bytes(&entry.name)?;
            if bytes.len() != entry.byte_len {
                return Err(wrong_length(entry, bytes.len()).into());
            }
            let missing = (bytes.len() as u64).next_multiple_of(alignment) - bytes.len() as u64;
            let mut write = || {
                out.write_all(&bytes)?;
                io::copy(&mut io::repeat(0).take(missing), &mut out).map(|_| ())
            };
            write().map_err(failed)?;
        }
        Ok(out.flush().map_err(failed)?)
    }

    /// Everything before the tensor data, padded to the alignment.
    fn header(&self, alignment: u64) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&self.version.unwrap_or(3).to_le_bytes());
        header.extend_from_slice(&(self.tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            put_string(&mut header, key);
            put_value(&mut header, value);
        }
        let mut offset = 0_u64;
        for entry in &self.tensors {
            put_string(&mut header, &entry.name);
            header.extend_from_slice(&(entry.shape.len() as u32).to_le_bytes());
            for &size in &entry.shape {
                header.extend_from_slice(&(size as u64).to_le_bytes());
            }
            header.extend_from_slice(&entry.tensor_type.id().to_le_bytes());
            header.extend_from_slice(&offset.to_le_bytes());
            offset = (offset + entry.byte_len as u64).next_multiple_of(alignment);
        }
        pad(&mut header, alignment);
        header
    }

    fn alignment(&self) -> Result<u64, GgufError> {
        let Some((key, value)) = self.metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY) else {
            return Ok(DEFAULT_ALIGNMENT);
        };
        let Some(alignment) = value.as_integer().and_then(|integer| u32::try_from(integer).ok())
        else {
            let expected = "an unsigned integer of at most 32 bits";
            return Err(GgufError::WrongType { key: key.clone(), expected, got: value.describe() });
        };
        let alignment = u64::from(alignment);
        if alignment.is_power_of_two() {
            Ok(alignment)
        } else {
            Err(GgufError::Alignment { alignment })
        }
    }
}

fn wrong_length(entry: &Entry<'_>, got: usize) -> GgufError {
    GgufError::TensorBytes {
        name: entry.name.clone(),
        expected: entry.byte_len as u64,
        got: got as u64,
    }
}

fn pad(bytes: &mut Vec<u8>, alignment: u64) {
    bytes.resize((bytes.len() as u64).next_multiple_of(alignment) as usize, 0);
}

fn put_string(out: &mut Vec<u8>, string: &str) {
    out.extend_from_slice(&(string.len() as u64).to_le_bytes());
    out.extend_from_slice(string.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    macro_rules! scalar {
        ($id:ident, $value:expr) => {{
            out.extend_from_slice(&type_id::$id.to_le_bytes());
            out.extend_from_slice(&$value.to_le_bytes());
        }};
    }
    match value {
        Value::U8(v) => scalar!(U8, v),
        Value::I8(v) => scalar!(I8, v),
        Value::U16(v) => scalar!(U16, v),
        Value::I16(v) => scalar!(I16, v),
        Value::U32(v) => scalar!(U32, v),
        Value::I32(v) => scalar!(I32, v),
        Value::U64(v) => scalar!(U64, v),
        Value::I64(v) => scalar!(I64, v),
        Value::F32(v) => scalar!(F32, v),
        Value::F64(v) => scalar!(F64, v),
        Value::Bool(v) => scalar!(BOOL, u8::from(*v)),
        Value::String(v) => {
            out.extend_from_slice(&type_id::STRING.to_le_bytes());
            put_string(out, v);
        }
        Value::Array(v) => {
            out.extend_from_slice(&type_id::ARRAY.to_le_bytes());
            put_array(out, v);
        }
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    let len = array.len() as u64;
    let mut head = |id: u32| {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
    };
    macro_rules! numbers {
        ($id:ident, $elements:expr) => {{
            head(type_id::$id);
            out.extend($elements.iter().flat_map(|element| element.to_le_bytes()));
        }};
    }
    match array {
        Array::U8(v) => numbers!(U8, v),
        Array::I8(v) => numbers!(I8, v),
        Array::U16(v) => numbers!(U16, v),
        Array::I16(v) => numbers!(I16, v),
        Array::U32(v) => numbers!(U32, v),
        Array::I32(v) => numbers!(I32, v),
        Array::U64(v) => numbers!(U64, v),
        Array::I64(v) => numbers!(I64, v),
        Array::F32(v) => numbers!(F32, v),
        Array::F64(v) => numbers!(F64, v),
        Array::Bool(v) => {
            head(type_id::BOOL);
            out.extend(v.iter().map(|&element| u8::from(element)));
        }
        Array::String(v) => {
            head(type_id::STRING);
            v.iter().for_each(|element| put_string(out, element));
        }
    }
}
