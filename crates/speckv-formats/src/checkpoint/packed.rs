//! Matrices that a folder stores in fewer bits than floats: FP8, INT8, GPTQ, AWQ.
//!
//! A matrix `M.weight` is made of several tensors:
//!
//! ```text
//! FP8, INT8   M.weight          F8_E4M3 or I8, [out, in]
//!             M.weight_scale_inv, M.weight_scale    floats: per block, per row, or one
//! GPTQ        M.qweight         I32 [in / 8, out], eight inputs to a word, the first lowest
//!             M.qzeros          I32 [in / group, out / 8], eight outputs to a word
//!             M.scales          floats [in / group, out]
//!             M.g_idx           I32 [in], the group of each input, where they are not in order
//! AWQ         M.qweight         I32 [in, out / 8], eight outputs to a word, in the order of AWQ
//!             M.qzeros, M.scales    as GPTQ, the zeros in that order
//! ```
//!
//! Files are untrusted: every size is checked against the lengths of the tensors before use.

use std::collections::BTreeMap;

use super::{
    CheckpointError,
    shard::{Entry, Shard},
};
use crate::{
    config::{Group, Quantization},
    quant::{Encode, QuantError, TensorType, WeightType, dequantize, q4_1, q8_0},
};

/// Ends of the names that stand for a matrix `M.weight`.
const ENDS: [&str; 6] =
    ["weight_scale_inv", "weight_scale", "qweight", "qzeros", "scales", "g_idx"];

/// The matrix that a tensor is a part of, and the end of its name.
pub(super) fn part_of(name: &str) -> Option<(String, &'static str)> {
    let (stem, end) = name.rsplit_once('.')?;
    let end = ENDS.into_iter().find(|known| *known == end)?;
    Some((format!("{stem}.weight"), end))
}

/// Whether a tensor says how activations were quantized, which this program does not do.
pub(super) fn is_of_activations(name: &str) -> bool {
    name.ends_with(".input_scale") || name.ends_with(".activation_scale")
}

/// A tensor's entry, and the number of its file.
pub(super) type Placed = (usize, Entry);

/// The tensors of one matrix, by the ends of their names; the matrix itself is `weight`.
pub(super) type Parts = BTreeMap<&'static str, Placed>;

/// Where a tensor lies.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    shard: usize,
    start: usize,
    len: usize,
}

impl Span {
    fn of(self, shards: &[Shard]) -> &[u8] {
        match shards.get(self.shard) {
            Some(shard) => &shard.source.bytes()[self.start..self.start + self.len],
            None => &[],
        }
    }
}

/// How the numbers of a matrix are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A byte each; so many rows and columns share a scale.
    Bytes { fp8: bool, block: [usize; 2] },
    /// Four bits each; so many inputs share scale and zero.
    Words { awq: bool, group: usize, offset: u8 },
}

/// A matrix in fewer bits.
#[derive(Debug, Clone)]
pub struct PackedInfo {
    /// Its name in GGUF.
    pub name: String,
    /// [in, out].
    pub shape: Vec<usize>,
    /// "FP8", "INT8", "GPTQ" or "AWQ".
    pub kind: &'static str,
    /// Bytes of all its tensors.
    pub byte_len: usize,
    form: Form,
    scale_type: TensorType,
    codes: Span,
    scales: Span,
    zeros: Span,
    groups: Span,
}

/// A matrix in fewer bits, with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Packed<'a> {
    /// What it is.
    pub info: &'a PackedInfo,
    codes: &'a [u8],
    scales: &'a [u8],
    zeros: &'a [u8],
    groups: &'a [u8],
}

/// Puts one matrix together.
struct Assembly<'a> {
    spelled: &'a str,
    parts: &'a Parts,
    shards: &'a [Shard],
}

