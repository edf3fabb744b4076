//! The vector operations that kernels are written in, and their portable form.
//!
//! Kernels are generic over [`Simd`] and compiled once per instruction set. An implementation may
//! only differ in speed: every operation is exact (integers) or one correctly rounded IEEE
//! operation per lane (floats), so results agree to the bit.

/// Rows that the weights interleave: one lane per row, on every instruction set.
pub const GROUP: usize = 16;

/// Vectors of [`LANES`](Simd::LANES) rows: `F` of f32, `I` of i32, `B` of four bytes per lane.
///
/// # Safety
/// All methods: the instruction set must be there, and pointers must be readable or writable for
/// the width that the method names.
#[allow(clippy::missing_safety_doc, reason = "the trait states the contract of all methods")]
pub trait Simd: Copy {
    /// Rows per vector; [`GROUP`] is a multiple of it.
    const LANES: usize;
    /// f32 per lane.
    type F: Copy;
    /// i32 per lane.
    type I: Copy;
    /// Four u8 per lane.
    type B: Copy;

    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self::F;
    /// `LANES` values.
    unsafe fn load(p: *const f32) -> Self::F;
    /// `LANES` values.
    unsafe fn store(p: *mut f32, x: Self::F);
    /// `LANES` half-precision values.
    unsafe fn load_f16(p: *const u16) -> Self::F;
    /// `LANES` bfloat16 values.
    unsafe fn load_bf16(p: *const u16) -> Self::F;
    /// `LANES` signed bytes, as floats.
    unsafe fn load_i8(p: *const i8) -> Self::F;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a * b`.
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a + b`.
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;

    /// i32 to f32, rounded to nearest.
    unsafe fn to_float(x: Self::I) -> Self::F;
    /// The start of a sum of products with weights that are stored with `offset` added: `-offset *
    /// sum`.
    unsafe fn seed(bits: u32, sum: i32, offset: i32) -> Self::I;

    /// `4 * LANES` bytes.
    unsafe fn bytes(p: *const u8) -> Self::B;
    /// `(x >> SHIFT) & mask` in every byte; SHIFT is 0 to 7.
    unsafe fn shift_right_and<const SHIFT: i32>(x: Self::B, mask: u8) -> Self::B;
    /// `low | ((high moved by SHIFT, left if positive) & mask)` in every byte.
    unsafe fn merge<const SHIFT: i32>(low: Self::B, high: Self::B, mask: u8) -> Self::B;
    /// `table[x]` in every byte, x below 16.
    unsafe fn look_up(table: &[u8; 16], x: Self::B) -> Self::B;
    /// `acc + sum over 4 quads of w . a`, per lane: w are unsigned bytes below `2^bits`, a the 16
    /// signed bytes at `a` (4 per quad, the same for every lane, none of them -128).
    unsafe fn dot4(bits: u32, acc: Self::I, w: [Self::B; 4], a: *const i8) -> Self::I;

    /// Whether [`dot4_pair`](Self::dot4_pair) takes two rows of activations at once. Without it,
    /// the methods below are not called.
    const PAIRS: bool = false;
    /// Quads as [`dot4_pair`](Self::dot4_pair) takes them.
    unsafe fn pair_quads(_bits: u32, w: [Self::B; 4]) -> [Self::B; 4] {
        w
    }
    /// The start of the sums of two rows of activations, before [`split_pair`](Self::split_pair);
    /// as [`seed`](Self::seed).
    unsafe fn seed_pair(bits: u32, sums: [i32; 2], offset: i32) -> [Self::I; 2] {
        // SAFETY: the caller has the instruction set.
        sums.map(|sum| unsafe { Self::seed(bits, sum, offset) })
    }
    /// As [`dot4`](Self::dot4) for two rows of activations; sums are not yet split.
    unsafe fn dot4_pair(acc: [Self::I; 2], _w: [Self::B; 4], _a: [*const i8; 2]) -> [Self::I; 2] {
        acc
    }
    /// The sums of each of the two rows of activations.
    unsafe fn split_pair(acc: [Self::I; 2]) -> [Self::I; 2] {
        acc
    }
}

/// Plain Rust. Every other instruction set is tested against it.
#[derive(Clone, Copy)]
pub struct Portable;

impl Simd for Portable {
    const LANES: usize = GROUP;
    type F = [f32; GROUP];
    type I = [i32; GROUP];
    type B = [u8; 4 * GROUP];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        [x; GROUP]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::F {
        // SAFETY: LANES values are readable by the trait's contract; an array has no stricter
        // alignment than its element.
        unsafe { p.cast::<Self::F>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, x: Self::F) {
        // SAFETY: LANES values are writable by the trait's contract.
        unsafe { p.cast::<Self::F>().write_unaligned(x) }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self::F {
        // SAFETY: LANES values are readable by the trait's contract.
        let x = unsafe { p.cast::<[u16; GROUP]>().read_unaligned() };
        x.map(|bits| half::f16::from_bits(bits).to_f32())
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self::F {
        // SAFETY: LANES values are readable by the trait's contract.
        let x = unsafe { p.cast::<[u16; GROUP]>().read_unaligned() };
        x.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self::F {
        // SAFETY: LANES values are readable by the trait's contract.
        let x = unsafe { p.cast::<[i8; GROUP]>().read_unaligned() };
        x.map(f32::from)
    }

    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    unsafe fn to_float(x: Self::I) -> Self::F {
        x.map(|i| i as f32)
    }

    #[inline(always)]
    unsafe fn seed(_bits: u32, sum: i32, offset: i32) -> Self::I {
        [-offset * sum; GROUP]
    }

    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> Self::B {
        // SAFETY: 4 * LANES bytes are readable by the trait's contract.
        unsafe { p.cast::<Self::B>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn shift_right_and<const SHIFT: i32>(x: Self::B, mask: u8) -> Self::B {
        x.map(|byte| (byte >> SHIFT) & mask)
    }

    #[inline(always)]
    unsafe fn merge<const SHIFT: i32>(low: Self::B, high: Self::B, mask: u8) -> Self::B {
        std::array::from_fn(|i| {
            let moved = if SHIFT >= 0 { high[i] << SHIFT } else { high[i] >> -SHIFT };
            low[i] | (moved & mask)
        })
    }

    #[inline(always)]
    unsafe fn look_up(table: &[u8; 16], x: Self::B) -> Self::B {
        x.map(|byte| table[usize::from(byte & 15)])
    }

    #[inline(always)]
    unsafe fn dot4(_bits: u32, mut acc: Self::I, w: [Self::B; 4], a: *const i8) -> Self::I {
        // SAFETY: 16 bytes are readable by the trait's contract.
        let a = unsafe { a.cast::<[i8; 16]>().read_unaligned() };
        for quad in 0..4 {
            for lane in 0..GROUP {
                for i in 0..4 {
                    acc[lane] += i32::from(w[quad][4 * lane + i]) * i32::from(a[4 * quad + i]);
                }
            }
        }
        acc
    }
}
