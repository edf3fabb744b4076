//! Replays several controllers over recorded traces and sums up their steps and modelled times.
//!
//! Steps, drafted and accepted tokens are exact: they are what the controller would have done.
//! Seconds are modelled by the cost model, and every number made of them says so in its name.

use speckv::{cost::CostModel, record::Source};
use speckv_local::controllers::{ControllerKind, ControllerParts, ControllerSpec};

use crate::{
    contestant::Contestant,
    oracle,
    replay::{Summary, replay_counting},
    trace::{Trace, TraceError},
};

/// One controller's figures over some prompts.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// The contestant's name: `fixed:4`, `speckv@model`.
    pub controller: String,
    /// Tokens per modelled second.
    pub modelled_tokens_per_second: f64,
    /// By that of `off`.
    pub modelled_ratio_to_off: f64,
    /// By that of the best fixed gamma for these prompts, `off` included.
    pub modelled_ratio_to_best_fixed: f64,
    /// By that of the oracle, which knows every agreement beforehand.
    pub modelled_share_of_oracle: f64,
    /// Second choices of the draft that were verified, among those drafted.
    pub siblings: usize,
    /// Those of them that were accepted.
    pub siblings_accepted: usize,
    /// Accepted by drafted; `None` if nothing was drafted.
    pub acceptance_rate: Option<f64>,
    /// Tokens per step.
    pub acceptance_length: f64,
    /// Steps by the number of tokens drafted, from 0.
    pub gamma_histogram: Vec<usize>,
    /// Steps that would have drafted further live than the recording goes; where there are none,
    /// the row is exact.
    pub cut_steps: usize,
    /// Sums.
    #[serde(skip)]
    pub summary: Summary,
}

/// All controllers over the prompts of one task, or over all prompts.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Group {
    /// The task, or `all`.
    pub task: String,
    /// Prompts.
    pub prompts: usize,
    /// Tokens of their texts.
    pub tokens: usize,
    /// Tokens per modelled second of plain decoding.
    pub modelled_off_tokens_per_second: f64,
    /// The best fixed gamma in hindsight; 0 is `off`.
    pub best_fixed_gamma: usize,
    /// Its speed by that of `off`.
    pub modelled_best_fixed_ratio_to_off: f64,
    /// The oracle's speed by that of `off`: what no controller can pass.
    pub modelled_oracle_ratio_to_off: f64,
    /// The same of an oracle that drafts with the model alone.
    pub modelled_model_oracle_ratio_to_off: f64,
    /// One row per controller, in the order asked for.
    pub controllers: Vec<Row>,
}

/// Everything that was replayed.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// All prompts first, then every task.
    pub groups: Vec<Group>,
}

/// Why controllers cannot be compared.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ComparisonError {
    /// No trace.
    #[error("expected at least one trace, got none")]
    Nothing,
    /// A gamma beyond what was recorded.
    #[error("expected a gamma of at most {gamma_max}, the depth of the recording, got {got}")]
    TooDeep {
        /// Depth of the recording.
        gamma_max: usize,
        /// The controller's gamma.
        got: usize,
    },
    /// A trace does not fit together.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

/// One controller over one trace.
#[derive(Debug, Clone, Default)]
struct Cell {
    summary: Summary,
    histogram: Vec<usize>,
    cut_steps: usize,
}

