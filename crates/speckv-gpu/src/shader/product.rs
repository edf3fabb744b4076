//! Kernels of products with weights.

use speckv_formats::quant::TensorType;

use super::{Shader, Values, quantize};
use crate::format::{Format, ScaleKind};

/// Most rows of activations of one workgroup.
pub const MAX_TILE: usize = 16;

/// Rows of activations that kernels are compiled for. A number between two of them takes the
/// larger one, whose last rows are then computed twice and written once.
pub const TILES: [usize; 10] = [1, 2, 3, 4, 5, 6, 8, 10, 12, MAX_TILE];

/// The tile for `n` rows where tiles of more than `largest` rows are not to be used.
#[must_use]
pub fn tile_for(n: usize, largest: usize) -> usize {
    let fitting = TILES.into_iter().filter(|&tile| tile <= largest.max(1));
    let most = fitting.clone().next_back().unwrap_or(1);
    fitting.into_iter().find(|&tile| tile >= n).unwrap_or(most)
}

/// Bytes of workgroup memory for parts of sums: what every adapter has, less the results.
const PART_BYTES: usize = 8 << 10;

/// What happens to a product's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Epilogue {
    /// They are written.
    Store,
    /// They are added to what is there.
    Add,
    /// They are written through a soft cap.
    Cap,
    /// Gate and up become the next product's input in integers. `true` is SiLU, `false` GELU.
    GluQuantized(bool),
    /// The same in floats.
    GluFloat(bool),
}

impl Epilogue {
    /// Whether gate and up rows take turns in groups of 32.
    #[must_use]
    pub fn is_glu(self) -> bool {
        matches!(self, Epilogue::GluQuantized(_) | Epilogue::GluFloat(_))
    }
}

/// Slices that the columns of a matrix are shared among.
///
/// They decide the order of sums: the same for every number of rows, and for every device that
/// takes as many threads in a workgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slices(usize);

impl Slices {
    /// For rows of `blocks` blocks of 32 columns on a device with at most `invocations` threads
    /// per workgroup.
    #[must_use]
    pub fn new(blocks: usize, invocations: usize) -> Self {
        let most = (invocations / 32).clamp(1, 32);
        // The largest power of two that leaves no slice without a block and fits.
        let fitting = blocks.min(most).max(1);
        Slices(1 << fitting.ilog2())
    }

    /// Their number.
    #[must_use]
    pub fn count(self) -> usize {
        self.0
    }
}

/// A product kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Product {
    /// Format of the weights.
    pub format: Format,
    /// Rows of activations of a workgroup, 1 to [`MAX_TILE`].
    pub tile: usize,
    /// Slices of the columns.
    pub slices: Slices,
    /// Groups of 32 rows of weights of a workgroup, 1 or 2; gate and up take 2.
    pub groups: usize,
    /// What happens to the results.
    pub epilogue: Epilogue,
    /// Whether a bias is added first.
    pub bias: bool,
}

