//! Metadata values: scalars, strings, and arrays of one type.

use super::{GgufError, cursor::Cursor};

/// A metadata value, in the width that the file gives it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is named after its Rust type")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(Array),
}

/// An array value. Arrays of arrays, which no known model uses, are refused.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is named after its element type")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<String>),
}

/// A string of the file, and whether its bytes were UTF-8.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) string: String,
    pub(super) lossy: bool,
}

impl Text {
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(string) => Self { string: string.to_owned(), lossy: false },
            Err(_) => Self { string: String::from_utf8_lossy(bytes).into_owned(), lossy: true },
        }
    }
}

/// Numbers of the value types in a file.
pub(super) mod type_id {
    pub(in super::super) const U8: u32 = 0;
    pub(in super::super) const I8: u32 = 1;
    pub(in super::super) const U16: u32 = 2;
    pub(in super::super) const I16: u32 = 3;
    pub(in super::super) const U32: u32 = 4;
    pub(in super::super) const I32: u32 = 5;
    pub(in super::super) const F32: u32 = 6;
    pub(in super::super) const BOOL: u32 = 7;
    pub(in super::super) const STRING: u32 = 8;
    pub(in super::super) const ARRAY: u32 = 9;
    pub(in super::super) const U64: u32 = 10;
    pub(in super::super) const I64: u32 = 11;
    pub(in super::super) const F64: u32 = 12;
}

/// Reads a value with its type; the flag says whether a string in it was not UTF-8.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<(Value, bool), GgufError> {
    let offset = cursor.offset();
    let id = cursor.u32("a value type")?;
    let mut lossy = false;
    let what = "a metadata value";
    let value = match id {
        type_id::U8 => Value::U8(u8::from_le_bytes(cursor.array(what)?)),
        type_id::I8 => Value::I8(i8::from_le_bytes(cursor.array(what)?)),
        type_id::U16 => Value::U16(u16::from_le_bytes(cursor.array(what)?)),
        type_id::I16 => Value::I16(i16::from_le_bytes(cursor.array(what)?)),
        type_id::U32 => Value::U32(u32::from_le_bytes(cursor.array(what)?)),
        type_id::I32 => Value::I32(i32::from_le_bytes(cursor.array(what)?)),
        type_id::U64 => Value::U64(u64::from_le_bytes(cursor.array(what)?)),
        type_id::I64 => Value::I64(i64::from_le_bytes(cursor.array(what)?)),
        type_id::F32 => Value::F32(f32::from_le_bytes(cursor.array(what)?)),
        type_id::F64 => Value::F64(f64::from_le_bytes(cursor.array(what)?)),
        type_id::BOOL => Value::Bool(read_bools(cursor, 1)?[0]),
        type_id::STRING => {
            let text = cursor.text("a string value")?;
            lossy = text.lossy;
            Value::String(text.string)
        }
        type_id::ARRAY => {
            let (array, array_lossy) = read_array(cursor)?;
            lossy = array_lossy;
            Value::Array(array)
        }
        _ => {
            return Err(GgufError::Invalid {
                expected: "a value type from 0 to 12",
                offset,
                got: id.to_string(),
            });
        }
    };
    Ok((value, lossy))
}

fn read_array(cursor: &mut Cursor<'_>) -> Result<(Array, bool), GgufError> {
    let offset = cursor.offset();
    let id = cursor.u32("an array's element type")?;
    let mut lossy = false;
    let array = match id {
        type_id::U8 => Array::U8(read_numbers(cursor, u8::from_le_bytes)?),
        type_id::I8 => Array::I8(read_numbers(cursor, i8::from_le_bytes)?),
        type_id::U16 => Array::U16(read_numbers(cursor, u16::from_le_bytes)?),
        type_id::I16 => Array::I16(read_numbers(cursor, i16::from_le_bytes)?),
        type_id::U32 => Array::U32(read_numbers(cursor, u32::from_le_bytes)?),
        type_id::I32 => Array::I32(read_numbers(cursor, i32::from_le_bytes)?),
        type_id::U64 => Array::U64(read_numbers(cursor, u64::from_le_bytes)?),
        type_id::I64 => Array::I64(read_numbers(cursor, i64::from_le_bytes)?),
        type_id::F32 => Array::F32(read_numbers(cursor, f32::from_le_bytes)?),
        type_id::F64 => Array::F64(read_numbers(cursor, f64::from_le_bytes)?),
        type_id::BOOL => {
            let count = cursor.count(ELEMENT_COUNT, 1)?;
            Array::Bool(read_bools(cursor, count)?)
        }
        type_id::STRING => {
            let count = cursor.count(ELEMENT_COUNT, 8)?;
            let mut strings = Vec::new();
            for _ in 0..count {
                let text = cursor.text("a string in an array")?;
                lossy |= text.lossy;
                strings.push(text.string);
            }
            Array::String(strings)
        }
        _ => {
            let got =
                if id == type_id::ARRAY { "an array of arrays".to_owned() } else { id.to_string() };
            return Err(GgufError::Invalid {
                expected: "the element type of a flat array",
                offset,
                got,
            });
        }
    };
    Ok((array, lossy))
}

