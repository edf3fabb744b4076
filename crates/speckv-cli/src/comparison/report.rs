//! What the samples say.

mod measured;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Contestant, Sample, Text, statistics::Ratio};
use speckv_local::{calibration::View, energy::NoCounter, provenance::Origin};

use crate::verdict;
use measured::Measured;

/// What was measured on what.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// Name of the target's file.
    pub target: String,
    /// SHA-256 of it.
    pub target_sha256: String,
    /// What became of the target's weights.
    pub compression: String,
    /// Bytes of weights that a pass of the target reads.
    pub target_bytes: u64,
    /// Name of the draft's file.
    pub draft: Option<String>,
    /// SHA-256 of it.
    pub draft_sha256: Option<String>,
    /// What became of the draft's weights.
    pub draft_compression: Option<String>,
    /// Bytes of weights that a pass of the draft reads.
    pub draft_bytes: Option<u64>,
    /// How keys and values are stored.
    pub kv: String,
    /// The draft's logits were moved on, so that it is worthless.
    pub spoiled_draft: bool,
    /// Whether the draft's reading of the prompts counts.
    #[serde(default)]
    pub cold_draft: bool,
    /// Weights of the predictor of acceptance: `shipped`, `prior`, or a file's name.
    pub predictor: String,
    /// Threads.
    pub threads: usize,
    /// Instruction set of the kernels.
    pub instruction_set: String,
    /// `train` or `test`.
    pub split: String,
    /// Prompts of which all contestants have an answer.
    pub prompts: usize,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Rounds asked for.
    pub rounds: usize,
    /// Start of the random numbers.
    pub seed: u64,
    /// Where it was measured.
    #[serde(flatten)]
    pub origin: Origin,
    /// Costs that controllers began with.
    pub costs: View,
}

/// Where joules come from, or why there are none.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum EnergyNote {
    /// They are counted.
    Counted {
        /// What is counted.
        source: String,
        /// Watts of the idle machine before the race, which are subtracted.
        idle_watts: f64,
    },
    /// They are not.
    Absent {
        /// Why not.
        absent: String,
    },
}

impl From<NoCounter> for EnergyNote {
    fn from(reason: NoCounter) -> Self {
        EnergyNote::Absent { absent: reason.to_string() }
    }
}

/// One comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was measured.
    pub subject: Subject,
    /// It was stopped before the end.
    pub stopped: bool,
    /// The fixed gamma with the highest throughput over the whole workload, known in hindsight
    /// only.
    pub best_fixed: Option<String>,
    /// The same per task.
    pub best_fixed_by_task: BTreeMap<String, String>,
    /// The rival controller with the highest throughput.
    pub best_rival: Option<String>,
    /// Throughput of `speckv` by that of the best rival.
    pub speckv_to_best_rival: Option<Ratio>,
    /// Answers whose tokens differ from plain decoding's.
    pub mismatches: usize,
    /// Mean seconds that the draft model took to read a prompt; in no throughput.
    pub draft_prompt_seconds: f64,
    /// Where the joules come from.
    pub energy: EnergyNote,
    /// One sentence: whether speculation helps, and by how much.
    pub verdict: String,
    /// Contestants in the order of the list.
    pub settings: Vec<Row>,
}

/// One contestant over the whole workload.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name.
    pub setting: String,
    /// Tokens by seconds, both summed over all answers.
    pub tokens_per_second: Option<f64>,
    /// By that of `off`.
    pub to_off: Option<Ratio>,
    /// By that of the best fixed gamma in hindsight.
    pub to_best_fixed: Option<Ratio>,
    /// By that of `off`, from the 65th token on: answers that are longer on both sides, without
    /// what the first 64 tokens cost; see [`Sample::head`].
    pub to_off_after_head: Option<Ratio>,
    /// By that of `off`, with the draft's reading of the prompts counted as decoding.
    pub to_off_with_draft_prompts: Option<Ratio>,
    /// Joules per token above what the idle machine takes, where they are counted.
    pub joules_per_token: Option<f64>,
    /// Accepted by drafted.
    pub acceptance_rate: Option<f64>,
    /// Tokens per step.
    pub acceptance_length: Option<f64>,
    /// Tokens drafted per step.
    pub mean_gamma: Option<f64>,
    /// Second choices of the draft that were verified, among those drafted.
    pub siblings: usize,
    /// Those of them that were accepted.
    pub siblings_accepted: usize,
    /// Steps by the number of tokens drafted, from 0.
    pub gamma_histogram: Vec<usize>,
    /// Share of the time that drafting and catching up took.
    pub draft_share: f64,
    /// Share of the target's passes.
    pub verify_share: f64,
    /// Share of planning, judging and observing; reading the signals is part of drafting.
    pub controller_share: f64,
    /// Answers whose tokens differ from plain decoding's.
    pub mismatches: usize,
    /// By task.
    pub tasks: BTreeMap<String, TaskRow>,
}

