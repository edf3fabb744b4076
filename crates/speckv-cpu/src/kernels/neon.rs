//! AArch64: vectors of NEON, products of bytes by NEON alone or by its extensions.
//!
//! A value is V vectors of four lanes. Few rows of activations take all 16 rows of weights at once
//! (V = 4), so that weights are read once; more rows take fewer, so that sums stay in registers.

use std::{
    arch::{aarch64::*, asm},
    marker::PhantomData,
};

use super::simd::Simd;

/// V vectors of NEON with the products of `P`.
#[derive(Clone, Copy)]
pub(super) struct Neon<P, const V: usize>(PhantomData<P>);

/// Sums of products of bytes: four rows of weights with one or two rows of activations. `w[quad]`
/// has byte `4 r + i` of row `r` and column `i` of the quad.
///
/// # Safety
/// All methods: the processor has the instructions, and pointers are readable for 16 bytes.
#[allow(clippy::missing_safety_doc, reason = "the trait states the contract of all methods")]
pub(super) trait Products: Copy + 'static {
    /// 16 columns of a row of activations, as the products take them.
    type A: Copy;
    /// Whether two rows of activations are taken at once.
    const PAIRS: bool = false;

    /// 16 columns.
    unsafe fn activations(a: *const i8) -> Self::A;

    /// As [`Simd::dot4`], for four rows of weights.
    unsafe fn dot4(bits: u32, acc: int32x4_t, w: [uint8x16_t; 4], a: Self::A) -> int32x4_t;
}

/// Multiply and add of 8-bit lanes into 16 bits: every AArch64 processor.
#[derive(Clone, Copy)]
pub(super) struct Base;

/// `sdot` of FEAT_DotProd: four products per lane and instruction.
#[derive(Clone, Copy)]
pub(super) struct DotProd;

/// `smmla` of FEAT_I8MM: two rows of weights with two rows of activations, eight columns at once.
#[derive(Clone, Copy)]
pub(super) struct MatMul;

/// Weights as signed bytes: of 8 bits they are raised by 128, smaller ones are below 128 anyway.
///
/// # Safety
/// NEON is there.
#[inline(always)]
unsafe fn signed(bits: u32, w: uint8x16_t) -> int8x16_t {
    // SAFETY: NEON is there.
    unsafe { vreinterpretq_s8_u8(if bits == 8 { veorq_u8(w, vdupq_n_u8(0x80)) } else { w }) }
}

// SAFETY of every block below: the trait's contract gives the instruction set and the pointers'
// width; all loads are unaligned.
impl Products for Base {
    /// Each quad's four columns, repeated for four rows.
    type A = [int8x16_t; 4];

