//! AVX2 with FMA and F16C: 8 rows in a vector. Products of bytes are those of AVX2 itself or of
//! AVX-VNNI.

use std::{arch::x86_64::*, marker::PhantomData};

use super::simd::Simd;

/// AVX2, FMA and F16C, with products of bytes by `P`.
#[derive(Clone, Copy)]
pub(super) struct Avx2<P>(PhantomData<P>);

/// How four quads of weights are multiplied with activations; see [`Simd`].
pub(super) trait Products: Copy {
    /// As [`Simd::seed`].
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn seed(bits: u32, sum: i32, offset: i32) -> __m256i;

    /// As [`Simd::dot4`]; `a` holds four times the quads' activations.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn dot4(bits: u32, acc: __m256i, w: [__m256i; 4], a: [__m256i; 4]) -> __m256i;
}

/// `vpmaddubsw`: products summed in 16 bits as far as they fit.
#[derive(Clone, Copy)]
pub(super) struct Words;

/// AVX-VNNI's `vpdpbusd`: four products and their sum in 32 bits in one instruction.
#[derive(Clone, Copy)]
pub(super) struct Vnni;

// SAFETY of every block below: `Simd`'s contract gives the instruction set and the pointers' width;
// all loads are unaligned.
impl<P: Products> Simd for Avx2<P> {
    const LANES: usize = 8;
    type F = __m256;
    type I = __m256i;
    type B = __m256i;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, x: __m256) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> __m256 {
        // SAFETY: as above.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> __m256 {
        // SAFETY: as above; 8 bytes are read.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn to_float(x: __m256i) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn seed(bits: u32, sum: i32, offset: i32) -> __m256i {
        // SAFETY: as above.
        unsafe { P::seed(bits, sum, offset) }
    }

    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }

    #[inline(always)]
    unsafe fn shift_right_and<const SHIFT: i32>(x: __m256i, mask: u8) -> __m256i {
        // SAFETY: as above. Bits that cross from the neighbour byte are masked away.
        unsafe {
            let moved = if SHIFT == 0 { x } else { _mm256_srl_epi16(x, _mm_cvtsi32_si128(SHIFT)) };
            _mm256_and_si256(moved, _mm256_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    unsafe fn merge<const SHIFT: i32>(low: __m256i, high: __m256i, mask: u8) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let moved = if SHIFT >= 0 {
                _mm256_sll_epi16(high, _mm_cvtsi32_si128(SHIFT))
            } else {
                _mm256_srl_epi16(high, _mm_cvtsi32_si128(-SHIFT))
            };
            _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(mask as i8)))
        }
    }

    #[inline(always)]
    unsafe fn look_up(table: &[u8; 16], x: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe {
            _mm256_shuffle_epi8(
                _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())),
                x,
            )
        }
    }

    #[inline(always)]
    unsafe fn dot4(bits: u32, acc: __m256i, w: [__m256i; 4], a: *const i8) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let a = a.cast::<i32>();
            let a = [0, 1, 2, 3].map(|quad| _mm256_set1_epi32(a.add(quad).read_unaligned()));
            P::dot4(bits, acc, w, a)
        }
    }
}

impl Products for Words {
    #[inline(always)]
    unsafe fn seed(bits: u32, sum: i32, offset: i32) -> __m256i {
        // `dot4` takes the offset of 8-bit weights off itself.
        let start = if bits == 8 { 0 } else { -offset * sum };
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32(start) }
    }

    #[inline(always)]
    unsafe fn dot4(bits: u32, acc: __m256i, w: [__m256i; 4], a: [__m256i; 4]) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let pair = |i| _mm256_maddubs_epi16(w[i], a[i]);
            if bits <= 6 {
                let s0 = _mm256_add_epi16(pair(0), pair(1));
                let s1 = _mm256_add_epi16(pair(2), pair(3));
                if bits <= 5 {
                    // Four sums of two products: at most 4 * 2 * 31 * 127 = 31,496, which a signed
                    // 16-bit lane holds.
                    let sums = _mm256_madd_epi16(_mm256_add_epi16(s0, s1), ones);
                    return _mm256_add_epi32(acc, sums);
                }
                // Two sums of two products: at most 2 * 2 * 63 * 127 = 32,004.
                let acc = _mm256_add_epi32(acc, _mm256_madd_epi16(s0, ones));
                return _mm256_add_epi32(acc, _mm256_madd_epi16(s1, ones));
            }
            // Unsigned 8-bit products would saturate: back to the signed weight, whose sign moves
            // to the activation. At most 2 * 128 * 127 = 32,512.
            let mut acc = acc;
            for (&w, a) in w.iter().zip(a) {
                let signed = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
                let products =
                    _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(a, signed));
                acc = _mm256_add_epi32(acc, _mm256_madd_epi16(products, ones));
            }
            acc
        }
    }
}

impl Products for Vnni {
    #[inline(always)]
    unsafe fn seed(_bits: u32, sum: i32, offset: i32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32(-offset * sum) }
    }

    #[inline(always)]
    unsafe fn dot4(_bits: u32, acc: __m256i, w: [__m256i; 4], a: [__m256i; 4]) -> __m256i {
        // SAFETY: as above.
        unsafe {
            let acc = _mm256_dpbusd_avx_epi32(acc, w[0], a[0]);
            let acc = _mm256_dpbusd_avx_epi32(acc, w[1], a[1]);
            let acc = _mm256_dpbusd_avx_epi32(acc, w[2], a[2]);
            _mm256_dpbusd_avx_epi32(acc, w[3], a[3])
        }
    }
}
