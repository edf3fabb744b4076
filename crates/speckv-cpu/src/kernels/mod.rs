//! Kernels: the same arithmetic for every instruction set, compiled once for each and chosen at run
//! time.
//!
//! Safe functions here cannot reach instructions that the machine lacks: they take an [`Isa`], and
//! only detection makes one.

#![allow(
    clippy::needless_range_loop,
    reason = "lanes, rows and blocks are coordinates: the same index reads several arrays"
)]

pub mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
pub mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod cache_type;
pub mod code_book;
pub mod dense;
pub mod format;
mod isa;
#[cfg(target_arch = "aarch64")]
mod neon;
mod prefetch;
pub(crate) mod rows;
pub mod simd;
pub mod tile;

use activation::ActivationParts;
use attention::{AttentionArgs, CacheFormat};
#[cfg(target_arch = "x86_64")]
use avx2::{Avx2, Vnni, Words};
use dense::{DenseArgs, Element};
use format::Format;
use isa::Set;
#[cfg(target_arch = "aarch64")]
use neon::{Base, DotProd, MatMul, Neon};
use simd::{Portable, Simd};
use speckv_formats::{config::Activation, quant::iq4_nl};
use tile::TileArgs;

pub use cache_type::CacheType;
pub use isa::{Isa, UnknownIsa};

/// The first of as few parts of `rows` as have at most `most` rows each, of even size: 17 rows in
/// parts of 16 are 9 and 8.
#[inline]
const fn even(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most))
}

/// Most rows of activations of one call of a product kernel.
pub(crate) const STRIP: usize = 64;

