//! Throughputs and their ratios, with intervals.

use serde::{Deserialize, Serialize};
use speckv::{engine::Totals, sampling::Randomness};

use super::Estimate;

/// Tokens and seconds of one contestant on one prompt, summed over rounds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cell {
    /// Tokens generated.
    pub tokens: f64,
    /// Seconds of all steps.
    pub seconds: f64,
}

impl Cell {
    /// Of the steps of a sequence.
    #[must_use]
    pub fn of(totals: &Totals) -> Self {
        Cell { tokens: totals.produced as f64, seconds: totals.times.total.as_secs_f64() }
    }
}

/// A ratio of throughputs with its 95% interval.
pub type Ratio = Estimate;

/// Resamples of the bootstrap.
pub const RESAMPLES: usize = 2000;

/// Total tokens by total seconds: every second counts alike, as for a user who waits. `None` where
/// no time has passed.
#[must_use]
pub fn throughput(cells: &[Cell]) -> Option<f64> {
    let (tokens, seconds) = sums(cells.iter());
    (seconds > 0.0).then(|| tokens / seconds)
}

/// Throughput of `a` by that of `b`, cell by cell the same prompts, with the percentile bootstrap's
/// 95% interval (Efron 1979): prompts are drawn with replacement, each with what both made of it.
/// Fewer than [`FEWEST_UNITS`](super::FEWEST_UNITS) prompts have no interval.
///
/// `None` without prompts or time.
///
/// # Panics
/// If the numbers of prompts differ.
#[must_use]
pub fn ratio(a: &[Cell], b: &[Cell], seed: u64) -> Option<Ratio> {
    assert_eq!(a.len(), b.len(), "both have answered the same prompts");
    let value = Some(throughput(a)? / throughput(b)?).filter(|value| value.is_finite())?;
    let mut randomness = Randomness::new(seed);
    let ratios: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            let mut drawn = [Cell::default(); 2];
            for _ in 0..a.len() {
                let prompt = (a.len() as f64 * randomness.uniform()) as usize;
                for (sum, cell) in drawn.iter_mut().zip([a[prompt], b[prompt]]) {
                    sum.tokens += cell.tokens;
                    sum.seconds += cell.seconds;
                }
            }
            Some(throughput(&drawn[..1])? / throughput(&drawn[1..])?)
        })
        .filter(|ratio| ratio.is_finite())
        .collect();
    Some(Ratio::resampled(value, a.len(), ratios))
}

fn sums<'a>(cells: impl Iterator<Item = &'a Cell>) -> (f64, f64) {
    cells.fold((0.0, 0.0), |(tokens, seconds), cell| (tokens + cell.tokens, seconds + cell.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[(f64, f64)]) -> Vec<Cell> {
        values.iter().map(|&(tokens, seconds)| Cell { tokens, seconds }).collect()
    }

    #[test]
    fn throughput_is_total_by_total() {
        assert_eq!(throughput(&cells(&[(100.0, 1.0), (100.0, 3.0)])), Some(50.0));
        assert_eq!((throughput(&[]), throughput(&cells(&[(1.0, 0.0)]))), (None, None));
    }

    #[test]
    fn a_constant_ratio_is_certain_however_prompts_differ() {
        let slow =
            cells(&[(10.0, 1.0), (80.0, 2.5), (33.0, 0.7), (5.0, 4.0), (7.0, 1.0), (12.0, 3.0)]);
        let fast: Vec<Cell> =
            slow.iter().map(|cell| Cell { seconds: cell.seconds / 1.25, ..*cell }).collect();
        let ratio = ratio(&fast, &slow, 1).expect("prompts");
        let (low, high) = ratio.ends().expect("six prompts");
        for value in [ratio.value, low, high] {
            assert!(
                (value - 1.25).abs() < 1e-12,
                "paired resampling has no spread here: {ratio:?}"
            );
        }
    }

    #[test]
    fn a_handful_of_prompts_has_a_ratio_and_no_interval() {
        let cells = cells(&[(10.0, 1.0), (80.0, 2.5), (33.0, 0.7), (5.0, 4.0), (7.0, 1.0)]);
        for count in 1..=5 {
            assert_eq!(ratio(&cells[..count], &cells[..count], 1), Some(Ratio::alone(1.0)));
        }
        assert_eq!(ratio(&[], &[], 1), None);
    }

    #[test]
    fn intervals_have_their_size() {
        // 400 prompts of one second of b each; seconds of a uniform between 0.5 and 1.5. The ratio
        // is 1 / mean(a); its deviation is that of the mean: sqrt(1/12) / sqrt(400) = 0.01443, so
        // the interval is about 1 +- 1.96 * 0.01443.
        let mut randomness = Randomness::new(9);
        let b = cells(&[(10.0, 1.0); 400]);
        let a: Vec<Cell> =
            b.iter().map(|cell| Cell { seconds: 0.5 + randomness.uniform(), ..*cell }).collect();
        let made = ratio(&a, &b, 2).expect("prompts");
        let (value, (low, high)) = (made.value, made.ends().expect("many prompts"));
        assert!(low < value && value < high);
        assert!(((high - low) / (2.0 * 1.96 * 0.01443) - 1.0).abs() < 0.12, "{low} to {high}");
        assert_eq!(ratio(&a, &b, 2), ratio(&a, &b, 2), "a seed repeats");
    }

    #[test]
    fn an_interval_covers_the_truth_about_95_times_in_100() {
        let mut randomness = Randomness::new(4);
        let covered = (0..300)
            .filter(|&seed| {
                let b = cells(&[(10.0, 1.0); 30]);
                let a: Vec<Cell> = b
                    .iter()
                    .map(|cell| Cell { seconds: 0.5 + randomness.uniform(), ..*cell })
                    .collect();
                let (low, high) =
                    ratio(&a, &b, seed).and_then(|ratio| ratio.ends()).expect("many prompts");
                low <= 1.0 && 1.0 <= high
            })
            .count();
        assert!((270..=297).contains(&covered), "{covered} of 300");
    }
}
