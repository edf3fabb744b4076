//! Regression trees on resamples, averaged (Breiman 1996 and 2001).

use std::thread;

use super::{super::data::FEATURES, Features, Regressor, tree::Tree};
use crate::statistics::MersenneTwister;

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForestSettings {
    /// Trees.
    pub trees: usize,
    /// Most splits between root and leaf.
    pub max_depth: usize,
}

/// The mean of trees, each grown on as many rows as there are, drawn with replacement; every split
/// may use every feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    trees: Vec<Tree>,
}

impl Forest {
    /// Grows a forest. The resamples are those that scikit-learn draws for the seed; which of
    /// equally good splits is taken is this program's own choice. The same for any number of
    /// processors.
    ///
    /// # Panics
    /// If the lengths differ or there are no rows.
    #[must_use]
    pub fn fit(settings: &ForestSettings, x: &[Features], y: &[f64], seed: u32) -> Self {
        assert!(x.len() == y.len() && !x.is_empty(), "a value for every row");
        let mut stream = MersenneTwister::new(seed);
        let seeds: Vec<u32> =
            (0..settings.trees).map(|_| stream.up_to(i32::MAX.cast_unsigned() - 1)).collect();
        let grow = |seed: &u32| {
            let mut stream = MersenneTwister::new(*seed);
            let mut counts = vec![0; x.len()];
            (0..x.len()).for_each(|_| counts[stream.index(x.len())] += 1);
            Tree::grow(x, y, &counts, settings.max_depth, stream)
        };
        let workers =
            thread::available_parallelism().map_or(1, usize::from).min(seeds.len()).max(1);
        let trees = thread::scope(|scope| {
            let parts: Vec<_> = seeds
                .chunks(seeds.len().div_ceil(workers).max(1))
                .map(|part| scope.spawn(move || part.iter().map(grow).collect::<Vec<_>>()))
                .collect();
            parts
                .into_iter()
                .flat_map(|part| {
                    part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        Forest { trees }
    }

    /// Share of the removed squared error that splits on each feature removed, averaged over trees.
    #[must_use]
    pub fn importance(&self) -> [f64; FEATURES] {
        let count = self.trees.len().max(1) as f64;
        std::array::from_fn(|at| {
            self.trees.iter().map(|tree| tree.importance[at]).sum::<f64>() / count
        })
    }
}

impl Regressor for Forest {
    fn raw(&self, x: &Features) -> f64 {
        self.trees.iter().map(|tree| tree.value(x)).sum::<f64>() / self.trees.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::rows, *};

    #[test]
    fn a_forest_repeats_and_generalises_better_than_the_mean() {
        let (x, y) = rows(600);
        let settings = ForestSettings { trees: 20, max_depth: usize::MAX };
        let forest = Forest::fit(&settings, &x[..400], &y[..400], 9);
        assert_eq!(forest, Forest::fit(&settings, &x[..400], &y[..400], 9));
        assert_ne!(forest, Forest::fit(&settings, &x[..400], &y[..400], 10));
        let mean = y[..400].iter().sum::<f64>() / 400.0;
        let error = |f: &dyn Fn(&Features) -> f64| -> f64 {
            x[400..].iter().zip(&y[400..]).map(|(x, y)| (f(x) - y).powi(2)).sum()
        };
        assert!(error(&|x| forest.raw(x)) < 0.2 * error(&|_| mean));
        let importance = forest.importance();
        assert!((importance.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(
            importance[0] + importance[1] > 0.9,
            "only the first two features matter: {importance:?}"
        );
    }
}