const ELEMENT_COUNT: &str = "count of array elements";

fn read_numbers<const N: usize, T>(
    cursor: &mut Cursor<'_>,
    read: fn([u8; N]) -> T,
) -> Result<Vec<T>, GgufError> {
    let count = cursor.count(ELEMENT_COUNT, N as u64)?;
    let bytes = cursor.take(count * N as u64, "an array of numbers")?;
    Ok(bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect())
}

fn read_bools(cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<bool>, GgufError> {
    let offset = cursor.offset();
    let bytes = cursor.take(count, "a boolean value")?;
    bytes
        .iter()
        .zip(offset..)
        .map(|(&byte, offset)| match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(GgufError::Invalid {
                expected: "a boolean, 0 or 1",
                offset,
                got: byte.to_string(),
            }),
        })
        .collect()
}

impl Value {
    /// The value as an integer of any width, if it is one.
    #[must_use]
    pub fn as_integer(&self) -> Option<i128> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::I8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::I32(v) => Some(v.into()),
            Self::U64(v) => Some(v.into()),
            Self::I64(v) => Some(v.into()),
            _ => None,
        }
    }

    /// Type and value in words, for messages: `u32 7`, `string "llama"`, `array of 3 f32`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::U8(v) => format!("u8 {v}"),
            Self::I8(v) => format!("i8 {v}"),
            Self::U16(v) => format!("u16 {v}"),
            Self::I16(v) => format!("i16 {v}"),
            Self::U32(v) => format!("u32 {v}"),
            Self::I32(v) => format!("i32 {v}"),
            Self::U64(v) => format!("u64 {v}"),
            Self::I64(v) => format!("i64 {v}"),
            Self::F32(v) => format!("f32 {v}"),
            Self::F64(v) => format!("f64 {v}"),
            Self::Bool(v) => format!("bool {v}"),
            Self::String(v) if v.chars().nth(60).is_some() => {
                format!("string {:?} and more", v.chars().take(60).collect::<String>())
            }
            Self::String(v) => format!("string {v:?}"),
            Self::Array(v) => format!("array of {} {}", v.len(), v.element_name()),
        }
    }
}

/// Evaluates `$body` with `$elements` bound to the vector inside, whatever its type.
macro_rules! with_elements {
    ($array:expr, $elements:ident => $body:expr) => {
        match $array {
            Array::U8($elements) => $body,
            Array::I8($elements) => $body,
            Array::U16($elements) => $body,
            Array::I16($elements) => $body,
            Array::U32($elements) => $body,
            Array::I32($elements) => $body,
            Array::U64($elements) => $body,
            Array::I64($elements) => $body,
            Array::F32($elements) => $body,
            Array::F64($elements) => $body,
            Array::Bool($elements) => $body,
            Array::String($elements) => $body,
        }
    };
}

impl Array {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        with_elements!(self, elements => elements.len())
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element at `index` as a value of its own.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Value> {
        with_elements!(self, elements => elements.get(index).cloned().map(Value::from))
    }

    /// Name of the element type.
    #[must_use]
    pub fn element_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "u8",
            Self::I8(_) => "i8",
            Self::U16(_) => "u16",
            Self::I16(_) => "i16",
            Self::U32(_) => "u32",
            Self::I32(_) => "i32",
            Self::U64(_) => "u64",
            Self::I64(_) => "i64",
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::Bool(_) => "bool",
            Self::String(_) => "string",
        }
    }
}

macro_rules! value_from {
    ($($type:ty => $variant:ident),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        }
        impl From<Vec<$type>> for Value {
            fn from(elements: Vec<$type>) -> Self {
                Self::Array(Array::$variant(elements))
            }
        }
    )*};
}

value_from!(
    u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, u64 => U64, i64 => I64,
    f32 => F32, f64 => F64, bool => Bool, String => String,
);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<Vec<&str>> for Value {
    fn from(elements: Vec<&str>) -> Self {
        Self::Array(Array::String(elements.into_iter().map(str::to_owned).collect()))
    }
}
