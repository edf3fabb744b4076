//! From rows of a file to a matrix on the device.

use std::{num::NonZero, sync::Mutex, thread};

use speckv_formats::quant::{QuantError, WeightType};

use super::{
    Matrix, Part, padded_groups,
    planes::{GroupPlanes, Packer},
};
use crate::{
    device::Device,
    error::GpuError,
    format::{BLOCK, Format, GROUP},
};

/// Bytes of packed weights that are made at once.
const PIECE_BYTES: usize = 64 << 20;

/// Planes begin at multiples of so many bytes: what every adapter takes.
const ALIGNMENT: u64 = 256;

/// Why a matrix could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
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
    /// The device.
    #[error(transparent)]
    Device(#[from] GpuError),
}

/// Where the rows of a matrix come from.
pub trait RowSource: Sync {
    /// Appends the bytes of a row, in the blocks of the matrix's type, to `out`; appends nothing
    /// for a row of zeros.
    ///
    /// # Errors
    /// A weight that the type cannot hold.
    fn append(&self, row: usize, out: &mut Vec<u8>) -> Result<(), QuantError>;
}

impl<F: Fn(usize, &mut Vec<u8>) -> Result<(), QuantError> + Sync> RowSource for F {
    fn append(&self, row: usize, out: &mut Vec<u8>) -> Result<(), QuantError> {
        self(row, out)
    }
}

impl Matrix {
    /// Makes a matrix `[rows, columns]` of a type from its rows, on all threads of the machine.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(
        device: &Device,
        weight_type: WeightType,
        shape: [usize; 2],
        source: &dyn RowSource,
    ) -> Result<Self, BuildError> {
        Self::build_with_cuts(device, weight_type, shape, &[], source)
    }

    /// As [`build`](Self::build), where a new part begins at each row of `cuts`, so that products
    /// can omit what is between two of them: ascending multiples of 64.
    ///
    /// # Errors
    /// See [`BuildError`].
    ///
    /// # Panics
    /// If a cut is no multiple of 64, or they do not ascend.
    pub fn build_with_cuts(
        device: &Device,
        weight_type: WeightType,
        [rows, columns]: [usize; 2],
        cuts: &[usize],
        source: &dyn RowSource,
    ) -> Result<Self, BuildError> {
        assert!(cuts.is_sorted() && cuts.iter().all(|cut| cut.is_multiple_of(2 * GROUP)));
        if !columns.is_multiple_of(weight_type.block_len()) {
            return Err(BuildError::Columns { to: weight_type, columns });
        }
        let format = Format::of(weight_type);
        let packer = Packer { weight_type, format, blocks: columns.div_ceil(BLOCK) };
        let plane_words = format.group_words(packer.blocks);
        let group_bytes = plane_words.iter().sum::<usize>().max(1) as u64 * 4;
        // An even number of groups, so that gate and up stay together; planes are aligned.
        let room = device.binding_limit() - 4 * ALIGNMENT;
        let most = ((room / group_bytes) as usize / 2 * 2).max(2);
        let groups = padded_groups(rows);
        let ends = cuts.iter().map(|cut| (cut / GROUP).min(groups)).chain([groups]);
        let (mut parts, mut first) = (Vec::new(), 0);
        for end in ends {
            while first < end {
                let count = most.min(end - first);
                let part = allocate(device, weight_type, plane_words, first, count)?;
                fill(device, &packer, plane_words, &part, (first, rows), source)?;
                parts.push(part);
                first += count;
            }
        }
        Ok(Matrix { rows, columns, weight_type, format, parts })
    }
}

/// Memory for `count` groups.
fn allocate(
    device: &Device,
    weight_type: WeightType,
    plane_words: [usize; 4],
    first: usize,
    count: usize,
) -> Result<Part, GpuError> {
    let mut end = 0;
    let planes = plane_words.map(|words| {
        let (start, bytes) = (end, (words * count) as u64 * 4);
        end = (start + bytes).next_multiple_of(ALIGNMENT);
        (start, bytes)
    });
    let buffer = device.buffer(&format!("{weight_type} weights"), end)?;
    Ok(Part { buffer, planes, first_row: first * GROUP, groups: count })
}

/// Packs and uploads the rows of a part, piece by piece.
fn fill(
    device: &Device,
    packer: &Packer,
    plane_words: [usize; 4],
    part: &Part,
    (first, rows): (usize, usize),
    source: &dyn RowSource,
) -> Result<(), BuildError> {
    let group_bytes = plane_words.iter().sum::<usize>() * 4;
    let at_once = (PIECE_BYTES / group_bytes).clamp(1, part.groups);
    let mut planes = plane_words.map(|words| vec![0u32; words * at_once]);
    for start in (0..part.groups).step_by(at_once) {
        let count = at_once.min(part.groups - start);
        planes.iter_mut().for_each(|plane| plane.fill(0));
        pack(packer, plane_words, &mut planes, count, (first + start, rows), source)?;
        for ((plane, words), (offset, _)) in planes.iter().zip(plane_words).zip(part.planes) {
            let at = offset + (start * words) as u64 * 4;
            device.upload(&part.buffer, at, &plane[..words * count])?;
        }
    }
    Ok(())
}

/// Packs `count` groups from group `first` on.
fn pack(
    packer: &Packer,
    [low, scales, high, tops]: [usize; 4],
    planes: &mut [Vec<u32>; 4],
    count: usize,
    (first, rows): (usize, usize),
    source: &dyn RowSource,
) -> Result<(), QuantError> {
    let [a, b, c, d] = planes;
    // A format without a plane has empty slices of it, as many as groups.
    let mut groups: Vec<GroupPlanes<'_>> = Vec::with_capacity(count);
    let (mut a, mut b, mut c, mut d) = (&mut a[..], &mut b[..], &mut c[..], &mut d[..]);
    for _ in 0..count {
        groups.push(GroupPlanes {
            low: a.split_off_mut(..low).expect("a plane has all groups"),
            scales: b.split_off_mut(..scales).expect("a plane has all groups"),
            high: c.split_off_mut(..high).expect("a plane has all groups"),
            tops: d.split_off_mut(..tops).expect("a plane has all groups"),
        });
    }
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(count);
    let failure = Mutex::new(None);
    thread::scope(|scope| {
        let failure = &failure;
        let each = count.div_ceil(threads);
        for (number, groups) in groups.chunks_mut(each).enumerate() {
            scope.spawn(move || {
                let mut bytes = Vec::new();
                for (i, group) in groups.iter_mut().enumerate() {
                    let row = (first + number * each + i) * GROUP;
                    for lane in 0..GROUP.min(rows.saturating_sub(row)) {
                        bytes.clear();
                        if let Err(error) = source.append(row + lane, &mut bytes) {
                            let mut failure =
                                failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            *failure = Some(error);
                            return;
                        }
                        packer.write(&bytes, lane, group);
                    }
                }
            });
        }
    });
    match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}
