//! A regression tree (Breiman, Friedman, Olshen and Stone 1984).

use super::{super::data::FEATURES, Features};
use crate::statistics::MersenneTwister;

/// Two neighbouring values that are closer are not parted.
const SAME: f64 = 1e-7;

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Leaf { value: f64 },
    Inner { feature: usize, threshold: f64, below: usize, above: usize },
}

/// A fitted tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    nodes: Vec<Node>, // the root first
    /// Weighted squared error that splits on each feature removed, of that of the root, summing to
    /// 1 (or to 0 without a split).
    pub importance: [f64; FEATURES],
}

/// A row with how often it counts.
#[derive(Debug, Clone, Copy)]
struct Row {
    index: usize,
    weight: f64,
}

/// Rows of a node, summed.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    value: f64,
    square: f64,
}

impl Sums {
    fn of(rows: &[Row], y: &[f64]) -> Self {
        rows.iter().fold(Sums::default(), |mut sums, row| {
            sums.add(row.weight, y[row.index]);
            sums
        })
    }

    fn add(&mut self, weight: f64, y: f64) {
        self.weight += weight;
        self.value += weight * y;
        self.square += weight * y * y;
    }

    /// `sum w (y - mean)^2`.
    fn squared_error(&self) -> f64 {
        self.square - self.value * self.value / self.weight
    }
}

struct Split {
    feature: usize,
    threshold: f64,
    gain: f64,
}

/// What growing needs at every node.
struct Growth<'a> {
    x: &'a [Features],
    y: &'a [f64],
    max_depth: usize,
    stream: MersenneTwister,
    tree: Tree,
    sorted: Vec<(f64, f64, f64)>, // value, weight, y; of one node and feature
}

impl Tree {
    /// Grows until leaves are pure or `max_depth` is reached, always by the split that removes most
    /// squared error. `counts` says how often each row counts; the order in which features are
    /// tried, and so which of equally good splits is taken, comes from `stream`.
    pub(super) fn grow(
        x: &[Features],
        y: &[f64],
        counts: &[u32],
        max_depth: usize,
        stream: MersenneTwister,
    ) -> Self {
        let counted = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let mut rows: Vec<Row> =
            counted.map(|(index, &count)| Row { index, weight: f64::from(count) }).collect();
        let tree = Tree { nodes: Vec::new(), importance: [0.0; FEATURES] };
        let mut growth = Growth { x, y, max_depth, stream, tree, sorted: Vec::new() };
        growth.node(&mut rows, 0);
        let mut tree = growth.tree;
        let total: f64 = tree.importance.iter().sum();
        if total > 0.0 {
            tree.importance.iter_mut().for_each(|share| *share /= total);
        }
        tree
    }

    pub(super) fn value(&self, x: &Features) -> f64 {
        let mut at = 0;
        loop {
            match &self.nodes[at] {
                Node::Leaf { value } => return *value,
                Node::Inner { feature, threshold, below, above } => {
                    at = if x[*feature] <= *threshold { *below } else { *above };
                }
            }
        }
    }
}

impl Growth<'_> {
    /// Grows the subtree over `rows` and gives its place. Depth is bounded by the number of rows,
    /// and the stack by the depth of real data: every split leaves at least one row on each side.
    fn node(&mut self, rows: &mut [Row], depth: usize) -> usize {
        let sums = Sums::of(rows, self.y);
        let place = self.tree.nodes.len();
        self.tree.nodes.push(Node::Leaf { value: sums.value / sums.weight });
        let pure = sums.squared_error() <= f64::EPSILON * sums.weight;
        if depth >= self.max_depth || rows.len() < 2 || pure {
            return place;
        }
        let Some(Split { feature, threshold, gain }) = self.best_split(rows, &sums) else {
            return place;
        };
        self.tree.importance[feature] += gain;
        rows.sort_by_key(|row| self.x[row.index][feature] > threshold); // stable: the rows' order stays
        let (below, above) =
            rows.split_at_mut(rows.partition_point(|row| self.x[row.index][feature] <= threshold));
        let below = self.node(below, depth + 1);
        let above = self.node(above, depth + 1);
        self.tree.nodes[place] = Node::Inner { feature, threshold, below, above };
        place
    }

    fn best_split(&mut self, rows: &[Row], all: &Sums) -> Option<Split> {
        let mut best: Option<Split> = None;
        for feature in self.stream.permutation(FEATURES) {
            self.sorted.clear();
            self.sorted.extend(
                rows.iter().map(|row| (self.x[row.index][feature], row.weight, self.y[row.index])),
            );
            self.sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            let (mut weight, mut value) = (0.0, 0.0);
            for pair in self.sorted.windows(2) {
                let [(here, w, y), (next, ..)] = [pair[0], pair[1]];
                weight += w;
                value += w * y;
                if next <= here + SAME {
                    continue;
                }
                // The squared error removed is what the means of the two sides explain beyond the
                // mean of all.
                let (rest, above) = (all.weight - weight, all.value - value);
                let gain = value * value / weight + above * above / rest
                    - all.value * all.value / all.weight;
                if best.as_ref().is_none_or(|best| gain > best.gain) {
                    best = Some(Split { feature, threshold: here / 2.0 + next / 2.0, gain });
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::rows, *};

    fn grown(x: &[Features], y: &[f64], max_depth: usize) -> Tree {
        Tree::grow(x, y, &vec![1; x.len()], max_depth, MersenneTwister::new(0))
    }

    /// Oracle: scikit-learn 1.9, `DecisionTreeRegressor(max_depth=3).fit(X, y).predict(X[:4])`.
    #[test]
    fn a_shallow_tree_is_that_of_scikit_learn() {
        let (x, y) = rows(300);
        let tree = grown(&x, &y, 3);
        let expected = [
            0.709_280_801_180_768_4,
            0.138_629_487_550_962_3,
            0.709_280_801_180_768_4,
            0.187_125_348_629_523_24,
        ];
        for (x, expected) in x.iter().zip(expected) {
            assert!((tree.value(x) - expected).abs() < 1e-12, "{} for {expected}", tree.value(x));
        }
    }

    #[test]
    fn a_full_tree_knows_its_rows_by_heart_and_a_depth_of_0_the_mean() {
        let (x, y) = rows(120);
        let full = grown(&x, &y, usize::MAX);
        assert!(x.iter().zip(&y).all(|(x, y)| (full.value(x) - y).abs() < 1e-12));
        assert!((full.importance.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let mean = y.iter().sum::<f64>() / 120.0;
        assert!((grown(&x, &y, 0).value(&x[0]) - mean).abs() < 1e-12);
    }

    #[test]
    fn a_row_that_counts_thrice_is_three_rows() {
        let (x, y) = rows(60);
        let counts: Vec<u32> = (0..60).map(|row| row % 4).collect();
        let repeated: Vec<usize> = (0..60).flat_map(|row| vec![row; row % 4]).collect();
        let (x3, y3): (Vec<Features>, Vec<f64>) =
            repeated.iter().map(|&row| (x[row], y[row])).unzip();
        let weighted = Tree::grow(&x, &y, &counts, 4, MersenneTwister::new(0));
        let plain = grown(&x3, &y3, 4);
        assert!(x.iter().all(|x| (weighted.value(x) - plain.value(x)).abs() < 1e-12));
    }
}
