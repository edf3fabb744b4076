//! Products with weights that are floats: 16 rows with N rows of f32 activations.
//!
//! ```text
//! out[a][r] = (sum over even columns k of w[k][r] * x[a][k]) + (the same over odd columns)
//! ```
//!
//! Sums are fused multiply-adds in the columns' order. Two chains instead of one, so that a single
//! row of activations is not bound by the latency of the multiply-add.

use super::{
    prefetch::prefetch,
    simd::{GROUP, Simd},
};

/// A float element type.
pub trait Element: 'static {
    /// Bytes per value.
    const BYTES: usize;
    /// Loads a vector of values.
    ///
    /// # Safety
    /// As [`Simd::load`].
    unsafe fn load<S: Simd>(p: *const u8) -> S::F;
}

/// Half precision.
pub struct F16;
/// bfloat16.
pub struct Bf16;
/// Single precision.
pub struct F32;

impl Element for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::F {
        // SAFETY: the caller's contract is that of the load.
        unsafe { S::load_f16(p.cast()) }
    }
}

impl Element for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::F {
        // SAFETY: the caller's contract is that of the load.
        unsafe { S::load_bf16(p.cast()) }
    }
}

impl Element for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::F {
        // SAFETY: the caller's contract is that of the load.
        unsafe { S::load(p.cast()) }
    }
}

/// One tile's arguments.
#[derive(Clone, Copy)]
pub struct DenseArgs {
    /// Weights, [columns, 16].
    pub weights: *const u8,
    /// Columns.
    pub columns: usize,
    /// Activations, [N, columns] at `x_stride`.
    pub x: *const f32,
    /// Distance of two rows of activations.
    pub x_stride: usize,
    /// Results, [N, 16] at `out_stride`.
    pub out: *mut f32,
    /// Distance of two activations' results.
    pub out_stride: usize,
}

/// Computes one tile.
///
/// # Safety
/// The instruction set is there; `args` point to whole rows as described.
#[inline(always)]
pub unsafe fn dense_tile<S: Simd, E: Element, const N: usize>(args: &DenseArgs) {
    let vector = GROUP * E::BYTES;
    let mut lane = 0;
    // SAFETY: all pointers stay inside the rows that `args` describe.
    unsafe {
        while lane < GROUP {
            let mut even = [S::splat(0.0); N];
            let mut odd = [S::splat(0.0); N];
            let weights = args.weights.add(lane * E::BYTES);
            for pair in 0..args.columns / 2 {
                if lane == 0 {
                    prefetch(weights.wrapping_add(2 * pair * vector), 2 * vector);
                }
                let w0 = E::load::<S>(weights.add(2 * pair * vector));
                let w1 = E::load::<S>(weights.add((2 * pair + 1) * vector));
                for a in 0..N {
                    let x = args.x.add(a * args.x_stride + 2 * pair);
                    even[a] = S::fma(w0, S::splat(*x), even[a]);
                    odd[a] = S::fma(w1, S::splat(*x.add(1)), odd[a]);
                }
            }
            if args.columns % 2 == 1 {
                let last = args.columns - 1;
                let w0 = E::load::<S>(weights.add(last * vector));
                for a in 0..N {
                    even[a] = S::fma(w0, S::splat(*args.x.add(a * args.x_stride + last)), even[a]);
                }
            }
            for a in 0..N {
                S::store(args.out.add(a * args.out_stride + lane), S::add(even[a], odd[a]));
            }
            lane += S::LANES;
        }
    }
}
