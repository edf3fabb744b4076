//! AMX: the integer sums of 16 rows of weights with up to 16 rows of activations by the processor's
//! matrix unit.
//!
//! The sums are exact, so that the results are those of every instruction set; the operations on
//! floats are those of [`super::tile`], in the same order, on AVX-512 registers. The matrix unit
//! saves the products: eight of the twelve vector operations that a row takes per block of 32
//! columns of Q4_K. Its sums go through memory, which costs the same for one row as for 16, so that
//! it is faster for many rows only: see [`pays`].
//!
//! Columns go through in chunks of [`CHUNK`] blocks. A chunk's weights are unpacked once, to signed
//! bytes in the nearest cache, where byte `4 r + i` of a quad's 64 bytes belongs to row `r`: that
//! is how the matrix unit wants its right operand. Then, for each tile of up to 16 rows of
//! activations,
//!
//! ```text
//! sums[part][a][r] = sum over the part's columns of (w - OFFSET) * q
//! out[a][r] += the part's share, as in `tile`
//! ```
//!
//! with one instruction for the sums of a part of 16 or 32 columns.

use std::{arch::asm, mem::MaybeUninit, sync::OnceLock};

use super::{
    avx512::Avx512,
    even,
    format::{Format, Scales},
    prefetch::Ahead,
    simd::{GROUP, Simd},
    tile::{TileArgs, unpack},
};

/// Rows of activations that a tile register holds.
const TILE: usize = 16;

/// Blocks of 32 columns that are unpacked before their sums are taken: a K-quant's unit, and no
/// more than the nearest cache has room for.
const CHUNK: usize = 8;

/// Rows of activations whose totals and pointers stay in registers together.
const TOTALS: usize = 6;

/// Rows of activations that cost vectors what a tile costs the matrix unit, however few rows the
/// tile has. Measured on Granite Rapids with Q4_K: 92 cycles per tile and block of 32 columns,
/// seven to eight per row in vectors.
const ROWS_PER_TILE: usize = 12;

/// Whether `rows` rows of activations are faster here than in vectors.
pub(super) const fn pays(rows: usize) -> bool {
    rows > ROWS_PER_TILE * rows.div_ceil(TILE)
}

/// A chunk's weights, [quads, 64], signed.
type Quads = [[u8; 4 * GROUP]; 8 * CHUNK];

/// A tile's sums of one chunk, [parts, rows, 16].
type Sums = [[[i32; GROUP]; TILE]; 2 * CHUNK];

/// What passes between unpacking, products and floats: 22 KiB, of which most types use 14.
#[repr(C, align(64))]
struct Room {
    quads: Quads,
    sums: Sums,
    scales: Scales,
}

/// The layout of the tile registers, as `ldtilecfg` reads it.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Whether the processor has the unit and the system lets this process use it. The answer of the
/// first call holds.
pub(super) fn is_available() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| has_unit() && is_permitted())
}

/// AMX-TILE and AMX-INT8 in the processor, and both parts of the tile state enabled by the system.
fn has_unit() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
    const TILE_STATE: u32 = 1 << 17 | 1 << 18;
    if __cpuid(0).eax < 7
        || __cpuid(1).ecx & OSXSAVE == 0
        || __cpuid_count(7, 0).edx & TILE_AND_INT8 != TILE_AND_INT8
    {
        return false;
    }
    let enabled: u32;
    // SAFETY: OSXSAVE says that the instruction exists; it reads a register.
    unsafe {
        asm!(
            "xgetbv",
            in("ecx") 0,
            out("eax") enabled,
            out("edx") _,
            options(nomem, nostack, preserves_flags)
        )
    };
    enabled & TILE_STATE == TILE_STATE
}

/// Asks the system for the tile registers: Linux saves them only for processes that did.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const SYS_ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let result: i64;
    // SAFETY: the call changes nothing but what this process may use; registers that the system
    // overwrites are named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// Lays the tile registers out for `rows` rows of activations and parts of `SUB` columns: 0 has
