//! IQ4_NL: 32 indices into 16 levels that are denser around zero, and a scale.
//!
//! ```text
//! byte 0   d, half float
//! byte 2   byte j: q[j] in the low half, q[j + 16] in the high half
//! value    d LEVELS[q[i]]
//! ```

use super::{halves, nibbles};

/// Elements per block.
pub const LEN: usize = 32;
/// Bytes per block.
pub const BYTES: usize = 18;
/// What the 16 indices stand for.
pub const LEVELS: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// A block's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Scale, of either sign.
    pub d: f32,
    /// Indices into [`LEVELS`], 0 to 15.
    pub q: [u8; LEN],
}

impl Block {
    /// d LEVELS\[q\[i\]\].
    #[must_use]
    pub fn values(&self) -> [f32; LEN] {
        self.q.map(|q| self.d * level(q))
    }
}

fn level(q: u8) -> f32 {
    f32::from(LEVELS[usize::from(q & 15)])
}

/// Index of the level nearest to `x`: how many midpoints between neighbours lie below it.
#[inline(always)]
fn nearest(x: f32) -> u8 {
    LEVELS
        .windows(2)
        .map(|pair| u8::from(x > (f32::from(pair[0]) + f32::from(pair[1])) / 2.0))
        .sum()
}

/// The numbers in a block's bytes.
#[must_use]
pub fn unpack(bytes: &[u8; BYTES]) -> Block {
    Block { d: halves::get(bytes, 0), q: nibbles::unpack(&bytes[2..]) }
}

/// The bytes of a block; `d` is rounded to a half float.
#[must_use]
#[inline(always)]
pub fn pack(block: &Block) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    halves::put(&mut bytes, 0, block.d);
    bytes[2..].copy_from_slice(&nibbles::pack(&block.q));
    bytes
}

/// Ends of the levels that the largest magnitude may fall on, and the share of it that the end
/// stands for. More starts, and fitting the scale again and again, make the error of normally
/// distributed weights smaller by at most 1 %; drafts are rounded at every load, so there are only
/// these.
const STARTS: [(f32, f32); 4] = [(-127.0, 1.0), (-127.0, 0.9), (113.0, 1.0), (113.0, 0.9)];

/// Half of the smallest half float: what is not above it has no scale.
const TINY: f32 = 2.98e-8;

/// The level nearest to each `x`, in steps that turn into vector code.
#[inline(always)]
fn nearest_levels(x: [f32; 16]) -> [f32; 16] {
    let mut levels = [f32::from(LEVELS[0]); 16];
    for pair in LEVELS.windows(2) {
        let (low, high) = (f32::from(pair[0]), f32::from(pair[1]));
        for (level, x) in levels.iter_mut().zip(x) {
            *level += if x > (low + high) / 2.0 { high - low } else { 0.0 };
        }
    }
    levels
}

/// A block near `values` in the sense of squares: the best of four starts, each with the scale that
/// fits its integers best.
#[must_use]
#[inline(always)]
pub fn quantize(values: &[f32; LEN]) -> Block {
    let peak = values.iter().fold(0.0_f32, |peak, &v| if v.abs() > peak.abs() { v } else { peak });
    if peak.abs() <= TINY {
        return Block { d: 0.0, q: [nearest(0.0); LEN] };
    }
    let (first, second) = values.split_at(16);
    // The scale s = (sum v l) / (sum l^2) leaves the error (sum v^2) - (sum v l)^2 / (sum l^2).
    let mut best = (0.0, 0.0);
    for (end, cover) in STARTS {
        let inverse = end / (peak * cover);
        let (mut vl, mut ll) = ([0.0_f32; 16], [0.0_f32; 16]);
        for half in [first, second] {
            let levels = nearest_levels(std::array::from_fn(|i| half[i] * inverse));
            for i in 0..16 {
                vl[i] += half[i] * levels[i];
                ll[i] += levels[i] * levels[i];
            }
        }
        let (vl, ll) = (vl.iter().sum::<f32>(), ll.iter().sum::<f32>());
        if vl * vl / ll > best.0 {
            best = (vl * vl / ll, vl / ll);
        }
    }
    let d = halves::round(best.1);
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    Block { d, q: values.map(|v| nearest(v * inverse)) }
}