impl Assembly<'_> {
    fn fail<T>(&self, end: &str, expected: &str, got: String) -> Result<T, CheckpointError> {
        let shard = self.parts.get(end).or_else(|| self.parts.values().next());
        let stem = self.spelled.strip_suffix(".weight").unwrap_or(self.spelled);
        Err(CheckpointError::Tensor {
            path: self.shards[shard.map_or(0, |(shard, _)| *shard)].path.clone(),
            name: format!("{stem}.{end}"),
            expected: expected.to_owned(),
            got,
        })
    }

    fn entry(&self, end: &'static str) -> Result<&Placed, CheckpointError> {
        match self.parts.get(end) {
            Some(placed) => Ok(placed),
            None => self.fail(end, "a tensor of this name beside its matrix", "none".into()),
        }
    }

    /// A tensor of one of these types, with two dimensions or those of one taken as `[n, 1]`.
    fn tensor(
        &self,
        end: &'static str,
        types: &[(&str, usize)],
    ) -> Result<(Span, [usize; 2], usize), CheckpointError> {
        let (shard, entry) = self.entry(end)?;
        let Some(kind) = types.iter().position(|(dtype, _)| *dtype == entry.dtype) else {
            let names: Vec<&str> = types.iter().map(|(dtype, _)| *dtype).collect();
            let got = entry.dtype.chars().take(20).collect();
            return self.fail(end, &names.join(", "), got);
        };
        let shape = match *entry.shape.as_slice() {
            [] => [1, 1],
            [rows] => [rows, 1],
            [rows, columns] => [rows, columns],
            _ => return self.fail(end, "a matrix", format!("{:?}", entry.shape)),
        };
        let bytes = shape[0].checked_mul(shape[1]).and_then(|all| all.checked_mul(types[kind].1));
        if shape.contains(&0) || bytes != Some(entry.byte_len) {
            let got = format!("{:?} with {} bytes", entry.shape, entry.byte_len);
            return self.fail(end, "the bytes of its shape", got);
        }
        let span = Span { shard: *shard, start: entry.start, len: entry.byte_len };
        Ok((span, shape, kind))
    }

    fn floats(&self, end: &'static str) -> Result<(Span, [usize; 2], TensorType), CheckpointError> {
        const TYPES: [(&str, usize); 3] = [("F32", 4), ("F16", 2), ("BF16", 2)];
        let (span, shape, kind) = self.tensor(end, &TYPES)?;
        Ok((span, shape, [TensorType::F32, TensorType::F16, TensorType::BF16][kind]))
    }

    fn expect_shape(
        &self,
        end: &'static str,
        got: [usize; 2],
        expected: [usize; 2],
    ) -> Result<(), CheckpointError> {
        if got == expected {
            return Ok(());
        }
        self.fail(end, &format!("the shape {expected:?}"), format!("{got:?}"))
    }

    fn bytes(
        &self,
        name: String,
        fp8: bool,
        asked: Option<[usize; 2]>,
    ) -> Result<PackedInfo, CheckpointError> {
        let dtype = if fp8 { ("F8_E4M3", 1) } else { ("I8", 1) };
        let (codes, [rows, columns], _) = self.tensor("weight", &[dtype])?;
        let inverse = self.parts.contains_key("weight_scale_inv");
        let end = if inverse { "weight_scale_inv" } else { "weight_scale" };
        let (scales, shape, scale_type) = self.floats(end)?;
        let block = match asked {
            Some(block) if inverse => block,
            _ if shape == [1, 1] => [rows, columns],
            _ => [1, columns],
        };
        self.expect_shape(end, shape, [rows.div_ceil(block[0]), columns.div_ceil(block[1])])?;
        Ok(PackedInfo {
            name,
            shape: vec![columns, rows],
            kind: if fp8 { "FP8" } else { "INT8" },
            byte_len: codes.len + scales.len,
            form: Form::Bytes { fp8, block },
            scale_type,
            codes,
            scales,
            zeros: Span::default(),
            groups: Span::default(),
        })
    }

    fn words(
        &self,
        name: String,
        awq: bool,
        offset: u8,
        said: Group,
    ) -> Result<PackedInfo, CheckpointError> {
        const WORDS: [(&str, usize); 1] = [("I32", 4)];
        let (codes, shape, _) = self.tensor("qweight", &WORDS)?;
        let (scales, [groups, rows], scale_type) = self.floats("scales")?;
        let (zeros, zeros_shape, _) = self.tensor("qzeros", &WORDS)?;
        let columns = if awq { shape[0] } else { shape[0].saturating_mul(8) };
        let whole = rows.is_multiple_of(8) && columns.is_multiple_of(groups);
        if !whole {
            let expected = "whole groups of inputs and a multiple of 8 outputs";
            return self.fail("scales", expected, format!("{:?}", [groups, rows]));
        }
        let words = if awq { [columns, rows / 8] } else { [columns / 8, rows] };
        self.expect_shape("qweight", shape, words)?;
        self.expect_shape("qzeros", zeros_shape, [groups, rows / 8])?;
        let group = columns / groups;
        let as_said = match said {
            Group::Unsaid => true,
            Group::Of(size) if size < columns => Some(columns) == groups.checked_mul(size),
            Group::Row | Group::Of(_) => groups == 1,
        };
        if !as_said {
            let expected = "as many groups as config.json's group size makes of the inputs";
            return self.fail("scales", expected, format!("{groups} of {columns} inputs"));
        }
        let mut order = Span::default();
        if !awq && self.parts.contains_key("g_idx") {
            let (span, shape, _) = self.tensor("g_idx", &WORDS)?;
            self.expect_shape("g_idx", shape, [columns, 1])?;
            let numbers = span.of(self.shards).as_chunks::<4>().0.iter();
            let numbers: Vec<i32> = numbers.map(|word| i32::from_le_bytes(*word)).collect();
            let inside = |&number: &i32| usize::try_from(number).is_ok_and(|it| it < groups);
            if let Some(number) = numbers.iter().find(|number| !inside(number)) {
                return self.fail("g_idx", "numbers of groups", number.to_string());
            }
            if numbers.iter().enumerate().any(|(i, &number)| i / group != number as usize) {
                order = span;
            }
        }
        Ok(PackedInfo {
            name,
            shape: vec![columns, rows],
            kind: if awq { "AWQ" } else { "GPTQ" },
            byte_len: codes.len + scales.len + zeros.len + order.len,
            form: Form::Words { awq, group, offset },
            scale_type,
            codes,
            scales,
            zeros,
            groups: order,
        })
    }
}

