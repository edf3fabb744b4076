//! Activations as the integer kernels read them.

use crate::disjoint::DisjointMut;

/// Rows of activations in signed 8 bits with a scale per block of 32 columns: `x ~ scale * q`,
/// `scale = max |x| / 127`.
///
/// All rows of a pass are quantized once, before the products; a row's numbers depend on that row
/// alone. The three parts always have the lengths that rows and columns give: kernels rely on it,
/// so that only this module changes them.
///
/// ```compile_fail
/// let mut activations = speckv_cpu::kernels::activation::Activations::default();
/// activations.scales.clear();
/// ```
#[derive(Debug, Default)]
pub struct Activations {
    q: Vec<i8>,              // [rows, columns]
    scales: Vec<BlockScale>, // [rows, columns / 32]
    sums: Vec<BlockSums>,    // [rows, columns / 32]
    rows: usize,
    columns: usize,
}

/// The scale of a block of 32 quantized values. Scale and sum lie together, so that a kernel needs
/// one pointer per row for both: it works on more rows than pointers find registers.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BlockScale {
    /// `max |x| / 127`.
    pub scale: f32,
    /// `scale` times the sum of `q`: what a minimum of the weights is multiplied with.
    pub scaled_sum: f32,
}

/// Sums of a block of 32 quantized values, for weights with an offset or with scales per 16
/// columns.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BlockSums {
    /// Sum of `q` over each 16 columns.
    pub halves: [i32; 2],
    /// The block's scale times `halves`.
    pub scaled_halves: [f32; 2],
}

impl Activations {
    /// Makes room for `rows` rows of `columns` values, a multiple of 32. Allocates only when more
    /// is needed than ever before.
    ///
    /// # Panics
    /// If `columns` is no multiple of 32, or so many values have no address.
    pub fn reshape(&mut self, rows: usize, columns: usize) {
        assert!(columns.is_multiple_of(32), "{columns} columns are not whole blocks of 32");
        let values = rows.checked_mul(columns).expect("rows * columns is below 2^64");
        self.q.resize(values, 0);
        self.scales.resize(values / 32, BlockScale::default());
        self.sums.resize(values / 32, BlockSums::default());
        (self.rows, self.columns) = (rows, columns);
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns per row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Quantized values, [rows, columns].
    #[must_use]
    pub fn q(&self) -> &[i8] {
        &self.q
    }

    /// What each block's integers stand for, [rows, columns / 32].
    #[must_use]
    pub fn scales(&self) -> &[BlockScale] {
        &self.scales
    }

    /// Sums of each block's integers, [rows, columns / 32].
    #[must_use]
    pub fn sums(&self) -> &[BlockSums] {
        &self.sums
    }

    /// The parts, for tasks that write different rows or blocks at the same time.
    pub(crate) fn parts(&mut self) -> ActivationParts<'_> {
        ActivationParts {
            q: DisjointMut::new(&mut self.q),
            scales: DisjointMut::new(&mut self.scales),
            sums: DisjointMut::new(&mut self.sums),
            columns: self.columns,
        }
    }
}

/// The parts of [`Activations`]; see there for shapes.
#[derive(Clone, Copy)]
pub(crate) struct ActivationParts<'a> {
    q: DisjointMut<'a, i8>,
    scales: DisjointMut<'a, BlockScale>,
    sums: DisjointMut<'a, BlockSums>,
    columns: usize,
}

impl ActivationParts<'_> {
    /// Quantizes block `block` of row `row`.
    ///
    /// # Panics
    /// If there is no such block.
    ///
    /// # Safety
    /// No other task uses that block while this runs.
    #[inline(always)]
    pub(crate) unsafe fn quantize_block(&self, row: usize, block: usize, x: &[f32; 32]) {
        // One maximum per lane, so that this turns into vector code; the maximum of a set has no
        // order. It does not see NaN, which reaches the scale through `poison`: a row with a value
        // that is not finite must not come out as zeros.
        let mut lanes = [0f32; 16];
        let mut poison = [0f32; 16];
        for half in 0..2 {
            for lane in 0..16 {
                let x = x[16 * half + lane];
                lanes[lane] = if x.abs() > lanes[lane] { x.abs() } else { lanes[lane] };
                poison[lane] += x * 0.0;
            }
        }
        let mut width = 8;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] = if lanes[lane + width] > lanes[lane] {
                    lanes[lane + width]
                } else {
                    lanes[lane]
                };
                poison[lane] += poison[lane + width];
            }
            width /= 2;
        }
        let scale = lanes[0] * (1.0 / 127.0) + poison[0];
        let inverse = if lanes[0] > 0.0 { 127.0 / lanes[0] } else { 0.0 };
        let mut q = [0i8; 32];
        let mut sums = [0i32; 2];
        for half in 0..2 {
            let mut rounded = [0i32; 16];
            for lane in 0..16 {
                // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in
                // the low bits: no conversion, whose care for NaN and overflow would cost more than
                // all the rest.
                let shifted = x[16 * half + lane] * inverse + 12_582_912.0;
                rounded[lane] = (shifted.to_bits() as i32 - 0x4b40_0000).clamp(-127, 127);
            }
            for lane in 0..16 {
                q[16 * half + lane] = rounded[lane] as i8;
                sums[half] += rounded[lane];
            }
        }
        let sum = sums[0] + sums[1];
        let blocks = self.columns / 32;
        assert!(block < blocks, "block {block} of {blocks}");
        let at = row * blocks + block;
        let scaled_halves = sums.map(|sum| scale * sum as f32);
        let (q_to, scale_to, sums_to) = (
            self.q.pointer(32 * at..32 * at + 32),
            self.scales.pointer(at..at + 1),
            self.sums.pointer(at..at + 1),
        );
        // SAFETY: the pointers are valid for a block, as `pointer` checks, and no other task uses
        // it by this function's contract.
        unsafe {
            q_to.cast::<[i8; 32]>().write(q);
            scale_to.write(BlockScale { scale, scaled_sum: scale * sum as f32 });
            sums_to.write(BlockSums { halves: sums, scaled_halves });
        }
    }
}
