//! The paper's files, checked value by value and against each other.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::sheet::{Row, Sheet, SheetError};

/// The paper's gammas.
pub const GAMMAS: [usize; 4] = [2, 4, 6, 8];
/// Features of a predictor: see [`Step::features`].
pub const FEATURES: usize = 6;
/// Their names, in order.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "mean_draft_entropy",
    "mean_draft_confidence",
    "max_draft_entropy",
    "min_draft_confidence",
    "compression",
    "gamma",
];
/// New tokens after which a run ended.
const BUDGET: usize = 80;
/// Largest entropy in bits that a vocabulary of a million tokens allows.
const MOST_BITS: f64 = 20.0;

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $type { $($(#[$variant_doc])* $variant),+ }

        impl $type {
            /// All, in the paper's order.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];

            /// Its name in the files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }

            /// By its name in the files.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(self.name())
            }
        }
    };
}

names! {
    /// How the target is stored.
    Compression {
        /// 16-bit floats.
        Fp16 = "fp16",
        /// 8-bit integers (bitsandbytes).
        Int8 = "int8",
        /// 4-bit NormalFloat (bitsandbytes).
        Nf4 = "nf4",
    }
}

names! {
    /// Kind of work.
    Task {
        /// Programming.
        Code = "code",
        /// Word problems.
        Math = "math",
        /// Conversation.
        Chat = "chat",
        /// Summaries.
        Summarization = "summarization",
    }
}

/// One step of a run (`phase2_step_results.csv`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// How the target is stored.
    pub compression: Compression,
    /// Tokens that a step drafts, unless the budget cuts it.
    pub gamma: usize,
    /// Kind of work.
    pub task: Task,
    /// Number in its run, from 0.
    pub step: usize,
    /// Draft tokens accepted.
    pub accepted: usize,
    /// Accepted by drafted.
    pub acceptance_rate: f64,
    /// Tokens that the step made.
    pub tokens: usize,
    /// Mean entropy of the draft's distributions, in bits.
    pub mean_entropy_bits: f64,
    /// Mean of their largest probabilities.
    pub mean_confidence: f64,
    /// Largest entropy, in bits.
    pub max_entropy_bits: f64,
    /// Smallest of the largest probabilities.
    pub min_confidence: f64,
    /// Index of its run in [`PaperData::runs`].
    pub run: usize,
}

impl Step {
    /// What the paper's predictors see, had the step been drafted with `gamma`: [`FEATURE_NAMES`],
    /// with compression as 0, 1, 2.
    #[must_use]
    pub fn features(&self, gamma: usize) -> [f64; FEATURES] {
        [
            self.mean_entropy_bits,
            self.mean_confidence,
            self.max_entropy_bits,
            self.min_confidence,
            self.compression as usize as f64,
            gamma as f64,
        ]
    }
}

/// One prompt under one compression and gamma (`phase2_experiment_results.csv`).
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// How the target is stored.
    pub compression: Compression,
    /// Tokens that a step drafts.
    pub gamma: usize,
    /// Kind of work.
    pub task: Task,
    /// The prompt's beginning, as the file has it.
    pub prompt: String,
    /// Tokens generated.
    pub tokens: usize,
    /// Seconds for them.
    pub seconds: f64,
    /// Tokens by seconds, as the file has it.
    pub tokens_per_second: f64,
    /// Steps.
    pub steps: usize,
}

/// Everything that is learned from.
#[derive(Debug, Clone, PartialEq)]
pub struct PaperData {
    /// Steps in the file's order.
    pub steps: Vec<Step>,
    /// Runs in the file's order, which is also the steps'.
    pub runs: Vec<Run>,
    /// Rows of [`steps`](Self::steps) that the paper tested on, rising, if the folder has the file.
    pub test_rows: Option<Vec<usize>>,
}

const STEP_COLUMNS: [&str; 11] = [
    "compression",
    "gamma",
    "task",
    "step",
    "accepted",
    "acceptance_rate",
    "tokens_produced",
    "mean_draft_entropy",
    "mean_draft_confidence",
    "max_draft_entropy",
    "min_draft_confidence",
];

const RUN_COLUMNS: [&str; 11] = [
    "compression",
    "gamma",
    "task",
    "prompt",
    "num_tokens",
    "elapsed_sec",
    "tokens_per_sec",
    "mean_acceptance_rate",
    "mean_draft_entropy",
    "mean_draft_confidence",
    "num_steps",
];

/// Values in the files have four decimals.
const ROUNDING: f64 = 5.1e-5;

