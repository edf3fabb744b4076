//! How sure means and quantiles of neighbouring tokens are.
//!
//! Tokens of one paragraph are easy or hard together, so that treating each as a witness of its own
//! would promise too much. The bootstrap draws blocks of [`BLOCK`] neighbouring tokens with
//! replacement (Künsch 1989), all numbers of a token together.

use serde::Serialize;
use speckv::sampling::Randomness;

/// Neighbouring tokens that are drawn together.
pub const BLOCK: usize = 64;

/// Resamples.
pub const RESAMPLES: usize = 1000;

/// Fewer blocks say nothing about how blocks differ.
pub const FEWEST_BLOCKS: usize = 8;

/// A number with its 95% interval; without one where the text is too short.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

/// Draws of blocks, the same for every number, so that numbers of one text can be compared.
#[derive(Debug)]
pub struct Bootstrap {
    tokens: usize,
    /// How often each block was drawn, [resamples, blocks].
    draws: Vec<Vec<u32>>,
}

impl Bootstrap {
    /// Draws for a text of so many scored tokens.
    #[must_use]
    pub fn new(tokens: usize, seed: u64) -> Self {
        let blocks = tokens.div_ceil(BLOCK);
        let mut randomness = Randomness::new(seed);
        let resamples = if blocks < FEWEST_BLOCKS { 0 } else { RESAMPLES };
        let draws = (0..resamples)
            .map(|_| {
                let mut draw = vec![0; blocks];
                (0..blocks)
                    .for_each(|_| draw[(blocks as f64 * randomness.uniform()) as usize] += 1);
                draw
            })
            .collect();
        Bootstrap { tokens, draws }
    }

    /// `transform(mean of values)`.
    ///
    /// # Panics
    /// If there are not as many values as tokens.
    #[must_use]
    pub fn mean(&self, values: &[f64], transform: fn(f64) -> f64) -> Estimate {
        assert_eq!(values.len(), self.tokens, "one value a token");
        let blocks: Vec<(f64, f64)> = values
            .chunks(BLOCK)
            .map(|block| (block.iter().sum::<f64>(), block.len() as f64))
            .collect();
        let mean = |times: &dyn Fn(usize) -> f64| {
            let sums =
                blocks.iter().enumerate().fold((0.0, 0.0), |(sum, count), (i, &(block, len))| {
                    (sum + times(i) * block, count + times(i) * len)
                });
            transform(sums.0 / sums.1)
        };
        self.estimate(mean(&|_| 1.0), |draw| mean(&|block| f64::from(draw[block])))
    }

    /// The smallest value that a share `q` of all values does not exceed.
    ///
    /// # Panics
    /// If there are not as many values as tokens, or none.
    #[must_use]
    pub fn quantile(&self, values: &[f64], q: f64) -> Estimate {
        assert_eq!(values.len(), self.tokens, "one value a token");
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let last = values[*order.last().expect("a token")];
        let quantile = |times: &dyn Fn(usize) -> u32| {
            let total: u64 = (0..values.len()).map(|token| u64::from(times(token / BLOCK))).sum();
            let wanted = (q * total as f64).ceil().max(1.0) as u64;
            let mut seen = 0;
            for &token in &order {
                seen += u64::from(times(token / BLOCK));
                if seen >= wanted {
                    return values[token];
                }
            }
            last
        };
        self.estimate(quantile(&|_| 1), |draw| quantile(&|block| draw[block]))
    }

    fn estimate(&self, value: f64, resample: impl Fn(&[u32]) -> f64) -> Estimate {
        let mut values: Vec<f64> = self.draws.iter().map(|draw| resample(draw)).collect();
        values.sort_by(f64::total_cmp);
        let end = |share: f64| values.get((share * values.len() as f64) as usize).copied();
        Estimate { value, low: end(0.025), high: end(0.975) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers whose neighbours are alike: `x = memory * last x + noise`, mean 0.
    fn series(len: usize, memory: f64, seed: u64) -> Vec<f64> {
        let mut randomness = Randomness::new(seed);
        let mut x = 0.0;
        (0..len)
            .map(|_| {
                x = memory * x + randomness.uniform() - 0.5;
                x
            })
            .collect()
    }

    #[test]
    fn values_are_those_of_the_text_itself() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i * 617 % 1000)).collect();
        let bootstrap = Bootstrap::new(1000, 1);
        assert_eq!(bootstrap.mean(&values, |mean| mean).value, 499.5);
        assert_eq!(bootstrap.quantile(&values, 0.5).value, 499.0);
        assert_eq!(bootstrap.quantile(&values, 0.99).value, 989.0);
        assert_eq!(bootstrap.quantile(&values, 1.0).value, 999.0);
    }

    #[test]
    fn intervals_cover_the_truth_about_95_times_in_100_also_where_neighbours_are_alike() {
        for memory in [0.0, 0.8] {
            let covered = (0..200)
                .filter(|&seed| {
                    let values = series(40 * BLOCK, memory, 1000 + seed);
                    let Estimate { low, high, .. } =
                        Bootstrap::new(values.len(), seed).mean(&values, |mean| mean);
                    low.unwrap() <= 0.0 && 0.0 <= high.unwrap()
                })
                .count();
            assert!((178..=199).contains(&covered), "{covered} of 200 with memory {memory}");
        }
    }

    #[test]
    fn the_interval_of_a_median_covers_it() {
        let covered = (0..100)
            .filter(|&seed| {
                let values = series(30 * BLOCK, 0.0, 5000 + seed);
                let Estimate { low, high, .. } =
                    Bootstrap::new(values.len(), seed).quantile(&values, 0.5);
                low.unwrap() <= 0.0 && 0.0 <= high.unwrap()
            })
            .count();
        assert!(covered >= 88, "{covered} of 100");
    }

    #[test]
    fn a_short_text_has_no_interval() {
        let values = vec![1.0; (FEWEST_BLOCKS - 1) * BLOCK];
        let estimate = Bootstrap::new(values.len(), 1).mean(&values, f64::exp);
        assert_eq!(estimate, Estimate { value: 1f64.exp(), low: None, high: None });
    }
}
