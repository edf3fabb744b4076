//! Activations as the integer kernels read them.

/// Rows of activations in signed 8 bits with a scale per block of 32 columns: `x ~ scale * q`, `scale = max |x| / 127`.
///
/// All rows of a pass are quantized once, before the products; a row's numbers depend on that row alone. Besides, the sums of each
/// block are kept, for weights with an offset or a minimum.
#[derive(Debug, Default)]
pub struct Activations {
    /// Quantized values, [rows, columns].
    pub q: Vec<i8>,
    /// Scales, [rows, columns / 32].
    pub scale: Vec<f32>,
    /// Sum of `q` over each 16 columns, [rows, columns / 16].
    pub sum16: Vec<i32>,
    /// Sum of `q` over each 32 columns, [rows, columns / 32].
    pub sum32: Vec<i32>,
    /// `scale * sum16`, [rows, columns / 16].
    pub scaled_sum16: Vec<f32>,
    /// `scale * sum32`, [rows, columns / 32].
    pub scaled_sum32: Vec<f32>,
    columns: usize,
}

impl Activations {
    /// Makes room for `rows` rows of `columns` values, a multiple of 32. Allocates only when more is needed than ever before.
    pub fn reshape(&mut self, rows: usize, columns: usize) {
        assert!(columns.is_multiple_of(32), "{columns} columns are not whole blocks of 32");
        self.columns = columns;
        self.q.resize(rows * columns, 0);
        self.scale.resize(rows * columns / 32, 0.0);
        self.sum16.resize(rows * columns / 16, 0);
        self.sum32.resize(rows * columns / 32, 0);
        self.scaled_sum16.resize(rows * columns / 16, 0.0);
        self.scaled_sum32.resize(rows * columns / 32, 0.0);
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
            scale: self.scale.as_mut_ptr(),
            sum16: self.sum16.as_mut_ptr(),
            sum32: self.sum32.as_mut_ptr(),
            scaled_sum16: self.scaled_sum16.as_mut_ptr(),
            scaled_sum32: self.scaled_sum32.as_mut_ptr(),
            columns: self.columns,
        }
    }
}

/// The parts of [`Activations`] as pointers; see there for shapes.
#[derive(Clone, Copy)]
pub(crate) struct ActivationParts {
    pub q: *mut i8,
    pub scale: *mut f32,
    pub sum16: *mut i32,
    pub sum32: *mut i32,
    pub scaled_sum16: *mut f32,
    pub scaled_sum32: *mut f32,
    pub columns: usize,
}

// SAFETY: tasks of one pass write disjoint rows or blocks, and read only after a pass over all of them has ended.
unsafe impl Send for ActivationParts {}
// SAFETY: as above.
unsafe impl Sync for ActivationParts {}

impl ActivationParts {
    /// Quantizes block `block` of row `row`.
    ///
    /// # Safety
    /// `row` and `block` are inside the shape that the parts were made for, and nobody else touches that block.
    #[inline(always)]
    pub(crate) unsafe fn quantize_block(&self, row: usize, block: usize, x: &[f32; 32]) {
        // Lanes keep their maximum apart, so that this turns into vector code; the maximum of a set has no order. It does not see
        // NaN, which therefore goes its own way into the scale: broken numbers must come out as broken, not as zeros.
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
                lanes[lane] = if lanes[lane + width] > lanes[lane] { lanes[lane + width] } else { lanes[lane] };
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
                // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits: no conversion,
                // whose care for NaN and overflow would cost more than all the rest.
                let shifted = x[16 * half + lane] * inverse + 12_582_912.0;
                rounded[lane] = (shifted.to_bits() as i32 - 0x4b40_0000).clamp(-127, 127);
            }
            for lane in 0..16 {
                q[16 * half + lane] = rounded[lane] as i8;
                sums[half] += rounded[lane];
            }
        }
        let blocks = self.columns / 32;
        let sum = sums[0] + sums[1];
        // SAFETY: the caller promises that the block is inside and its own.
        unsafe {
            self.q.add(row * self.columns + 32 * block).cast::<[i8; 32]>().write_unaligned(q);
            self.scale.add(row * blocks + block).write(scale);
            self.sum32.add(row * blocks + block).write(sum);
            self.scaled_sum32.add(row * blocks + block).write(scale * sum as f32);
            for half in 0..2 {
                self.sum16.add(2 * (row * blocks + block) + half).write(sums[half]);
                self.scaled_sum16.add(2 * (row * blocks + block) + half).write(scale * sums[half] as f32);
            }
        }
    }
}
