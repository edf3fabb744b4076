//! Samples summed up, as a table and as JSON.

use serde::Serialize;

use super::{measure::Samples, plan::Plan, spread::Spread};
use speckv_local::{provenance::Origin, units};

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// Name of the model's file.
    pub model: String,
    /// SHA-256 of the model's file; none of a shape without weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where it was measured.
    #[serde(flatten)]
    pub origin: Origin,
    /// Type of most of its weights.
    pub tensor_type: String,
    /// Instruction set of the kernels, or the device.
    pub instruction_set: String,
    /// Threads.
    pub threads: usize,
    /// Bytes of weights that a pass reads.
    pub pass_bytes: u64,
    /// Multiply-adds with weights per row.
    pub multiply_adds: u64,
    /// How keys and values are stored.
    pub kv: String,
    /// Bytes of keys and values per position.
    pub position_bytes: u64,
}

/// The result of `speckv bench --curve`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was measured.
    #[serde(flatten)]
    pub subject: Subject,
    /// Rounds.
    pub rounds: usize,
    /// Seconds to open and pack the file when the system has it in memory.
    pub load_seconds: Spread,
    /// Bytes of memory read per second by the same threads, in the same rounds.
    pub read_rate: Spread,
    /// Size of what was read for that.
    pub buffer_bytes: usize,
    /// Passes, by context.
    pub curves: Vec<Curve>,
    /// Prompts, by length.
    pub prompts: Vec<Prompt>,
}

/// t(n) after a context.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// Tokens already read.
    pub context: usize,
    /// Share of the memory's floor that a pass of one row reaches: `pass_bytes / t(1) / read_rate`,
    /// by round. Keys and values are not counted as bytes to read.
    pub floor_share: Spread,
    /// Passes, by rows.
    pub passes: Vec<Pass>,
}

/// A pass of n rows, logits of all.
#[derive(Debug, Clone, Serialize)]
pub struct Pass {
    /// n.
    pub rows: usize,
    /// t(n).
    pub milliseconds: Spread,
    /// t(n) / t(1), by round.
    pub ratio: Spread,
}

/// Prompt processing.
#[derive(Debug, Clone, Serialize)]
pub struct Prompt {
    /// Tokens of the prompt.
    pub tokens: usize,
    /// Time from an empty cache to the logits of the last token.
    pub milliseconds: Spread,
    /// Tokens per second.
    pub tokens_per_second: Spread,
}

impl Report {
    /// Sums up.
    ///
    /// # Panics
    /// If samples are missing.
    #[must_use]
    pub fn new(subject: Subject, plan: &Plan, load_seconds: Vec<f64>, samples: Samples) -> Self {
        let milliseconds =
            |seconds: &[f64]| Spread::of(seconds.iter().map(|seconds| 1e3 * seconds).collect());
        let bytes = subject.pass_bytes as f64;
        let curves = plan.contexts.iter().zip(&samples.passes).map(|(&context, passes)| Curve {
            context,
            floor_share: Spread::of_pairs(&passes[0], &samples.read_rates, |seconds, rate| {
                bytes / seconds / rate
            }),
            passes: (1..)
                .zip(passes)
                .map(|(rows, seconds)| Pass {
                    rows,
                    milliseconds: milliseconds(seconds),
                    ratio: Spread::of_pairs(seconds, &passes[0], |n, one| n / one),
                })
                .collect(),
        });
        let prompts = plan.prompts.iter().zip(&samples.prompts).map(|(&tokens, seconds)| Prompt {
            tokens,
            milliseconds: milliseconds(seconds),
            tokens_per_second: Spread::of(
                seconds.iter().map(|seconds| tokens as f64 / seconds).collect(),
            ),
        });
        Report {
            rounds: plan.rounds,
            load_seconds: Spread::of(load_seconds),
            buffer_bytes: plan.buffer_bytes,
            curves: curves.collect(),
            prompts: prompts.collect(),
            read_rate: Spread::of(samples.read_rates),
            subject,
        }
    }

