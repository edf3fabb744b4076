//! From a file's blocks to interleaved groups of 16 rows.

use std::sync::{Mutex, PoisonError};

use speckv_formats::quant::{
    self, QuantError, Rows, TensorType, WeightType, iq1_m, iq1_s, iq2_s, iq2_xs, iq2_xxs, iq3_s,
    iq3_xxs, iq4_nl, iq4_xs, mxfp4, nf4, nvfp4, q2k, q3k, q4_0, q4_1, q4k, q5_0, q5_1, q5k, q6k,
    q8_0, tq1_0, tq2_0,
};

use super::{Matrix, group::group_bytes};
use crate::{
    disjoint::DisjointMut,
    kernels::{
        Isa, code_book,
        format::{self, Format},
        simd::GROUP,
    },
    memory::Memory,
    pool::Pool,
};

/// Why a tensor cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Not a matrix.
    #[error("expected a matrix, got the shape {0:?}")]
    NotAMatrix(Vec<usize>),
    /// Memory for the packed form was refused.
    #[error("{bytes} bytes for the packed weights were refused")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A row is no whole number of blocks of the type that the weights are to have.
    #[error("expected rows of a multiple of {} weights for {to}, got {columns}", to.block_len())]
    Columns {
        /// The type asked for.
        to: WeightType,
        /// Weights per row.
        columns: usize,
    },
    /// A weight that the other type cannot hold.
    #[error(transparent)]
    Convert(#[from] QuantError),
}

/// The integers and scales of one row in one unit.
#[derive(Clone, Copy)]
struct Unit {
    q: [u8; 256],
    d: f32,
    min: f32,
    scales: [u8; 16],
    mins: [u8; 16],
}

impl Unit {
    const ZERO: Unit = Unit { q: [0; 256], d: 0.0, min: 0.0, scales: [0; 16], mins: [0; 16] };
}

/// A format that can be packed.
trait Pack: Format {
    /// Bytes of a block in the file.
    const FILE_BYTES: usize;

    /// Splits a block of the file into integers and scales.
    fn read(block: &[u8], unit: &mut Unit);

    /// Writes the scales of 16 rows as [`Format::decode`] reads them.
    fn write_scales(units: &[Unit; GROUP], out: &mut [u8]);
}

fn put_halves(out: &mut [u8], value: impl Fn(usize) -> f32) {
    for row in 0..GROUP {
        out[2 * row..2 * row + 2].copy_from_slice(&half::f16::from_f32(value(row)).to_le_bytes());
    }
}

fn put_d(units: &[Unit; GROUP], out: &mut [u8]) {
    put_halves(out, |row| units[row].d);
}

fn put_d_min(units: &[Unit; GROUP], out: &mut [u8]) {
    put_halves(out, |row| units[row].d);
    put_halves(&mut out[2 * GROUP..], |row| units[row].min);
}

/// See `decode_six_bits` in [`format`].
fn put_six_bits(units: &[Unit; GROUP], out: &mut [u8]) {
    put_d_min(units, out);
    let (low, high) = out[64..64 + 192].split_at_mut(128);
    high.fill(0);
    for (row, unit) in units.iter().enumerate() {
        for block in 0..8 {
            let (scale, min) = (unit.scales[block], unit.mins[block]);
            low[block * GROUP + row] = scale & 15 | min << 4;
            high[block / 4 * GROUP + row] |= (scale >> 4 & 3) << (2 * (block % 4));
            high[(2 + block / 4) * GROUP + row] |= (min >> 4 & 3) << (2 * (block % 4));
        }
    }
}

fn put_signed_bytes(units: &[Unit; GROUP], out: &mut [u8]) {
    put_d(units, out);
    for (row, unit) in units.iter().enumerate() {
        for part in 0..16 {
            out[32 + part * GROUP + row] = unit.scales[part];
        }
    }
}

