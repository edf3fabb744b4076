//! The metadata of a file: keys with typed values, in the order of the file.

use std::{borrow::Cow, collections::HashMap};

use super::{Array, GgufError, Value};

/// Metadata entries by key.
///
/// Getters come in pairs: `u32(key)` wants the key, `opt_u32(key)` gives `None` where it is absent.
/// Both fail on another type, saying the key, what was expected and what is there. Integers of any
/// width are taken where the value fits; no integer is taken for a float and no float for an
/// integer.
///
/// Strings are UTF-8. A vocabulary with a token that is not must still load, so invalid pieces
/// become U+FFFD, two such tokens may become equal, and [`lossy_keys`](Self::lossy_keys) tells
/// which entries this happened to.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
    lossy_keys: Vec<String>,
}

/// Writes a pair of getters, one for a key that must be there and one for a key that may be.
macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident, $opt_name:ident, $expected:literal -> $type:ty, $convert:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`GgufError::MissingKey`], or [`GgufError::WrongType`] where the value is something else
        /// or does not fit.
        #[allow(clippy::needless_lifetimes, reason = "not needless where the value borrows")]
        pub fn $name<'a>(&'a self, key: &str) -> Result<$type, GgufError> {
            self.$opt_name(key)?.ok_or_else(|| GgufError::MissingKey { key: key.to_owned(), expected: $expected })
        }

        $(#[$doc])*
        /// `None` where the key is absent.
        ///
        /// # Errors
        /// [`GgufError::WrongType`] where the value is something else or does not fit.
        pub fn $opt_name<'a>(&'a self, key: &str) -> Result<Option<$type>, GgufError> {
            let convert: fn(&'a Value) -> Option<$type> = $convert;
            let Some(value) = self.get(key) else { return Ok(None) };
            match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(GgufError::WrongType { key: key.to_owned(), expected: $expected, got: value.describe() }),
            }
        }
    )*};
}

impl Metadata {
    /// Adds an entry, unless the key is there already.
    pub(super) fn insert(&mut self, key: String, value: Value, lossy: bool) -> Result<(), String> {
        if self.index.contains_key(&key) {
            return Err(key);
        }
        if lossy {
            self.lossy_keys.push(key.clone());
        }
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        Ok(())
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&i| &self.entries[i].1)
    }

    /// Entries in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Keys whose strings held bytes that are not UTF-8 and were replaced by U+FFFD.
    #[must_use]
    pub fn lossy_keys(&self) -> &[String] {
        &self.lossy_keys
    }

    getters! {
        /// A string.
        string, opt_string, "a string" -> &'a str, |value| match value {
            Value::String(string) => Some(string),
            _ => None,
        };
        /// A boolean.
        bool, opt_bool, "a boolean" -> bool, |value| match *value {
            Value::Bool(bool) => Some(bool),
            _ => None,
        };
        /// An unsigned integer below 2^32.
        u32, opt_u32, "an unsigned integer of at most 32 \
            bits" -> u32, |value| value.as_integer()?.try_into().ok();
        /// An unsigned integer below 2^64.
        u64, opt_u64, "an unsigned integer of at most 64 \
            bits" -> u64, |value| value.as_integer()?.try_into().ok();
        /// An unsigned integer that can be a size on this machine.
        usize, opt_usize, "an unsigned \
            integer" -> usize, |value| value.as_integer()?.try_into().ok();
        /// A signed integer of 32 bits.
        i32, opt_i32, "an integer of at most 32 \
            bits" -> i32, |value| value.as_integer()?.try_into().ok();
        /// A signed integer of 64 bits.
        i64, opt_i64, "an integer of at most 64 \
            bits" -> i64, |value| value.as_integer()?.try_into().ok();
        /// A float; one of 64 bits is rounded.
        f32, opt_f32, "a float" -> f32, |value| match *value {
            Value::F32(float) => Some(float),
            Value::F64(float) => Some(float as f32),
            _ => None,
        };
        /// An array of strings.
        strings, opt_strings, "an array of strings" -> &'a [String], |value| match value {
            Value::Array(Array::String(strings)) => Some(strings),
            _ => None,
        };
        /// An array of booleans.
        bools, opt_bools, "an array of booleans" -> &'a [bool], |value| match value {
            Value::Array(Array::Bool(bools)) => Some(bools),
            _ => None,
        };
        /// An array of integers that all fit into 32 bits, signed.
        i32s, opt_i32s, "an array of integers of at most 32 \
            bits" -> Cow<'a, [i32]>, |value| match value {
            Value::Array(Array::I32(integers)) => Some(Cow::Borrowed(integers)),
            Value::Array(array) => integers(array).map(Cow::Owned),
            _ => None,
        };
        /// An array of integers that all fit into 32 bits, unsigned.
        u32s, opt_u32s, "an array of unsigned integers of at most 32 \
            bits" -> Cow<'a, [u32]>, |value| match value {
            Value::Array(Array::U32(integers)) => Some(Cow::Borrowed(integers)),
            Value::Array(array) => integers(array).map(Cow::Owned),
            _ => None,
        };
        /// An array of floats; those of 64 bits are rounded.
        f32s, opt_f32s, "an array of floats" -> Cow<'a, [f32]>, |value| match value {
            Value::Array(Array::F32(floats)) => Some(Cow::Borrowed(floats)),
            Value::Array(Array::F64(floats)) => Some(floats.iter().map(|&float| float as f32).collect()),
            _ => None,
        };
    }
}

fn integers<T: TryFrom<i128>>(array: &Array) -> Option<Vec<T>> {
    fn convert<S: Copy + Into<i128>, T: TryFrom<i128>>(elements: &[S]) -> Option<Vec<T>> {
        elements.iter().map(|&element| T::try_from(element.into()).ok()).collect()
    }
    match array {
        Array::U8(v) => convert(v),
        Array::I8(v) => convert(v),
        Array::U16(v) => convert(v),
        Array::I16(v) => convert(v),
        Array::U32(v) => convert(v),
        Array::I32(v) => convert(v),
        Array::U64(v) => convert(v),
        Array::I64(v) => convert(v),
        Array::F32(_) | Array::F64(_) | Array::Bool(_) | Array::String(_) => None,
    }
}
