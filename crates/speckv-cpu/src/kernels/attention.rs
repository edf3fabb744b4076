//! Attention of a few query rows over a long cache.
//!
//! Keys of one head are stored as weights are, [position / 16, head_dim, 16], so that scores are
//! products of 16 rows as everywhere else and no sum crosses lanes. Values are stored by position,
//! [position, head_dim]; their sum runs over positions in order.

use super::{
    dense::{DenseArgs, F16, dense_tile},
    rows,
    simd::{GROUP, Simd},
};

/// Most query rows of one call.
pub const ATTENTION_ROWS: usize = 12;

/// Positions whose values stay in the nearest cache while all their columns are summed.
const POSITIONS: usize = 64;

/// Values of a head that share a scale in a [`ByteCache`].
pub const SCALE_LEN: usize = 32;

/// One call's arguments: N query rows that read the same key-value head.
#[derive(Clone, Copy)]
pub struct AttentionArgs {
    /// Keys of the head; see [`CacheFormat`].
    pub keys: *const u8,
    /// Values of the head; see [`CacheFormat`].
    pub values: *const u8,
    /// Positions that the cache has room for, a multiple of 16.
    pub capacity: usize,
    /// Values per head, a multiple of 16.
    pub head_dim: usize,
    /// Queries, [N, head_dim].
    pub queries: *const f32,
    /// First position that each query may see, `[N]`.
    pub from: *const usize,
    /// First position after `from` that each query may not see any more, `[N]`.
    pub visible: *const usize,
    /// Factor of the scores before the softmax.
    pub scale: f32,
    /// Scaled scores become `cap * tanh(score / cap)`.
    pub cap: Option<f32>,
    /// Room for scores, [N, `score_stride`].
    pub scores: *mut f32,
    /// At least the largest `visible`, rounded up to 16.
    pub score_stride: usize,
    /// Results, [N, head_dim].
    pub out: *mut f32,
}

/// How keys and values are stored.
pub trait CacheFormat: 'static {
    /// Products of all N queries with the keys of positions `16 * group..`, to the same places in
    /// the scores.
    ///
    /// # Safety
    /// As [`attention`].
    unsafe fn scores<S: Simd, const N: usize>(args: &AttentionArgs, group: usize);

    /// Factors of `column`'s values at positions `first..end`, where the format has any; `first` is
    /// a multiple of 16.
    ///
    /// # Safety
    /// As [`attention`].
    unsafe fn value_scales<S: Simd>(
        args: &AttentionArgs,
        first: usize,
        end: usize,
        column: usize,
        scales: &mut [f32; POSITIONS],
    );

    /// Values at `position` from `column` on; `scale` is the position's factor.
    ///
    /// # Safety
    /// As [`attention`].
    unsafe fn values<S: Simd>(
        args: &AttentionArgs,
        position: usize,
        column: usize,
        scale: f32,
    ) -> S::F;
}

/// Half precision: keys [capacity / 16, head_dim, 16], values [capacity, head_dim].
pub struct HalfCache;

impl CacheFormat for HalfCache {
    #[inline(always)]
    unsafe fn scores<S: Simd, const N: usize>(args: &AttentionArgs, group: usize) {
        // SAFETY: `args` hold the whole head by this function's contract.
        unsafe {
            dense_tile::<S, F16, N>(&DenseArgs {
                weights: args.keys.add(2 * group * GROUP * args.head_dim),
                columns: args.head_dim,
                x: args.queries,
                x_stride: args.head_dim,
                out: args.scores.add(group * GROUP),
                out_stride: args.score_stride,
            });
        }
    }

    #[inline(always)]
    unsafe fn value_scales<S: Simd>(
        _: &AttentionArgs,
        _: usize,
        _: usize,
        _: usize,
        _: &mut [f32; POSITIONS],
    ) {
    }

    #[inline(always)]
    unsafe fn values<S: Simd>(
        args: &AttentionArgs,
        position: usize,
        column: usize,
        _scale: f32,
    ) -> S::F {
        // SAFETY: `args` hold the whole head by this function's contract.
        unsafe { S::load_f16(args.values.cast::<u16>().add(position * args.head_dim + column)) }
    }
}

/// Q8_0: signed bytes with a half-precision scale per 32 values of a head. Keys [capacity / 16,
/// head_dim, 16] and their scales [capacity / 16, head_dim / 32, 16]; values [capacity, head_dim]
/// and their scales [head_dim / 32, capacity].
///
/// ```text
/// score = sum over blocks b of
///         key scale[b] * ((sum over even k of q[k] key[k]) + (the same over odd k))
/// ```
pub struct ByteCache;

