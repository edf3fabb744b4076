//! Controllers against each other, prompt by prompt: ratios of speed with intervals and tests.
//!
//! Every comparison is paired: both sides answered the same prompt in the same block of one run, so
//! that what the prompt and the hour of the machine do to speed cancels. The unit is the prompt;
//! rounds are summed. The differences that tests see are `ln(speed of one / speed of the other)`,
//! so that twice as fast and half as fast are equally far from nothing.

use serde::{Deserialize, Serialize};

use crate::statistics::{
    MersenneTwister, SignedRank, cohens_dz, hodges_lehmann, holm, rank_biserial, sign_flip,
    signed_rank,
    throughput::{Cell, Ratio, ratio},
};

/// Number of the format of saved evaluations: 2 since they name draft head, context, predictor and
/// the prompts' digests.
pub const FORMAT: u32 = 2;
/// Resamples of the sign-flip test.
pub const FLIPS: usize = 10_000;

/// A file that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// Where and on what it was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// Processor, cores, operating system.
    pub machine: String,
    /// Instruction set of the kernels.
    pub instruction_set: String,
    /// Threads.
    pub threads: usize,
    /// The target.
    pub target: File,
    /// What became of its weights.
    pub compression: String,
    /// The draft model, if there is one.
    pub draft: Option<File>,
    /// What became of its weights.
    pub draft_compression: Option<String>,
    /// Tokens that the draft's output head covers, or `whole`; none where it is not recorded.
    #[serde(default)]
    pub draft_head: Option<String>,
    /// The draft was spoiled on purpose.
    #[serde(default)]
    pub spoiled_draft: bool,
    /// The draft's reading of each prompt counted as time of the controllers that drafted with it.
    #[serde(default)]
    pub cold_draft: bool,
    /// Weights of the predictor of acceptance: `shipped`, `prior`, or a file's name; none where
    /// it is not recorded.
    #[serde(default)]
    pub predictor: Option<String>,
    /// Tokens that prompt and answer could have together; none where it is not recorded.
    #[serde(default)]
    pub ctx: Option<usize>,
    /// Most tokens of an answer.
    pub max_tokens: usize,
}

impl Conditions {
    /// Names of what differs, with both values.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        crate::run::differences(self, other)
            .into_iter()
            .map(|(name, ours, theirs)| format!("{name}: {ours} and {theirs}"))
            .collect()
    }
}

/// A prompt that all controllers answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptId {
    /// Its id.
    pub id: String,
    /// Its task.
    pub task: String,
    /// Digits that change with its tokens, chat template included; empty where it is not recorded.
    #[serde(default)]
    pub digest: String,
}

/// One contestant's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Its name.
    pub name: String,
    /// Tokens and seconds on each prompt, summed over rounds, `[prompts]`.
    pub cells: Vec<Cell>,
    /// Steps by tokens drafted, from 0.
    pub gamma_histogram: Vec<usize>,
}

/// One side against another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose speed.
    pub of: String,
    /// By whose.
    pub against: String,
    /// Prompts that both answered.
    pub prompts: usize,
    /// Prompts on which `of` was faster.
    pub faster_on: usize,
    /// Total throughput of one by that of the other, with the bootstrap's 95% interval over
    /// prompts, if they are not too few.
    pub ratio: Ratio,
    /// The typical prompt's ratio: `exp` of the Hodges-Lehmann shift of the log ratios.
    pub typical_ratio: f64,
    /// Wilcoxon's signed-rank test; none where no prompt differs.
    pub signed_rank: Option<SignedRank>,
    /// Two-sided p of the sign-flip permutation test of the mean log ratio.
    pub sign_flip_p: f64,
    /// The signed-rank p, adjusted by Holm for the comparisons made together.
    pub holm_p: f64,
    /// Matched-pairs rank-biserial correlation, from -1 to 1.
    pub rank_biserial: f64,
    /// Mean by deviation of the log ratios; none where they do not vary.
    pub cohens_dz: Option<f64>,
}