fn put_nibbles(units: &[Unit; GROUP], out: &mut [u8]) {
    put_d_min(units, out);
    for (row, unit) in units.iter().enumerate() {
        for part in 0..16 {
            out[64 + part * GROUP + row] = unit.scales[part] & 15 | unit.mins[part] << 4;
        }
    }
}

macro_rules! pack {
    ($($format:ident from $module:ident by $write:ident: |$block:ident, $unit:ident| $read:block)*) => {$(
        impl Pack for format::$format {
            const FILE_BYTES: usize = $module::BYTES;

            fn read(block: &[u8], $unit: &mut Unit) {
                let $block = $module::unpack(block.try_into().expect("a whole block"));
                $unit.q[..Self::UNIT].copy_from_slice(&$block.q.map(|q| q as u8));
                $unit.d = $block.d;
                $read
            }

            fn write_scales(units: &[Unit; GROUP], out: &mut [u8]) {
                $write(units, out);
            }
        }
    )*};
}

pack! {
    Q4_0 from q4_0 by put_d: |_block, _unit| {}
    Q4_1 from q4_1 by put_d_min: |block, unit| { unit.min = block.m; }
    Q5_0 from q5_0 by put_d: |_block, _unit| {}
    Q5_1 from q5_1 by put_d_min: |block, unit| { unit.min = block.m; }
    // Signed in the file, raised by 128 for the multiplier.
    Q8_0 from q8_0 by put_d: |_block, unit| { unit.q[..32].iter_mut().for_each(|q| *q ^= 0x80); }
    Iq4Nl from iq4_nl by put_d: |_block, _unit| {}
    Q4K from q4k by put_six_bits: |block, unit| {
        unit.min = block.dmin;
        unit.scales[..8].copy_from_slice(&block.scales);
        unit.mins[..8].copy_from_slice(&block.mins);
    }
    Q5K from q5k by put_six_bits: |block, unit| {
        unit.min = block.dmin;
        unit.scales[..8].copy_from_slice(&block.scales);
        unit.mins[..8].copy_from_slice(&block.mins);
    }
    Q6K from q6k by put_signed_bytes: |block, unit| { unit.scales = block.scales.map(|s| s as u8); }
    Q3K from q3k by put_signed_bytes: |block, unit| { unit.scales = block.scales.map(|s| s as u8); }
    Q2K from q2k by put_nibbles: |block, unit| {
        unit.min = block.dmin;
        unit.scales = block.scales;
        unit.mins = block.mins;
    }
}

/// Scales of `parts` parts, as bytes.
fn put_bytes(parts: usize, units: &[Unit; GROUP], out: &mut [u8]) {
    for (row, unit) in units.iter().enumerate() {
        for part in 0..parts {
            out[part * GROUP + row] = unit.scales[part];
        }
    }
}

macro_rules! pack_levels {
    ($($format:ident from $module:ident;)*) => {$(
        impl Pack for code_book::$format {
            const FILE_BYTES: usize = $module::BYTES;

            fn read(block: &[u8], unit: &mut Unit) {
                let block = $module::unpack(block.try_into().expect("a whole block"));
                unit.q = block.q;
                unit.d = block.d;
                for (to, from) in unit.scales.iter_mut().zip(block.scales) {
                    *to = from as u8;
                }
            }

            fn write_scales(units: &[Unit; GROUP], out: &mut [u8]) {
                put_d(units, out);
                put_bytes(Self::UNIT / Self::SUB, units, &mut out[32..]);
            }
        }
    )*};
}

pack_levels! {
    Iq4Xs from iq4_xs;
    Iq3S from iq3_s;
    Iq3Xxs from iq3_xxs;
    Iq2S from iq2_s;
    Iq2Xs from iq2_xs;
    Iq2Xxs from iq2_xxs;
    Iq1S from iq1_s;
    Iq1M from iq1_m;
}

impl Pack for code_book::Mxfp4 {
    const FILE_BYTES: usize = mxfp4::BYTES;

