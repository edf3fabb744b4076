//! Shares of counted things.

use super::Interval;

/// `successes / count` with Wilson's 95% score interval (1927), which stays within [0, 1] and is
/// which keeps its coverage for few counts; `None` without counts.
#[must_use]
pub fn wilson(successes: usize, count: usize) -> Option<Interval> {
    (count > 0 && successes <= count)
        .then(|| score_interval(successes as f64 / count as f64, count as f64))
}

/// Successes by count over groups `(successes, count)` whose members resemble each other, as the
/// tokens of one prompt do: Wilson's interval with the effective count `n' = p (1 - p) / v`, where
/// `v = G/(G-1) sum_g (s_g - p n_g)^2 / N^2` is the variance of the share `p` that the `G` groups
/// show (Kish 1965), and at most `N`. Where groups cannot differ, since all succeed, none does, or
/// there is but one group, `n'` is the number of groups. `None` without members.
#[must_use]
pub fn grouped_share(groups: &[(usize, usize)]) -> Option<Interval> {
    let used: Vec<(f64, f64)> =
        groups.iter().filter(|group| group.1 > 0).map(|&(s, n)| (s as f64, n as f64)).collect();
    let (successes, count) =
        used.iter().fold((0.0, 0.0), |(s, n), group| (s + group.0, n + group.1));
    if count == 0.0 || used.iter().any(|(successes, count)| successes > count) {
        return None;
    }
    let (share, number) = (successes / count, used.len() as f64);
    let effective = if used.len() == 1 || share == 0.0 || share == 1.0 {
        number
    } else {
        let spread: f64 =
            used.iter().map(|(successes, count)| (successes - share * count).powi(2)).sum();
        let variance = number / (number - 1.0) * spread / (count * count);
        (share * (1.0 - share) / variance).clamp(1.0, count)
    };
    Some(score_interval(share, effective))
}

/// Wilson's interval of a share among `n`.
fn score_interval(share: f64, n: f64) -> Interval {
    const Z: f64 = 1.959_963_984_540_054;
    let scale = 1.0 / (1.0 + Z * Z / n);
    let middle = scale * (share + Z * Z / (2.0 * n));
    let half = scale * Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Interval { value: share, low: (middle - half).max(0.0), high: (middle + half).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WILSON: [f64; 3] = [0.1811918241010821, 0.5671457233147637, 0.27753279986288926];

    /// Oracle: SciPy 1.17, `binomtest(7, 20).proportion_ci(method="wilson")` and the same for 0 of
    /// 10.
    #[test]
    fn intervals_are_those_of_scipy() {
        let Interval { value, low, high } = wilson(7, 20).expect("some");
        assert!(
            value == 0.35 && (low - WILSON[0]).abs() < 1e-12 && (high - WILSON[1]).abs() < 1e-12,
            "{low} {high}"
        );
        let none = wilson(0, 10).expect("some");
        assert!(none.low == 0.0 && (none.high - WILSON[2]).abs() < 1e-12, "{none:?}");
        assert_eq!((wilson(0, 0), wilson(3, 2)), (None, None));
    }

    #[test]
    fn members_that_agree_count_as_one() {
        let width = |interval: Option<Interval>| {
            interval.map(|interval| interval.high - interval.low).expect("members")
        };
        // Twelve of twenty groups succeed with all of their fifty members: as sure as 19 single
        // ones, not as 1000.
        let agree: Vec<(usize, usize)> =
            (0..20).map(|group| (if group < 12 { 50 } else { 0 }, 50)).collect();
        let (few, many) = (width(wilson(12, 20)), width(wilson(600, 1000)));
        assert!((width(grouped_share(&agree)) / few - 1.0).abs() < 0.04 && few > 5.0 * many);
        // Every group has the share of all: nothing to hold against the members.
        assert_eq!(grouped_share(&[(3, 5); 20]), wilson(60, 100));
        assert_eq!(
            grouped_share(&[(50, 50); 10]),
            wilson(10, 10),
            "all succeed: the groups are the sample"
        );
        assert_eq!(grouped_share(&[(7, 20), (0, 0)]).map(|interval| interval.value), Some(0.35));
        assert_eq!((grouped_share(&[]), grouped_share(&[(2, 1)])), (None, None));
    }
}