impl CacheFormat for ByteCache {
    #[inline(always)]
    unsafe fn scores<S: Simd, const N: usize>(args: &AttentionArgs, group: usize) {
        let AttentionArgs { head_dim, capacity, .. } = *args;
        let blocks = head_dim / SCALE_LEN;
        // SAFETY: `args` hold the whole head by this function's contract.
        unsafe {
            let keys = args.keys.cast::<i8>().add(group * GROUP * head_dim);
            let scales =
                args.keys.add(capacity * head_dim).cast::<u16>().add(group * GROUP * blocks);
            for lane in (0..GROUP).step_by(S::LANES) {
                let mut total = [S::splat(0.0); N];
                for block in 0..blocks {
                    let mut even = [S::splat(0.0); N];
                    let mut odd = [S::splat(0.0); N];
                    for k in (block * SCALE_LEN..(block + 1) * SCALE_LEN).step_by(2) {
                        let w0 = S::load_i8(keys.add(k * GROUP + lane));
                        let w1 = S::load_i8(keys.add((k + 1) * GROUP + lane));
                        for a in 0..N {
                            let x = args.queries.add(a * head_dim + k);
                            even[a] = S::fma(w0, S::splat(*x), even[a]);
                            odd[a] = S::fma(w1, S::splat(*x.add(1)), odd[a]);
                        }
                    }
                    let scale = S::load_f16(scales.add(block * GROUP + lane));
                    for a in 0..N {
                        total[a] = S::fma(scale, S::add(even[a], odd[a]), total[a]);
                    }
                }
                for a in 0..N {
                    S::store(
                        args.scores.add(a * args.score_stride + group * GROUP + lane),
                        total[a],
                    );
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn value_scales<S: Simd>(
        args: &AttentionArgs,
        first: usize,
        end: usize,
        column: usize,
        scales: &mut [f32; POSITIONS],
    ) {
        // SAFETY: `args` hold the whole head; the capacity is a multiple of 16, so that whole
        // vectors lie inside.
        unsafe {
            let from = args.values.add(args.capacity * args.head_dim).cast::<u16>();
            let from = from.add(column / SCALE_LEN * args.capacity + first);
            for i in (0..end - first).step_by(S::LANES) {
                S::store(scales.as_mut_ptr().add(i), S::load_f16(from.add(i)));
            }
        }
    }

    #[inline(always)]
    unsafe fn values<S: Simd>(
        args: &AttentionArgs,
        position: usize,
        column: usize,
        scale: f32,
    ) -> S::F {
        // The product is exact: 11 significant bits times 8.
        // SAFETY: `args` hold the whole head by this function's contract.
        unsafe {
            let bytes = S::load_i8(args.values.cast::<i8>().add(position * args.head_dim + column));
            S::mul(bytes, S::splat(scale))
        }
    }
}

/// The weight of a position in a row's result.
///
/// # Safety
/// As [`attention`]; `row` and `position` are inside the scores.
#[inline(always)]
unsafe fn weight<S: Simd>(args: &AttentionArgs, row: usize, position: usize) -> S::F {
    // SAFETY: the scores have that row and position by this function's contract.
    unsafe { S::splat(*args.scores.add(row * args.score_stride + position)) }
}

/// `out = softmax(cap(scale * q K^T)) V` over each query's visible positions. Vaswani et al. 2017,
/// arXiv 1706.03762.
///
/// # Safety
/// The instruction set is there; `args` point to whole arrays as described.
#[inline(always)]
pub unsafe fn attention<S: Simd, C: CacheFormat, const N: usize>(args: &AttentionArgs) {
    let AttentionArgs { head_dim, score_stride, .. } = *args;
    // SAFETY: all pointers stay inside the arrays that `args` describe.
    unsafe {
        let visible: [usize; N] = std::array::from_fn(|row| *args.visible.add(row));
        let from: [usize; N] = std::array::from_fn(|row| *args.from.add(row));
        let most = visible.iter().copied().fold(0, usize::max);
        let least = from.iter().copied().fold(usize::MAX, usize::min) / GROUP * GROUP;
        for group in least / GROUP..most.div_ceil(GROUP) {
            C::scores::<S, N>(args, group);
        }
        for (row, (&from, &visible)) in from.iter().zip(&visible).enumerate() {
            let scores = std::slice::from_raw_parts_mut(args.scores.add(row * score_stride), most);
            // A row's softmax begins at its own group of 16, whatever the others see; positions of
            // that group that it does not see get weight 0.
            let start = from / GROUP * GROUP;
            let mut scale = args.scale;
            if let Some(cap) = args.cap {
                rows::scale(&mut scores[from..visible], scale);
                rows::soft_cap(&mut scores[from..visible], cap);
                scale = 1.0;
            }
            scores[start..from].fill(f32::NEG_INFINITY);
            rows::softmax(&mut scores[start..], visible - start, scale);
            scores[least..from].fill(0.0);
        }
        std::slice::from_raw_parts_mut(args.out, N * head_dim).fill(0.0);
        // Positions that all rows see, and before and after them those that some see.
        let common_start = from.iter().copied().fold(least, usize::max);
        let common_end = visible.iter().copied().fold(most, usize::min).max(common_start);
        let mut scales = [1f32; POSITIONS];
        for first in (least..most).step_by(POSITIONS) {
            let end = usize::min(first + POSITIONS, most);
            let common = common_start.clamp(first, end)..common_end.clamp(first, end);
            for column in (0..head_dim).step_by(S::LANES) {
                C::value_scales::<S>(args, first, end, column, &mut scales);
                let mut sums: [S::F; N] =
                    std::array::from_fn(|row| S::load(args.out.add(row * head_dim + column)));
                // A row's sum has the positions that the row sees and no others: a value elsewhere
                // may be infinite, and 0 times infinity is no number.
                let sees =
                    |position: usize, row: usize| from[row] <= position && position < visible[row];
                for position in first..common.start {
                    let value = C::values::<S>(args, position, column, scales[position - first]);
                    for row in 0..N {
                        if sees(position, row) {
                            sums[row] = S::fma(weight::<S>(args, row, position), value, sums[row]);
                        }
                    }
                }
                for position in common.clone() {
                    let value = C::values::<S>(args, position, column, scales[position - first]);
                    for row in 0..N {
                        sums[row] = S::fma(weight::<S>(args, row, position), value, sums[row]);
                    }
                }
                for position in common.end..end {
                    let value = C::values::<S>(args, position, column, scales[position - first]);
                    for row in 0..N {
                        if sees(position, row) {
                            sums[row] = S::fma(weight::<S>(args, row, position), value, sums[row]);
                        }
                    }
                }
                for row in 0..N {
                    S::store(args.out.add(row * head_dim + column), sums[row]);
                }
            }
        }
    }
}
