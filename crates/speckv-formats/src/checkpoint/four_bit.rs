//! Matrices in the 4 bits of bitsandbytes: which tensors of a file belong to one, and whether they
//! fit together.
//!
//! A matrix `M` of `transformers`' checkpoints comes with companions, of which each may lie in
//! another file:
//!
//! ```text
//! M                                   codes, two per byte; as U8, or as the floats that `bnb_4bit_quant_storage` names
//! M.quant_map                         F32 [16], the levels
//! M.absmax                            F32 [blocks], or U8 if they are quantized themselves, and then
//! M.nested_absmax, M.nested_quant_map F32 [blocks of blocks], F32 [256]
//! M.quant_state.bitsandbytes__nf4     U8, JSON: quant_type, blocksize, shape, nested_blocksize, nested_offset (or ..._fp4)
//! ```
//!
//! Files are untrusted: every size is checked against the lengths of the tensors before use.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{
    CheckpointError,
    shard::{Entry, Shard},
};
use crate::quant::bitsandbytes::{FourBit, Scales};

/// Longest JSON of a matrix. It has some 200 bytes.
const MOST_STATE: usize = 1 << 16;

const STATE: &str = "quant_state.bitsandbytes__";

/// Companions by the ends of their names.
const ENDS: [&str; 6] = [
    "absmax",
    "quant_map",
    "nested_absmax",
    "nested_quant_map",
    "quant_state.bitsandbytes__nf4",
    "quant_state.bitsandbytes__fp4",
];

/// The matrix that a tensor is a companion of, and the end of its name.
pub(super) fn companion(name: &str) -> Option<(&str, &'static str)> {
    // The point tells "absmax" from "nested_absmax".
    ENDS.iter().find_map(|end| Some((name.strip_suffix(end)?.strip_suffix('.')?, *end)))
}

/// Whether a companion says what its matrix is.
pub(super) fn is_state(end: &str) -> bool {
    end.starts_with(STATE)
}

/// Where a tensor lies.
#[derive(Debug, Clone, Copy)]
struct Span {
    shard: usize,
    start: usize,
    len: usize,
}

impl Span {
    fn of(self, shards: &[Shard]) -> &[u8] {
        &shards[self.shard].source.bytes()[self.start..self.start + self.len]
    }
}

/// A matrix in 4 bits.
#[derive(Debug, Clone)]
pub struct FourBitInfo {
    /// Its name in GGUF.
    pub name: String,
    /// [in, out].
    pub shape: Vec<usize>,
    /// "NF4" or "FP4".
    pub kind: &'static str,
    /// Values per scale.
    pub block: usize,
    /// Bytes of codes and scales.
    pub byte_len: usize,
    levels: [f32; 16],
    codes: Span,
    absmax: Span,
    nested: Option<Nested>,
}

/// Scales of scales.
#[derive(Debug, Clone)]
struct Nested {
    levels: Box<[f32; 256]>,
    absmax: Span,
    block: usize,
    offset: f32,
}

/// What the JSON says.
#[derive(Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    shape: Vec<usize>,
    nested_blocksize: Option<usize>,
    nested_offset: Option<f32>,
}

/// A tensor's entry, and the number of its file.
pub(super) type Placed = (usize, Entry);

/// The tensors of one matrix.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The codes.
    pub matrix: Option<Placed>,
    /// Companions by the ends of their names.
    pub companions: BTreeMap<&'static str, Placed>,
}

/// Puts one matrix together.
struct Assembly<'a> {
    /// What the file calls it.
    spelled: &'a str,
    parts: &'a Parts,
    shards: &'a [Shard],
}