impl PackedInfo {
    /// The matrix that files call `spelled` and GGUF `name`.
    pub(super) fn assemble(
        name: String,
        spelled: &str,
        parts: &Parts,
        shards: &[Shard],
        quantization: Quantization,
    ) -> Result<Self, CheckpointError> {
        let assembly = Assembly { spelled, parts, shards };
        match quantization {
            Quantization::Fp8 { block } => assembly.bytes(name, true, block),
            Quantization::Int8 => assembly.bytes(name, false, None),
            Quantization::Gptq { offset, group } => assembly.words(name, false, offset, group),
            Quantization::Awq { group } => assembly.words(name, true, 0, group),
            Quantization::None | Quantization::FourBit => {
                let expected = "no scales, as config.json has no quantization of this kind";
                let end = parts.keys().next().copied().unwrap_or("weight");
                assembly.fail(end, expected, "a scale".into())
            }
        }
    }

    /// The matrix with its bytes.
    pub(super) fn packed<'a>(&'a self, shards: &'a [Shard]) -> Packed<'a> {
        Packed {
            info: self,
            codes: self.codes.of(shards),
            scales: self.scales.of(shards),
            zeros: self.zeros.of(shards),
            groups: self.groups.of(shards),
        }
    }

    /// Tells the system that the codes are not needed in memory for now.
    pub(super) fn release(&self, shards: &[Shard]) {
        let Span { shard, start, len } = self.codes;
        shards[shard].source.release(start..start + len);
    }
}

