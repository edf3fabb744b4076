//! AVX-512 with VNNI: 16 rows in a vector, four products per lane and instruction.

use std::arch::x86_64::*;

use super::simd::Simd;

/// AVX-512 F, BW, VL and VNNI.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

/// Operations that only the tiles of the matrix unit need besides [`Simd`].
impl Avx512 {
    /// 16 values.
    ///
    /// # Safety
    /// As [`Simd`]'s methods.
    #[inline(always)]
    pub(super) unsafe fn load_int(p: *const i32) -> __m512i {
        // SAFETY: AVX-512 is there, and the pointer is valid, by this function's contract.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    /// 64 bytes.
    ///
    /// # Safety
    /// As [`Simd`]'s methods.
    #[inline(always)]
    pub(super) unsafe fn store_bytes(p: *mut u8, x: __m512i) {
        // SAFETY: AVX-512 is there, and the pointer is valid, by this function's contract.
        unsafe { _mm512_storeu_si512(p.cast(), x) }
    }

    /// `x - offset` in every byte, modulo 256: signed bytes of weights that were raised by
    /// `offset`.
    ///
    /// # Safety
    /// As [`Simd`]'s methods.
    #[inline(always)]
    pub(super) unsafe fn lower(x: __m512i, offset: i32) -> __m512i {
        // SAFETY: AVX-512 is there, and the pointer is valid, by this function's contract.
        unsafe { if offset == 0 { x } else { _mm512_sub_epi8(x, _mm512_set1_epi8(offset as i8)) } }
    }
}

// SAFETY of every block below: `Simd`'s contract gives the instruction set and the pointers' width;
// all loads are unaligned.
impl Simd for Avx512 {
    const LANES: usize = 16;
    type F = __m512;
    type I = __m512i;
    type B = __m512i;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(p: *mut f32, x: __m512) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(p, x) }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u16) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const i8) -> __m512 {
        // SAFETY: as above; 16 bytes are read.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn to_float(x: __m512i) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn seed(_bits: u32, sum: i32, offset: i32) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(-offset * sum) }
    }

    #[inline(always)]
    unsafe fn bytes(p: *const u8) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn shift_right_and<const SHIFT: i32>(x: __m512i, mask: u8) -> __m512i {
        // SAFETY: as above. Bits that cross from the neighbour byte are masked away.
        unsafe {
            let moved = if SHIFT == 0 { x } else { _mm512_srl_epi16(x, _mm_cvtsi32_si128(SHIFT)) };
            _mm512_and_si512(moved, _mm512_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    unsafe fn merge<const SHIFT: i32>(low: __m512i, high: __m512i, mask: u8) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let moved = if SHIFT >= 0 {
                _mm512_sll_epi16(high, _mm_cvtsi32_si128(SHIFT))
            } else {
                _mm512_srl_epi16(high, _mm_cvtsi32_si128(-SHIFT))
            };
            // low | (moved & mask)
            _mm512_ternarylogic_epi32::<0b1111_1000>(low, moved, _mm512_set1_epi8(mask as i8))
        }
    }

    #[inline(always)]
    unsafe fn look_up(table: &[u8; 16], x: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe {
            _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), x)
        }
    }

    #[inline(always)]
    unsafe fn dot4(_bits: u32, acc: __m512i, w: [__m512i; 4], a: *const i8) -> __m512i {
        // SAFETY: as above.
        unsafe {
            let a = a.cast::<i32>();
            let acc = _mm512_dpbusd_epi32(acc, w[0], _mm512_set1_epi32(a.read_unaligned()));
            let acc = _mm512_dpbusd_epi32(acc, w[1], _mm512_set1_epi32(a.add(1).read_unaligned()));
            let acc = _mm512_dpbusd_epi32(acc, w[2], _mm512_set1_epi32(a.add(2).read_unaligned()));
            _mm512_dpbusd_epi32(acc, w[3], _mm512_set1_epi32(a.add(3).read_unaligned()))
        }
    }
}
