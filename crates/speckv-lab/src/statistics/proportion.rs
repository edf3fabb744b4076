//! Shares of counted things.

use super::Interval;

/// `successes / count` with Wilson's 95% score interval (1927), which stays within [0, 1] and is honest for few counts; `None` for none.
#[must_use]
pub fn wilson(successes: usize, count: usize) -> Option<Interval> {
    const Z: f64 = 1.959_963_984_540_054;
    if count == 0 || successes > count {
        return None;
    }
    let (n, share) = (count as f64, successes as f64 / count as f64);
    let scale = 1.0 / (1.0 + Z * Z / n);
    let middle = scale * (share + Z * Z / (2.0 * n));
    let half = scale * Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(Interval { value: share, low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WILSON: [f64; 3] = [0.1811918241010821, 0.5671457233147637, 0.27753279986288926];

    /// Oracle: SciPy 1.17, `binomtest(7, 20).proportion_ci(method="wilson")` and the same for 0 of 10.
    #[test]
    fn intervals_are_those_of_scipy() {
        let Interval { value, low, high } = wilson(7, 20).expect("some");
        assert!(value == 0.35 && (low - WILSON[0]).abs() < 1e-12 && (high - WILSON[1]).abs() < 1e-12, "{low} {high}");
        let none = wilson(0, 10).expect("some");
        assert!(none.low == 0.0 && (none.high - WILSON[2]).abs() < 1e-12, "{none:?}");
        assert_eq!((wilson(0, 0), wilson(3, 2)), (None, None));
    }
}
