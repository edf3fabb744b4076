//! Means, spreads and agreement of numbers.

/// Arithmetic mean; `None` without numbers.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation of a sample, `sqrt(sum (x - mean)^2 / (n - 1))`; `None` below two numbers.
#[must_use]
pub fn sample_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// The value at place `q (n - 1)` of sorted numbers, between neighbours by linear interpolation
/// (Hyndman and Fan 1996, type 7); `None` without numbers.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let place = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// The middle of numbers in any order; `None` without numbers.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

/// Pearson's correlation; `None` below two pairs or where one side does not vary.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "values come in pairs");
    let (mean_x, mean_y) = (mean(x)?, mean(y)?);
    let sum = |f: &dyn Fn(f64, f64) -> f64| {
        x.iter().zip(y).map(|(&x, &y)| f(x - mean_x, y - mean_y)).sum::<f64>()
    };
    let (xy, xx, yy) = (sum(&|x, y| x * y), sum(&|x, _| x * x), sum(&|_, y| y * y));
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx * yy).sqrt())
}

/// Mean of `(x - y)^2`; `None` without pairs.
///
/// # Panics
/// If the lengths differ.
#[must_use]
pub fn mean_squared_error(x: &[f64], y: &[f64]) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "values come in pairs");
    mean(&x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_small_samples_are_those_by_hand() {
        let x = [1.0, 2.0, 4.0];
        assert_eq!(mean(&x), Some(7.0 / 3.0));
        assert!((sample_deviation(&x).expect("three") - (7.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!((median(&[4.0, 1.0, 2.0]), median(&[4.0, 1.0])), (Some(2.0), Some(2.5)));
        assert!(
            (correlation(&x, &[1.0, 3.0, 2.0]).expect("pairs") - 1.0 / (28.0_f64 / 3.0).sqrt())
                .abs()
                < 1e-12
        );
        assert!((correlation(&x, &[-2.0, -4.0, -8.0]).expect("pairs") + 1.0).abs() < 1e-12);
        assert_eq!(mean_squared_error(&x, &[1.0, 0.0, 4.0]), Some(4.0 / 3.0));
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert_eq!(
            (mean(&[]), median(&[]), sample_deviation(&[1.0]), correlation(&[1.0], &[1.0])),
            (None, None, None, None)
        );
        assert_eq!(
            correlation(&[1.0, 2.0], &[3.0, 3.0]),
            None,
            "a constant correlates with nothing"
        );
    }
}