/// A saved evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of this format.
    pub format: u32,
    /// Version of the program.
    pub version: String,
    /// The command line.
    pub command: Vec<String>,
    /// Where and on what.
    pub conditions: Conditions,
    /// Split of the workload.
    pub split: String,
    /// Rounds.
    pub rounds: usize,
    /// Start of the random numbers.
    pub seed: u64,
    /// It was stopped before the end.
    pub stopped: bool,
    /// Answers whose tokens differ from plain decoding's.
    pub mismatches: usize,
    /// The prompts.
    pub prompts: Vec<PromptId>,
    /// Who answered them.
    pub sides: Vec<Side>,
    /// Every controller against the baseline.
    pub verdicts: Vec<Verdict>,
}

/// Compares pairs of cells, prompt by prompt; Holm's adjustment is over the verdicts of one call.
/// Pairs without prompts or without time are left out.
#[must_use]
pub fn verdicts(pairs: &[(String, String, Vec<Cell>, Vec<Cell>)], seed: u64) -> Vec<Verdict> {
    let mut made: Vec<Verdict> =
        pairs.iter().filter_map(|(of, against, a, b)| verdict(of, against, a, b, seed)).collect();
    let p_values: Vec<f64> =
        made.iter().map(|verdict| verdict.signed_rank.map_or(1.0, |test| test.p_value)).collect();
    for (verdict, p) in made.iter_mut().zip(holm(&p_values)) {
        verdict.holm_p = p;
    }
    made
}

fn verdict(of: &str, against: &str, a: &[Cell], b: &[Cell], seed: u64) -> Option<Verdict> {
    let usable = |cell: &Cell| cell.seconds > 0.0 && cell.tokens > 0.0;
    let (a, b): (Vec<Cell>, Vec<Cell>) =
        a.iter().zip(b).filter(|(a, b)| usable(a) && usable(b)).unzip();
    let speed = |cell: &Cell| cell.tokens / cell.seconds;
    let logs: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (speed(a) / speed(b)).ln()).collect();
    let signed_rank = signed_rank(&logs);
    // The stream has 32 bits of seed; both halves of a longer one count.
    let mut stream = MersenneTwister::new((seed ^ (seed >> 32)) as u32);
    Some(Verdict {
        of: of.into(),
        against: against.into(),
        prompts: logs.len(),
        faster_on: logs.iter().filter(|log| **log > 0.0).count(),
        ratio: ratio(&a, &b, seed)?,
        typical_ratio: hodges_lehmann(&logs)?.exp(),
        sign_flip_p: sign_flip(&logs, FLIPS, &mut stream)?,
        holm_p: 1.0,
        rank_biserial: signed_rank.as_ref().map_or(0.0, rank_biserial),
        signed_rank,
        cohens_dz: cohens_dz(&logs),
    })
}

impl Evaluation {
    /// Every controller but the baseline against it.
    #[must_use]
    pub fn judged(self, baseline: &str) -> Self {
        let Some(base) = self.sides.iter().find(|side| side.name == baseline) else { return self };
        let others = self.sides.iter().filter(|side| side.name != baseline);
        let pairs: Vec<_> = others
            .map(|side| {
                (side.name.clone(), base.name.clone(), side.cells.clone(), base.cells.clone())
            })
            .collect();
        Evaluation { verdicts: verdicts(&pairs, self.seed), ..self }
    }