/// The names that templates of kernels that read weights take from the format.
pub(super) fn format_values(format: &Format, values: Values) -> Values {
    let word = |i: usize| {
        let bytes = |table: [i8; 16]| [0, 1, 2, 3].map(|j| table[4 * i + j] as u8);
        format.table.map_or(0, |table| u32::from_le_bytes(bytes(table)))
    };
    let vector = |words: usize| match words {
        1 => "u32".to_owned(),
        _ => format!("vec{words}<u32>"),
    };
    let is = |kind: ScaleKind| format.scales == kind;
    let integers = format.is_integer();
    let by_16 = is(ScaleKind::Bytes) || is(ScaleKind::Nibbles);
    values
        .with("FORMAT", if integers { "integers" } else { "floats" })
        .with("WEIGHTS", if integers { "integer_weights" } else { "float_weights" })
        .when("INTEGERS", integers)
        .with("LOW_TYPE", vector(format.low_vector()))
        .with("SCALE_TYPE", vector(format.scale_words().max(1)))
        .with("HIGH_TYPE", vector(format.high_words.max(1)))
        .with("UNIT_BLOCKS", format.unit_blocks)
        .with("OFFSET", format.offset)
        .with("HIGH_SHIFT", if format.low_words == 2 { 2 } else { 4 })
        .with("TABLE0", word(0))
        .with("TABLE1", word(1))
        .with("TABLE2", word(2))
        .with("TABLE3", word(3))
        .when("TABLE", format.table.is_some())
        .when("LOW2", format.low_words == 2)
        .when("LOW4", format.low_words == 4)
        .when("LOW8", format.low_words == 8)
        .when("HIGH_BITS", format.high_words > 0)
        .when("HIGH1", format.high_words == 1)
        .when("HIGH2", format.high_words == 2)
        .when("TOPS", format.top_words() > 0)
        .when("SUB16", by_16)
        .when("MIN16", is(ScaleKind::Nibbles))
        .when("MIN", !matches!(format.scales, ScaleKind::None | ScaleKind::Half | ScaleKind::Bytes))
        .when("MIN32", is(ScaleKind::HalfMin) || is(ScaleKind::Six))
        .when("SCALE_HALF", is(ScaleKind::Half))
        .when("SCALE_HALF_MIN", is(ScaleKind::HalfMin))
        .when("SCALE_SIX", is(ScaleKind::Six))
        .when("SCALE_BYTES", is(ScaleKind::Bytes))
        .when("SCALE_NIBBLES", is(ScaleKind::Nibbles))
        .when("FLOAT32", format.low_words == 32)
        .when("FLOAT16", !integers && format.name == TensorType::F16.name())
        .when("BFLOAT16", !integers && format.name == TensorType::BF16.name())
}

impl Product {
    /// Groups of 32 rows of weights that a lane works on at once. A wide tile takes them one after
    /// the other, so that its sums stay in registers: the bits are the same.
    fn at_once(&self) -> usize {
        if self.tile > 8 { 1 } else { self.groups }
    }

    /// The kernel.
    #[must_use]
    pub fn shader(&self) -> Shader {
        let Product { tile, groups, epilogue, .. } = *self;
        let slices = self.slices.count();
        let at_once = self.at_once();
        let round = (PART_BYTES / 128 / slices).clamp(1, at_once * tile);
        let silu = matches!(epilogue, Epilogue::GluQuantized(true) | Epilogue::GluFloat(true));
        let values = format_values(&self.format, quantize("sums", "a * 32u", "inner"));
        Shader::new(
            "product",
            values
                .with("N", tile)
                .with("ROWS", groups)
                .with("AT_ONCE", at_once)
                .with("TURNS", groups / at_once)
                .with("SLICES", slices)
                .with("ROUND", round)
                .with("PARTS", round * slices * 32)
                .with("SUMS", groups * tile * 32)
                .when("STORE", !epilogue.is_glu())
                .when("ADD", epilogue == Epilogue::Add)
                .when("CAP", epilogue == Epilogue::Cap)
                .when("GLU_QUANTIZED", matches!(epilogue, Epilogue::GluQuantized(_)))
                .when("GLU_FLOAT", matches!(epilogue, Epilogue::GluFloat(_)))
                .when("SILU", silu)
                .when("BIAS", self.bias),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_is_the_smallest_that_takes_the_rows_and_never_too_large() {
        for n in 1..=100 {
            for largest in 0..=20 {
                let tile = tile_for(n, largest);
                assert!(TILES.contains(&tile) && tile <= largest.max(1), "{n} {largest}: {tile}");
                let better = TILES.iter().any(|&t| t >= n && t < tile && t <= largest.max(1));
                assert!(!better, "{n} {largest}: {tile}");
            }
        }
        assert_eq!((tile_for(7, 16), tile_for(9, 16), tile_for(300, 16)), (8, 10, 16));
        assert_eq!((tile_for(7, 7), tile_for(2, 1)), (6, 1));
    }

    #[test]
    fn slices_are_a_power_of_two_that_leaves_none_without_a_block() {
        for (blocks, invocations, expected) in
            [(1, 1024, 1), (3, 1024, 2), (28, 1024, 16), (112, 1024, 32), (112, 256, 8), (5, 16, 1)]
        {
            assert_eq!(Slices::new(blocks, invocations).count(), expected, "{blocks} blocks");
        }
    }
}
