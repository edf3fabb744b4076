//! e^x without a library call, in a form that compilers turn into vector instructions.

/// Below this, e^x counts as zero: 1e-38 of the largest probability, and the smallest argument
/// whose result is a normal `f32`.
pub(crate) const SMALLEST: f32 = -87.0;
/// Adding 1.5 * 2^23 to an `f32` of moderate size rounds it to the nearest integer, and leaves that
/// integer in the low bits.
const ROUND: f32 = 12_582_912.0;
/// 2^f on [-1/2, 1/2] as 1 + f P(f): least maximal relative error (9.2e-8), found by Lawson's
/// iteration; exactly 1 at 0.
#[expect(
    clippy::approx_constant,
    reason = "near ln 2, and not ln 2: the best polynomial is not Taylor's"
)]
const POWER_OF_TWO: [f32; 5] =
    [0.693_147, 0.240_222_42, 0.055_507_336, 0.009_671_513, 0.001_326_472_7];

/// e^x for x from [`SMALLEST`] to 0.
///
/// x log2 e = n + f with n an integer and |f| <= 1/2; then 2^f from a polynomial, with n added to
/// its exponent. Relative error 2e-7 + 1e-7 |x|: the product x log2 e is rounded once, which is
/// harmless because a large |x| means a small result. No branches and no fused operations: every
/// machine computes the same bits.
#[inline(always)]
pub(crate) fn exp_from_smallest(x: f32) -> f32 {
    let power = x * std::f32::consts::LOG2_E;
    let shifted = power + ROUND;
    let f = power - (shifted - ROUND);
    let [c1, c2, c3, c4, c5] = POWER_OF_TWO;
    let series = ((((c5 * f + c4) * f + c3) * f + c2) * f + c1) * f + 1.0;
    f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// e^x for x <= 0, with 0 below [`SMALLEST`]. A NaN counts as minus infinity; callers look for NaN
/// themselves.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let inside = if x > SMALLEST { x } else { SMALLEST };
    let value = exp_from_smallest(inside);
    if x > SMALLEST { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn agrees_with_f64_to_the_stated_error() {
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(
                error < 2e-7 - 1e-7 * f64::from(x),
                "exp({x}): {} instead of {expected}, relative error {error}",
                exp(x)
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
    }

    #[test]
    fn nothing_below_the_smallest_argument_has_weight() {
        for x in [-87.0, -88.0, -1e4, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0, "exp({x})");
        }
    }
}
