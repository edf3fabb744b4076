//! What happens to one row between products: norms, rotation, activation function, softmax. Plain Rust on lanes of 16, compiled once
//! per instruction set; additions keep one order, and multiply-adds are left unfused, so every version gives the same bits.

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

/// `out = x / sqrt(mean(x^2) + epsilon) * weight`, `[columns]`. Zhang and Sennrich 2019, arXiv 1910.07467.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
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
    let scale = 1.0 / (tree_sum(lanes) / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

/// Quantizes row `row`, `[columns]`.
///
/// # Safety
/// As [`ActivationParts::quantize_block`], for every block of the row.
#[inline(always)]
pub(crate) unsafe fn quantize(x: &[f32], parts: ActivationParts, row: usize) {
    for (block, x) in x.as_chunks::<32>().0.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { parts.quantize_block(row, block, x) };
    }
}

/// `e^x` for x in [-87, 88]; arguments outside are taken to that range. Relative error below 3e-7.
///
/// `x = n ln 2 + r`, |r| <= ln 2 / 2: `2^n` goes into the exponent, `e^r` is a Taylor polynomial of degree 7.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + 12_582_912.0; // 1.5 * 2^23: rounds to an integer
    let n = shifted - 12_582_912.0;
    let r = x - n * 0.693_359_4; // ln 2 in two parts; the first has few bits, so that n times it is exact
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

/// `out = gate * sigmoid(gate) * up`, `[columns]`. Shazeer 2020, arXiv 2002.05202.
#[inline(always)]
pub(crate) fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + exp(-gate)) * up;
    }
}

/// As [`swiglu`] for the 32 columns of block `block` of some rows, [rows, 32], straight into the quantized form of rows `first..`.
///
/// # Safety
/// As [`ActivationParts::quantize_block`], for that block of those rows.
#[inline(always)]
pub(crate) unsafe fn swiglu_quantize(gate: &[f32], up: &[f32], parts: ActivationParts, first: usize, block: usize) {
    let rows = gate.as_chunks::<32>().0.iter().zip(up.as_chunks::<32>().0);
    for (row, (gate, up)) in rows.enumerate() {
        let mut inner = [0f32; 32];
        swiglu(gate, up, &mut inner);
        // SAFETY: the caller's promise.
        unsafe { parts.quantize_block(first + row, block, &inner) };
    }
}

/// Rotates one head in place: pair `i` by the angle whose cosine and sine are `cos[i]`, `sin[i]`. Su et al. 2021, arXiv 2104.09864.
/// Pairs are `(2i, 2i + 1)` if `interleaved`, else `(i, i + cos.len())`. Values beyond `2 cos.len()` stay.
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

/// `x = softmax(scale * x)` over the first `len` values; the rest becomes 0. Sums 16 interleaved partial sums, then the tree.
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