    /// What differs between two runs, in words: conditions, and prompts of one id that have other
    /// tokens.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut all = self.conditions.differences(&other.conditions);
        let changed = self.prompts.iter().filter(|ours| {
            let named = |theirs: &&PromptId| theirs.id == ours.id;
            other.prompts.iter().find(named).is_some_and(|theirs| theirs.digest != ours.digest)
        });
        all.extend(changed.map(|prompt| format!("the text of the prompt {}", prompt.id)));
        all
    }

    /// Every contestant of both runs, the second run's speed against the first's, on the prompts
    /// that both have.
    #[must_use]
    pub fn against(&self, before: &Self) -> Vec<Verdict> {
        let shared: Vec<(usize, usize)> = self
            .prompts
            .iter()
            .enumerate()
            .filter_map(|(here, prompt)| {
                Some((here, before.prompts.iter().position(|other| other == prompt)?))
            })
            .collect();
        let pairs: Vec<_> = self
            .sides
            .iter()
            .filter_map(|side| {
                let other = before.sides.iter().find(|other| other.name == side.name)?;
                let (a, b) = shared
                    .iter()
                    .filter_map(|&(here, there)| {
                        Some((*side.cells.get(here)?, *other.cells.get(there)?))
                    })
                    .unzip();
                Some((
                    format!("{}, second run", side.name),
                    format!("{}, first run", side.name),
                    a,
                    b,
                ))
            })
            .collect();
        verdicts(&pairs, self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(seconds: &[f64]) -> Vec<Cell> {
        seconds.iter().map(|&seconds| Cell { tokens: 100.0, seconds }).collect()
    }

    fn evaluation(ours: &[f64]) -> Evaluation {
        let side = |name: &str, seconds: &[f64]| Side {
            name: name.into(),
            cells: cells(seconds),
            gamma_histogram: vec![],
        };
        let file = File { name: "t.gguf".into(), sha256: "00".into() };
        Evaluation {
            format: FORMAT,
            version: "0".into(),
            command: vec![],
            conditions: Conditions {
                machine: "a".into(),
                instruction_set: "avx2".into(),
                threads: 2,
                target: file,
                compression: "asis".into(),
                draft: None,
                draft_compression: None,
                draft_head: None,
                spoiled_draft: false,
                cold_draft: false,
                predictor: Some("prior".into()),
                ctx: Some(4096),
                max_tokens: 100,
            },
            split: "test".into(),
            rounds: 1,
            seed: 3,
            stopped: false,
            mismatches: 0,
            prompts: (0..ours.len())
                .map(|at| PromptId { id: format!("t-{at}"), task: "t".into(), digest: "d".into() })
                .collect(),
            sides: vec![
                side("off", &vec![2.0; ours.len()]),
                side("speckv", ours),
                side("same", &vec![2.0; ours.len()]),
            ],
            verdicts: vec![],
        }
    }

    #[test]
    fn a_faster_side_is_found_faster_and_an_equal_one_equal() {
        let judged = evaluation(&[1.0, 1.1, 0.9, 1.2, 1.0, 1.05, 0.95, 1.15]).judged("off");
        let [ours, same] = &judged.verdicts[..] else { panic!("two verdicts: {judged:?}") };
        assert_eq!((ours.prompts, ours.faster_on, same.faster_on), (8, 8, 0));
        assert!(
            (ours.ratio.value - 16.0 / 8.35).abs() < 1e-12
                && ours.ratio.low.is_some_and(|low| low > 1.7)
        );
        assert!((1.8..2.05).contains(&ours.typical_ratio));
        let p = ours.signed_rank.expect("differences").p_value;
        assert_eq!((p, ours.sign_flip_p, ours.holm_p), (2.0 / 256.0, 2.0 / 256.0, 4.0 / 256.0));
        assert_eq!((ours.rank_biserial, same.rank_biserial), (1.0, 0.0));
        assert_eq!((same.signed_rank, same.holm_p, same.sign_flip_p), (None, 1.0, 1.0));
    }

    #[test]
    fn two_runs_meet_on_the_prompts_that_both_have() {
        let (before, mut after) = (evaluation(&[2.0, 2.0, 2.0]), evaluation(&[1.0, 1.0, 1.0]));
        after.prompts[1].id = "other".into();
        let verdicts = after.against(&before);
        let ours =
            verdicts.iter().find(|verdict| verdict.of.starts_with("speckv")).expect("in both");
        assert_eq!((ours.prompts, ours.ratio.value), (2, 2.0));
    }

    #[test]
    fn conditions_that_differ_are_all_named() {
        let a = evaluation(&[1.0]).conditions;
        let b = Conditions { machine: "b".into(), threads: 4, ..a.clone() };
        assert_eq!(a.differences(&b), ["machine: \"a\" and \"b\"", "threads: 2 and 4"]);
        assert!(a.differences(&a).is_empty());
        let (before, mut after) = (evaluation(&[1.0, 1.0]), evaluation(&[1.0, 1.0]));
        after.prompts[1].digest = "e".into();
        after.conditions.spoiled_draft = true;
        assert_eq!(
            before.differences(&after),
            ["spoiled_draft: false and true", "the text of the prompt t-1"]
        );
        assert_eq!(after.against(&before)[0].prompts, 1, "another text is another prompt");
    }
}