    #[inline(always)]
    unsafe fn activations(a: *const i8) -> [int8x16_t; 4] {
        // SAFETY: as above.
        unsafe {
            let a = vreinterpretq_s32_s8(vld1q_s8(a));
            [
                vreinterpretq_s8_s32(vdupq_laneq_s32::<0>(a)),
                vreinterpretq_s8_s32(vdupq_laneq_s32::<1>(a)),
                vreinterpretq_s8_s32(vdupq_laneq_s32::<2>(a)),
                vreinterpretq_s8_s32(vdupq_laneq_s32::<3>(a)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot4(bits: u32, acc: int32x4_t, w: [uint8x16_t; 4], a: [int8x16_t; 4]) -> int32x4_t {
        // SAFETY: as above.
        unsafe {
            let w =
                [signed(bits, w[0]), signed(bits, w[1]), signed(bits, w[2]), signed(bits, w[3])];
            // Products of two quads, in 16 bits: of the first two rows, and of the last two. At
            // most 2 * 128 * 127 = 32,512.
            let low = |i: usize| {
                let first = vmull_s8(vget_low_s8(w[i]), vget_low_s8(a[i]));
                vmlal_s8(first, vget_low_s8(w[i + 1]), vget_low_s8(a[i + 1]))
            };
            let high = |i: usize| {
                let first = vmull_high_s8(w[i], a[i]);
                vmlal_high_s8(first, w[i + 1], a[i + 1])
            };
            if bits <= 5 {
                // Pairs of four quads: at most 2 * 4 * 31 * 127 = 31,496.
                let sums = vpaddq_s16(vaddq_s16(low(0), low(2)), vaddq_s16(high(0), high(2)));
                vpadalq_s16(acc, sums)
            } else if bits <= 6 {
                // Pairs of two quads: at most 2 * 2 * 63 * 127 = 32,004.
                let acc = vpadalq_s16(acc, vpaddq_s16(low(0), high(0)));
                vpadalq_s16(acc, vpaddq_s16(low(2), high(2)))
            } else {
                let low = vpadalq_s16(vpaddlq_s16(low(0)), low(2));
                let high = vpadalq_s16(vpaddlq_s16(high(0)), high(2));
                vaddq_s32(acc, vpaddq_s32(low, high))
            }
        }
    }
}

/// One `sdot` with quad `$quad` of the activations. The assembler must be told of the extension:
/// the compiler may also make a copy of the surrounding function that is not inlined.
macro_rules! sdot {
    ($acc:expr, $w:expr, $a:expr, $quad:literal) => {
        asm!(
            ".arch_extension dotprod",
            concat!("sdot {acc:v}.4s, {w:v}.16b, {a:v}.4b[", $quad, "]"),
            acc = inout(vreg) $acc,
            w = in(vreg) $w,
            a = in(vreg) $a,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
}

/// One `smmla`.
macro_rules! smmla {
    ($acc:expr, $w:expr, $a:expr) => {
        asm!(
            ".arch_extension i8mm",
            "smmla {acc:v}.4s, {w:v}.16b, {a:v}.16b",
            acc = inout(vreg) $acc,
            w = in(vreg) $w,
            a = in(vreg) $a,
            options(pure, nomem, nostack, preserves_flags)
        )
    };
}

impl Products for DotProd {
    type A = int8x16_t;

    #[inline(always)]
    unsafe fn activations(a: *const i8) -> int8x16_t {
        // SAFETY: as above.
        unsafe { vld1q_s8(a) }
    }

    #[inline(always)]
    unsafe fn dot4(bits: u32, acc: int32x4_t, w: [uint8x16_t; 4], a: int8x16_t) -> int32x4_t {
        let mut acc = acc;
        // SAFETY: as above; `sdot` reads and writes registers only.
        unsafe {
            sdot!(acc, signed(bits, w[0]), a, "0");
            sdot!(acc, signed(bits, w[1]), a, "1");
            sdot!(acc, signed(bits, w[2]), a, "2");
            sdot!(acc, signed(bits, w[3]), a, "3");
        }
        acc
    }
}

impl Products for MatMul {
    type A = int8x16_t;
    const PAIRS: bool = true;

    #[inline(always)]
    unsafe fn activations(a: *const i8) -> int8x16_t {
        // SAFETY: as above.
        unsafe { DotProd::activations(a) }
    }

    #[inline(always)]
    unsafe fn dot4(bits: u32, acc: int32x4_t, w: [uint8x16_t; 4], a: int8x16_t) -> int32x4_t {
        // SAFETY: as above: a processor with FEAT_I8MM is taken only if it has FEAT_DotProd.
        unsafe { DotProd::dot4(bits, acc, w, a) }
    }
}

impl<P: Products, const V: usize> Simd for Neon<P, V> {
    const LANES: usize = 4 * V;
    const PAIRS: bool = P::PAIRS;
    type F = [float32x4_t; V];
    type I = [int32x4_t; V];
    type B = [uint8x16_t; V];

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::F {
        // SAFETY: as above.
        unsafe { [vdupq_n_f32(x); V] }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::F {
        // SAFETY: as above.
        std::array::from_fn(|v| unsafe { vld1q_f32(p.add(4 * v)) })
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, x: Self::F) {
        for v in 0..V {
            // SAFETY: as above.
            unsafe { vst1q_f32(p.add(4 * v), x[v]) }
        }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> Self::F {
        std::array::from_fn(|v| {
            let wide: float32x4_t;
            // SAFETY: as above; `fcvtl` reads and writes registers only.
            unsafe {
                asm!(
                    "fcvtl {wide:v}.4s, {half:v}.4h",
                    wide = out(vreg) wide,
                    half = in(vreg) vld1_u16(p.add(4 * v)),
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
            wide
        })
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> Self::F {
        std::array::from_fn(|v| {
            // SAFETY: as above.
            unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p.add(4 * v)))) }
        })
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> Self::F {
        std::array::from_fn(|v| {
            // SAFETY: as above; four bytes are read.
            unsafe {
                let bytes = p.add(4 * v).cast::<u32>().read_unaligned();
                let wide = vmovl_s8(vcreate_s8(u64::from(bytes)));
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)))
            }
        })
    }

    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: as above.
        std::array::from_fn(|v| unsafe { vfmaq_f32(c[v], a[v], b[v]) })
    }

    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: as above.
        std::array::from_fn(|v| unsafe { vmulq_f32(a[v], b[v]) })
    }

    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: as above.
        std::array::from_fn(|v| unsafe { vaddq_f32(a[v], b[v]) })
    }

    #[inline(always)]
    unsafe fn to_float(x: Self::I) -> Self::F {
        // SAFETY: as above.
        std::array::from_fn(|v| unsafe { vcvtq_f32_s32(x[v]) })
    }

    #[inline(always)]
    unsafe fn seed(bits: u32, sum: i32, offset: i32) -> Self::I {
        // `signed` takes the offset of 8-bit weights off.
        let start = if bits == 8 { 0 } else { -offset * sum };
        // SAFETY: as above.
        unsafe { [vdupq_n_s32(start); V] }
    }

    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> Self::B {
        // SAFETY: as above.
        std::array::from_fn(|v| unsafe { vld1q_u8(p.add(16 * v)) })
    }

    #[inline(always)]
    unsafe fn shift_right_and<const SHIFT: i32>(x: Self::B, mask: u8) -> Self::B {
        // SAFETY: as above. A shift to the left by a negative number is one to the right.
        x.map(|x| unsafe {
            let moved = vshlq_u8(x, vdupq_n_s8(-SHIFT as i8));
            // Zeros come in from the left: the mask may have nothing left to do.
            if mask == 0xff >> SHIFT { moved } else { vandq_u8(moved, vdupq_n_u8(mask)) }
        })
    }

    #[inline(always)]
    unsafe fn merge<const SHIFT: i32>(low: Self::B, high: Self::B, mask: u8) -> Self::B {
        // SAFETY: as above.
        std::array::from_fn(|v| unsafe {
            let moved = vshlq_u8(high[v], vdupq_n_s8(SHIFT as i8));
            vorrq_u8(low[v], vandq_u8(moved, vdupq_n_u8(mask)))
        })
    }

    #[inline(always)]
    unsafe fn look_up(table: &[u8; 16], x: Self::B) -> Self::B {
        // SAFETY: as above.
        x.map(|x| unsafe { vqtbl1q_u8(vld1q_u8(table.as_ptr()), x) })
    }

    #[inline(always)]
    unsafe fn dot4(bits: u32, acc: Self::I, w: [Self::B; 4], a: *const i8) -> Self::I {
        // SAFETY: as above.
        unsafe {
            // A loop: the compiler does not inline a closure of this size into every kernel.
            let a = P::activations(a);
            let mut acc = acc;
            for v in 0..V {
                acc[v] = P::dot4(bits, acc[v], [w[0][v], w[1][v], w[2][v], w[3][v]], a);
            }
            acc
        }
    }

    #[inline(always)]
    unsafe fn pair_quads(bits: u32, w: [Self::B; 4]) -> [Self::B; 4] {
        let mut pairs = w;
        for v in 0..V {
            // SAFETY: as above.
            unsafe {
                let quad = |i: usize| vreinterpretq_s32_s8(signed(bits, w[i][v]));
                for i in [0, 2] {
                    let (first, second) = (quad(i), quad(i + 1));
                    pairs[i][v] = vreinterpretq_u8_s32(vzip1q_s32(first, second));
                    pairs[i + 1][v] = vreinterpretq_u8_s32(vzip2q_s32(first, second));
                }
            }
        }
        pairs
    }

    #[inline(always)]
    unsafe fn seed_pair(bits: u32, sums: [i32; 2], offset: i32) -> [Self::I; 2] {
        let start = sums.map(|sum| if bits == 8 { 0 } else { -offset * sum } as u32);
        // SAFETY: as above.
        unsafe {
            let start = u64::from(start[0]) | u64::from(start[1]) << 32;
            [[vreinterpretq_s32_u64(vdupq_n_u64(start)); V]; 2]
        }
    }

    #[inline(always)]
    unsafe fn dot4_pair(acc: [Self::I; 2], w: [Self::B; 4], a: [*const i8; 2]) -> [Self::I; 2] {
        let mut acc = acc;
        // SAFETY: as above; `smmla` reads and writes registers only.
        unsafe {
            let [a, b] = a.map(|a| vreinterpretq_s64_s8(vld1q_s8(a)));
            let (first, second) = (vzip1q_s64(a, b), vzip2q_s64(a, b)); // eight columns of each
            for v in 0..V {
                smmla!(acc[0][v], w[0][v], first);
                smmla!(acc[1][v], w[1][v], first);
                smmla!(acc[0][v], w[2][v], second);
                smmla!(acc[1][v], w[3][v], second);
            }
        }
        acc
    }

    #[inline(always)]
    unsafe fn split_pair(acc: [Self::I; 2]) -> [Self::I; 2] {
        // SAFETY: as above.
        unsafe {
            [
                std::array::from_fn(|v| vuzp1q_s32(acc[0][v], acc[1][v])),
                std::array::from_fn(|v| vuzp2q_s32(acc[0][v], acc[1][v])),
            ]
        }
    }
}