    fn read(block: &[u8], unit: &mut Unit) {
        let block = mxfp4::unpack(block.try_into().expect("a whole block"));
        unit.q[..Self::UNIT].copy_from_slice(&block.q);
        unit.scales[0] = block.e;
    }

    fn write_scales(units: &[Unit; GROUP], out: &mut [u8]) {
        put_bytes(1, units, out);
    }
}

impl Pack for code_book::Nvfp4 {
    const FILE_BYTES: usize = nvfp4::BYTES;

    fn read(block: &[u8], unit: &mut Unit) {
        let block = nvfp4::unpack(block.try_into().expect("a whole block"));
        unit.q[..Self::UNIT].copy_from_slice(&block.q);
        unit.scales[..4].copy_from_slice(&block.scales);
    }

    fn write_scales(units: &[Unit; GROUP], out: &mut [u8]) {
        put_bytes(4, units, out);
    }
}

impl Pack for code_book::Ternary {
    const FILE_BYTES: usize = tq2_0::BYTES;

    fn read(block: &[u8], unit: &mut Unit) {
        let block = tq2_0::unpack(block.try_into().expect("a whole block"));
        (unit.q, unit.d) = (block.q, block.d);
    }

    fn write_scales(units: &[Unit; GROUP], out: &mut [u8]) {
        put_d(units, out);
    }
}

/// TQ1_0, which becomes what TQ2_0 is in memory.
struct FiveToAByte;

impl Format for FiveToAByte {
    const UNIT: usize = code_book::Ternary::UNIT;
    const LOW: usize = code_book::Ternary::LOW;
    const BITS: u32 = code_book::Ternary::BITS;
    const SCALE_BYTES: usize = code_book::Ternary::SCALE_BYTES;
}

impl Pack for FiveToAByte {
    const FILE_BYTES: usize = tq1_0::BYTES;

    fn read(block: &[u8], unit: &mut Unit) {
        let block = tq1_0::unpack(block.try_into().expect("a whole block"));
        (unit.q, unit.d) = (block.q, block.d);
    }

    fn write_scales(units: &[Unit; GROUP], out: &mut [u8]) {
        put_d(units, out);
    }
}

impl Pack for format::Nf4 {
    const FILE_BYTES: usize = nf4::BYTES;

    fn read(block: &[u8], unit: &mut Unit) {
        let block = nf4::unpack(block.try_into().expect("a whole block"));
        unit.q[..Self::UNIT].copy_from_slice(&block.q);
        unit.d = block.absmax / 127.0;
    }

    fn write_scales(units: &[Unit; GROUP], out: &mut [u8]) {
        put_d(units, out);
    }
}

/// Interleaves the integers of 16 rows; see [`format`] for where each goes. Four columns of a row
/// move at a time.
fn write_quants<F: Format>(units: &[Unit; GROUP], out: &mut [u8]) {
    const VECTOR: usize = 4 * GROUP;
    for (number, block) in out.chunks_exact_mut(F::BLOCK_BYTES).enumerate() {
        let (low, high) = block.split_at_mut(F::LOW * VECTOR);
        high.fill(0);
        for (row, unit) in units.iter().enumerate() {
            let at = 4 * row;
            let mut put = |vector: usize, value: u32| {
                low[vector * VECTOR + at..][..4].copy_from_slice(&value.to_le_bytes());
            };
            for half in 0..2 {
                let q: [u32; 4] = std::array::from_fn(|quad| {
                    let q = &unit.q[32 * number + 16 * half + 4 * quad..][..4];
                    u32::from_le_bytes([q[0], q[1], q[2], q[3]])
                });
                match F::LOW {
                    2 => {
                        let q = q.map(|q| q & 0x0303_0303);
                        put(half, q[0] | q[1] << 2 | q[2] << 4 | q[3] << 6);
                    }
                    4 => {
                        let q = q.map(|q| q & 0x0f0f_0f0f);
                        put(2 * half, q[0] | q[1] << 4);
                        put(2 * half + 1, q[2] | q[3] << 4);
                    }
                    _ => (0..4).for_each(|quad| put(4 * half + quad, q[quad])),
                }
                let mut raise = |vector: usize, value: u32| {
                    let bytes = &mut high[vector * VECTOR + at..][..4];
                    for (byte, value) in bytes.iter_mut().zip(value.to_le_bytes()) {
                        *byte |= value;
                    }
                };
                match F::HIGH {
                    1 => (0..4).for_each(|quad| {
                        raise(0, (q[quad] >> F::LOW & 0x0101_0101) << (4 * half + quad))
                    }),
                    2 => (0..4).for_each(|quad| {
                        raise(half, (q[quad] >> F::LOW & 0x0303_0303) << (2 * quad))
                    }),
                    _ => {}
                }
            }
        }
    }
}

