//! How weights lie in device memory, per weight type.
//!
//! A matrix is cut into groups of 32 rows and blocks of 32 columns. Its bits lie in up to four
//! *planes*, each an array indexed by group, block or unit, and row: 32 lanes that read 32 rows
//! read neighbours.
//!
//! | plane | per row | holds |
//! |---|---|---|
//! | low | block | 2, 4 or 8 bits per weight, or whole floats |
//! | high | block | the bits above those, 1 or 2 per weight |
//! | scales | unit | scales and minima, as the shader `integers` reads them |
//! | tops | unit | the scale of signed scales, and of minima, in half precision |
//!
//! Within a block, word `i` of 8 stands for columns `4 i` to `4 i + 3`, a byte each. With 4 bits,
//! stored word `j` has word `2 j` in its low halves and `2 j + 1` in the high ones; with 2 bits,
//! word `i` is in bits `2 (i mod 4)` of stored word `i / 4`. High bits: word `i` in bit `i` of the
//! bytes of one stored word, or in bits `2 (i mod 4)` of stored word `i / 4`.

use speckv_formats::quant::{TensorType, WeightType, iq4_nl, nf4};

/// Rows of a group: lanes of a workgroup.
pub const GROUP: usize = 32;
/// Columns of a block.
pub const BLOCK: usize = 32;

/// How scales and minima are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScaleKind {
    /// None: the weights are floats.
    None,
    /// A half-precision scale per part; two parts to a unit.
    Half,
    /// A half-precision scale and minimum per block.
    HalfMin,
    /// Scale of scales and of minima, then 8 scales and minima of six bits.
    Six,
    /// 16 signed bytes; `tops` has their scale.
    Bytes,
    /// 16 bytes of a scale and a minimum of four bits; `tops` has their scales.
    Nibbles,
}

/// A weight type as kernels read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// Stored words of low bits per row and block.
    pub low_words: usize,
    /// Stored words of high bits per row and block.
    pub high_words: usize,
    /// Blocks per unit.
    pub unit_blocks: usize,
    /// How scales are stored.
    pub scales: ScaleKind,
    /// What the stored weights have been raised by.
    pub offset: i32,
    /// Values of a code-book type, as signed bytes.
    pub table: Option<[i8; 16]>,
}

impl Format {
    /// Whether kernels read weights of this type.
    #[must_use]
    pub fn supports(weight_type: WeightType) -> bool {
        match weight_type {
            WeightType::Nf4 => true,
            WeightType::File(tensor_type) => tensor_type.is_written(),
        }
    }

    /// The format of a weight type.
    ///
    /// # Panics
    /// For a type that kernels do not read; see [`supports`](Self::supports).
    #[must_use]
    pub fn of(weight_type: WeightType) -> Self {
        let bits = |low_words, high_words, unit_blocks, scales, offset| Format {
            name: weight_type.name(),
            low_words,
            high_words,
            unit_blocks,
            scales,
            offset,
            table: None,
        };
        let tensor_type = match weight_type {
            // The levels in steps of 1/127, as the CPU's kernels have them.
            WeightType::Nf4 => {
                let table = nf4::LEVELS.map(|level| (level * 127.0).round() as i8);
                return Format { table: Some(table), ..bits(4, 0, 4, ScaleKind::Half, 0) };
            }
            WeightType::File(tensor_type) => tensor_type,
        };
        match tensor_type {
            TensorType::F32 => bits(32, 0, 1, ScaleKind::None, 0),
            TensorType::F16 | TensorType::BF16 => bits(16, 0, 1, ScaleKind::None, 0),
            TensorType::Q8_0 => bits(8, 0, 2, ScaleKind::Half, 0),
            TensorType::Q4_0 => bits(4, 0, 2, ScaleKind::Half, 8),
            TensorType::Q4_1 => bits(4, 0, 1, ScaleKind::HalfMin, 0),
            TensorType::Q5_0 => bits(4, 1, 2, ScaleKind::Half, 16),
            TensorType::Q5_1 => bits(4, 1, 1, ScaleKind::HalfMin, 0),
            TensorType::Iq4Nl => {
                Format { table: Some(iq4_nl::LEVELS), ..bits(4, 0, 2, ScaleKind::Half, 0) }
            }
            TensorType::Q2K => bits(2, 0, 8, ScaleKind::Nibbles, 0),
            TensorType::Q3K => bits(2, 1, 8, ScaleKind::Bytes, 4),
            TensorType::Q4K => bits(4, 0, 8, ScaleKind::Six, 0),
            TensorType::Q5K => bits(4, 1, 8, ScaleKind::Six, 0),
            TensorType::Q6K => bits(4, 2, 8, ScaleKind::Bytes, 32),
            other => panic!("expected a type that kernels read, got {other}"),
        }
    }

    /// Whether weights are multiplied in integers.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        self.scales != ScaleKind::None
    }

    /// Words that a lane loads of the low plane at once.
    #[must_use]
    pub fn low_vector(&self) -> usize {
        self.low_words.min(4)
    }

    /// Words of scales per row and unit.
    #[must_use]
    pub fn scale_words(&self) -> usize {
        match self.scales {
            ScaleKind::None => 0,
            ScaleKind::Half | ScaleKind::HalfMin => 1,
            ScaleKind::Six | ScaleKind::Bytes | ScaleKind::Nibbles => 4,
        }
    }

    /// Words of the scales of scales per row and unit.
    #[must_use]
    pub fn top_words(&self) -> usize {
        usize::from(matches!(self.scales, ScaleKind::Bytes | ScaleKind::Nibbles))
    }

    /// Units of a row of so many blocks.
    #[must_use]
    pub fn units(&self, blocks: usize) -> usize {
        blocks.div_ceil(self.unit_blocks)
    }

    /// Words of each plane for one group of rows of `blocks` blocks: low, scales, high, tops.
    #[must_use]
    pub fn group_words(&self, blocks: usize) -> [usize; 4] {
        let units = self.units(blocks);
        [
            GROUP * blocks * self.low_words,
            GROUP * units * self.scale_words(),
            GROUP * blocks * self.high_words,
            GROUP * units * self.top_words(),
        ]
    }

    /// Bytes of device memory for a matrix of this shape.
    #[must_use]
    pub fn bytes(&self, rows: usize, columns: usize) -> u64 {
        let words: usize = self.group_words(columns.div_ceil(BLOCK)).iter().sum();
        rows.div_ceil(GROUP) as u64 * words as u64 * 4
    }
}
