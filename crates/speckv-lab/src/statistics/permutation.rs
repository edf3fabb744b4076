//! The sign-flip permutation test (Fisher 1935) on paired differences.

use super::MersenneTwister;

/// Differences up to which all sign patterns are tried.
const EXHAUSTIVE: usize = 16;

/// Two-sided p of the mean: the share of sign patterns whose sum is at least as far from 0. All
/// patterns up to 16 differences; else `resamples` random ones with the observed one counted in, so
/// that p is never 0. `None` without differences.
#[must_use]
pub fn sign_flip(
    differences: &[f64],
    resamples: usize,
    stream: &mut MersenneTwister,
) -> Option<f64> {
    if differences.is_empty() {
        return None;
    }
    let observed = differences.iter().sum::<f64>().abs();
    // Sums in another order differ in the last bits; an equal pattern must count as equal.
    let reach = observed - 1e-9 * differences.iter().map(|x| x.abs()).sum::<f64>();
    let as_far = |bits: &mut dyn FnMut() -> bool| {
        differences.iter().map(|x| if bits() { *x } else { -x }).sum::<f64>().abs() >= reach
    };
    if differences.len() <= EXHAUSTIVE {
        let patterns = 1_u32 << differences.len();
        let far = (0..patterns).filter(|&pattern| {
            let mut left = pattern;
            as_far(&mut || {
                let bit = left & 1 == 1;
                left >>= 1;
                bit
            })
        });
        return Some(far.count() as f64 / f64::from(patterns));
    }
    let far = (0..resamples).filter(|_| as_far(&mut || stream.bits() & 1 == 1)).count();
    Some((far + 1) as f64 / (resamples + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_differences_are_tried_out() {
        let p = |x: &[f64]| sign_flip(x, 0, &mut MersenneTwister::new(0)).expect("differences");
        assert_eq!(p(&[1.0, 2.0, 3.0]), 2.0 / 8.0);
        assert_eq!(p(&[1.0, 2.0, -3.0]), 1.0, "the sum is 0: every pattern is at least as far");
        assert_eq!(
            p(&[0.1, 0.2, 0.3, 0.6]),
            2.0 / 16.0,
            "equal sums count as equal whatever their rounding"
        );
    }

    #[test]
    fn many_differences_are_sampled_and_p_is_never_0() {
        let p = |x: &[f64]| sign_flip(x, 4000, &mut MersenneTwister::new(5)).expect("differences");
        assert_eq!(p(&[1.0; 40]), 1.0 / 4001.0);
        // A mean of z = 2 standard errors: about 4.6% of the patterns.
        let x: Vec<f64> = (0..100).map(|at| if at % 2 == 0 { 1.2 } else { -0.8 }).collect();
        assert!((0.03..0.07).contains(&p(&x)), "{}", p(&x));
    }
}
