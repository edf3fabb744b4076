//! The inputs of a report.

use serde::Deserialize;
use serde_json::Value;
use speckv::{cost::CostModel, predictor::Predictor};

use crate::{
    evaluation::{Evaluation, FORMAT, File, Side},
    grid::{GridRun, StepRow},
    run::Run,
    statistics::throughput::{Ratio, ratio, throughput},
    trace_file::TraceFile,
};

/// Everything that a report may be made of; every part may be missing.
#[derive(Debug, Default)]
pub struct Inputs {
    /// A grid with its steps.
    pub grid: Option<(GridRun, Vec<StepRow>)>,
    /// Traces.
    pub trace: Option<TraceInput>,
    /// Comparisons, each with its name.
    pub contests: Vec<Contest>,
    /// Cost curves.
    pub curves: Vec<CurveFile>,
}

/// Traces, with costs and predictor.
#[derive(Debug)]
pub struct TraceInput {
    /// Facts of the recording.
    pub run: Run,
    /// All its traces.
    pub files: Vec<TraceFile>,
    /// Whose calibration is shown.
    pub predictor: Predictor,
    /// How that is called.
    pub predictor_name: String,
    /// Costs that replays go by.
    pub cost: CostModel,
}

/// Settings against each other, from either kind of file.
#[derive(Debug, Clone, PartialEq)]
pub struct Contest {
    /// What it was about: the target's compression, or the target where a file does not say it.
    pub name: String,
    /// Who it was measured against.
    pub baseline: String,
    /// Prompts.
    pub prompts: usize,
    /// The fixed gamma with the highest total throughput, known only in hindsight.
    pub best_fixed: Option<String>,
    /// Who took part.
    pub rows: Vec<ContestRow>,
    /// Where it comes from, line by line: names and values.
    pub facts: Vec<(&'static str, String)>,
    /// Machine and files, as far as the file names them.
    pub origin: ContestOrigin,
}

/// What a comparison was measured on; older files name less.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContestOrigin {
    /// Processor, cores, operating system.
    pub machine: Option<String>,
    /// SHA-256 of the target's file.
    pub target: Option<String>,
    /// SHA-256 of the draft's file.
    pub draft: Option<String>,
}

/// Why a file is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum ContestError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(serde_json::Error),
    /// It has conditions, as an evaluation has, and something else is missing or wrong.
    #[error("an evaluation, but not whole: {0}")]
    Evaluation(serde_json::Error),
    /// An evaluation of a later version.
    #[error("an evaluation: expected format {FORMAT} or earlier, got {0}")]
    Format(u32),
    /// Neither an evaluation nor a whole report.
    #[error("no report of a comparison: {0}")]
    Bench(serde_json::Error),
}

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub struct ContestRow {
    /// Its name.
    pub name: String,
    /// Tokens per second over everything.
    pub tokens_per_second: Option<f64>,
    /// By that of the baseline.
    pub ratio: Option<Ratio>,
    /// By that of the best fixed gamma.
    pub to_best_fixed: Option<Ratio>,
    /// Holm's p against the baseline, if it was tested.
    pub holm_p: Option<f64>,
    /// Steps by tokens drafted, from 0.
    pub gamma_histogram: Vec<usize>,
}

/// The parts of `speckv bench`'s report that are drawn.
#[derive(Debug, Deserialize)]
struct BenchFile {
    subject: BenchSubject,
    best_fixed: Option<String>,
    settings: Vec<BenchRow>,
}

#[derive(Debug, Deserialize)]
struct BenchSubject {
    target: String,
    draft: Option<String>,
    compression: Option<String>,
    instruction_set: Option<String>,
    threads: Option<usize>,
    machine: Option<String>,
    version: Option<String>,
    command: Option<Vec<String>>,
    target_sha256: Option<String>,
    draft_sha256: Option<String>,
    split: Option<String>,
    max_tokens: Option<usize>,
    prompts: usize,
}

#[derive(Debug, Deserialize)]
struct BenchRow {
    setting: String,
    tokens_per_second: Option<f64>,
    to_off: Option<Ratio>,
    to_best_fixed: Option<Ratio>,
    gamma_histogram: Vec<usize>,
}

impl Contest {
    /// From the JSON of `speckv evaluate` or of `speckv bench`, which is a list where several
    /// compressions were compared.
    ///
    /// # Errors
    /// [`ContestError`].
    pub fn from_json(text: &str) -> Result<Vec<Self>, ContestError> {
        let value: Value = serde_json::from_str(text).map_err(ContestError::Json)?;
        // An evaluation has conditions, a report a subject.
        if value.get("conditions").is_some() {
            let evaluation: Evaluation =
                serde_json::from_value(value).map_err(ContestError::Evaluation)?;
            if evaluation.format > FORMAT {
                return Err(ContestError::Format(evaluation.format));
            }
            return Ok(vec![Self::of(&evaluation)]);
        }
        let reports = if let Value::Array(reports) = value { reports } else { vec![value] };
        let made =
            reports.into_iter().map(|report| serde_json::from_value(report).map(Self::of_bench));
        made.collect::<Result<_, _>>().map_err(ContestError::Bench)
    }

