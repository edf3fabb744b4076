//! One safetensors file: its map, and what its header says.
//!
//! ```text
//! header length u64, little endian | header, JSON: name -> {dtype, shape, data_offsets [start, end]} | data
//! ```
//!
//! Offsets count from the start of the data; tensors lie one after the other without holes, as the
//! format demands. The header is foreign: every number is checked, and nothing is reserved on its
//! word.

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};

use super::CheckpointError;
use crate::gguf::{GgufError, Source};

/// Longest header. Those of the largest models have some hundred kilobytes.
const MOST_HEADER: usize = 16 << 20;

/// A tensor's entry in the header.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub name: String,
    pub dtype: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Bytes from the start of the file.
    pub start: usize,
    pub byte_len: usize,
}

/// An open file.
#[derive(Debug)]
pub(super) struct Shard {
    pub path: PathBuf,
    pub source: Source,
}

impl Shard {
    /// Opens and maps a file.
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let source = Source::open(path).map_err(|error| match error {
            GgufError::Io { action, path, source } => CheckpointError::Io { action, path, source },
            GgufError::InFile { problem, .. } => {
                CheckpointError::Header { path: path.to_owned(), problem: problem.to_string() }
            }
            other => CheckpointError::Header { path: path.to_owned(), problem: other.to_string() },
        })?;
        Ok(Shard { path: path.to_owned(), source })
    }

    /// What the header says, in the order of the data. Every tensor lies inside the file and
    /// overlaps no other.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, CheckpointError> {
        entries(self.source.bytes())
            .map_err(|problem| CheckpointError::Header { path: self.path.clone(), problem })
    }
}

/// One entry as the header spells it.
#[derive(Deserialize)]
struct Raw {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// All entries as the header spells them.
struct Header(Vec<(String, Raw)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut entries, mut names) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format_args!(
                            "the tensor {name} is there twice"
                        )));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Reads a file's header; the error is what is wrong in words.
fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let (length, rest) = bytes.split_first_chunk().ok_or("shorter than a header's length")?;
    let length = u64::from_le_bytes(*length);
    let header = usize::try_from(length).ok().filter(|&length| length <= rest.len());
    let header =
        header.ok_or_else(|| format!("a header of {length} bytes in a file of {}", bytes.len()))?;
    if header > MOST_HEADER {
        return Err(format!("a header of {length} bytes; at most {MOST_HEADER} are read"));
    }
    let (header, data) = rest.split_at(header);
    let Header(mut raw) =
        serde_json::from_slice(header).map_err(|error| format!("the header: {error}"))?;
    raw.sort_by_key(|(_, raw)| raw.data_offsets);
    let mut end_of_last = 0;
    let mut entries = Vec::with_capacity(raw.len());
    for (name, Raw { dtype, shape, data_offsets: [start, end] }) in raw {
        if start != end_of_last || end < start || end > data.len() {
            return Err(format!(
                "the tensor {name} has the bytes {start} to {end}, expected to begin at \
                 {end_of_last} and to end within {}",
                data.len()
            ));
        }
        end_of_last = end;
        entries.push(Entry {
            name,
            dtype,
            shape,
            start: bytes.len() - data.len() + start,
            byte_len: end - start,
        });
    }
    if end_of_last != data.len() {
        return Err(format!("tensors end at byte {end_of_last} of {} bytes of data", data.len()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    }

    const TWO: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[6,14]},
        "a":{"dtype":"BF16","shape":[1,3],"data_offsets":[0,6]}}"#;

    #[test]
    fn entries_come_in_the_order_of_the_data() {
        let found = entries(&file(TWO, 14)).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|e| (e.name.as_str(), e.dtype.as_str(), e.start, e.byte_len))
            .collect();
        let data = 8 + TWO.len();
        assert_eq!(shown, [("a", "BF16", data, 6), ("b", "F32", data + 6, 8)]);
        assert_eq!(entries(&file("{}", 0)).unwrap(), []);
    }

    #[test]
    fn headers_that_lie_are_refused_and_say_where() {
        let one = |offsets: &str| {
            format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}}}"#)
        };
        let cases = [
            (vec![], "shorter"),
            (vec![0; 7], "shorter"),
            (u64::MAX.to_le_bytes().to_vec(), "in a file of 8"),
            (file("", 0), "the header"),
            (file("[]", 0), "an object of tensors"),
            (file(r#"{"a":1}"#, 0), "the header"),
            (file(r#"{"a":{"dtype":"F32","shape":[2]}}"#, 8), "data_offsets"),
            (file(&one("[0,8]"), 7), "within 7"),
            (file(&one("[0,8]"), 9), "end at byte 8 of 9"),
            (file(&one("[8,0]"), 8), "8 to 0"),
            (file(&one("[1,8]"), 8), "begin at 0"),
            (file(&one("[0,18446744073709551615]"), 8), "within 8"),
            (file(&one("[0,18446744073709551616]"), 8), "the header"),
            (file(&one("[-1,8]"), 8), "the header"),
            (file(&TWO.replace("\"b\"", "\"a\""), 14), "twice"),
            (file(&TWO.replace("[6,14]", "[5,14]"), 14), "begin at 6"),
        ];
        for (bytes, words) in cases {
            let problem = entries(&bytes).unwrap_err();
            assert!(problem.contains(words), "{words:?} is not in {problem:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = entries(&bytes);
        }

        #[test]
        fn a_damaged_header_never_panics_and_what_is_read_lies_inside(
            at in 0..TWO.len(), byte in any::<u8>(), cut in 0usize..200,
        ) {
            let mut bytes = file(TWO, 14);
            bytes[8 + at] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Ok(entries) = entries(&bytes) {
                for entry in entries {
                    prop_assert!(entry.start + entry.byte_len <= bytes.len());
                }
            }
        }

        #[test]
        fn arbitrary_numbers_never_panic(start in any::<u64>(), end in any::<u64>(), shape in proptest::collection::vec(any::<u64>(), 0..6)) {
            let header = serde_json::json!({"a": {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}}).to_string();
            let found = entries(&file(&header, 16));
            prop_assert_eq!(found.is_ok(), start == 0 && end == 16);
        }
    }
}
