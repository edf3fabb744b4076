//! Products of 16 rows of packed weights with N rows of activations.
//!
//! ```text
//! out[a][r] = sum over blocks b of
//!             s[b][a] * (scale[b][r] * I[b][a][r]) + min[b][r] * (s[b][a] * sum[b][a])
//! I[b][a][r] = sum over the block's columns of (w - OFFSET) * q        exact, in integers
//! ```
//!
//! `r` is the lane, so that no sum crosses lanes. Blocks are added in their order for every N and
//! on every instruction set, so that a row's result is the same in every batch.

use super::{
    activation::{BlockScale, BlockSums},
    format::{Format, Scales},
    prefetch::prefetch,
    simd::{GROUP, Simd},
};

/// One tile's arguments. All strides are in elements.
#[derive(Clone, Copy)]
pub struct TileArgs {
    /// Rows of activations: N of the kernel that is called.
    pub rows: usize,
    /// Groups of 16 rows of weights; kernels that do not say otherwise take one.
    pub groups: usize,
    /// Bytes from one group to the next.
    pub group_bytes: usize,
    /// First unit of the first group.
    pub weights: *const u8,
    /// Columns, a multiple of the format's unit.
    pub columns: usize,
    /// Quantized activations, [N, columns].
    pub q: *const i8,
    /// Their scales, [N, columns / 32].
    pub scales: *const BlockScale,
    /// Their sums, [N, columns / 32].
    pub sums: *const BlockSums,
    /// Results, [N, 16 * groups] at `out_stride`.
    pub out: *mut f32,
    /// Distance of two activations' results.
    pub out_stride: usize,
}

/// The four quads of half `half` of the block at `block`, for the rows from byte `at` of each
/// vector on.
///
/// # Safety
/// The instruction set is there, and `block` points to a whole block.
#[inline(always)]
pub(super) unsafe fn unpack<S: Simd, F: Format>(
    block: *const u8,
    half: usize,
    at: usize,
) -> [S::B; 4] {
    let vector = 4 * GROUP;
    // SAFETY: `block` points to a whole block by this function's contract; its vectors lie as
    // `format` describes.
    unsafe {
        let low = block.add(half * F::LOW * vector / 2 + at);
        let high = block.add(F::LOW * vector + at);
        let mut quads = match F::LOW {
            2 => {
                let x = S::bytes(low);
                [
                    S::shift_right_and::<0>(x, 3),
                    S::shift_right_and::<2>(x, 3),
                    S::shift_right_and::<4>(x, 3),
                    S::shift_right_and::<6>(x, 3),
                ]
            }
            4 => {
                let (x, y) = (S::bytes(low), S::bytes(low.add(vector)));
                [
                    S::shift_right_and::<0>(x, 15),
                    S::shift_right_and::<4>(x, 15),
                    S::shift_right_and::<0>(y, 15),
                    S::shift_right_and::<4>(y, 15),
                ]
            }
            _ => [
                S::bytes(low),
                S::bytes(low.add(vector)),
                S::bytes(low.add(2 * vector)),
                S::bytes(low.add(3 * vector)),
            ],
        };
        match (F::HIGH, F::LOW, half) {
            (1, 4, 0) => {
                let x = S::bytes(high);
                quads = [
                    S::merge::<4>(quads[0], x, 16),
                    S::merge::<3>(quads[1], x, 16),
                    S::merge::<2>(quads[2], x, 16),
                    S::merge::<1>(quads[3], x, 16),
                ];
            }
            (1, 4, _) => {
                let x = S::bytes(high);
                quads = [
                    S::merge::<0>(quads[0], x, 16),
                    S::merge::<-1>(quads[1], x, 16),
                    S::merge::<-2>(quads[2], x, 16),
                    S::merge::<-3>(quads[3], x, 16),
                ];
            }
            (1, 2, 0) => {
                let x = S::bytes(high);
                quads = [
                    S::merge::<2>(quads[0], x, 4),
                    S::merge::<1>(quads[1], x, 4),
                    S::merge::<0>(quads[2], x, 4),
                    S::merge::<-1>(quads[3], x, 4),
                ];
            }
            (1, 2, _) => {
                let x = S::bytes(high);
                quads = [
                    S::merge::<-2>(quads[0], x, 4),
                    S::merge::<-3>(quads[1], x, 4),
                    S::merge::<-4>(quads[2], x, 4),
                    S::merge::<-5>(quads[3], x, 4),
                ];
            }
            (2, _, _) => {
                let x = S::bytes(high.add(half * vector));
                quads = [
                    S::merge::<4>(quads[0], x, 48),
                    S::merge::<2>(quads[1], x, 48),
                    S::merge::<0>(quads[2], x, 48),
                    S::merge::<-2>(quads[3], x, 48),
                ];
            }
            _ => {}
        }
        if let Some(table) = &F::TABLE {
            quads = quads.map(|x| S::look_up(table, x));
        }
        quads
    }
}

