//! A bounded walk over the header's bytes: reads past the end are errors, and no read reserves more
//! than it has seen.

use super::{GgufError, value::Text};

/// A position inside the file's bytes.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes from the start of the file.
    pub(super) fn offset(&self) -> u64 {
        self.at as u64
    }

    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], GgufError> {
        let left = self.left();
        if len > left {
            return Err(GgufError::Truncated { what, offset: self.offset(), needed: len, left });
        }
        // `len` is at most the length of a slice, so it fits.
        let end = self.at + len as usize;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `smallest` bytes each.
    pub(super) fn count(&mut self, what: &'static str, smallest: u64) -> Result<u64, GgufError> {
        let offset = self.offset();
        let count = self.u64(what)?;
        let left = self.left();
        if count > left / smallest {
            return Err(GgufError::Count { what, offset, count, left });
        }
        Ok(count)
    }

    /// A string that may hold invalid UTF-8, each invalid piece of which becomes U+FFFD.
    pub(super) fn text(&mut self, what: &'static str) -> Result<Text, GgufError> {
        let len = self.u64("the length of a string")?;
        Ok(Text::from_bytes(self.take(len, what)?))
    }

    /// A string that must be UTF-8: names and keys are compared, and two that differ must not
    /// become one.
    pub(super) fn name(&mut self, what: &'static str) -> Result<String, GgufError> {
        let offset = self.offset();
        let len = self.u64("the length of a string")?;
        let bytes = self.take(len, what)?;
        match std::str::from_utf8(bytes) {
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(GgufError::Invalid {
                expected: "a name in UTF-8",
                offset,
                got: format!("\"{}\"", bytes[..bytes.len().min(64)].escape_ascii()),
            }),
        }
    }
}
