//! Instruction sets, and which of them this machine has.

#![expect(clippy::disallowed_methods, reason = "the instruction set is chosen once per process")]

use std::{fmt, str::FromStr, sync::OnceLock};

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::{STRIP, even};

/// An instruction set that kernels are compiled for and that this machine has. All give the same
/// results, bit for bit.
///
/// A value is the proof that the instructions may be executed: it comes from [`Isa::detect`],
/// [`Isa::available`] or [`Isa::named`], which ask the processor, or is [`Isa::PORTABLE`].
///
/// ```
/// use speckv_cpu::kernels::Isa;
///
/// assert!(Isa::available().contains(&Isa::detect()));
/// ```
///
/// ```compile_fail
/// // No other code can make one.
/// let make = speckv_cpu::kernels::Isa;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Set);

/// The instruction sets that kernels are compiled for on this architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Set {
    /// What the compiler makes of plain Rust for the architecture's least processor.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-VNNI, besides the above.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// x86-64 with AVX-512 F, BW, VL and VNNI, besides AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// x86-64 with AMX (tiles of 8-bit integers), besides the above.
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// AArch64, whose every processor has NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// AArch64 with FEAT_DotProd (`sdot`), besides the above.
    #[cfg(target_arch = "aarch64")]
    DotProd,
    /// AArch64 with FEAT_I8MM (`smmla`), besides the above.
    #[cfg(target_arch = "aarch64")]
    I8mm,
}

/// The name is not that of an instruction set that this machine has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine has no instruction set \"{name}\" for kernels, it has {available}\n\
     hint: set SPECKV_ISA to one of these, or remove it for the best one",
    available = names().join(", ")
)]
pub struct UnknownIsa {
    /// The name.
    pub name: String,
}

/// Names of the available instruction sets.
fn names() -> Vec<&'static str> {
    Isa::available().iter().map(|isa| isa.name()).collect()
}

/// What the processor and the system say, best last.
#[cfg(target_arch = "x86_64")]
fn detected() -> Vec<Set> {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni");
    let mut sets = vec![Set::Portable];
    sets.extend(avx2.then_some(Set::Avx2));
    sets.extend((avx2 && is_x86_feature_detected!("avxvnni")).then_some(Set::AvxVnni));
    sets.extend(avx512.then_some(Set::Avx512));
    sets.extend((avx512 && amx::is_available()).then_some(Set::Amx));
    sets
}

/// As above.
#[cfg(target_arch = "aarch64")]
fn detected() -> Vec<Set> {
    let dot_products = std::arch::is_aarch64_feature_detected!("dotprod");
    let matrix_products = dot_products && std::arch::is_aarch64_feature_detected!("i8mm");
    let mut sets = vec![Set::Portable, Set::Neon];
    sets.extend(dot_products.then_some(Set::DotProd));
    sets.extend(matrix_products.then_some(Set::I8mm));
    sets
}

/// As above.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Vec<Set> {
    vec![Set::Portable]
}

impl Isa {
    /// Plain Rust, which every machine has.
    pub const PORTABLE: Isa = Isa(Set::Portable);

    /// The best one that this machine has.
    #[must_use]
    pub fn detect() -> Self {
        *Self::available().last().unwrap_or(&Isa::PORTABLE)
    }

    /// All that this machine has, best last.
    #[must_use]
    pub fn available() -> &'static [Isa] {
        static SETS: OnceLock<Vec<Isa>> = OnceLock::new();
        SETS.get_or_init(|| detected().into_iter().map(Isa).collect())
    }

    /// The one with this name, as [`name`](Self::name) gives it.
    ///
    /// # Errors
    /// If there is none, or this machine does not have it.
    pub fn named(name: &str) -> Result<Self, UnknownIsa> {
        let found = Self::available().iter().find(|isa| isa.name() == name);
        found.copied().ok_or_else(|| UnknownIsa { name: name.to_owned() })
    }

    /// The one that the environment variable `SPECKV_ISA` names, or the best one if it is not set.
    ///
    /// # Errors
    /// If this machine does not have an instruction set of that name.
    pub fn from_environment() -> Result<Self, UnknownIsa> {
        match std::env::var_os("SPECKV_ISA") {
            Some(name) => Self::named(&name.to_string_lossy()),
            None => Ok(Self::detect()),
        }
    }

    /// Name as `SPECKV_ISA` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Amx => "amx",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Set::DotProd => "dotprod",
            #[cfg(target_arch = "aarch64")]
            Set::I8mm => "i8mm",
        }
    }

    /// Which one it is.
    #[inline]
    pub(super) fn set(self) -> Set {
        self.0
    }

    /// Rows of activations that the next tile takes of `rows`: as many as have registers, in tiles
    /// of even size.
    #[inline]
    pub(crate) fn tile_rows(self, rows: usize) -> usize {
        let most = match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Amx => 12,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 | Set::AvxVnni => 5,
            #[cfg(target_arch = "aarch64")]
            Set::Neon | Set::DotProd | Set::I8mm => 8,
            Set::Portable if cfg!(target_arch = "x86_64") => 2,
            Set::Portable => 4,
        };
        even(rows, most)
    }

    /// As [`tile_rows`](Self::tile_rows), for [`tile_kernel`](Self::tile_kernel): the matrix unit
    /// takes whole strips, and AVX2 more rows than have registers, since reloading their sums takes
    /// less time than unpacking the weights again.
    #[inline]
    pub(crate) fn strip_rows(self, rows: usize) -> usize {
        if self.has_unit_for(rows.min(STRIP)) {
            return rows.min(STRIP);
        }
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 | Set::AvxVnni => even(rows, 9),
            _ => self.tile_rows(rows),
        }
    }

    /// Groups of 16 rows of weights that one call of a product kernel takes for so many rows of
    /// activations.
    #[inline]
    pub(crate) fn groups_at_once(self, rows: usize) -> usize {
        // Laying out the tile registers and filling the pipeline is shared by a few groups.
        if self.has_unit_for(rows.min(STRIP)) { 4 } else { 1 }
    }

    /// Whether the matrix unit takes so many rows of activations.
    #[inline]
    pub(super) fn has_unit_for(self, rows: usize) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.0 == Set::Amx && amx::pays(rows);
        #[cfg(not(target_arch = "x86_64"))]
        return rows == 0;
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        Self::named(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_set_is_found_by_its_name_and_no_other_is() {
        for &isa in Isa::available() {
            assert_eq!(isa.name().parse(), Ok(isa));
        }
        let error = "avx1024".parse::<Isa>().expect_err("no machine has it").to_string();
        assert!(error.contains("avx1024") && error.contains("portable"), "{error}");
        let foreign = if cfg!(target_arch = "x86_64") { "i8mm" } else { "avx2" };
        assert!(foreign.parse::<Isa>().is_err());
    }

    #[test]
    fn the_best_set_is_the_last_one_and_plain_rust_is_always_there() {
        assert_eq!(Isa::available().first(), Some(&Isa::PORTABLE));
        assert_eq!(Isa::available().last(), Some(&Isa::detect()));
    }
}
