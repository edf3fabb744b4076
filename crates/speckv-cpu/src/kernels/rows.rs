//! What happens to one row between products: norms, rotation, activation function, softmax. Plain
//! Rust on lanes of 16, compiled once per instruction set; additions keep one order, and
//! multiply-adds are left unfused, so every version gives the same bits.

use speckv_formats::config::Activation;

use super::activation::ActivationParts;

const LANES: usize = 16;

/// Sum of 16 lanes as a tree: (0+8, 1+9, ...), (0+4, ...), (0+2, 1+3), (0+1).
#[inline(always)]
fn tree_sum(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// `1 / sqrt(mean(x^2) + epsilon)`, `[columns]`.
#[inline(always)]
fn rms_scale(x: &[f32], epsilon: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane] * chunk[lane];
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        lanes[lane] += value * value;
    }
    1.0 / (tree_sum(lanes) / x.len() as f32 + epsilon).sqrt()
}

/// `out = x / sqrt(mean(x^2) + epsilon) * weight`, `[columns]`. Zhang and Sennrich 2019, arXiv
/// 1910.07467.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let scale = rms_scale(x, epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// As [`rms_norm`], in place.
#[inline(always)]
pub(crate) fn rms_norm_in_place(x: &mut [f32], weight: &[f32], epsilon: f32) {
    let scale = rms_scale(x, epsilon);
    for (x, weight) in x.iter_mut().zip(weight) {
        *x = *x * scale * weight;
    }
}

/// Quantizes row `row`, `[columns]`.
///
/// # Safety
/// As [`ActivationParts::quantize_block`], for every block of the row.
#[inline(always)]
pub(crate) unsafe fn quantize(x: &[f32], parts: ActivationParts<'_>, row: usize) {
    for (block, x) in x.as_chunks::<32>().0.iter().enumerate() {
        // SAFETY: the block is this task's alone by this function's contract.
        unsafe { parts.quantize_block(row, block, x) };
    }
}

/// `e^x` for x in [-87, 88]; arguments outside are taken to that range. Relative error below 3e-7.
///
/// `x = n ln 2 + r`, |r| <= ln 2 / 2: `2^n` goes into the exponent, `e^r` is a Taylor polynomial of
/// degree 7.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0; // 1.5 * 2^23: rounds to an integer
    let n = shifted - 12_582_912.0;
    // ln 2 in two parts; the first has few bits, so that n times it is exact.
    let r = x - n * 0.693_359_4;
    let r = r - n * -2.121_944_4e-4;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * power
}

/// `out = activation(gate) * up`, `[columns]`. Shazeer 2020, arXiv 2002.05202.
#[inline(always)]
pub(crate) fn glu(activation: Activation, gate: &[f32], up: &[f32], out: &mut [f32]) {
    match activation {
        Activation::Silu => {
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = gate / (1.0 + exp(-gate)) * up;
            }
        }
        // (1 + tanh u) / 2 = 1 / (1 + e^(-2u)), with u = sqrt(2 / pi) (x + 0.044715 x^3).
        Activation::Gelu => {
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                let cubic = gate * (1.0 + 0.044_715 * (gate * gate));
                *out = gate / (1.0 + exp(-1.595_769 * cubic)) * up;
            }
        }
    }
}

/// As [`glu`] for the 32 columns of block `block` of some rows, [rows, 32], straight into the
/// quantized form of rows `first..`.
///
/// # Safety
/// As [`ActivationParts::quantize_block`], for that block of those rows.
#[inline(always)]
pub(crate) unsafe fn glu_quantize(
    activation: Activation,
    gate: &[f32],
    up: &[f32],
    parts: ActivationParts<'_>,
    first: usize,
    block: usize,
) {
    let rows = gate.as_chunks::<32>().0.iter().zip(up.as_chunks::<32>().0);
    for (row, (gate, up)) in rows.enumerate() {
        let mut inner = [0f32; 32];
        glu(activation, gate, up, &mut inner);
        // SAFETY: the block is this task's alone by this function's contract.
        unsafe { parts.quantize_block(first + row, block, &inner) };
    }
}

/// `x = cap * tanh(x / cap)`, as `cap * (1 - 2 / (e^(2x / cap) + 1))`: every value stays between
/// `-cap` and `cap`.
#[inline(always)]
pub(crate) fn soft_cap(x: &mut [f32], cap: f32) {
    let twice = 2.0 / cap;
    for x in x {
        *x = cap * (1.0 - 2.0 / (exp(*x * twice) + 1.0));
    }
}

/// `x *= factor`.
#[inline(always)]
pub(crate) fn scale(x: &mut [f32], factor: f32) {
    for x in x {
        *x *= factor;
    }
}