/// Integer sums of N rows of activations with a vector of rows of weights.
#[derive(Clone, Copy)]
struct Sums<S: Simd, const N: usize> {
    /// One per row; where rows are taken in pairs, those of a pair are not split yet.
    rows: [S::I; N],
    /// The second of the pair that an odd last row makes with itself.
    spare: S::I,
}

impl<S: Simd, const N: usize> Sums<S, N> {
    /// Starts from what is known of each row's sum; see [`Simd::seed`].
    ///
    /// # Safety
    /// The instruction set is there.
    #[inline(always)]
    unsafe fn start(bits: u32, known: impl Fn(usize) -> i32, offset: i32) -> Self {
        // SAFETY: the instruction set is there.
        unsafe {
            let mut start = Sums {
                rows: std::array::from_fn(|a| S::seed(bits, known(a), offset)),
                spare: S::seed(bits, 0, 0),
            };
            if S::PAIRS {
                for a in (0..N).step_by(2) {
                    let second = usize::min(a + 1, N - 1);
                    let pair = S::seed_pair(bits, [known(a), known(second)], offset);
                    start.set(a, pair);
                }
            }
            start
        }
    }

    /// The pair whose first row is `a`.
    #[inline(always)]
    fn pair(&self, a: usize) -> [S::I; 2] {
        [self.rows[a], if a + 1 < N { self.rows[a + 1] } else { self.spare }]
    }

    /// Replaces the pair at `a`.
    #[inline(always)]
    fn set(&mut self, a: usize, [first, second]: [S::I; 2]) {
        self.rows[a] = first;
        if a + 1 < N {
            self.rows[a + 1] = second;
        } else {
            self.spare = second;
        }
    }

    /// Adds 16 columns: the quads of the weights, and activations at `q`, rows `columns` apart.
    ///
    /// # Safety
    /// The instruction set is there, and 16 columns of N rows are readable at `q`.
    #[inline(always)]
    unsafe fn add(&mut self, bits: u32, quads: [S::B; 4], q: *const i8, columns: usize) {
        // SAFETY: the instruction set is there, and the rows are readable.
        unsafe {
            if S::PAIRS {
                for a in (0..N).step_by(2) {
                    let second = usize::min(a + 1, N - 1);
                    let x = [q.add(a * columns), q.add(second * columns)];
                    self.set(a, S::dot4_pair(self.pair(a), quads, x));
                }
            } else {
                for a in 0..N {
                    self.rows[a] = S::dot4(bits, self.rows[a], quads, q.add(a * columns));
                }
            }
        }
    }

    /// Leaves one sum per row in `rows`.
    ///
    /// # Safety
    /// The instruction set is there.
    #[inline(always)]
    unsafe fn end(&mut self) {
        if S::PAIRS {
            for a in (0..N).step_by(2) {
                // SAFETY: the instruction set is there.
                unsafe { self.set(a, S::split_pair(self.pair(a))) };
            }
        }
    }
}

