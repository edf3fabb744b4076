//! Quality of predicted probabilities: calibration, Brier score, log loss, area under the curve.

/// Quality of probabilities against outcomes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Metrics {
    /// Outcomes.
    pub count: usize,
    /// Share of outcomes that are true.
    pub base_rate: f64,
    /// Mean of `(p - y)^2`.
    pub brier: f64,
    /// Brier score of always saying the base rate.
    pub brier_constant: f64,
    /// Mean of `-ln` of the probability given to what happened, in nats; probabilities are kept in
    /// [1e-6, 1 - 1e-6].
    pub log_loss: f64,
    /// Log loss of always saying the base rate.
    pub log_loss_constant: f64,
    /// Expected calibration error over 10 bins of equal width: mean of |mean p - mean y|, weighted
    /// by the bins' counts.
    pub ece_10: f64,
    /// The same over 15 bins.
    pub ece_15: f64,
    /// Area under the ROC curve: how often a true outcome got more than a false one, ties half;
    /// `None` if only one kind occurs.
    pub auc: Option<f64>,
}

impl Metrics {
    /// Metrics of `(probability, outcome)` pairs, or `None` without any. A probability that is not
    /// a number counts as 0.5.
    #[must_use]
    pub fn of(pairs: &[(f32, bool)]) -> Option<Self> {
        if pairs.is_empty() {
            return None;
        }
        let pairs: Vec<(f64, bool)> = pairs
            .iter()
            .map(|&(p, y)| (if p.is_nan() { 0.5 } else { f64::from(p).clamp(0.0, 1.0) }, y))
            .collect();
        let count = pairs.len() as f64;
        let base_rate = pairs.iter().filter(|pair| pair.1).count() as f64 / count;
        let brier = |p: &dyn Fn(f64) -> f64| {
            pairs.iter().map(|&(q, y)| (p(q) - target(y)).powi(2)).sum::<f64>() / count
        };
        let log_loss = |p: &dyn Fn(f64) -> f64| {
            pairs.iter().map(|&(q, y)| surprise(p(q), y)).sum::<f64>() / count
        };
        Some(Metrics {
            count: pairs.len(),
            base_rate,
            brier: brier(&|p| p),
            brier_constant: brier(&|_| base_rate),
            log_loss: log_loss(&|p| p),
            log_loss_constant: log_loss(&|_| base_rate),
            ece_10: calibration_error(&pairs, 10),
            ece_15: calibration_error(&pairs, 15),
            auc: area_under_curve(&pairs),
        })
    }

    /// Share of the constant's log loss that the predictor saves: 0 is useless, 1 is perfect,
    /// negative is harmful.
    #[must_use]
    pub fn gain_over_constant(&self) -> f64 {
        if self.log_loss_constant > 0.0 {
            1.0 - self.log_loss / self.log_loss_constant
        } else {
            0.0
        }
    }
}

fn target(outcome: bool) -> f64 {
    f64::from(u8::from(outcome))
}

fn surprise(p: f64, outcome: bool) -> f64 {
    let p = p.clamp(1e-6, 1.0 - 1e-6);
    -(if outcome { p } else { 1.0 - p }).ln()
}

fn calibration_error(pairs: &[(f64, bool)], bins: usize) -> f64 {
    let mut sums = vec![0.0; bins]; // of p - y
    for &(p, y) in pairs {
        sums[((p * bins as f64) as usize).min(bins - 1)] += p - target(y);
    }
    sums.iter().map(|sum| sum.abs()).sum::<f64>() / pairs.len() as f64
}

/// Mann-Whitney statistic from ranks, ties sharing their mean rank.
fn area_under_curve(pairs: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = sorted.iter().filter(|pair| pair.1).count();
    let negatives = sorted.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut rank_sum = 0.0;
    let mut start = 0;
    while start < sorted.len() {
        let end =
            start + sorted[start..].iter().take_while(|pair| pair.0 == sorted[start].0).count();
        let mean_rank = (start + 1 + end) as f64 / 2.0;
        rank_sum += mean_rank * sorted[start..end].iter().filter(|pair| pair.1).count() as f64;
        start = end;
    }
    let positives = positives as f64;
    Some((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-6, "expected {expected}, got {got}");
    }

    #[test]
    fn four_outcomes_worked_by_hand() {
        let metrics = Metrics::of(&[(0.9, true), (0.75, false), (0.75, true), (0.25, false)])
            .expect("not empty");
        close(metrics.base_rate, 0.5);
        close(metrics.brier, (0.01 + 0.5625 + 0.0625 + 0.0625) / 4.0);
        close(metrics.brier_constant, 0.25);
        close(metrics.log_loss_constant, std::f64::consts::LN_2);
        // bins of 0.1: [0.9] -0.1, [0.7] two: +0.5, [0.2] +0.25
        close(metrics.ece_10, (0.1 + 0.5 + 0.25) / 4.0);
        // pairs true-false: .9>.75, .9>.25, .75=.75 (half), .75>.25
        close(metrics.auc.expect("both kinds"), 3.5 / 4.0);
    }

    #[test]
    fn a_constant_gains_nothing_and_one_kind_has_no_auc() {
        let metrics = Metrics::of(&[(0.75, true), (0.75, true), (0.75, true), (0.75, false)])
            .expect("not empty");
        close(metrics.gain_over_constant(), 0.0);
        close(metrics.ece_15, 0.0);
        assert_eq!(Metrics::of(&[(0.5, true)]).expect("not empty").auc, None);
        assert_eq!(Metrics::of(&[]), None);
    }
}