/// Compiles the product of packed weights for one instruction set: with these vectors for so many
/// rows of activations.
macro_rules! tiles {
    ($module:ident, $($features:literal)?, [$($simd:ty: $($n:literal)*),*]) => {
        mod $module {
            use super::*;

            $(#[target_feature(enable = $features)])?
            unsafe fn tile<S: Simd, F: Format, const N: usize>(args: &TileArgs) {
                // SAFETY: the attribute gives the instruction set; the caller has the arguments.
                unsafe { tile::tile::<S, F, N>(args) }
            }

            pub(super) fn tile_kernel<F: Format>(rows: usize) -> unsafe fn(&TileArgs) {
                match rows {
                    $($($n => tile::<$simd, F, $n>,)*)*
                    _ => unreachable!("no tile of {rows} rows"),
                }
            }
        }
    };
}

/// Compiles all other kernels for one instruction set, likewise.
macro_rules! versions {
    ($module:ident, $($features:literal)?, [$($simd:ty: $($n:literal)*),*]) => {
        mod $module {
            use super::*;

            $(#[target_feature(enable = $features)])?
            unsafe fn dense<S: Simd, E: Element, const N: usize>(args: &DenseArgs) {
                // SAFETY: the attribute gives the instruction set; the caller has the arguments.
                unsafe { dense::dense_tile::<S, E, N>(args) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn attention<S: Simd, C: CacheFormat, const N: usize>(args: &AttentionArgs) {
                // SAFETY: as above.
                unsafe { attention::attention::<S, C, N>(args) }
            }

            pub(super) fn dense_kernel<E: Element>(rows: usize) -> unsafe fn(&DenseArgs) {
                match rows {
                    $($($n => dense::<$simd, E, $n>,)*)*
                    _ => unreachable!("no tile of {rows} rows"),
                }
            }

            pub(super) fn attention_kernel<C: CacheFormat>(
                rows: usize,
            ) -> unsafe fn(&AttentionArgs) {
                match rows {
                    $($($n => attention::<$simd, C, $n>,)*)*
                    _ => unreachable!("no attention of {rows} rows"),
                }
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn rms_norm(
                x: &[f32],
                weight: &[f32],
                epsilon: f32,
                out: &mut [f32],
            ) {
                rows::rms_norm(x, weight, epsilon, out);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn quantize(x: &[f32], parts: ActivationParts<'_>, row: usize) {
                // SAFETY: the contract of this function is that of `rows`'s.
                unsafe { rows::quantize(x, parts, row) }
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn rms_norm_in_place(x: &mut [f32], weight: &[f32], epsilon: f32) {
                rows::rms_norm_in_place(x, weight, epsilon);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn glu(
                activation: Activation,
                gate: &[f32],
                up: &[f32],
                out: &mut [f32],
            ) {
                rows::glu(activation, gate, up, out);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn glu_quantize(
                activation: Activation,
                gate: &[f32],
                up: &[f32],
                parts: ActivationParts<'_>,
                first: usize,
                block: usize,
            ) {
                // SAFETY: the contract of this function is that of `rows`'s.
                unsafe { rows::glu_quantize(activation, gate, up, parts, first, block) }
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn rotate(
                head: &mut [f32],
                cos: &[f32],
                sin: &[f32],
                interleaved: bool,
            ) {
                rows::rotate(head, cos, sin, interleaved);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn to_iq4_nl(values: &[f32], out: &mut [u8]) {
                for (values, out) in values.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
                    *out = iq4_nl::pack(&iq4_nl::quantize(values));
                }
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn add(x: &mut [f32], y: &[f32]) {
                rows::add(x, y);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn scale(x: &mut [f32], factor: f32) {
                rows::scale(x, factor);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) unsafe fn soft_cap(x: &mut [f32], cap: f32) {
                rows::soft_cap(x, cap);
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
tiles!(tiles_avx512, "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c",
    [avx512::Avx512: 1 2 3 4 5 6 7 8 9 10 11 12]);
#[cfg(target_arch = "x86_64")]
versions!(with_avx512, "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c",
    [avx512::Avx512: 1 2 3 4 5 6 7 8 9 10 11 12]);
#[cfg(target_arch = "x86_64")]
tiles!(tiles_avx2, "avx2,fma,f16c", [Avx2<Words>: 1 2 3 4 5 6 7 8 9]);
#[cfg(target_arch = "x86_64")]
tiles!(tiles_avxvnni, "avx2,fma,f16c,avxvnni", [Avx2<Vnni>: 1 2 3 4 5 6 7 8 9]);
#[cfg(target_arch = "x86_64")]
versions!(with_avx2, "avx2,fma,f16c", [Avx2<Words>: 1 2 3 4 5]);

// With V vectors for N rows of activations, V * N sums are kept, at most eight: as many registers
// again hold totals, and the other sixteen weights and activations.
#[cfg(target_arch = "aarch64")]
tiles!(tiles_neon, "neon",
    [Neon<Base, 4>: 1 2, Neon<Base, 2>: 3 4, Neon<Base, 1>: 5 6 7 8]);
#[cfg(target_arch = "aarch64")]
versions!(with_neon, "neon",
    [Neon<Base, 4>: 1 2, Neon<Base, 2>: 3 4, Neon<Base, 1>: 5 6 7 8]);
#[cfg(target_arch = "aarch64")]
tiles!(tiles_dotprod, "neon,dotprod",
    [Neon<DotProd, 4>: 1 2, Neon<DotProd, 2>: 3 4, Neon<DotProd, 1>: 5 6 7 8]);
// One row has no second one to be multiplied with.
#[cfg(target_arch = "aarch64")]
tiles!(tiles_i8mm, "neon,dotprod,i8mm",
    [Neon<DotProd, 4>: 1, Neon<MatMul, 4>: 2, Neon<MatMul, 2>: 3 4, Neon<MatMul, 1>: 5 6 7 8]);

// Few x86 processors need this path, and its tiles are the largest code of all.
#[cfg(target_arch = "x86_64")]
tiles!(tiles_portable, "sse2", [Portable: 1 2]);
#[cfg(target_arch = "x86_64")]
versions!(with_portable, "sse2", [Portable: 1 2]);
#[cfg(target_arch = "aarch64")]
tiles!(tiles_portable, "neon", [Portable: 1 2 3 4]);
#[cfg(target_arch = "aarch64")]
versions!(with_portable, "neon", [Portable: 1 2 3 4]);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
tiles!(tiles_portable, , [Portable: 1 2 3 4]);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
versions!(with_portable, , [Portable: 1 2 3 4]);

/// Calls a function of the version for `$isa`.
macro_rules! dispatch {
    ($isa:expr, $function:ident $(::<$generic:ty>)? ($($argument:expr),*)) => {
        match $isa.set() {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Amx => with_avx512::$function $(::<$generic>)? ($($argument),*),
            // AVX-VNNI has products of bytes only.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 | Set::AvxVnni => with_avx2::$function $(::<$generic>)? ($($argument),*),
            // The extensions have products of bytes only.
            #[cfg(target_arch = "aarch64")]
            Set::Neon | Set::DotProd | Set::I8mm => {
                with_neon::$function $(::<$generic>)? ($($argument),*)
            }
            Set::Portable => with_portable::$function $(::<$generic>)? ($($argument),*),
        }
    };
}

impl Isa {
    /// The product kernel for a format and a number of rows that [`strip_rows`](Self::strip_rows)
    /// gave.
    pub(crate) fn tile_kernel<F: Format>(self, rows: usize) -> unsafe fn(&TileArgs) {
        #[cfg(target_arch = "x86_64")]
        if self.has_unit_for(rows) {
            return amx::tile::<F>;
        }
        match self.set() {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Amx => tiles_avx512::tile_kernel::<F>(rows),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => tiles_avx2::tile_kernel::<F>(rows),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => tiles_avxvnni::tile_kernel::<F>(rows),
            #[cfg(target_arch = "aarch64")]
            Set::Neon => tiles_neon::tile_kernel::<F>(rows),
            #[cfg(target_arch = "aarch64")]
            Set::DotProd => tiles_dotprod::tile_kernel::<F>(rows),
            #[cfg(target_arch = "aarch64")]
            Set::I8mm => tiles_i8mm::tile_kernel::<F>(rows),
            Set::Portable => tiles_portable::tile_kernel::<F>(rows),
        }
    }

    /// The product kernel for float weights.
    pub(crate) fn dense_kernel<E: Element>(self, rows: usize) -> unsafe fn(&DenseArgs) {
        dispatch!(self, dense_kernel::<E>(rows))
    }

    /// Attention over such a cache for a number of rows that [`tile_rows`](Self::tile_rows) gave.
    pub(crate) fn attention_kernel(
        self,
        cache: CacheType,
        rows: usize,
    ) -> unsafe fn(&AttentionArgs) {
        match cache {
            CacheType::F16 => dispatch!(self, attention_kernel::<attention::HalfCache>(rows)),
            CacheType::Q8_0 => dispatch!(self, attention_kernel::<attention::ByteCache>(rows)),
        }
    }

    /// See [`rows::rms_norm`].
    pub(crate) fn rms_norm(self, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        // SAFETY: an `Isa` exists only where its instructions were detected.
        unsafe { dispatch!(self, rms_norm(x, weight, epsilon, out)) }
    }

    /// See [`rows::quantize`].
    ///
    /// # Safety
    /// No other task uses the row.
    pub(crate) unsafe fn quantize(self, x: &[f32], parts: ActivationParts<'_>, row: usize) {
        // SAFETY: as above; the row or block is this task's alone by this function's contract.
        unsafe { dispatch!(self, quantize(x, parts, row)) }
    }

    /// See [`rows::rms_norm_in_place`].
    pub(crate) fn rms_norm_in_place(self, x: &mut [f32], weight: &[f32], epsilon: f32) {
        // SAFETY: as above.
        unsafe { dispatch!(self, rms_norm_in_place(x, weight, epsilon)) }
    }

    /// See [`rows::glu`].
    pub(crate) fn glu(self, activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { dispatch!(self, glu(activation, gate, up, out)) }
    }

    /// See [`rows::glu_quantize`].
    ///
    /// # Safety
    /// No other task uses that block of those rows.
    pub(crate) unsafe fn glu_quantize(
        self,
        activation: Activation,
        gate: &[f32],
        up: &[f32],
        parts: ActivationParts<'_>,
        first: usize,
        block: usize,
    ) {
        // SAFETY: as above; the row or block is this task's alone by this function's contract.
        unsafe { dispatch!(self, glu_quantize(activation, gate, up, parts, first, block)) }
    }

    /// Blocks of [`iq4_nl`] near `values`, a whole number of blocks.
    pub(crate) fn to_iq4_nl(self, values: &[f32], out: &mut [u8]) {
        // SAFETY: as above.
        unsafe { dispatch!(self, to_iq4_nl(values, out)) }
    }

    /// See [`rows::rotate`].
    pub(crate) fn rotate(self, head: &mut [f32], cos: &[f32], sin: &[f32], interleaved: bool) {
        // SAFETY: as above.
        unsafe { dispatch!(self, rotate(head, cos, sin, interleaved)) }
    }

    /// See [`rows::add`].
    pub(crate) fn add(self, x: &mut [f32], y: &[f32]) {
        // SAFETY: as above.
        unsafe { dispatch!(self, add(x, y)) }
    }

    /// See [`rows::scale`].
    pub(crate) fn scale(self, x: &mut [f32], factor: f32) {
        // SAFETY: as above.
        unsafe { dispatch!(self, scale(x, factor)) }
    }

    /// See [`rows::soft_cap`].
    pub(crate) fn soft_cap(self, x: &mut [f32], cap: f32) {
        // SAFETY: as above.
        unsafe { dispatch!(self, soft_cap(x, cap)) }
    }
}