impl Assembly<'_> {
    fn path(&self, shard: usize) -> &Path {
        &self.shards[shard].path
    }

    fn fail<T>(
        &self,
        shard: usize,
        end: &str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Result<T, CheckpointError> {
        let point = if end.is_empty() { "" } else { "." };
        Err(CheckpointError::Tensor {
            path: self.path(shard).to_owned(),
            name: format!("{}{point}{end}", self.spelled),
            expected: expected.into(),
            got: got.into(),
        })
    }

    /// A companion that has to be there, and have `count` elements of a type.
    fn part(&self, end: &'static str, dtype: &str, count: usize) -> Result<Span, CheckpointError> {
        let Some((shard, entry)) = self.parts.companions.get(end) else {
            // Some other part is there: otherwise the matrix would not have been found.
            let shard = self
                .parts
                .matrix
                .iter()
                .chain(self.parts.companions.values())
                .map(|(shard, _)| *shard)
                .next();
            let expected = "a companion of this name, as bitsandbytes' 4 bits have it";
            return self.fail(shard.unwrap_or_default(), end, expected, "none");
        };
        let size = if dtype == "U8" { 1 } else { 4 };
        if entry.dtype != dtype || count.checked_mul(size) != Some(entry.byte_len) {
            let got = format!("{} with {} bytes", clipped(&entry.dtype), entry.byte_len);
            return self.fail(*shard, end, format!("{dtype} with {count} elements"), got);
        }
        Ok(Span { shard: *shard, start: entry.start, len: entry.byte_len })
    }

    /// The numbers of a part.
    fn levels<const COUNT: usize>(
        &self,
        end: &'static str,
    ) -> Result<[f32; COUNT], CheckpointError> {
        let span = self.part(end, "F32", COUNT)?;
        let floats = span.of(self.shards).as_chunks().0;
        let levels = std::array::from_fn(|i| f32::from_le_bytes(floats[i]));
        match levels.iter().find(|level| !level.is_finite()) {
            Some(level) => self.fail(span.shard, end, "finite numbers", level.to_string()),
            None => Ok(levels),
        }
    }

    /// What the JSON says, where it lies, and its kind.
    fn state(&self) -> Result<(State, usize, &'static str), CheckpointError> {
        let mut states = self.parts.companions.iter().filter(|(end, _)| is_state(end));
        let (Some((&end, (shard, entry))), other) = (states.next(), states.next()) else {
            let shard = self.parts.companions.values().next().map_or(0, |(shard, _)| *shard);
            return self.fail(
                shard,
                "quant_state.bitsandbytes__nf4",
                "it or the same for fp4",
                "none",
            );
        };
        if other.is_some() {
            return self.fail(*shard, end, "one quant_state", "one for nf4 and one for fp4");
        }
        if entry.dtype != "U8" || entry.byte_len > MOST_STATE {
            let got = format!("{} with {} bytes", clipped(&entry.dtype), entry.byte_len);
            return self.fail(*shard, end, format!("JSON as U8, at most {MOST_STATE} bytes"), got);
        }
        let bytes = &self.shards[*shard].source.bytes()[entry.start..entry.start + entry.byte_len];
        let state: State = match serde_json::from_slice(bytes) {
            Ok(state) => state,
            Err(error) => return self.fail(*shard, end, "bitsandbytes' JSON", error.to_string()),
        };
        let kind = if end.ends_with("nf4") { "NF4" } else { "FP4" };
        if !state.quant_type.eq_ignore_ascii_case(kind) {
            let got = format!("{:?}", clipped(&state.quant_type));
            return self.fail(
                *shard,
                end,
                format!("a quant_type of {:?}", kind.to_lowercase()),
                got,
            );
        }
        Ok((state, *shard, end))
    }

    fn info(&self, name: String) -> Result<FourBitInfo, CheckpointError> {
        let (state, state_shard, end) = self.state()?;
        let Some((shard, matrix)) = &self.parts.matrix else {
            return self.fail(state_shard, "", "the codes that its quant_state is about", "none");
        };
        let elements = match state.shape.as_slice() {
            &[rows, columns] if rows > 0 && columns > 0 => rows.checked_mul(columns),
            _ => None,
        };
        let fits = |&elements: &usize| {
            elements.checked_mul(4).is_some_and(|bytes| isize::try_from(bytes).is_ok())
        };
        let Some(elements) = elements.filter(fits) else {
            return self.fail(
                state_shard,
                end,
                "the shape of a matrix",
                format!("{:.100}", format!("{:?}", state.shape)),
            );
        };
        if matrix.byte_len != elements.div_ceil(2) {
            let expected =
                format!("{} bytes for the shape {:?} in 4 bits", elements.div_ceil(2), state.shape);
            return self.fail(*shard, "", expected, format!("{} bytes", matrix.byte_len));
        }
        let State { blocksize: block, nested_blocksize, nested_offset, .. } = state;
        if block == 0 || nested_blocksize == Some(0) {
            return self.fail(state_shard, end, "blocks of at least 1", "0");
        }
        let levels = self.levels("quant_map")?;
        let blocks = elements.div_ceil(block);
        let doubled = nested_blocksize.is_some()
            || nested_offset.is_some()
            || ["nested_absmax", "nested_quant_map"]
                .iter()
                .any(|end| self.parts.companions.contains_key(end))
            || self.parts.companions.get("absmax").is_some_and(|(_, entry)| entry.dtype == "U8");
        let absmax = self.part("absmax", if doubled { "U8" } else { "F32" }, blocks)?;
        let nested = match (doubled, nested_blocksize, nested_offset) {
            (false, ..) => None,
            (true, Some(size), Some(offset)) if offset.is_finite() => Some(Nested {
                levels: Box::new(self.levels("nested_quant_map")?),
                absmax: self.part("nested_absmax", "F32", blocks.div_ceil(size))?,
                block: size,
                offset,
            }),
            (true, size, offset) => {
                let got =
                    format!("{size:?} and {offset:?}").replace("Some", "").replace("None", "none");
                return self.fail(state_shard, end, "nested_blocksize and nested_offset", got);
            }
        };
        let nested_bytes = nested.as_ref().map_or(0, |nested| nested.absmax.len);
        Ok(FourBitInfo {
            name,
            shape: state.shape.into_iter().rev().collect(),
            kind: if end.ends_with("nf4") { "NF4" } else { "FP4" },
            block,
            byte_len: matrix.byte_len + absmax.len + nested_bytes,
            levels,
            codes: Span { shard: *shard, start: matrix.start, len: matrix.byte_len },
            absmax,
            nested,
        })
    }
}

/// The start of foreign text.
fn clipped(text: &str) -> String {
    text.chars().take(20).collect()
}

impl FourBitInfo {
    /// The matrix that files call `spelled` and GGUF `name`.
    pub(super) fn assemble(
        name: String,
        spelled: &str,
        parts: &Parts,
        shards: &[Shard],
    ) -> Result<Self, CheckpointError> {
        Assembly { spelled, parts, shards }.info(name)
    }

    /// The values in the files.
    pub(super) fn values<'a>(&'a self, shards: &'a [Shard]) -> FourBit<'a> {
        let absmax = self.absmax.of(shards);
        let scales = match &self.nested {
            None => Scales::Single(absmax),
            Some(nested) => Scales::Double {
                codes: absmax,
                levels: &nested.levels,
                block: nested.block,
                absmax: nested.absmax.of(shards),
                offset: nested.offset,
            },
        };
        FourBit { codes: self.codes.of(shards), levels: &self.levels, block: self.block, scales }
    }

    /// Tells the system that the codes are not needed in memory for now.
    pub(super) fn release(&self, shards: &[Shard]) {
        for span in [self.codes, self.absmax] {
            shards[span.shard].source.release(span.start..span.start + span.len);
        }
    }
}