/// Replays `contestants` over traces recorded to `gamma_max`, each controller fresh for every
/// prompt.
///
/// # Errors
/// [`ComparisonError`].
pub fn compare(
    contestants: &[Contestant],
    parts: &ControllerParts,
    traces: &[Trace],
    cost: &CostModel,
    gamma_max: usize,
) -> Result<Comparison, ComparisonError> {
    if traces.is_empty() {
        return Err(ComparisonError::Nothing);
    }
    let has_model = traces.iter().any(Trace::has_model);
    let deepest = traces.iter().map(|trace| trace.depths.gamma_limit).fold(gamma_max, usize::min);
    for contestant in contestants {
        if let ControllerKind::Fixed(Some(got)) = contestant.spec.kind
            && got > deepest
        {
            return Err(ComparisonError::TooDeep { gamma_max: deepest, got });
        }
    }
    let run = |contestant: &Contestant| -> Result<Vec<Cell>, ComparisonError> {
        traces.iter().map(|trace| Ok(cell(contestant, parts, trace, cost)?)).collect()
    };
    let cells = contestants.iter().map(run).collect::<Result<Vec<_>, _>>()?;
    let fixed: Vec<Vec<Cell>> = (0..=deepest)
        .map(|gamma| {
            let kind =
                if gamma == 0 { ControllerKind::Off } else { ControllerKind::Fixed(Some(gamma)) };
            run(&Contestant::natural(ControllerSpec { chain: false, kind }, has_model))
        })
        .collect::<Result<_, _>>()?;
    let least = |sources: &[Source]| {
        traces
            .iter()
            .map(|trace| oracle::least_seconds(trace, cost, sources))
            .collect::<Result<Vec<f64>, TraceError>>()
    };
    let (least_both, least_model) =
        (least(&[Source::MODEL, Source::PARALLEL, Source::NGRAM])?, least(&[Source::MODEL])?);

    let mut tasks: Vec<&str> = Vec::new();
    for trace in traces {
        if !tasks.contains(&trace.task.as_str()) {
            tasks.push(&trace.task);
        }
    }
    let group = |task: Option<&str>| -> Group {
        let chosen: Vec<usize> = (0..traces.len())
            .filter(|&index| task.is_none_or(|task| traces[index].task == task))
            .collect();
        let sum = |cells: &[Cell]| {
            chosen.iter().fold(Cell::default(), |sum, &index| sum.and(&cells[index]))
        };
        let speed = |cells: &[Cell]| sum(cells).summary.tokens_per_second();
        let off = speed(&fixed[0]);
        let best = (0..fixed.len()).fold((0, off), |best, gamma| {
            let speed = speed(&fixed[gamma]);
            if speed > best.1 { (gamma, speed) } else { best }
        });
        let tokens: usize = chosen.iter().map(|&index| traces[index].tokens.len()).sum();
        let oracle_of =
            |least: &[f64]| tokens as f64 / chosen.iter().map(|&index| least[index]).sum::<f64>();
        let oracle = oracle_of(&least_both);
        let rows = contestants.iter().zip(&cells).map(|(contestant, cells)| {
            let Cell { summary, histogram, cut_steps } = sum(cells);
            let speed = summary.tokens_per_second();
            Row {
                controller: contestant.name.clone(),
                modelled_tokens_per_second: speed,
                modelled_ratio_to_off: speed / off,
                modelled_ratio_to_best_fixed: speed / best.1,
                modelled_share_of_oracle: speed / oracle,
                siblings: summary.siblings,
                siblings_accepted: summary.siblings_accepted,
                acceptance_rate: (summary.drafted > 0).then(|| summary.acceptance_rate()),
                acceptance_length: summary.tokens as f64 / summary.steps.max(1) as f64,
                gamma_histogram: histogram,
                cut_steps,
                summary,
            }
        });
        Group {
            task: task.unwrap_or("all").into(),
            prompts: chosen.len(),
            tokens,
            modelled_off_tokens_per_second: off,
            best_fixed_gamma: best.0,
            modelled_best_fixed_ratio_to_off: best.1 / off,
            modelled_oracle_ratio_to_off: oracle / off,
            modelled_model_oracle_ratio_to_off: oracle_of(&least_model) / off,
            controllers: rows.collect(),
        }
    };
    let groups = std::iter::once(None).chain(tasks.iter().copied().map(Some)).map(group).collect();
    Ok(Comparison { groups })
}

fn cell(
    contestant: &Contestant,
    parts: &ControllerParts,
    trace: &Trace,
    cost: &CostModel,
) -> Result<Cell, TraceError> {
    let (records, cut_steps) = replay_counting(contestant.build(parts).as_mut(), trace, cost)?;
    let mut histogram = Vec::new();
    for record in &records {
        let drafted = record.drafted.len();
        if histogram.len() <= drafted {
            histogram.resize(drafted + 1, 0);
        }
        histogram[drafted] += 1;
    }
    Ok(Cell { summary: Summary::of(&records), histogram, cut_steps })
}

impl Cell {
    fn and(mut self, other: &Cell) -> Self {
        self.summary += other.summary;
        self.cut_steps += other.cut_steps;
        if self.histogram.len() < other.histogram.len() {
            self.histogram.resize(other.histogram.len(), 0);
        }
        for (sum, count) in self.histogram.iter_mut().zip(&other.histogram) {
            *sum += count;
        }
        self
    }
}
