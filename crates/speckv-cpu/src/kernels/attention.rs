//! Attention of a few query rows over a long cache.
//!
//! Keys of one head lie as weights do, [position / 16, head_dim, 16] in half precision, so that scores are products of 16 rows as
//! everywhere else and no sum crosses lanes. Values lie as they come, [position, head_dim]; their sum runs over positions in order.

use super::{
    dense::{DenseArgs, F16, dense_tile},
    rows,
    simd::{GROUP, Simd},
};

/// Most query rows of one call.
pub const ATTENTION_ROWS: usize = 12;

/// Positions whose values stay in the nearest cache while all their columns are summed.
const POSITIONS: usize = 64;

/// One call's arguments: N query rows that read the same key-value head.
#[derive(Clone, Copy)]
pub struct AttentionArgs {
    /// Keys of the head, [position / 16, head_dim, 16], half precision.
    pub keys: *const u16,
    /// Values of the head, [position, head_dim], half precision.
    pub values: *const u16,
    /// Values per head, a multiple of 16.
    pub head_dim: usize,
    /// Queries, [N, head_dim].
    pub queries: *const f32,
    /// Positions that each query may see, `[N]`, each at least 1.
    pub visible: *const usize,
    /// Factor of the scores before the softmax.
    pub scale: f32,
    /// Room for scores, [N, `score_stride`].
    pub scores: *mut f32,
    /// At least the largest `visible`, rounded up to 16.
    pub score_stride: usize,
    /// Results, [N, head_dim].
    pub out: *mut f32,
}

/// `out = softmax(scale * q K^T) V` over each query's visible positions. Vaswani et al. 2017, arXiv 1706.03762.
///
/// # Safety
/// The instruction set is there; `args` point to whole arrays as described.
#[inline(always)]
pub unsafe fn attention<S: Simd, const N: usize>(args: &AttentionArgs) {
    let AttentionArgs { head_dim, score_stride, .. } = *args;
    // SAFETY: all pointers stay inside the arrays that the caller promises.
    unsafe {
        let visible: [usize; N] = std::array::from_fn(|row| *args.visible.add(row));
        let most = visible.iter().copied().fold(0, usize::max);
        for group in 0..most.div_ceil(GROUP) {
            dense_tile::<S, F16, N>(&DenseArgs {
                weights: args.keys.add(group * GROUP * head_dim).cast(),
                columns: head_dim,
                x: args.queries,
                x_stride: head_dim,
                out: args.scores.add(group * GROUP),
                out_stride: score_stride,
            });
        }
        for (row, &visible) in visible.iter().enumerate() {
            let scores = std::slice::from_raw_parts_mut(args.scores.add(row * score_stride), most);
            rows::softmax(scores, visible, args.scale);
        }
        std::slice::from_raw_parts_mut(args.out, N * head_dim).fill(0.0);
        for first in (0..most).step_by(POSITIONS) {
            let end = usize::min(first + POSITIONS, most);
            for column in (0..head_dim).step_by(S::LANES) {
                let mut sums: [S::F; N] = std::array::from_fn(|row| S::load(args.out.add(row * head_dim + column)));
                for position in first..end {
                    let value = S::load_f16(args.values.add(position * head_dim + column));
                    for row in 0..N {
                        let weight = S::splat(*args.scores.add(row * score_stride + position));
                        sums[row] = S::fma(weight, value, sums[row]);
                    }
                }
                for row in 0..N {
                    S::store(args.out.add(row * head_dim + column), sums[row]);
                }
            }
        }
    }
}
