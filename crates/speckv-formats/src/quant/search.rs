//! Finding the scale, and the minimum, with which a group of values rounds to few levels at a small
//! squared error.
//!
//! Given the integers, the best scale is a least-squares fit; given the scale, the best integers
//! are the nearest. Both are alternated once from several starts that clip the largest values more
//! or less, and the best outcome stays. The result need not be the optimum.

use super::halves;

/// Starts: the share of the full range that the levels cover. Below 1 clips outliers.
const COVERS: [f32; 14] =
    [0.6, 0.65, 0.7, 0.74, 0.78, 0.82, 0.86, 0.89, 0.92, 0.95, 0.975, 1.0, 1.03, 1.06];

/// Half of the smallest half float: what is not above it has no scale.
const TINY: f32 = 2.98e-8;

/// The whole number in low..=high nearest to `x`, both ends being whole and small. Adding and
/// taking away 3 * 2^22 rounds to nearest, ties to even, in two additions that every instruction
/// set has for whole vectors.
#[inline(always)]
pub(super) fn whole(x: f32, low: f32, high: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    (x.max(low).min(high) + SHIFT) - SHIFT
}

/// The scale s, of any sign, for which Σ (v - s level)² is small, `nearest` giving the level
/// closest to v / s. `ends` are the lowest and the highest level. 0 where no value is worth a
/// scale.
pub(super) fn scale(values: &[f32], ends: [f32; 2], nearest: impl Fn(f32) -> f32) -> f32 {
    let peak = values.iter().fold(0.0_f32, |peak, &v| if v.abs() > peak.abs() { v } else { peak });
    if peak.abs() <= TINY {
        return 0.0;
    }
    // Σ (v - s l)² at the fitted s = Σ v l / Σ l² is Σ v² - (Σ v l)² / Σ l²: the larger the last
    // term, the better.
    let mut best = (0.0, 0.0);
    for end in ends {
        for cover in COVERS {
            let inverse = end / (peak * cover);
            let (mut vl, mut ll) = (0.0_f32, 0.0_f32);
            for &v in values {
                let level = nearest(v * inverse);
                vl += v * level;
                ll += level * level;
            }
            if ll > 0.0 && vl * vl / ll > best.0 {
                best = (vl * vl / ll, vl / ll);
            }
        }
    }
    best.1
}

/// The scale s >= 0 and base b <= `highest_base` for which Σ (v - b - s q)², q in 0..=top, is
/// small.
pub(super) fn affine(values: &[f32], top: f32, highest_base: f32) -> (f32, f32) {
    let (low, high) =
        values.iter().fold((highest_base, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    let range = high - low;
    if range <= TINY {
        return (0.0, low);
    }
    let mut best = (f32::INFINITY, range / top, low);
    for cover in COVERS {
        let start = (range * cover / top, low + range * (1.0 - cover) / 2.0);
        let (s, b) = fit(values, top, start, highest_base);
        let error: f32 = values
            .iter()
            .map(|&v| {
                let q = level(v, s, b, top);
                (v - b - s * q) * (v - b - s * q)
            })
            .sum();
        if error < best.0 {
            best = (error, s, b);
        }
    }
    (best.1, best.2)
}

/// The least-squares line through (q, v) for the levels that `start` gives.
fn fit(values: &[f32], top: f32, start: (f32, f32), highest_base: f32) -> (f32, f32) {
    let n = values.len() as f32;
    let (mut sum_q, mut sum_qq, mut sum_v, mut sum_qv) = (0.0_f32, 0.0_f32, 0.0_f32, 0.0_f32);
    for &v in values {
        let q = level(v, start.0, start.1, top);
        sum_q += q;
        sum_qq += q * q;
        sum_v += v;
        sum_qv += q * v;
    }
    let determinant = n * sum_qq - sum_q * sum_q;
    if determinant <= 0.0 {
        return (start.0, start.1.min(highest_base));
    }
    let s = (n * sum_qv - sum_q * sum_v) / determinant;
    let b = (sum_v - s * sum_q) / n;
    // A base that is too high moves to the limit, and the scale follows: Σ q (v - b) / Σ q².
    if b > highest_base {
        (((sum_qv - highest_base * sum_q) / sum_qq).max(0.0), highest_base)
    } else {
        (s.max(0.0), b)
    }
}

/// The q in 0..=top nearest to (v - base) / scale; 0 for a scale of 0.
pub(super) fn level(v: f32, scale: f32, base: f32, top: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { whole((v - base) / scale, 0.0, top) }
}

/// The whole number in low..=high nearest to v / scale; 0 for a scale of 0.
pub(super) fn signed_level(v: f32, scale: f32, low: f32, high: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { whole(v / scale, low, high) }
}

/// Groups of a block of 256 with scales and minima that are small integers times `d` and `dmin`.
pub(super) struct AffineGroups<const GROUPS: usize> {
    pub(super) d: f32,
    pub(super) dmin: f32,
    pub(super) scales: [u8; GROUPS],
    pub(super) mins: [u8; GROUPS],
    pub(super) q: [u8; 256],
}

/// Quantizes a block of 256 in GROUPS equal groups: v ≈ d scale q - dmin min, q in 0..=top, scale
/// and min in 0..=scale_top.
pub(super) fn affine_groups<const GROUPS: usize>(
    values: &[f32; 256],
    top: f32,
    scale_top: f32,
) -> AffineGroups<GROUPS> {
    let len = 256 / GROUPS;
    let fits: [(f32, f32); GROUPS] =
        std::array::from_fn(|g| affine(&values[g * len..(g + 1) * len], top, 0.0));
    let d = halves::round_away(fits.iter().fold(0.0_f32, |max, fit| max.max(fit.0)) / scale_top);
    let dmin =
        halves::round_away(fits.iter().fold(0.0_f32, |max, fit| max.max(-fit.1)) / scale_top);
    let scales = fits.map(|fit| level(fit.0, d, 0.0, scale_top) as u8);
    let mins = fits.map(|fit| level(-fit.1, dmin, 0.0, scale_top) as u8);
    let q = std::array::from_fn(|i| {
        let g = i / len;
        level(values[i], d * f32::from(scales[g]), -dmin * f32::from(mins[g]), top) as u8
    });
    AffineGroups { d, dmin, scales, mins, q }
}

/// Quantizes a block of 256 in 16 groups: v ≈ d scale (q - offset), q in 0..2 offset, scale in
/// -scale_offset..scale_offset.
pub(super) fn signed_groups(
    values: &[f32; 256],
    offset: f32,
    scale_offset: f32,
) -> (f32, [i8; 16], [u8; 256]) {
    let fits: [f32; 16] = std::array::from_fn(|g| {
        scale(&values[g * 16..(g + 1) * 16], [-offset, offset - 1.0], |x| {
            whole(x, -offset, offset - 1.0)
        })
    });
    let largest =
        fits.iter().fold(0.0_f32, |largest, &s| if s.abs() > largest.abs() { s } else { largest });
    let d = halves::round_away(0.0 - largest / scale_offset); // the largest becomes -scale_offset, the end that reaches farther
    let scales = fits.map(|s| signed_level(s, d, -scale_offset, scale_offset - 1.0) as i8);
    let q = std::array::from_fn(|i| {
        let level = signed_level(values[i], d * f32::from(scales[i / 16]), -offset, offset - 1.0);
        (level + offset) as u8
    });
    (d, scales, q)
}
