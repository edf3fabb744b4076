//! Kernels behind checks of every length, as safe functions: for benchmarks and tests. The model
//! calls the kernels themselves.

use crate::{
    kernels::{
        CacheType, Isa,
        activation::Activations,
        attention::{ATTENTION_ROWS, AttentionArgs},
        simd::GROUP,
    },
    matrix::{Input, Matrix, Output},
    pool::Pool,
};

/// `out[a][r] = sum over k of w[r][k] x[a][k]` on all of the pool's threads: `out` is [n,
/// matrix.rows()], n is what its length says.
///
/// # Panics
/// If `out` is not whole rows, or `input` has fewer than n of them.
pub fn product(matrix: &Matrix, pool: &Pool, isa: Isa, input: Input<'_>, out: &mut [f32]) {
    let n = out.len() / matrix.rows();
    assert_eq!(out.len(), n * matrix.rows(), "the output is not whole rows of {}", matrix.rows());
    let out = Output::new(out, matrix.rows());
    // Eight tasks per thread: small enough to even out, large enough to stream.
    let size = matrix.groups().div_ceil(8 * pool.threads()).max(1);
    pool.run(matrix.groups().div_ceil(size), &|task, _| {
        let groups = task * size..matrix.groups().min((task + 1) * size);
        // SAFETY: tasks have different groups.
        unsafe { matrix.multiply(isa, groups, input, n, out) };
    });
}

/// Rows of `x`, [n, columns], as the integer kernels read them: see [`Activations`].
///
/// # Panics
/// If `columns` is no multiple of 32, or `x` is not whole rows.
pub fn quantize(isa: Isa, x: &[f32], columns: usize, out: &mut Activations) {
    out.reshape(x.len() / columns, columns);
    let rows = x.chunks_exact(columns);
    assert!(rows.remainder().is_empty(), "{} values are not whole rows of {columns}", x.len());
    let parts = out.parts();
    for (row, x) in rows.enumerate() {
        // SAFETY: rows come one at a time.
        unsafe { isa.quantize(x, parts, row) };
    }
}

/// `out = x / sqrt(mean(x^2) + epsilon) * weight`, all of one length.
///
/// # Panics
/// If lengths differ.
pub fn rms_norm(isa: Isa, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    assert!(x.len() == weight.len() && x.len() == out.len(), "lengths differ");
    isa.rms_norm(x, weight, epsilon, out);
}

/// Keys and values of one head, in half precision.
#[derive(Debug, Clone, Copy)]
pub struct HeadCache<'a> {
    /// Keys, [capacity / 16, head_dim, 16].
    pub keys: &'a [u16],
    /// Values, [capacity, head_dim].
    pub values: &'a [u16],
    /// Values per position, a multiple of 16.
    pub head_dim: usize,
}