    fn of_bench(file: BenchFile) -> Self {
        let prompts = file.subject.prompts;
        let rows = file.settings.into_iter().map(|row| ContestRow {
            name: row.setting,
            tokens_per_second: row.tokens_per_second,
            ratio: row.to_off.map(|ratio| ratio.of_units(prompts)),
            to_best_fixed: row.to_best_fixed.map(|ratio| ratio.of_units(prompts)),
            holm_p: None,
            gamma_histogram: row.gamma_histogram,
        });
        let subject = file.subject;
        let plain = |path: &str| {
            path.rsplit(['/', '\\']).next().unwrap_or(path).trim_end_matches(".gguf").to_owned()
        };
        let target = plain(&subject.target);
        let mut settings: Vec<String> = subject.compression.iter().cloned().collect();
        settings.push(format!("{} prompts", subject.prompts));
        settings.extend(subject.split.map(|split| format!("{split} split")));
        settings.extend(subject.max_tokens.map(|tokens| format!("up to {tokens} tokens")));
        settings.extend(subject.threads.map(|threads| format!("{threads} threads")));
        settings.extend(subject.instruction_set);
        let draft = subject.draft.as_deref().map_or_else(|| "look-up".into(), plain);
        let command =
            subject.command.map_or_else(|| "speckv bench".into(), |command| command.join(" "));
        let mut facts = vec![("comparison", format!("{command}: {draft} drafts for {target}"))];
        facts.extend(subject.machine.clone().map(|machine| ("machine", machine)));
        let summed =
            |name: &str, sum: &Option<String>| Some(format!("{name}, SHA-256 {}", sum.as_ref()?));
        facts.extend(summed(&target, &subject.target_sha256).map(|file| ("target", file)));
        facts.extend(summed(&draft, &subject.draft_sha256).map(|file| ("draft", file)));
        facts.extend(subject.version.map(|version| ("version", version)));
        facts.push(("settings", settings.join(", ")));
        Contest {
            facts,
            origin: ContestOrigin {
                machine: subject.machine,
                target: subject.target_sha256,
                draft: subject.draft_sha256,
            },
            name: subject.compression.unwrap_or(target),
            baseline: "off".into(),
            prompts: subject.prompts,
            best_fixed: file.best_fixed,
            rows: rows.collect(),
        }
    }

    fn of(evaluation: &Evaluation) -> Self {
        let baseline = evaluation.verdicts.first().map_or("off", |verdict| &verdict.against);
        let speed = |side: &Side| throughput(&side.cells);
        // Without a name after @ the draft is the contest's own.
        let fixed = evaluation
            .sides
            .iter()
            .filter(|side| side.name.starts_with("fixed:") && !side.name.contains('@'));
        let best_fixed = fixed
            .filter_map(|side| Some((side, speed(side)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(side, _)| side);
        let rows = evaluation.sides.iter().map(|side| {
            let verdict = evaluation.verdicts.iter().find(|verdict| verdict.of == side.name);
            let itself = Ratio::alone(1.0);
            ContestRow {
                name: side.name.clone(),
                tokens_per_second: speed(side),
                ratio: verdict
                    .map(|verdict| verdict.ratio.of_units(verdict.prompts))
                    .or((side.name == baseline).then_some(itself)),
                to_best_fixed: best_fixed
                    .filter(|best| best.cells.len() == side.cells.len())
                    .and_then(|best| ratio(&side.cells, &best.cells, evaluation.seed)),
                holm_p: verdict.map(|verdict| verdict.holm_p),
                gamma_histogram: side.gamma_histogram.clone(),
            }
        });
        Contest {
            name: evaluation.conditions.compression.clone(),
            baseline: baseline.into(),
            prompts: evaluation.prompts.len(),
            best_fixed: best_fixed.map(|side| side.name.clone()),
            rows: rows.collect(),
            facts: facts(evaluation),
            origin: ContestOrigin {
                machine: Some(evaluation.conditions.machine.clone()),
                target: Some(evaluation.conditions.target.sha256.clone()),
                draft: evaluation.conditions.draft.as_ref().map(|draft| draft.sha256.clone()),
            },
        }
    }
}

fn facts(evaluation: &Evaluation) -> Vec<(&'static str, String)> {
    let conditions = &evaluation.conditions;
    let file = |file: &File| format!("{}, SHA-256 {}", file.name, file.sha256);
    vec![
        ("evaluation", evaluation.command.join(" ")),
        ("machine", conditions.machine.clone()),
        ("target", file(&conditions.target)),
        ("draft", conditions.draft.as_ref().map_or_else(|| "look-up".into(), file)),
        ("version", evaluation.version.clone()),
        (
            "settings",
            format!(
                "{}, {} prompts, {} split, rounds {}, up to {} tokens, {} threads, {}, seed {}, \
                 answers unlike plain decoding's {}",
                conditions.compression,
                evaluation.prompts.len(),
                evaluation.split,
                evaluation.rounds,
                conditions.max_tokens,
                conditions.threads,
                conditions.instruction_set,
                evaluation.seed,
                evaluation.mismatches
            ),
        ),
    ]
}

/// The parts of `speckv bench --curve`'s report that are drawn.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CurveFile {
    /// The model's file.
    pub model: String,
    /// SHA-256 of it, where the file has it.
    pub sha256: Option<String>,
    /// Processor, cores, operating system, where the file has it.
    pub machine: Option<String>,
    /// Version of the program, where the file has it.
    pub version: Option<String>,
    /// The command line, where the file has it.
    #[serde(default)]
    pub command: Vec<String>,
    /// Type of most of its weights.
    pub tensor_type: String,
    /// Instruction set.
    pub instruction_set: String,
    /// Threads.
    pub threads: usize,
    /// By context.
    pub curves: Vec<Curve>,
}

/// t(n) after a context.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Curve {
    /// Tokens already read.
    pub context: usize,
    /// By rows.
    pub passes: Vec<Pass>,
}

/// A pass of n rows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Pass {
    /// n.
    pub rows: usize,
    /// t(n).
    pub milliseconds: Quartiles,
    /// t(n) / t(1).
    pub ratio: Quartiles,
}

/// A median with its quartiles.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Quartiles {
    /// Half of the samples are below.
    pub median: f64,
    /// A quarter is below.
    pub lower_quartile: f64,
    /// Three quarters are below.
    pub upper_quartile: f64,
}