/// One contestant on one task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskRow {
    /// Prompts.
    pub prompts: usize,
    /// Tokens by seconds.
    pub tokens_per_second: Option<f64>,
    /// By that of `off`.
    pub to_off: Option<Ratio>,
    /// By that of the task's best fixed gamma in hindsight.
    pub to_best_fixed: Option<Ratio>,
}

impl Report {
    /// The report on samples of whole blocks; the first contestant is `off`.
    #[must_use]
    pub fn new(
        subject: Subject,
        texts: &[Text],
        contestants: &[Contestant],
        samples: &[Sample],
        energy: EnergyNote,
        stopped: bool,
    ) -> Self {
        let table = Measured { texts, contestants, samples, seed: subject.seed };
        let best_fixed = table.best(None, Contestant::is_fixed);
        let best_rival = table.best(None, Contestant::is_rival);
        let best_by_task: BTreeMap<String, usize> = table
            .tasks()
            .into_iter()
            .filter_map(|task| Some((task.clone(), table.best(Some(task), Contestant::is_fixed)?)))
            .collect();
        let name = |index: usize| contestants[index].name.clone();
        let ours = contestants.iter().position(|contestant| contestant.name == "speckv");
        let blocks = samples.iter().filter(|sample| sample.contestant == 0);
        let reading: Vec<f64> = blocks.map(|sample| sample.draft_prompt_seconds).collect();
        let settings: Vec<Row> = (0..contestants.len())
            .map(|index| table.row(index, best_fixed, &best_by_task))
            .collect();
        let prompts = table.cells(0, None, false).len();
        let draft_prompt_seconds = reading.iter().sum::<f64>() / reading.len().max(1) as f64;
        Report {
            verdict: verdict(&settings, &subject, draft_prompt_seconds > 0.0, prompts),
            energy,
            stopped,
            best_fixed: best_fixed.map(name),
            best_fixed_by_task: best_by_task
                .iter()
                .map(|(task, &index)| (task.clone(), name(index)))
                .collect(),
            best_rival: best_rival.map(name),
            speckv_to_best_rival: ours
                .zip(best_rival)
                .and_then(|(ours, rival)| table.compared(ours, rival, None)),
            mismatches: samples.iter().filter(|sample| !sample.identical).count(),
            draft_prompt_seconds,
            settings,
            subject: Subject { prompts, ..subject },
        }
    }
}

