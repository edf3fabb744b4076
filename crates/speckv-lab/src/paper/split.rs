//! The split into training and test rows.

use crate::statistics::MersenneTwister;

/// Rows of a data set in two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Rows to fit to, in the order in which models see them.
    pub train: Vec<usize>,
    /// Rows to judge by, rising.
    pub test: Vec<usize>,
}

impl Split {
    /// Given test rows; all others are trained on, in the order of the file.
    #[must_use]
    pub fn given(test: Vec<usize>, rows: usize) -> Self {
        let mut wanted = vec![true; rows];
        test.iter().for_each(|&row| wanted[row] = false);
        Split { train: (0..rows).filter(|&row| wanted[row]).collect(), test }
    }

    /// A fifth of the rows (rounded up) for testing, with every stratum in the same proportion as
    /// nearly as whole numbers allow, drawn as scikit-learn's `train_test_split(test_size=0.2,
    /// stratify=...)` draws: with the paper's seed and strata these are the paper's rows in the
    /// paper's order. `strata` numbers each row's stratum from 0, in the order of their names.
    ///
    /// # Panics
    /// If a stratum below the largest has no row.
    #[must_use]
    pub fn stratified(strata: &[usize], seed: u32) -> Self {
        let mut stream = MersenneTwister::new(seed);
        let rows = strata.len();
        let test_size = rows.div_ceil(5);
        let mut members = vec![Vec::new(); strata.iter().max().map_or(0, |most| most + 1)];
        strata.iter().enumerate().for_each(|(row, &stratum)| members[stratum].push(row));
        assert!(members.iter().all(|rows| !rows.is_empty()), "strata are numbered without gaps");
        let sizes: Vec<usize> = members.iter().map(Vec::len).collect();
        let train_sizes = apportion(&sizes, rows - test_size, &mut stream);
        let rest: Vec<usize> =
            sizes.iter().zip(&train_sizes).map(|(size, train)| size - train).collect();
        let test_sizes = apportion(&rest, test_size, &mut stream);
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for ((rows, for_train), for_test) in members.iter().zip(train_sizes).zip(test_sizes) {
            let drawn: Vec<usize> =
                stream.permutation(rows.len()).into_iter().map(|place| rows[place]).collect();
            train.extend_from_slice(&drawn[..for_train]);
            test.extend_from_slice(&drawn[for_train..for_train + for_test]);
        }
        stream.shuffle(&mut train);
        test.sort_unstable();
        Split { train, test }
    }
}

/// `count` places among strata in proportion to their sizes: whole parts first, the rest by largest
/// remainder, ties by lot.
fn apportion(sizes: &[usize], count: usize, stream: &mut MersenneTwister) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let shares: Vec<f64> =
        sizes.iter().map(|&size| size as f64 / total as f64 * count as f64).collect();
    let mut places: Vec<usize> = shares.iter().map(|share| share.floor() as usize).collect();
    let mut missing = count - places.iter().sum::<usize>();
    let remainders: Vec<f64> = shares.iter().map(|share| share - share.floor()).collect();
    let mut values = remainders.clone();
    values.sort_by(|a, b| b.total_cmp(a));
    values.dedup();
    for value in values {
        if missing == 0 {
            break;
        }
        let equal: Vec<usize> =
            (0..sizes.len()).filter(|&stratum| remainders[stratum] == value).collect();
        let chosen = stream.permutation(equal.len());
        for place in chosen.into_iter().take(missing.min(equal.len())) {
            places[equal[place]] += 1;
            missing -= 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strata_keep_their_proportions_and_no_row_is_lost() {
        let strata: Vec<usize> = (0..517).map(|row| [0, 0, 0, 1, 1, 2][row % 6]).collect();
        let split = Split::stratified(&strata, 7);
        assert_eq!((split.train.len(), split.test.len()), (413, 104));
        let mut all = [split.train.clone(), split.test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..517).collect::<Vec<_>>());
        for stratum in 0..3 {
            let count =
                |rows: &[usize]| rows.iter().filter(|&&row| strata[row] == stratum).count() as f64;
            let share = count(&split.test) / (count(&split.test) + count(&split.train));
            assert!((share - 0.2).abs() < 0.01, "stratum {stratum}: {share}");
        }
        assert_eq!(split, Split::stratified(&strata, 7));
        assert_ne!(split, Split::stratified(&strata, 8));
        assert_eq!(Split::given(split.test.clone(), 517).test, split.test);
    }

    /// Oracle: scikit-learn 1.9, `train_test_split(np.arange(23), test_size=0.2, random_state=42,
    /// stratify=np.arange(23) % 4)`; its test rows sorted.
    #[test]
    fn rows_and_their_order_are_those_of_scikit_learn() {
        let strata: Vec<usize> = (0..23).map(|row| row % 4).collect();
        let split = Split::stratified(&strata, 42);
        assert_eq!(split.test, ORACLE_TEST);
        assert_eq!(split.train, ORACLE_TRAIN);
    }
    const ORACLE_TEST: [usize; 5] = [5, 14, 16, 18, 19];
    const ORACLE_TRAIN: [usize; 18] =
        [7, 22, 8, 2, 3, 13, 1, 12, 0, 15, 17, 11, 10, 21, 9, 6, 4, 20];
}