/// Rotates one head in place: pair `i` by the angle whose cosine and sine are `cos[i]`, `sin[i]`.
/// Su et al. 2021, arXiv 2104.09864. Pairs are `(2i, 2i + 1)` if `interleaved`, else `(i, i +
/// cos.len())`. Values beyond `2 cos.len()` stay.
#[inline(always)]
pub(crate) fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32], interleaved: bool) {
    let half = cos.len();
    if interleaved {
        for (i, pair) in head.as_chunks_mut::<2>().0.iter_mut().take(half).enumerate() {
            let [a, b] = *pair;
            *pair = [a * cos[i] - b * sin[i], a * sin[i] + b * cos[i]];
        }
    } else {
        let (first, second) = head.split_at_mut(half);
        for i in 0..half {
            let (a, b) = (first[i], second[i]);
            first[i] = a * cos[i] - b * sin[i];
            second[i] = a * sin[i] + b * cos[i];
        }
    }
}

/// `x = softmax(scale * x)` over the first `len` values; the rest becomes 0. Sums 16 interleaved
/// partial sums, then the tree.
#[inline(always)]
pub(crate) fn softmax(x: &mut [f32], len: usize, scale: f32) {
    let mut max = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x[..len].as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            max[lane] = if chunk[lane] > max[lane] { chunk[lane] } else { max[lane] };
        }
    }
    let max = rest.iter().chain(&max).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    let mut sums = [0f32; LANES];
    let (chunks, rest) = x[..len].as_chunks_mut::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            chunk[lane] = exp((chunk[lane] - max) * scale);
            sums[lane] += chunk[lane];
        }
    }
    for (lane, value) in rest.iter_mut().enumerate() {
        *value = exp((*value - max) * scale);
        sums[lane] += *value;
    }
    let inverse = 1.0 / tree_sum(sums);
    for value in &mut x[..len] {
        *value *= inverse;
    }
    x[len..].fill(0.0);
}

/// `x += y`.
#[inline(always)]
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_3e_7_of_the_exact_value() {
        let mut x = -86.9f32;
        while x < 87.9 {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "x {x}: relative error {error}");
            x += 0.003_7;
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn activations_are_near_their_definitions() {
        let x: Vec<f32> = (0..2000).map(|i| i as f32 * 0.01 - 10.0).collect();
        let (ones, mut silu, mut gelu, mut capped) =
            (vec![1.0; x.len()], x.clone(), x.clone(), x.clone());
        glu(Activation::Silu, &x, &ones, &mut silu);
        glu(Activation::Gelu, &x, &ones, &mut gelu);
        soft_cap(&mut capped, 3.0);
        for (i, &x) in x.iter().enumerate() {
            let x = f64::from(x);
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            for (got, expected) in [
                (silu[i], x / (1.0 + (-x).exp())),
                (gelu[i], x / 2.0 * (1.0 + u.tanh())),
                (capped[i], 3.0 * (x / 3.0).tanh()),
            ] {
                assert!(
                    (f64::from(got) - expected).abs() < 2e-6 * (1.0 + expected.abs()),
                    "{x}: {got} for {expected}"
                );
            }
        }
    }

    #[test]
    fn softmax_sums_to_one_and_clears_the_tail() {
        let mut x: Vec<f32> = (0..41).map(|i| (i as f32 * 0.7).sin() * 5.0).collect();
        let expected: Vec<f64> = x[..37].iter().map(|&v| (f64::from(v) * 0.5).exp()).collect();
        let sum: f64 = expected.iter().sum();
        softmax(&mut x, 37, 0.5);
        for (got, expected) in x.iter().zip(expected) {
            assert!((f64::from(*got) - expected / sum).abs() < 1e-7);
        }
        assert_eq!(x[37..], [0.0; 4]);
    }

    #[test]
    fn rotation_keeps_length_and_layouts_are_permutations_of_each_other() {
        let head: Vec<f32> = (0..8).map(|i| i as f32 + 1.0).collect();
        let angles = [0.1f32, 0.7, 1.9, 3.0];
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|a| (a.cos(), a.sin())).unzip();
        let mut split = head.clone();
        rotate(&mut split, &cos, &sin, false);
        let mut woven: Vec<f32> = (0..8).map(|i| head[i % 2 * 4 + i / 2]).collect();
        rotate(&mut woven, &cos, &sin, true);
        for i in 0..8 {
            assert_eq!(split[i], woven[i % 4 * 2 + i / 4]);
        }
        let norm = |x: &[f32]| x.iter().map(|v| v * v).sum::<f32>();
        assert!((norm(&split) - norm(&head)).abs() < 1e-4);
    }
}
