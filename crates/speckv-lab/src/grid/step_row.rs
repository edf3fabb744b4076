//! One step as a row: the paper's columns first, then this project's.

use speckv::record::{Last, StepRecord};

/// A step with its compression, gamma, task and prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepRow {
    /// How the target is stored: `fp16`, `int8`, `nf4`, `asis` for its file as it is, or a type
    /// such as `q4_0`.
    pub compression: String,
    /// Tokens that a step may draft; 0 is plain decoding.
    pub gamma: usize,
    /// The prompt's task.
    pub task: String,
    /// Number of the step in its answer, from 0.
    pub step: usize,
    /// Draft tokens accepted.
    pub accepted: usize,
    /// Tokens that the step added.
    pub tokens_produced: usize,
    /// The prompt's id.
    pub prompt_id: String,
    /// The prompt's split.
    pub split: String,
    /// Decides the order of the gammas on each prompt; with sampling also what is drawn.
    pub seed: u64,
    /// 0 is greedy.
    pub temperature: f64,
    /// Place of this gamma among those measured on the prompt, from 0.
    pub place: usize,
    /// Tokens before the step, prompt included.
    pub context: usize,
    /// Draft tokens that the target verified.
    pub verified: usize,
    /// What made the last token: `plain`, `recovered`, `bonus` or `accepted`.
    pub last: String,
    /// Budget, context or an end token cut the step, whether or not it was accepted: no statistic
    /// of lengths may use it.
    pub censored: bool,
    /// Seconds of the draft reading tokens that it had missed.
    pub catch_up_seconds: f64,
    /// Seconds of drafting.
    pub draft_seconds: f64,
    /// Seconds of the target's pass.
    pub verify_seconds: f64,
    /// Seconds of the whole step.
    pub total_seconds: f64,
    /// Entropy in bits where each draft token was proposed, `[drafted]`.
    pub draft_entropy_bits: Vec<f32>,
    /// Largest probability there, `[drafted]`.
    pub draft_confidence: Vec<f32>,
    /// Largest less second largest probability, `[drafted]`.
    pub draft_margin: Vec<f32>,
    /// Tokens proposed, `[drafted]`.
    pub draft_tokens: Vec<u32>,
    /// Tokens added, `[tokens_produced]`.
    pub tokens: Vec<u32>,
    /// Text that each of them completes, `[tokens_produced]`; empty for special tokens and while a
    /// character is incomplete.
    pub pieces: Vec<String>,
}

impl StepRow {
    /// Puts a record's numbers into a row that has compression, gamma, task and prompt.
    #[must_use]
    pub fn with(self, record: &StepRecord, pieces: Vec<String>) -> Self {
        let signals = || record.drafted.iter().map(|drafted| drafted.signals);
        StepRow {
            accepted: record.outcome.accepted,
            tokens_produced: record.outcome.produced,
            context: record.before.context,
            verified: record.outcome.verified,
            last: match record.outcome.last {
                Last::Plain => "plain",
                Last::Recovered => "recovered",
                Last::Bonus => "bonus",
                Last::Accepted => "accepted",
            }
            .into(),
            censored: record.is_clipped(),
            catch_up_seconds: record.times.catch_up.as_secs_f64(),
            draft_seconds: record.times.draft.as_secs_f64(),
            verify_seconds: record.times.verify.as_secs_f64(),
            total_seconds: record.times.total.as_secs_f64(),
            draft_entropy_bits: signals().map(|signals| signals.entropy_bits).collect(),
            draft_confidence: signals().map(|signals| signals.confidence).collect(),
            draft_margin: signals().map(|signals| signals.margin).collect(),
            draft_tokens: record.drafted.iter().map(|drafted| drafted.token).collect(),
            tokens: record.tokens.clone(),
            pieces,
            ..self
        }
    }

    /// Tokens drafted.
    #[must_use]
    pub fn drafted(&self) -> usize {
        self.draft_tokens.len()
    }

    /// Accepted by drafted; `None` where nothing was drafted.
    #[must_use]
    pub fn acceptance_rate(&self) -> Option<f64> {
        (self.drafted() > 0).then(|| self.accepted as f64 / self.drafted() as f64)
    }

    /// Mean of a signal over the draft; `None` where nothing was drafted.
    #[must_use]
    pub fn mean(signal: &[f32]) -> Option<f64> {
        (!signal.is_empty())
            .then(|| signal.iter().map(|x| f64::from(*x)).sum::<f64>() / signal.len() as f64)
    }

    /// Largest of a signal.
    #[must_use]
    pub fn max(signal: &[f32]) -> Option<f64> {
        signal.iter().copied().max_by(f32::total_cmp).map(f64::from)
    }

    /// Smallest of a signal.
    #[must_use]
    pub fn min(signal: &[f32]) -> Option<f64> {
        signal.iter().copied().min_by(f32::total_cmp).map(f64::from)
    }
}