/// Packs one group: `row(i)` is the file's bytes of the group's row `i`, or nothing beyond the
/// last.
fn pack_group<'a, F: Pack>(row: impl Fn(usize) -> Option<&'a [u8]>, out: &mut [u8]) {
    let mut units = [Unit::ZERO; GROUP];
    for (number, out) in out.chunks_exact_mut(F::UNIT_BYTES).enumerate() {
        for (i, unit) in units.iter_mut().enumerate() {
            match row(i) {
                Some(bytes) => F::read(&bytes[number * F::FILE_BYTES..][..F::FILE_BYTES], unit),
                None => *unit = Unit::ZERO,
            }
        }
        let (scales, quants) = out.split_at_mut(F::SCALE_BYTES);
        F::write_scales(&units, scales);
        write_quants::<F>(&units, quants);
    }
}

/// Packs one group of floats of `size` bytes.
fn pack_floats<'a>(row: impl Fn(usize) -> Option<&'a [u8]>, size: usize, out: &mut [u8]) {
    for i in 0..GROUP {
        let Some(bytes) = row(i) else { continue };
        for (column, value) in bytes.chunks_exact(size).enumerate() {
            out[(column * GROUP + i) * size..][..size].copy_from_slice(value);
        }
    }
}

/// Packs one group whose rows' bytes are those of `weight_type`.
fn pack_rows<'a>(weight_type: WeightType, row: impl Fn(usize) -> Option<&'a [u8]>, out: &mut [u8]) {
    let tensor_type = match weight_type {
        WeightType::Nf4 => return pack_group::<format::Nf4>(row, out),
        WeightType::File(tensor_type) => tensor_type,
    };
    match tensor_type {
        TensorType::F32 => pack_floats(row, 4, out),
        TensorType::F16 | TensorType::BF16 => pack_floats(row, 2, out),
        TensorType::Q4_0 => pack_group::<format::Q4_0>(row, out),
        TensorType::Q4_1 => pack_group::<format::Q4_1>(row, out),
        TensorType::Q5_0 => pack_group::<format::Q5_0>(row, out),
        TensorType::Q5_1 => pack_group::<format::Q5_1>(row, out),
        TensorType::Q8_0 => pack_group::<format::Q8_0>(row, out),
        TensorType::Iq4Nl => pack_group::<format::Iq4Nl>(row, out),
        TensorType::Q2K => pack_group::<format::Q2K>(row, out),
        TensorType::Q3K => pack_group::<format::Q3K>(row, out),
        TensorType::Q4K => pack_group::<format::Q4K>(row, out),
        TensorType::Q5K => pack_group::<format::Q5K>(row, out),
        TensorType::Q6K => pack_group::<format::Q6K>(row, out),
        TensorType::Iq4Xs => pack_group::<code_book::Iq4Xs>(row, out),
        TensorType::Iq3S => pack_group::<code_book::Iq3S>(row, out),
        TensorType::Iq3Xxs => pack_group::<code_book::Iq3Xxs>(row, out),
        TensorType::Iq2S => pack_group::<code_book::Iq2S>(row, out),
        TensorType::Iq2Xs => pack_group::<code_book::Iq2Xs>(row, out),
        TensorType::Iq2Xxs => pack_group::<code_book::Iq2Xxs>(row, out),
        TensorType::Iq1S => pack_group::<code_book::Iq1S>(row, out),
        TensorType::Iq1M => pack_group::<code_book::Iq1M>(row, out),
        TensorType::Mxfp4 => pack_group::<code_book::Mxfp4>(row, out),
        TensorType::Nvfp4 => pack_group::<code_book::Nvfp4>(row, out),
        TensorType::Tq1_0 => pack_group::<FiveToAByte>(row, out),
        TensorType::Tq2_0 => pack_group::<code_book::Ternary>(row, out),
    }
}