/// The nibble of each of eight outputs in a word of AWQ.
const AWQ_ORDER: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// A float of 8 bits, four of them exponent: no infinities, and all bits but the sign set is no
/// number.
fn f8(byte: u8) -> f32 {
    let magnitude = match byte & 0x7f {
        0x7f => f32::NAN,
        bits => f32::from_bits(u32::from(bits) << 20) * f32::from_bits((120 + 127) << 23),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

impl Packed<'_> {
    fn columns(&self) -> usize {
        self.info.shape[0]
    }

    fn rows(&self) -> usize {
        self.info.shape[1]
    }

    fn scale(&self, place: usize) -> f32 {
        let size = self.info.scale_type.block_bytes();
        let mut value = [0.0];
        let bytes = &self.scales[place * size..(place + 1) * size];
        dequantize(self.info.scale_type, bytes, &mut value).expect("the bytes of one float");
        value[0]
    }

    fn word(words: &[u8], place: usize) -> u32 {
        let at = 4 * place;
        u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]])
    }

    /// The integer of an element in four bits.
    fn code(&self, awq: bool, row: usize, column: usize) -> u8 {
        let rows = self.rows();
        let (place, nibble) = match awq {
            true => (column * (rows / 8) + row / 8, AWQ_ORDER[row % 8]),
            false => (column / 8 * rows + row, column % 8),
        };
        (Self::word(self.codes, place) >> (4 * nibble)) as u8 & 15
    }

    /// Scale and zero of a group.
    fn group(&self, awq: bool, offset: u8, row: usize, group: usize) -> (f32, f32) {
        let rows = self.rows();
        let nibble = if awq { AWQ_ORDER[row % 8] } else { row % 8 };
        let word = Self::word(self.zeros, group * (rows / 8) + row / 8);
        let zero = ((word >> (4 * nibble)) as u8 & 15) + offset;
        (self.scale(group * rows + row), f32::from(zero))
    }

    /// Writes the values of a row to `out`.
    pub(super) fn values(&self, row: usize, out: &mut [f32]) {
        let columns = self.columns();
        match self.info.form {
            Form::Bytes { fp8, block: [rows, block] } => {
                let per_row = columns.div_ceil(block);
                let codes = &self.codes[row * columns..(row + 1) * columns];
                for (place, (codes, out)) in
                    codes.chunks(block).zip(out.chunks_mut(block)).enumerate()
                {
                    let scale = self.scale(row / rows * per_row + place);
                    for (out, &code) in out.iter_mut().zip(codes) {
                        let value = if fp8 { f8(code) } else { f32::from(code as i8) };
                        *out = value * scale;
                    }
                }
            }
            Form::Words { awq, group, offset } => {
                let mut last = None;
                for (column, out) in out.iter_mut().enumerate() {
                    let number = match self.groups {
                        [] => column / group,
                        order => Self::word(order, column) as usize,
                    };
                    let (_, (scale, zero)) = match last {
                        Some((known, numbers)) if known == number => (known, numbers),
                        _ => (number, self.group(awq, offset, row, number)),
                    };
                    last = Some((number, (scale, zero)));
                    *out = scale * (f32::from(self.code(awq, row, column)) - zero);
                }
            }
        }
    }

    /// The type that keeps the integers: whole blocks of 32 with a scale of their own. All others
    /// become half precision.
    pub(super) fn weight_type(&self) -> WeightType {
        let whole = self.columns().is_multiple_of(q8_0::LEN);
        WeightType::File(match self.info.form {
            Form::Bytes { fp8: false, .. } if whole => TensorType::Q8_0,
            Form::Words { group, .. } if group.is_multiple_of(32) && self.groups.is_empty() => {
                TensorType::Q4_1
            }
            _ => TensorType::F16,
        })
    }

    /// Appends a row in the type `to`.
    pub(super) fn write(
        &self,
        row: usize,
        to: WeightType,
        encode: Encode<'_>,
        values: &mut [f32],
        out: &mut Vec<u8>,
    ) -> Result<(), QuantError> {
        if to != self.weight_type() {
            self.values(row, values);
            return encode(values, to, out);
        }
        match (self.info.form, to) {
            (Form::Bytes { block: [rows, _], .. }, WeightType::File(TensorType::Q8_0)) => {
                let columns = self.columns();
                let d = self.scale(row / rows);
                for codes in self.codes[row * columns..(row + 1) * columns].as_chunks().0 {
                    out.extend(q8_0::pack(&q8_0::Block { d, q: codes.map(|code| code as i8) }));
                }
            }
            (Form::Words { awq, group, offset }, WeightType::File(TensorType::Q4_1)) => {
                for first in (0..self.columns()).step_by(32) {
                    let (d, zero) = self.group(awq, offset, row, first / group);
                    let q = std::array::from_fn(|i| self.code(awq, row, first + i));
                    out.extend(q4_1::pack(&q4_1::Block { d, m: -d * zero, q }));
                }
            }
            _ => {
                self.values(row, values);
                return encode(values, to, out);
            }
        }
        Ok(())
    }
}