pub(super) fn compression(row: &Row<'_>) -> Result<Compression, SheetError> {
    Compression::named(row.text("compression"))
        .ok_or_else(|| row.wrong("compression", "fp16, int8 or nf4"))
}

pub(super) fn task(row: &Row<'_>) -> Result<Task, SheetError> {
    Task::named(row.text("task"))
        .ok_or_else(|| row.wrong("task", "code, math, chat or summarization"))
}

fn gamma(row: &Row<'_>) -> Result<usize, SheetError> {
    row.value("gamma", "2, 4, 6 or 8", |gamma| GAMMAS.contains(gamma))
}

fn read_runs(sheet: &Sheet) -> Result<Vec<Run>, SheetError> {
    sheet
        .rows()
        .map(|row| {
            let run = Run {
                compression: compression(&row)?,
                gamma: gamma(&row)?,
                task: task(&row)?,
                prompt: row.text("prompt").to_owned(),
                tokens: row.whole("num_tokens", 1, BUDGET + GAMMAS[3])?,
                seconds: row.number("elapsed_sec", 1e-3, 3600.0)?,
                tokens_per_second: row.number("tokens_per_sec", 0.1, 1e5)?,
                steps: row.whole("num_steps", 1, BUDGET)?,
            };
            row.number("mean_acceptance_rate", 0.0, 1.0)?;
            row.number("mean_draft_entropy", 0.0, MOST_BITS)?;
            row.number("mean_draft_confidence", 0.0, 1.0)?;
            let speed = run.tokens as f64 / run.seconds;
            if (speed - run.tokens_per_second).abs() > 0.001 * speed + 0.06 {
                let expected = format!("tokens_per_sec = num_tokens / elapsed_sec, {speed:.1}");
                return Err(row.error(expected, run.tokens_per_second.to_string()));
            }
            Ok(run)
        })
        .collect()
}

/// Two prompts in every cell of compression, gamma and task.
fn check_cells(sheet: &Sheet, runs: &[Run]) -> Result<(), SheetError> {
    for &compression in Compression::ALL {
        for gamma in GAMMAS {
            for &task in Task::ALL {
                let of_cell = |run: &&Run| {
                    (run.compression, run.gamma, run.task) == (compression, gamma, task)
                };
                let count = runs.iter().filter(of_cell).count();
                if count < 2 {
                    let expected =
                        format!("two runs or more of {compression}, gamma {gamma}, {task}");
                    return Err(sheet.content(expected, count.to_string()));
                }
            }
        }
    }
    Ok(())
}

fn read_steps(sheet: &Sheet, runs: &[Run]) -> Result<Vec<Step>, SheetError> {
    let mut steps: Vec<Step> = Vec::with_capacity(sheet.rows().len());
    let mut begun: usize = 0; // runs
    let mut tokens = 0; // of the run in hand
    for row in sheet.rows() {
        let number = row.whole("step", 0, BUDGET)?;
        if number == 0 {
            if let Some(last) = steps.last().filter(|last| last.step + 1 != runs[last.run].steps) {
                let expected = format!("step {} of {}", last.step + 1, runs[last.run].steps);
                return Err(row.error(expected, "step 0 of a new run"));
            }
            begun += 1;
            tokens = 0;
        }
        let Some(run) = begun.checked_sub(1).and_then(|run| runs.get(run)) else {
            return Err(row.error(
                format!("steps of {} runs, each from step 0 on", runs.len()),
                format!("step {number} of run {begun}"),
            ));
        };
        let gamma = gamma(&row)?;
        let step = Step {
            compression: compression(&row)?,
            gamma,
            task: task(&row)?,
            step: number,
            accepted: row.whole("accepted", 0, gamma)?,
            acceptance_rate: row.number("acceptance_rate", 0.0, 1.0)?,
            tokens: row.whole("tokens_produced", 1, gamma + 1)?,
            mean_entropy_bits: row.number("mean_draft_entropy", 0.0, MOST_BITS)?,
            mean_confidence: row.number("mean_draft_confidence", 0.0, 1.0)?,
            max_entropy_bits: row.number("max_draft_entropy", 0.0, MOST_BITS)?,
            min_confidence: row.number("min_draft_confidence", 0.0, 1.0)?,
            run: begun - 1,
        };
        tokens += step.tokens;
        check(&row, &step, run, steps.last())?;
        let last = number + 1 == run.steps;
        if last && tokens != run.tokens {
            return Err(row.error(
                format!("{} tokens in this run, as its experiment has", run.tokens),
                tokens.to_string(),
            ));
        }
        steps.push(step);
    }
    if begun != runs.len() || steps.last().is_some_and(|last| last.step + 1 != runs[last.run].steps)
    {
        return Err(sheet.content(
            format!("{} whole runs", runs.len()),
            format!("{begun}, the last perhaps cut off"),
        ));
    }
    Ok(steps)
}