/// The sentence on `speckv`, or on the last setting where that did not take part. The draft's
/// reading of the prompts counts, where there was one.
fn verdict(settings: &[Row], subject: &Subject, reads: bool, prompts: usize) -> String {
    let ours = settings.iter().find(|row| row.setting == "speckv").or(settings.last());
    let ours = ours.filter(|row| row.setting != "off");
    let with_reading = reads || subject.cold_draft;
    let ratio = ours.and_then(|row| {
        let ratio = if with_reading { row.to_off_with_draft_prompts } else { row.to_off };
        Some((row, ratio?))
    });
    let Some((row, ratio)) = ratio else {
        return "Only plain decoding was measured; --controllers and --gammas name more.".into();
    };
    let scope = if with_reading {
        "with the draft's reading of the prompts counted"
    } else {
        "once the prompts are read"
    };
    let what = format!("The setting {}", row.setting);
    verdict::sentence(&what, &ratio, scope, prompts)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use speckv::{engine::Totals, record::Times};

    use super::*;
    use crate::comparison::{contestant, statistics::Cell};
    use speckv_local::calibration::Costs;

    pub(in super::super) fn report() -> Report {
        let names = ["off", "fixed:2", "fixed:4", "ema", "speckv"];
        let contestants: Vec<Contestant> =
            names.iter().map(|name| contestant::parse(name, true).expect("known")).collect();
        let text = |id: &str, task: &str| Text { id: id.into(), task: task.into(), tokens: vec![] };
        let texts = [text("code-01", "code"), text("chat-01", "chat"), text("chat-02", "chat")];
        // Milliseconds for 100 tokens, [contestant][prompt].
        let millis = [
            [4000, 4000, 4000],
            [2500, 3000, 3000],
            [2000, 5000, 5000],
            [2200, 3000, 3300],
            [2000, 2500, 2500],
        ];
        let mut samples = Vec::new();
        for round in 0..2 {
            for prompt in 0..3 {
                for (contestant, millis) in millis.iter().enumerate() {
                    let total = Duration::from_millis(millis[prompt]);
                    let times =
                        Times { draft: total / 4, verify: total / 2, total, ..Times::default() };
                    let drafted = [0, 100, 200, 80, 90][contestant];
                    let totals = Totals {
                        produced: 100,
                        steps: 50,
                        drafted,
                        accepted: drafted / 2,
                        times,
                        gamma_histogram: vec![10, 40],
                        ..Totals::default()
                    };
                    let identical = (round, prompt, contestant) != (1, 2, 3);
                    let draft_prompt_seconds = 0.5;
                    samples.push(Sample {
                        round,
                        prompt,
                        contestant,
                        place: 0,
                        // Two thirds of the tokens in half of the time.
                        head: Cell { tokens: 64.0, seconds: 0.5 * total.as_secs_f64() },
                        totals,
                        draft_prompt_seconds,
                        // 10 W above idle.
                        joules: Some(10.0 * total.as_secs_f64()),
                        identical,
                    });
                }
            }
        }
        let subject = Subject {
            target: "t.gguf".into(),
            target_sha256: "00".into(),
            compression: "asis".into(),
            target_bytes: 1,
            draft: Some("d.gguf".into()),
            draft_sha256: Some("01".into()),
            draft_compression: Some("compact".into()),
            kv: "f16".into(),
            draft_bytes: Some(1),
            spoiled_draft: false,
            cold_draft: false,
            predictor: "prior".into(),
            threads: 2,
            instruction_set: "avx2".into(),
            split: "test".into(),
            prompts: 0,
            max_tokens: 100,
            rounds: 2,
            seed: 0,
            origin: Origin::here(),
            costs: Costs::guessed().view(),
        };
        let energy = EnergyNote::Counted { source: "a counter".into(), idle_watts: 12.25 };
        Report::new(subject, &texts, &contestants, &samples, energy, false)
    }

    #[test]
    fn ratios_and_bests_follow_from_the_samples() {
        let report = report();
        // Seconds of all prompts: off 12, fixed:2 8.5, fixed:4 12, ema 8.5, speckv 7; per round.
        assert_eq!(report.best_fixed.as_deref(), Some("fixed:2"));
        assert_eq!(report.best_fixed_by_task["code"], "fixed:4");
        assert_eq!(report.best_fixed_by_task["chat"], "fixed:2");
        assert_eq!(report.best_rival.as_deref(), Some("ema"));
        let close = |ratio: Option<Ratio>, expected: f64| {
            (ratio.expect("a ratio").value - expected).abs() < 1e-12
        };
        assert!(close(report.speckv_to_best_rival, 8.5 / 7.0));
        let speckv = &report.settings[4];
        assert!(close(speckv.to_off, 12.0 / 7.0) && close(speckv.to_best_fixed, 8.5 / 7.0));
        assert!(close(speckv.to_off_with_draft_prompts, 12.0 / 8.5));
        assert!(close(speckv.to_off_after_head, 12.0 / 7.0), "36 tokens each, in half of the time");
        assert!(close(report.settings[0].to_off_with_draft_prompts, 1.0), "off needs no draft");
        assert!(
            close(speckv.tasks["code"].to_best_fixed, 1.0)
                && close(speckv.tasks["chat"].to_off, 8.0 / 5.0)
        );
        assert_eq!(speckv.tokens_per_second, Some(600.0 / 14.0));
        assert_eq!(
            (speckv.acceptance_rate, speckv.acceptance_length, speckv.mean_gamma),
            (Some(0.5), Some(2.0), Some(1.8))
        );
        // 14 s at 10 W for 600 tokens.
        assert!((speckv.joules_per_token.expect("counted") - 140.0 / 600.0).abs() < 1e-12);
        assert_eq!((speckv.draft_share, speckv.verify_share), (0.25, 0.5));
        assert_eq!(speckv.gamma_histogram, [60, 240]);
        assert_eq!((report.mismatches, report.settings[3].mismatches), (1, 1));
        assert_eq!((report.subject.prompts, report.draft_prompt_seconds), (3, 0.5));
    }
}