/// `out = softmax(scale * q K^T) V`: [n, head_dim] for `queries` [n, head_dim], of which query i
/// sees `visible[i]` positions. `scores` is room that grows as needed.
///
/// # Panics
/// If a length does not fit, nothing is visible, or more is visible than the cache holds.
pub fn attention(
    isa: Isa,
    cache: HeadCache<'_>,
    queries: &[f32],
    visible: &[usize],
    scale: f32,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let HeadCache { keys, values, head_dim } = cache;
    assert!(head_dim > 0 && head_dim.is_multiple_of(GROUP), "a head of {head_dim} values");
    let n = visible.len();
    assert!(
        queries.len() == n * head_dim && out.len() == n * head_dim,
        "queries and results are [{n}, {head_dim}]"
    );
    let stride = visible.iter().copied().max().unwrap_or(0).next_multiple_of(GROUP);
    assert!(visible.iter().all(|&visible| visible > 0), "a query sees nothing");
    assert!(
        keys.len() >= stride * head_dim && values.len() >= stride * head_dim,
        "{stride} positions are not in the cache"
    );
    scores.resize(ATTENTION_ROWS * stride, 0.0);
    let from = [0; ATTENTION_ROWS];
    let mut row = 0;
    while row < n {
        let count = isa.tile_rows(n - row);
        let args = AttentionArgs {
            keys: keys.as_ptr().cast(),
            values: values.as_ptr().cast(),
            capacity: stride,
            head_dim,
            from: from.as_ptr(),
            queries: queries[row * head_dim..].as_ptr(),
            visible: visible[row..].as_ptr(),
            scale,
            cap: None,
            scores: scores.as_mut_ptr(),
            score_stride: stride,
            out: out[row * head_dim..].as_mut_ptr(),
        };
        // SAFETY: all arrays hold `count` rows and `stride` positions, as asserted above.
        unsafe { isa.attention_kernel(CacheType::F16, count)(&args) };
        row += count;
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn attention_is_the_softmax_weighted_sum_of_values() {
        let (head_dim, capacity, n) = (32, 48, 13);
        let wave = |i: usize, step: f32| (i as f32 * step).sin();
        let keys: Vec<f16> =
            (0..capacity * head_dim).map(|i| f16::from_f32(wave(i, 0.37))).collect();
        let values: Vec<f16> =
            (0..capacity * head_dim).map(|i| f16::from_f32(wave(i, 0.73))).collect();
        let queries: Vec<f32> = (0..n * head_dim).map(|i| 2.0 * wave(i, 1.3)).collect();
        let visible: Vec<usize> = (0..n).map(|row| 1 + 3 * row).collect();
        let bits = |x: &[f16]| x.iter().map(|x| x.to_bits()).collect::<Vec<u16>>();
        let (key_bits, value_bits) = (bits(&keys), bits(&values));
        let cache = HeadCache { keys: &key_bits, values: &value_bits, head_dim };
        for &isa in Isa::available() {
            let mut out = vec![f32::NAN; n * head_dim];
            attention(isa, cache, &queries, &visible, 0.2, &mut Vec::new(), &mut out);
            for row in 0..n {
                let key = |position: usize, k: usize| {
                    keys[(position / GROUP * head_dim + k) * GROUP + position % GROUP].to_f64()
                };
                let weights: Vec<f64> = (0..visible[row])
                    .map(|position| {
                        let score: f64 = (0..head_dim)
                            .map(|k| f64::from(queries[row * head_dim + k]) * key(position, k))
                            .sum();
                        (0.2 * score).exp()
                    })
                    .collect();
                let sum: f64 = weights.iter().sum();
                for k in 0..head_dim {
                    let expected: f64 = weights
                        .iter()
                        .enumerate()
                        .map(|(position, w)| w / sum * values[position * head_dim + k].to_f64())
                        .sum();
                    let got = f64::from(out[row * head_dim + k]);
                    assert!(
                        (got - expected).abs() < 1e-5,
                        "{isa}, row {row}, column {k}: {got} for {expected}"
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "positions are not in the cache")]
    fn attention_beyond_the_cache_is_refused() {
        let cache = HeadCache { keys: &[0; 512], values: &[0; 512], head_dim: 32 };
        attention(Isa::PORTABLE, cache, &[0.0; 32], &[17], 1.0, &mut Vec::new(), &mut [0.0; 32]);
    }

    #[test]
    fn quantized_rows_are_near_what_they_came_from() {
        let x: Vec<f32> =
            (0..3 * 64).map(|i| (i as f32 * 0.9).sin() * (1 + i / 32) as f32).collect();
        let mut activations = Activations::default();
        quantize(Isa::detect(), &x, 64, &mut activations);
        for (i, &x) in x.iter().enumerate() {
            let got = activations.scales()[i / 32].scale * f32::from(activations.q()[i]);
            // Half a step of a block's scale.
            assert!(
                (got - x).abs() <= 0.5001 * activations.scales()[i / 32].scale,
                "{got} for {x}"
            );
        }
    }
}
