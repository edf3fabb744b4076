//! The product that everything waits for: 16 rows of packed weights with N rows of activations.
//!
//! ```text
//! out[a][r] = sum over blocks b of  s[b][a] * (scale[b][r] * I[b][a][r]) + min[b][r] * (s[b][a] * sum[b][a])
//! I[b][a][r] = sum over the block's columns of (w - OFFSET) * q        exact, in integers
//! ```
//!
//! `r` is the lane, so no sum ever crosses lanes: blocks are added in their order, whatever N,
//! whatever the instruction set. That is what makes a row's result the same in every batch.

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
#[inline(always)]
pub(super) unsafe fn unpack<S: Simd, F: Format>(
    block: *const u8,
    half: usize,
    at: usize,
) -> [S::B; 4] {
    let vector = 4 * GROUP;
    // SAFETY: the caller promises a whole block; see `format` for where things lie.
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
    // SAFETY: all pointers stay inside the rows that the caller promises.
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
                    let mut sums: [S::I; N] = std::array::from_fn(|a| {
                        if F::SUB == 32 && F::OFFSET != 0 {
                            let [first, second] = (*args.sums.add(a * blocks + block)).halves;
                            S::seed(F::BITS, first + second, F::OFFSET)
                        } else {
                            S::seed(F::BITS, 0, 0)
                        }
                    });
                    for half in 0..2 {
                        let quads = unpack::<S, F>(packed, half, 4 * lane);
                        let column = 32 * block + 16 * half;
                        if F::SUB == 32 {
                            for a in 0..N {
                                sums[a] = S::dot4(
                                    F::BITS,
                                    sums[a],
                                    quads,
                                    args.q.add(a * columns + column),
                                );
                            }
                        } else {
                            let weight_scale = scale(2 * inner + half);
                            for a in 0..N {
                                let at = a * blocks + block;
                                let start = if F::OFFSET != 0 {
                                    (*args.sums.add(at)).halves[half]
                                } else {
                                    0
                                };
                                let sum = S::seed(F::BITS, start, F::OFFSET);
                                let sum =
                                    S::dot4(F::BITS, sum, quads, args.q.add(a * columns + column));
                                let scaled = S::mul(
                                    S::to_float(sum),
                                    S::splat((*args.scales.add(at)).scale),
                                );
                                total[a] = S::fma(scaled, weight_scale, total[a]);
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
                        for a in 0..N {
                            let scaled = S::mul(
                                S::to_float(sums[a]),
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
