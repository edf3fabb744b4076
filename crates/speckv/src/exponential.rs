//! e^x without a library call, in a form that compilers turn into vector instructions.

/// Below this, e^x counts as zero: the smallest argument whose result is a normal `f32`, and 1e-38 of the largest probability.
const SMALLEST: f32 = -87.0;
/// Adding and subtracting 1.5 * 2^23 rounds an `f32` of moderate size to the nearest integer, and leaves that integer in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts, the first with enough trailing zeros that `n * LN_2_HIGH` is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e^x for x <= 0 (minus infinity included, which gives 0), with a relative error below 3e-7.
///
/// x = n ln 2 + r with |r| <= ln(2)/2; e^r by its Taylor polynomial of degree 6 (remainder 1.2e-7). No branches and no fused
/// operations: every machine computes the same bits. A NaN counts as minus infinity; callers look for NaN themselves.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let inside = if x > SMALLEST { x } else { SMALLEST };
    let shifted = inside * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (inside - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut series = 1.0 / 720.0;
    series = series * r + 1.0 / 120.0;
    series = series * r + 1.0 / 24.0;
    series = series * r + 1.0 / 6.0;
    series = series * r + 0.5;
    series = series * r + 1.0;
    series = series * r + 1.0;
    let power = f32::from_bits((shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23); // 2^n
    if x > SMALLEST { series * power } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn agrees_with_f64_to_three_parts_in_ten_million() {
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 3e-7, "exp({x}): {} instead of {expected}, relative error {error}", exp(x));
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
