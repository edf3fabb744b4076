//! From rows of a file to the planes of a matrix, group by group.

use speckv_formats::quant::{TensorType, WeightType};

use super::unit::Unit;
use crate::format::{BLOCK, Format, GROUP, ScaleKind};

/// The planes of one group of 32 rows: low, scales, high, tops.
pub(super) struct GroupPlanes<'a> {
    pub low: &'a mut [u32],
    pub scales: &'a mut [u32],
    pub high: &'a mut [u32],
    pub tops: &'a mut [u32],
}

/// Where the bits of a row go.
pub(super) struct Packer {
    pub weight_type: WeightType,
    pub format: Format,
    /// Blocks of 32 columns; the last may be filled up with zeros.
    pub blocks: usize,
}

impl Packer {
    /// Writes a row's bytes, in the type's blocks, to lane `lane` of a group. Planes are zero
    /// before.
    pub(super) fn write(&self, row: &[u8], lane: usize, out: &mut GroupPlanes<'_>) {
        match self.weight_type {
            WeightType::File(TensorType::F32 | TensorType::F16 | TensorType::BF16) => {
                self.write_floats(row, lane, out);
            }
            _ => self.write_integers(row, lane, out),
        }
    }

    /// Where word `word` of the low plane of a block lies.
    fn low_at(&self, block: usize, word: usize, lane: usize) -> usize {
        let vector = self.format.low_vector();
        let parts = self.format.low_words / vector;
        (((block * parts) + word / vector) * GROUP + lane) * vector + word % vector
    }

    fn write_floats(&self, row: &[u8], lane: usize, out: &mut GroupPlanes<'_>) {
        let words = self.format.low_words;
        for (i, bytes) in row.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            out.low[self.low_at(i / words, i % words, lane)] = u32::from_le_bytes(word);
        }
    }

    fn write_integers(&self, row: &[u8], lane: usize, out: &mut GroupPlanes<'_>) {
        let columns = self.weight_type.block_len();
        let bytes = match self.weight_type {
            WeightType::Nf4 => speckv_formats::quant::nf4::BYTES,
            WeightType::File(tensor_type) => tensor_type.block_bytes(),
        };
        let mut unit = Unit::ZERO;
        for (number, bytes) in row.chunks_exact(bytes).enumerate() {
            unit.read(self.weight_type, bytes);
            let first = number * columns / BLOCK;
            self.write_scales(&unit, first, lane, out);
            for block in 0..columns / BLOCK {
                let q = unit.q[block * BLOCK..][..BLOCK].as_chunks::<4>().0;
                let q: [u32; 8] = std::array::from_fn(|word| u32::from_le_bytes(q[word]));
                self.write_block(&q, first + block, lane, out);
            }
        }
    }

    /// The scales of the file's block that begins at block `first` of 32 columns.
    fn write_scales(&self, unit: &Unit, first: usize, lane: usize, out: &mut GroupPlanes<'_>) {
        let format = &self.format;
        let at = first / format.unit_blocks * GROUP + lane;
        match format.scales {
            ScaleKind::None => {}
            // Two file blocks share a word.
            ScaleKind::Half => {
                let second = first % format.unit_blocks >= format.unit_blocks / 2;
                out.scales[at] |= unit.scales[0] << (16 * u32::from(second));
            }
            ScaleKind::HalfMin => out.scales[at] = unit.scales[0],
            ScaleKind::Six | ScaleKind::Bytes | ScaleKind::Nibbles => {
                out.scales[4 * at..4 * at + 4].copy_from_slice(&unit.scales);
            }
        }
        if format.top_words() > 0 {
            out.tops[at] = unit.top;
        }
    }

    /// The integers of 32 columns, four to a word.
    fn write_block(&self, q: &[u32; 8], block: usize, lane: usize, out: &mut GroupPlanes<'_>) {
        let bits = self.format.low_words; // low bits per weight: 32 columns, 32 bits
        let mask = 0x0101_0101 * ((1u32 << bits) - 1);
        let mut low = [0u32; 8];
        let per_word = 8 / bits;
        for (i, q) in q.iter().enumerate() {
            low[i / per_word] |= (q & mask) << (bits * (i % per_word));
        }
        for (word, low) in low[..self.format.low_words].iter().enumerate() {
            out.low[self.low_at(block, word, lane)] = *low;
        }
        let at = block * GROUP + lane;
        match self.format.high_words {
            1 => {
                out.high[at] =
                    q.iter().enumerate().fold(0, |h, (i, q)| h | (q >> bits & 0x0101_0101) << i);
            }
            2 => {
                for (i, q) in q.iter().enumerate() {
                    out.high[2 * at + i / 4] |= (q >> bits & 0x0303_0303) << (2 * (i % 4));
                }
            }
            _ => {}
        }
    }
}
