//! Activations as the integer kernels read them.

/// Rows of activations in signed 8 bits with a scale per block of 32 columns: `x ~ scale * q`,
/// `scale = max |x| / 127`.
///
/// All rows of a pass are quantized once, before the products; a row's numbers depend on that row
/// alone.
#[derive(Debug, Default)]
pub struct Activations {
    /// Quantized values, [rows, columns].
    pub q: Vec<i8>,
    /// What each block's integers stand for, [rows, columns / 32].
    pub scales: Vec<BlockScale>,
    /// Sums of each block's integers, [rows, columns / 32].
    pub sums: Vec<BlockSums>,
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
    pub fn reshape(&mut self, rows: usize, columns: usize) {
        assert!(columns.is_multiple_of(32), "{columns} columns are not whole blocks of 32");
        self.columns = columns;
        self.q.resize(rows * columns, 0);
        self.scales.resize(rows * columns / 32, BlockScale::default());
        self.sums.resize(rows * columns / 32, BlockSums::default());
    }

    /// Columns per row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Pointers to the parts, for tasks that write different rows or blocks at the same time.
    pub(crate) fn parts(&mut self) -> ActivationParts {
        ActivationParts {
            q: self.q.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            sums: self.sums.as_mut_ptr(),
            columns: self.columns,
        }
    }
}

/// The parts of [`Activations`] as pointers; see there for shapes.
#[derive(Clone, Copy)]
pub(crate) struct ActivationParts {
    pub q: *mut i8,
    pub scales: *mut BlockScale,
    pub sums: *mut BlockSums,
    pub columns: usize,
}

// SAFETY: tasks of one pass write disjoint rows or blocks, and read only after a pass over all of
// them has ended.
unsafe impl Send for ActivationParts {}
// SAFETY: as above.
unsafe impl Sync for ActivationParts {}

impl ActivationParts {
    /// Quantizes block `block` of row `row`.
    ///
    /// # Safety
    /// `row` and `block` are inside the shape that the parts were made for, and nobody else touches
    /// that block.
    #[inline(always)]
    pub(crate) unsafe fn quantize_block(&self, row: usize, block: usize, x: &[f32; 32]) {
        // Lanes keep their maximum apart, so that this turns into vector code; the maximum of a set
        // has no order. It does not see NaN, which therefore goes its own way into the scale:
        // broken numbers must come out as broken, not as zeros.
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
        let at = row * (self.columns / 32) + block;
        // SAFETY: the caller promises that the block is inside and its own.
        unsafe {
            self.q.add(32 * at).cast::<[i8; 32]>().write_unaligned(q);
            self.scales.add(at).write(BlockScale { scale, scaled_sum: scale * sum as f32 });
            let scaled_halves = sums.map(|sum| scale * sum as f32);
            self.sums.add(at).write(BlockSums { halves: sums, scaled_halves });
        }
    }
}