/// Computes one tile.
///
/// # Safety
/// The instruction set is there; `args` point to whole rows as described.
#[inline(always)]
pub unsafe fn tile<S: Simd, F: Format, const N: usize>(args: &TileArgs) {
    debug_assert_eq!(args.rows, N);
    let columns = args.columns;
    let blocks = columns / 32;
    let mut scales = Scales::ZERO;
    let mut lane = 0;
    // SAFETY: all pointers stay inside the rows that `args` describe.
    unsafe {
        while lane < GROUP {
            let mut total = [S::splat(0.0); N];
            let mut unit = args.weights;
            for first in (0..blocks).step_by(F::UNIT / 32) {
                if !F::HALVES {
                    F::decode(std::slice::from_raw_parts(unit, F::SCALE_BYTES), &mut scales);
                }
                let scale = |part: usize| match F::HALVES {
                    true => S::load_f16(unit.cast::<u16>().add(lane)),
                    false => S::load(scales.scale[part].as_ptr().add(lane)),
                };
                let min = |part: usize| match F::HALVES {
                    true => S::load_f16(unit.cast::<u16>().add(GROUP + lane)),
                    false => S::load(scales.min[part].as_ptr().add(lane)),
                };
                prefetch(unit, F::SCALE_BYTES);
                let quants = unit.add(F::SCALE_BYTES);
                for inner in 0..F::UNIT / 32 {
                    let block = first + inner;
                    let packed = quants.add(inner * F::BLOCK_BYTES);
                    prefetch(packed, F::BLOCK_BYTES);
                    // The block's known sums, of which weights with an offset need their share.
                    let known = |a: usize| (*args.sums.add(a * blocks + block)).halves;
                    let whole = |a| {
                        if F::SUB == 32 && F::OFFSET != 0 { known(a).iter().sum() } else { 0 }
                    };
                    let mut sums = Sums::<S, N>::start(F::BITS, whole, F::OFFSET);
                    for half in 0..2 {
                        let quads = unpack::<S, F>(packed, half, 4 * lane);
                        let quads = if S::PAIRS { S::pair_quads(F::BITS, quads) } else { quads };
                        let q = args.q.add(32 * block + 16 * half);
                        if F::SUB == 32 {
                            sums.add(F::BITS, quads, q, columns);
                        } else {
                            let weight_scale = scale(2 * inner + half);
                            if S::PAIRS {
                                let part = |a| if F::OFFSET != 0 { known(a)[half] } else { 0 };
                                let mut sums = Sums::<S, N>::start(F::BITS, part, F::OFFSET);
                                sums.add(F::BITS, quads, q, columns);
                                sums.end();
                                for a in 0..N {
                                    let row_scale = (*args.scales.add(a * blocks + block)).scale;
                                    let scaled =
                                        S::mul(S::to_float(sums.rows[a]), S::splat(row_scale));
                                    total[a] = S::fma(scaled, weight_scale, total[a]);
                                }
                            } else {
                                // Row by row: with many rows, all sums at once would not fit into
                                // registers beside the totals.
                                for a in 0..N {
                                    let at = a * blocks + block;
                                    let start = if F::OFFSET != 0 {
                                        (*args.sums.add(at)).halves[half]
                                    } else {
                                        0
                                    };
                                    let sum = S::seed(F::BITS, start, F::OFFSET);
                                    let sum = S::dot4(F::BITS, sum, quads, q.add(a * columns));
                                    let row_scale = S::splat((*args.scales.add(at)).scale);
                                    let scaled = S::mul(S::to_float(sum), row_scale);
                                    total[a] = S::fma(scaled, weight_scale, total[a]);
                                }
                            }
                        }
                        if F::MIN_SUB == 16 {
                            let min = min(2 * inner + half);
                            for a in 0..N {
                                let sum = S::splat(
                                    (*args.sums.add(a * blocks + block)).scaled_halves[half],
                                );
                                total[a] = S::fma(min, sum, total[a]);
                            }
                        }
                    }
                    if F::SUB == 32 {
                        let weight_scale = scale(inner);
                        sums.end();
                        for a in 0..N {
                            let scaled = S::mul(
                                S::to_float(sums.rows[a]),
                                S::splat((*args.scales.add(a * blocks + block)).scale),
                            );
                            total[a] = S::fma(scaled, weight_scale, total[a]);
                        }
                    }
                    if F::MIN_SUB == 32 {
                        let min = min(inner);
                        for a in 0..N {
                            let sum = S::splat((*args.scales.add(a * blocks + block)).scaled_sum);
                            total[a] = S::fma(min, sum, total[a]);
                        }
                    }
                }
                unit = unit.add(F::UNIT_BYTES);
            }
            for a in 0..N {
                S::store(args.out.add(a * args.out_stride + lane), total[a]);
            }
            lane += S::LANES;
        }
    }
}