/// sums, 2 activations, 4 weights.
///
/// # Safety
/// [`is_available`] returned true.
#[inline(always)]
unsafe fn configure<F: Format>(rows: usize) {
    let mut config = TileConfig {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    for (register, row_bytes, rows) in [(0, 64, rows), (2, F::SUB, rows), (4, 64, F::SUB / 4)] {
        config.row_bytes[register] = row_bytes as u16;
        config.rows[register] = rows as u8;
    }
    // SAFETY: the unit is there; the instruction reads 64 bytes.
    unsafe {
        asm!(
            "ldtilecfg [{0}]",
            in(reg) &raw const config,
            options(nostack, readonly, preserves_flags)
        )
    };
}

/// Releases the tile registers, so that switching threads need not save them.
///
/// # Safety
/// [`is_available`] returned true.
#[inline(always)]
unsafe fn release() {
    // SAFETY: the unit is there.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
}

/// Bytes of so many blocks, a whole number of units.
const fn chunk_bytes<F: Format>(blocks: usize) -> usize {
    blocks * 32 / F::UNIT * F::UNIT_BYTES
}

/// Lines of weights to ask for beside each part, so that a chunk's are asked for evenly while the
/// one before it is multiplied and added.
const fn lines_per_part<F: Format>() -> usize {
    (chunk_bytes::<F>(CHUNK) / 64).div_ceil(CHUNK * 32 / F::SUB)
}

/// Unpacks the chunk of `blocks` blocks that begins with the unit at `unit`: signed weights and
/// decoded scales.
///
/// # Safety
/// AVX-512 is there; the units are readable.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn unpack_chunk<F: Format>(
    mut unit: *const u8,
    blocks: usize,
    quads: *mut Quads,
    scales: &mut Scales,
) {
    let per_unit = F::UNIT / 32;
    // SAFETY: the units are readable; quads and scales have room for CHUNK blocks.
    unsafe {
        let mut quad = quads.cast::<[u8; 4 * GROUP]>();
        for first in (0..blocks).step_by(per_unit) {
            if F::HALVES {
                let scale = Avx512::load_f16(unit.cast());
                for block in first..first + per_unit {
                    Avx512::store(scales.scale[block].as_mut_ptr(), scale);
                }
                if F::MIN_SUB != 0 {
                    let min = Avx512::load_f16(unit.cast::<u16>().add(GROUP));
                    for block in first..first + per_unit {
                        Avx512::store(scales.min[block].as_mut_ptr(), min);
                    }
                }
            } else {
                F::decode(std::slice::from_raw_parts(unit, F::SCALE_BYTES), scales);
            }
            for block in 0..per_unit {
                let packed = unit.add(F::SCALE_BYTES + block * F::BLOCK_BYTES);
                for half in 0..2 {
                    for x in unpack::<Avx512, F>(packed, half, 0) {
                        Avx512::store_bytes(quad.cast(), Avx512::lower(x, F::OFFSET));
                        quad = quad.add(1);
                    }
                }
            }
            unit = unit.add(F::UNIT_BYTES);
        }
    }
}

/// One tile of one chunk.
#[derive(Clone, Copy)]
struct Step {
    /// Number of the group.
    group: usize,
    /// First block of the chunk.
    first: usize,
    /// Blocks of the chunk.
    blocks: usize,
    /// First row of the tile.
    row: usize,
    /// Rows of the tile.
    rows: usize,
}

/// Steps in their order: tiles of a chunk, chunks of a group, groups.
struct Steps {
    blocks: usize,
    rows: usize,
    groups: usize,
    /// Rows of a tile: tiles are of even size, 17 rows are 9 and 8.
    most: usize,
}

impl Steps {
    #[inline(always)]
    fn of(args: &TileArgs) -> Self {
        Steps {
            blocks: args.columns / 32,
            rows: args.rows,
            groups: args.groups,
            most: even(args.rows, TILE),
        }
    }

    #[inline(always)]
    fn first(&self) -> Step {
        Step { group: 0, first: 0, blocks: CHUNK.min(self.blocks), row: 0, rows: self.most }
    }

    #[inline(always)]
    fn after(&self, step: Step) -> Option<Step> {
        let row = step.row + step.rows;
        if row < self.rows {
            return Some(Step { row, rows: self.most.min(self.rows - row), ..step });
        }
        let first = step.first + step.blocks;
        let (group, first) =
            if first < self.blocks { (step.group, first) } else { (step.group + 1, 0) };
        let blocks = CHUNK.min(self.blocks - first);
        (group < self.groups).then_some(Step { group, first, blocks, row: 0, rows: self.most })
    }
}

