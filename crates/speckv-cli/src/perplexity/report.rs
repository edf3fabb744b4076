//! Numbers about a text, for people and for programs.

use serde::Serialize;

use super::{
    Plan, Row,
    statistics::{BLOCK, Bootstrap, Estimate, FEWEST_BLOCKS, RESAMPLES},
};
use speckv_local::units;

/// Seed of the bootstrap: the same numbers have the same intervals.
const SEED: u64 = 5;

/// Who was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// The file or folder.
    pub model: String,
    /// The type that most of the weights have.
    pub weights: String,
    /// How keys and values are stored.
    pub kv: String,
    /// Bytes of weights that a pass reads.
    pub pass_bytes: u64,
    /// Bytes of keys and values per position.
    pub position_bytes: u64,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The text.
    pub text: String,
    /// Tokens of the text.
    pub tokens: usize,
    /// Tokens that were predicted.
    pub scored: usize,
    /// Positions of a window.
    pub window: usize,
    /// Tokens between the starts of windows.
    pub stride: usize,
    /// Whether every window begins with the model's own token.
    pub begins: bool,
    /// The model in question.
    pub target: Side,
    /// `exp(mean of -ln q(token))`.
    pub perplexity: Estimate,
    /// What it is compared with.
    pub reference: Option<Side>,
    /// Numbers against the reference.
    pub against: Option<AgainstReport>,
    /// How the intervals were made.
    pub intervals: String,
    /// Seconds that the measurement took.
    pub seconds: f64,
}

/// Numbers against the reference.
#[derive(Debug, Serialize)]
pub struct AgainstReport {
    /// The reference's own perplexity.
    pub perplexity: Estimate,
    /// Target's perplexity by the reference's.
    pub perplexity_ratio: Estimate,
    /// Mean Kullback-Leibler divergence in nats.
    pub divergence_mean: Estimate,
    /// Its median.
    pub divergence_median: Estimate,
    /// Its 99% quantile.
    pub divergence_99: Estimate,
    /// Its largest value.
    pub divergence_most: f64,
    /// Share of positions where both have the same likeliest token.
    pub top1_agreement: Estimate,
}

impl Report {
    /// Sums up. `rows` are those of [`measure`](super::measure()), at least one.
    #[must_use]
    pub fn new(
        text: String,
        tokens: usize,
        plan: &Plan,
        target: Side,
        reference: Option<Side>,
        rows: &[Row],
        seconds: f64,
    ) -> Self {
        let bootstrap = Bootstrap::new(rows.len(), SEED);
        let surprises: Vec<f64> = rows.iter().map(|row| row.surprise).collect();
        let against: Option<Vec<_>> = rows.iter().map(|row| row.against).collect();
        let against = against.map(|against| {
            let of =
                |value: &dyn Fn(usize) -> f64| (0..rows.len()).map(value).collect::<Vec<f64>>();
            let divergences = of(&|i| against[i].divergence);
            AgainstReport {
                perplexity: bootstrap.mean(&of(&|i| against[i].surprise), f64::exp),
                perplexity_ratio: bootstrap
                    .mean(&of(&|i| rows[i].surprise - against[i].surprise), f64::exp),
                divergence_mean: bootstrap.mean(&divergences, |mean| mean),
                divergence_median: bootstrap.quantile(&divergences, 0.5),
                divergence_99: bootstrap.quantile(&divergences, 0.99),
                divergence_most: divergences.iter().copied().fold(0.0, f64::max),
                top1_agreement: bootstrap
                    .mean(&of(&|i| f64::from(u8::from(against[i].same_top))), |mean| mean),
            }
        });
        let Plan { window, stride, begins } = *plan;
        let intervals = if rows.len().div_ceil(BLOCK) < FEWEST_BLOCKS {
            format!("none: fewer than {FEWEST_BLOCKS} blocks of {BLOCK} tokens")
        } else {
            format!(
                "95%, percentile bootstrap of {RESAMPLES} resamples over blocks of {BLOCK} \
                 neighbouring tokens"
            )
        };
        Report {
            text,
            tokens,
            scored: rows.len(),
            window,
            stride,
            begins,
            target,
            perplexity: bootstrap.mean(&surprises, f64::exp),
            reference,
            against,
            intervals,
            seconds,
        }
    }

    /// The report for people.
    #[must_use]
    pub fn as_text(&self) -> String {
        let mut lines = vec![format!(
            "{}: {} of {} tokens scored in windows of {}, stride {}",
            self.text, self.scored, self.tokens, self.window, self.stride
        )];
        let side = |label: &str, side: &Side| {
            let [weights, position] = [side.pass_bytes, side.position_bytes].map(units::bytes);
            format!(
                "{label:<10} {} ({}, {weights} of weights; {} cache, {position} per position)",
                side.model, side.weights, side.kv
            )
        };
        lines.push(side("target", &self.target));
        lines.extend(self.reference.as_ref().map(|reference| side("reference", reference)));
        lines.push(String::new());
        let mut row = |label: &str, estimate: &Estimate, digits: usize, factor: f64, unit: &str| {
            let number = |x: f64| format!("{:.digits$}", factor * x);
            let interval = match (estimate.low, estimate.high) {
                (Some(low), Some(high)) => format!("  [{}, {}]", number(low), number(high)),
                _ => String::new(),
            };
            lines.push(format!("{label:<28} {:>9}{unit}{interval}", number(estimate.value)));
        };
        row("perplexity", &self.perplexity, 4, 1.0, "");
        if let Some(against) = &self.against {
            row("perplexity of the reference", &against.perplexity, 4, 1.0, "");
            row("ratio", &against.perplexity_ratio, 4, 1.0, "");
            row("KL divergence, mean", &against.divergence_mean, 5, 1.0, " nats");
            row("KL divergence, median", &against.divergence_median, 5, 1.0, " nats");
            row("KL divergence, 99%", &against.divergence_99, 5, 1.0, " nats");
            row("same likeliest token", &against.top1_agreement, 2, 100.0, " %");
        }
        lines.push(format!("intervals: {}", self.intervals));
        lines.join("\n") + "\n"
    }
}