    /// For people.
    #[must_use]
    pub fn as_text(&self) -> String {
        let subject = &self.subject;
        let rate = |spread: &Spread| with_quartiles(spread, 1e-9, 1);
        let mut lines = vec![
            format!(
                "{}: {}, {} cache, {}, {} threads; medians of {} rounds with quartiles",
                subject.model,
                subject.tensor_type,
                subject.kv,
                subject.instruction_set,
                subject.threads,
                self.rounds
            ),
            String::new(),
            format!("load, warm           {} s", with_quartiles(&self.load_seconds, 1.0, 2)),
            format!("weights per token    {}", units::bytes(subject.pass_bytes)),
            format!("memory read rate     {} GB/s", rate(&self.read_rate)),
            format!(
                "floor per token      {:.2} ms: the weights at that rate",
                1e3 * subject.pass_bytes as f64 / self.read_rate.median
            ),
        ];
        for curve in &self.curves {
            lines.push(format!(
                "share of the floor   {} % at n = 1, context {}",
                with_quartiles(&curve.floor_share, 100.0, 0),
                curve.context
            ));
        }
        if !self.curves.is_empty() {
            lines.extend([String::new(), "a pass of n rows, logits of all".into()]);
            let heads: Vec<String> = self
                .curves
                .iter()
                .map(|curve| format!("{:>28}", format!("context {}", curve.context)))
                .collect();
            lines.push(format!("    {}", heads.join("  ").trim_end()));
            let heads = vec![format!("{:>20}{:>8}", "ms", "/ t(1)"); self.curves.len()];
            lines.push(format!("{:>4}{}", "n", heads.join("  ")));
            for row in 0..self.curves[0].passes.len() {
                let cells = self.curves.iter().map(|curve| {
                    let pass = &curve.passes[row];
                    format!(
                        "{:>20}{:>8.2}",
                        with_quartiles(&pass.milliseconds, 1.0, 1),
                        pass.ratio.median
                    )
                });
                lines.push(format!("{:>4}{}", row + 1, cells.collect::<Vec<_>>().join("  ")));
            }
        }
        if !self.prompts.is_empty() {
            lines.extend([
                String::new(),
                format!("{:>6}{:>26}{:>24}", "prompt", "ms", "tokens per second"),
            ]);
            for prompt in &self.prompts {
                let (time, speed) = (&prompt.milliseconds, &prompt.tokens_per_second);
                lines.push(format!(
                    "{:>6}{:>26}{:>24}",
                    prompt.tokens,
                    with_quartiles(time, 1.0, 1),
                    with_quartiles(speed, 1.0, 1)
                ));
            }
        }
        lines.join("\n") + "\n"
    }
}

/// `41.2 (40.8-42.0)`: median and quartiles of `factor` times the samples.
fn with_quartiles(spread: &Spread, factor: f64, decimals: usize) -> String {
    let [median, lower, upper] =
        [spread.median, spread.lower_quartile, spread.upper_quartile].map(|x| factor * x);
    format!("{median:.decimals$} ({lower:.decimals$}-{upper:.decimals$})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::plan::MOST_ROWS;

    /// A machine that reads 10 GB/s and a model whose pass of n rows over 1 GB takes 125 + 25
    /// (n - 1) ms; in the second round all is half as fast.
    fn report() -> Report {
        let subject = Subject {
            model: "m.gguf".into(),
            sha256: Some("00".into()),
            origin: Origin::here(),
            tensor_type: "Q4_K".into(),
            instruction_set: "avx2".into(),
            threads: 2,
            pass_bytes: 1_000_000_000,
            multiply_adds: 1_500_000_000,
            kv: "f16".into(),
            position_bytes: 28_672,
        };
        let plan =
            Plan { contexts: vec![128], prompts: vec![500], rounds: 2, buffer_bytes: 1 << 29 };
        let passes = (0..MOST_ROWS)
            .map(|row| 0.125 + 0.025 * row as f64)
            .map(|t| vec![t, 2.0 * t])
            .collect();
        let samples = Samples {
            read_rates: vec![1e10, 5e9],
            passes: vec![passes],
            prompts: vec![vec![4.0, 8.0]],
        };
        Report::new(subject, &plan, vec![1.5, 1.25, 2.0], samples)
    }

    #[test]
    fn ratios_and_shares_are_taken_within_rounds() {
        let report = report();
        let curve = &report.curves[0];
        assert_eq!(
            curve.floor_share.samples,
            [0.8, 0.8],
            "1 GB at 10 GB/s is 100 ms, and 125 were needed"
        );
        assert_eq!(curve.passes[4].rows, 5);
        assert!(curve.passes[4].ratio.samples.iter().all(|ratio| (ratio - 1.8).abs() < 1e-12));
        assert!((curve.passes[4].milliseconds.median - 1.5 * 225.0).abs() < 1e-9);
        assert_eq!(report.prompts[0].tokens_per_second.samples, [125.0, 62.5]);
        assert_eq!(report.load_seconds.median, 1.5);
    }

    #[test]
    fn the_table_shows_floor_ratio_and_speed() {
        let text = report().as_text();
        for words in [
            "weights per token    1.00 GB",
            "memory read rate     7.5 (6.2-8.8) GB/s",
            "share of the floor   80 (80-80) % at n = 1, context 128",
            "   5 337.5 (281.2-393.8)    1.80",
            "93.8 (78.1-109.4)",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 100 && !line.ends_with(' ')), "{text}");
    }

    #[test]
    fn json_has_every_sample() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["pass_bytes"], 1_000_000_000);
        assert!(
            ["machine", "version"].iter().all(|key| json[key].is_string())
                && json["command"].is_array()
        );
        assert_eq!(json["curves"][0]["passes"][16]["rows"], 17);
        assert_eq!(
            json["curves"][0]["passes"][0]["milliseconds"]["samples"],
            serde_json::json!([125.0, 250.0])
        );
        assert_eq!(json["read_rate"]["samples"], serde_json::json!([1e10, 5e9]));
    }
}