/// The sums of a step's parts.
///
/// # Safety
/// As [`tile`]; the tile registers are laid out for the step's rows, and its chunk is unpacked.
#[inline(always)]
unsafe fn multiply<F: Format>(args: &TileArgs, step: Step, room: *mut Room, ahead: &mut Ahead) {
    // SAFETY: the instructions read the activations and the unpacked weights and write the sums, at
    // a distance of 64 bytes per row and as many rows as the layout says.
    unsafe {
        let quads = (&raw const (*room).quads).cast::<u8>();
        let sums = (&raw mut (*room).sums).cast::<u8>();
        let q = args.q.add(step.row * args.columns + 32 * step.first);
        for part in 0..step.blocks * 32 / F::SUB {
            ahead.ask(lines_per_part::<F>());
            asm!(
                "tilezero tmm0",
                "tileloadd tmm2, [{q} + {stride}]",
                "tileloadd tmm4, [{quads} + {row}]",
                "tdpbssd tmm0, tmm2, tmm4",
                "tilestored [{sums} + {row}], tmm0",
                q = in(reg) q.add(part * F::SUB),
                stride = in(reg) args.columns,
                quads = in(reg) quads.add(part * F::SUB / 4 * 64),
                sums = in(reg) sums.add(part * TILE * 64),
                row = in(reg) 64usize,
                out("tmm0") _, out("tmm2") _, out("tmm4") _,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Adds a step's parts to the totals of N of its rows, from `from` on.
///
/// # Safety
/// As [`tile`]; the step's sums are in `room`.
#[inline(always)]
unsafe fn add<F: Format, const N: usize>(
    args: &TileArgs,
    step: Step,
    from: usize,
    room: *const Room,
    ahead: &mut Ahead,
) {
    type S = Avx512;
    let per_block = 32 / F::SUB;
    let all = args.columns / 32;
    let row = step.row + from;
    // SAFETY: rows and groups are those of `args`, and the sums are in `room`.
    unsafe {
        let out = |a: usize| args.out.add((row + a) * args.out_stride + step.group * GROUP);
        let known = args.scales.add(row * all + step.first);
        let halves = args.sums.add(row * all + step.first);
        let sums = (&raw const (*room).sums).cast::<[[i32; GROUP]; TILE]>();
        let scales = &raw const (*room).scales;
        let mut total: [_; N] =
            std::array::from_fn(|a| if step.first == 0 { S::splat(0.0) } else { S::load(out(a)) });
        for part in 0..step.blocks * per_block {
            ahead.ask(lines_per_part::<F>());
            let weight_scale = S::load((*scales).scale[part].as_ptr());
            let (known, halves) = (known.add(part / per_block), halves.add(part / per_block));
            for a in 0..N {
                let sum = S::load_int((*sums.add(part))[from + a].as_ptr());
                let scaled = S::mul(S::to_float(sum), S::splat((*known.add(a * all)).scale));
                total[a] = S::fma(scaled, weight_scale, total[a]);
            }
            if F::MIN_SUB != 0 {
                let min = S::load((*scales).min[part].as_ptr());
                for a in 0..N {
                    let sum = match F::SUB {
                        16 => (*halves.add(a * all)).scaled_halves[part % 2],
                        _ => (*known.add(a * all)).scaled_sum,
                    };
                    total[a] = S::fma(min, S::splat(sum), total[a]);
                }
            }
        }
        for a in 0..N {
            S::store(out(a), total[a]);
        }
    }
}

/// Computes `args.rows` rows with `args.groups` groups of weights; the rest is as in
/// [`super::tile::tile`], to the bit.
///
/// # Safety
/// [`is_available`] returned true, AVX-512 is there, and `args` point to whole rows and groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
pub(super) unsafe fn tile<F: Format>(args: &TileArgs) {
    const {
        assert!(F::MIN_SUB == 0 || F::MIN_SUB == F::SUB, "a part has one scale and one minimum");
        assert!(CHUNK.is_multiple_of(F::UNIT / 32), "a chunk is whole units");
    }
    let steps = Steps::of(args);
    let mut room = MaybeUninit::<Room>::uninit();
    let room = room.as_mut_ptr();
    let (mut step, mut unit, mut laid_out) = (Some(steps.first()), args.weights, 0);
    let mut ahead = Ahead::of(unit, 0);
    // SAFETY: the unit is there; the registers are laid out for each step and released at the end.
    unsafe {
        while let Some(now) = step {
            if now.row == 0 {
                if now.first == 0 {
                    unit = args.weights.add(now.group * args.group_bytes);
                }
                ahead = Ahead::of(unit, chunk_bytes::<F>(now.blocks));
                unpack_chunk::<F>(unit, now.blocks, &raw mut (*room).quads, &mut (*room).scales);
                unit = unit.add(chunk_bytes::<F>(now.blocks));
            }
            if now.rows != laid_out {
                configure::<F>(now.rows);
                laid_out = now.rows;
            }
            multiply::<F>(args, now, room, &mut ahead);
            let mut from = 0;
            while from < now.rows {
                let n = even(now.rows - from, TOTALS);
                match n {
                    1 => add::<F, 1>(args, now, from, room, &mut ahead),
                    2 => add::<F, 2>(args, now, from, room, &mut ahead),
                    3 => add::<F, 3>(args, now, from, room, &mut ahead),
                    4 => add::<F, 4>(args, now, from, room, &mut ahead),
                    5 => add::<F, 5>(args, now, from, room, &mut ahead),
                    TOTALS => add::<F, TOTALS>(args, now, from, room, &mut ahead),
                    _ => unreachable!("an even part of at most {TOTALS} rows is {n}"),
                }
                from += n;
            }
            step = steps.after(now);
        }
        release();
    }
}