/// Appends the bytes of a row's weights in `to` to `out`: what [`quant::encode`] writes, with the
/// vector code of `isa` for the type that drafts become at every load.
fn encode(values: &[f32], to: WeightType, isa: Isa, out: &mut Vec<u8>) -> Result<(), QuantError> {
    if to != WeightType::File(TensorType::Iq4Nl) {
        return quant::encode(values, to, out);
    }
    let start = out.len();
    out.resize(start + values.len() / iq4_nl::LEN * iq4_nl::BYTES, 0);
    quant::check_range(TensorType::Iq4Nl, values)?;
    isa.to_iq4_nl(values, &mut out[start..]);
    Ok(())
}

impl Matrix {
    /// Packs a tensor [in, out], or those of its rows that `only` names, in that order. The weights
    /// keep the type that they have in the file, or are rounded to `to`.
    ///
    /// # Errors
    /// See [`PackError`].
    ///
    /// # Panics
    /// If `only` names a row that the tensor does not have.
    pub fn pack(
        tensor: &impl Rows,
        only: Option<&[u32]>,
        to: Option<WeightType>,
        pool: &Pool,
    ) -> Result<Self, PackError> {
        let &[columns, all_rows] = tensor.shape() else {
            return Err(PackError::NotAMatrix(tensor.shape().to_vec()));
        };
        let from = tensor.weight_type();
        let weight_type = to.unwrap_or(from);
        if !columns.is_multiple_of(weight_type.block_len()) {
            return Err(PackError::Columns { to: weight_type, columns });
        }
        let rows = only.map_or(all_rows, <[u32]>::len);
        let group_bytes = group_bytes(weight_type, columns);
        let bytes = rows.div_ceil(GROUP) * group_bytes;
        let mut memory =
            Memory::zeroed(bytes).map_err(|source| PackError::Memory { bytes, source })?;
        let groups = DisjointMut::new(memory.bytes_mut());
        let failure = Mutex::new(None);
        let isa = Isa::detect();
        let encode = |values: &[f32], to, out: &mut Vec<u8>| encode(values, to, isa, out);
        pool.run(rows.div_ceil(GROUP), &|group, _| {
            // SAFETY: each task has another group.
            let out = unsafe { groups.row(group, group_bytes) };
            let number = |i: usize| {
                let row = group * GROUP + i;
                (row < rows).then(|| only.map_or(row, |only| only[row] as usize))
            };
            if weight_type == from && rows > 0 && tensor.bytes(0).is_some() {
                pack_rows(weight_type, |i| tensor.bytes(number(i)?), out);
                return;
            }
            let (mut values, mut converted) = (vec![0.0; columns], Vec::new());
            let mut numbers = (0..GROUP).map_while(number);
            let count = numbers.clone().count();
            match numbers.try_for_each(|row| {
                tensor.write(row, weight_type, &encode, &mut values, &mut converted)
            }) {
                Ok(()) => {
                    let size = converted.len() / count;
                    pack_rows(weight_type, |i| converted.get(i * size..(i + 1) * size), out);
                }
                Err(error) => *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
            }
        });
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.into()),
            None => Ok(Matrix { rows, columns, weight_type, group_bytes, memory }),
        }
    }
}