/// What must hold between a row's values, its run and the row before.
fn check(row: &Row<'_>, step: &Step, run: &Run, before: Option<&Step>) -> Result<(), SheetError> {
    let facts = |compression: Compression, gamma: usize, task: Task| {
        format!("{compression}, gamma {gamma}, {task}")
    };
    let (expected, got) = (
        facts(run.compression, run.gamma, run.task),
        facts(step.compression, step.gamma, step.task),
    );
    if expected != got {
        return Err(row.error(format!("a step of the run with {expected}"), got));
    }
    let follows =
        before.filter(|before| before.run == step.run).map_or(0, |before| before.step + 1);
    if step.step != follows || step.step >= run.steps {
        return Err(row.error(format!("step {follows} of {}", run.steps), step.step.to_string()));
    }
    // A draft is cut by the token budget, so the rate may be by fewer than gamma.
    let by = |drafted: usize| step.accepted as f64 / drafted as f64;
    if !(step.accepted.max(1)..=step.gamma)
        .any(|drafted| (by(drafted) - step.acceptance_rate).abs() < ROUNDING)
    {
        let expected =
            format!("acceptance_rate = {} accepted by at most gamma {}", step.accepted, step.gamma);
        return Err(row.error(expected, step.acceptance_rate.to_string()));
    }
    if step.max_entropy_bits < step.mean_entropy_bits - 2.0 * ROUNDING {
        return Err(row.wrong("max_draft_entropy", "at least the mean"));
    }
    if step.min_confidence > step.mean_confidence + 2.0 * ROUNDING {
        return Err(row.wrong("min_draft_confidence", "at most the mean"));
    }
    Ok(())
}

impl PaperData {
    /// Reads `phase2_experiment_results.csv`, `phase2_step_results.csv` and, if it is there,
    /// `published_split_test_rows.csv`. Every compression, gamma and task must have two prompts or
    /// more: predictors are judged on prompts that they were not fitted to.
    ///
    /// # Errors
    /// [`SheetError`]: the first thing that is wrong, by file and line.
    pub fn read(folder: &Path) -> Result<Self, SheetError> {
        let sheet = Sheet::read(&folder.join("phase2_experiment_results.csv"), &RUN_COLUMNS)?;
        let runs = read_runs(&sheet)?;
        check_cells(&sheet, &runs)?;
        let steps = read_steps(
            &Sheet::read(&folder.join("phase2_step_results.csv"), &STEP_COLUMNS)?,
            &runs,
        )?;
        let path: PathBuf = folder.join("published_split_test_rows.csv");
        let test_rows = if path.exists() {
            Some(read_rows(&Sheet::read(&path, &["row"])?, steps.len())?)
        } else {
            None
        };
        Ok(PaperData { steps, runs, test_rows })
    }

    /// Steps and runs from the bytes of the two files.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn from_bytes(steps: &[u8], runs: &[u8]) -> Result<Self, SheetError> {
        let runs = read_runs(&Sheet::from_bytes(Path::new("runs"), runs, &RUN_COLUMNS)?)?;
        let steps =
            read_steps(&Sheet::from_bytes(Path::new("steps"), steps, &STEP_COLUMNS)?, &runs)?;
        Ok(PaperData { steps, runs, test_rows: None })
    }

    /// Number of the run's prompt among those of its task, compression and gamma, from 0: the same
    /// prompt has the same number everywhere.
    #[must_use]
    pub fn prompt_number(&self, run: usize) -> usize {
        let key = |run: &Run| (run.compression, run.gamma, run.task);
        self.runs[..run].iter().filter(|other| key(other) == key(&self.runs[run])).count()
    }
}

fn read_rows(sheet: &Sheet, steps: usize) -> Result<Vec<usize>, SheetError> {
    let mut rows: Vec<usize> = Vec::new();
    for row in sheet.rows() {
        let number = row.whole("row", 0, steps.saturating_sub(1))?;
        if rows.last().is_some_and(|last| *last >= number) {
            return Err(row.wrong("row", "rows in rising order"));
        }
        rows.push(number);
    }
    if rows.is_empty() || rows.len() == steps {
        return Err(sheet.content(format!("some of {steps} rows"), format!("{}", rows.len())));
    }
    Ok(rows)
}
