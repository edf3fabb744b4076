//! Arguments of the laboratory's commands: `profile`, `train`, `replay`, `evaluate`, `report`,
//! `paper`.

use std::path::PathBuf;

use speckv_formats::compression::Compression;
use speckv_lab::workload::Split;
use speckv_local::{draft_choice::DraftChoice, model_name::ModelName};

use super::{
    bench::ComparisonOptions,
    common::{CacheOptions, DeviceOptions, PredictorOptions, WeightArgs, compression},
    values::{GammaList, draft, gamma, grid_gammas, number, threads, whole},
};

/// Which prompts of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitChoice {
    /// One split.
    Only(Split),
    /// All prompts.
    All,
}

impl SplitChoice {
    /// Whether a prompt of this split is meant.
    #[must_use]
    pub fn takes(self, split: Split) -> bool {
        match self {
            SplitChoice::Only(only) => only == split,
            SplitChoice::All => true,
        }
    }
}

impl std::str::FromStr for SplitChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(SplitChoice::All),
            _ => text.parse().map(SplitChoice::Only).map_err(|_| {
                format!(
                    "expected train, test or all, got {text:?}\nhint: fit and tune on train, \
                     report figures on test"
                )
            }),
        }
    }
}

/// Arguments of `profile`.
#[derive(Debug, clap::Args)]
pub struct ProfileArgs {
    /// Record a trace into this folder: what every source would propose at every position, for
    /// `train` and `replay`. An unfinished one is continued.
    #[arg(long, value_name = "DIR", required_unless_present = "grid", conflicts_with = "grid")]
    pub trace: Option<PathBuf>,
    /// Record the paper's grid into this folder: every step of every gamma on every prompt, with
    /// its seconds. An unfinished one is continued.
    #[arg(long, value_name = "DIR")]
    pub grid: Option<PathBuf>,
    /// Gammas of the grid; 0 is plain decoding.
    #[arg(long, value_name = "LIST", default_value = "0,1,2,4,6,8", value_parser = grid_gammas, conflicts_with = "trace")]
    pub gammas: GammaList,
    /// Compressions of the grid's target, each of which --compression may be: fp16,int8,nf4 is the
    /// paper's list [default: that of --compression]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = compression, conflicts_with_all = ["trace", "compression"])]
    pub compressions: Vec<Compression>,
    /// Decides the order of the gammas on each prompt of the grid.
    #[arg(long, value_name = "N", default_value = "42", conflicts_with = "trace")]
    pub seed: u64,
    /// Target: a catalogue name or the path of a GGUF file [default: qwen2.5-coder-1.5b]
    #[arg(long, short, value_name = "MODEL")]
    pub model: Option<ModelName>,
    /// Draft: a catalogue name, a path, `self:TYPE` (the target's own weights compressed to TYPE),
    /// or `ngram` for look-up only [default: qwen2.5-coder-0.5b with the default target, else
    /// ngram]
    #[arg(long, short, value_name = "MODEL|self:TYPE|ngram", value_parser = draft())]
    pub draft: Option<DraftChoice>,
    /// What the weights become.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// How keys and values are stored.
    #[command(flatten)]
    pub cache: CacheOptions,
    /// Which devices run the models.
    #[command(flatten)]
    pub devices: DeviceOptions,
    /// Depth of the draft model's chain at every position of a trace; speckv and most others draft
    /// up to 16 tokens.
    #[arg(long, value_name = "N", default_value = "16", allow_negative_numbers = true, value_parser = gamma())]
    pub gamma_max: usize,
    /// Most tokens of each text.
    #[arg(long, short = 'n', value_name = "N", default_value = "128", value_parser = whole(2..=65_536_usize, "128 is a good start"))]
    pub max_tokens: usize,
    /// Prompts of this split: train, test or all.
    #[arg(long, value_name = "SPLIT", default_value = "train")]
    pub split: SplitChoice,
    /// Tasks of the workload, separated by commas [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub tasks: Vec<String>,
    /// Prompts of each task, the first ones [default: all]
    #[arg(long, value_name = "N", value_parser = whole(1..=1_000_000_usize, "leave it away for \
        all prompts"))]
    pub prompts_per_task: Option<usize>,
    /// A folder of *.jsonl files in place of the built-in workload.
    #[arg(long, value_name = "DIR")]
    pub workload: Option<PathBuf>,
    /// Tokens that prompt and text may have together [default: 4096, or what the model was made for
    /// if that is less]
    #[arg(long, value_name = "N", value_parser = whole(2..=16_777_216_usize, "memory for the \
        context grows with it"))]
    pub ctx: Option<usize>,
    /// Threads that compute [default: one per performance core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads())]
    pub threads: Option<usize>,
    /// Costs of the pair to keep with a trace, a file as `replay --cost` takes it [default:
    /// measured on this machine]
    #[arg(long, value_name = "FILE")]
    pub cost: Option<PathBuf>,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// Folder of recorded traces; may be given several times.
    #[arg(long, value_name = "DIR", required = true)]
    pub trace: Vec<PathBuf>,
    /// Where to write the weights.
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Train on the prompts of this split: train, test or all.
    #[arg(long, value_name = "SPLIT", default_value = "train")]
    pub split: SplitChoice,
    /// Parts for cross-validation, by prompt.
    #[arg(long, value_name = "N", default_value = "4", value_parser = whole(2..=100_usize, "4 is a good start"))]
    pub folds: usize,
    /// Passes over the examples for the perceptron.
    #[arg(long, value_name = "N", default_value = "60", value_parser = whole(1..=10_000_usize, "60 is a good start"))]
    pub epochs: usize,
    /// Pull of logistic weights towards the prior, in units of examples.
    #[arg(long, value_name = "R", default_value = "100",
        value_parser = number("from 0 to 1000000", |r| (0.0..=1e6).contains(&r), "less follows \
            few examples closer; 100 is a good start"))]
    pub ridge: f32,
    /// Start of the random numbers.
    #[arg(long, value_name = "N", default_value = "0")]
    pub seed: u64,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Folder of recorded traces.
    #[arg(long, value_name = "DIR", required = true)]
    pub trace: PathBuf,
    /// Controllers to replay, separated by commas; NAME@model, NAME@ngram and NAME@both say who
    /// drafts [default: all, with fixed:1 to fixed:8]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub controllers: Vec<String>,
    /// Measured costs: a JSON file, or `trace` for those recorded with the traces.
    #[arg(long, value_name = "FILE|trace", default_value = "trace")]
    pub cost: String,
    /// Whose weights the controllers' predictors have.
    #[command(flatten)]
    pub predictors: PredictorOptions,
    /// Prompts of this split: train, test or all.
    #[arg(long, value_name = "SPLIT", default_value = "all")]
    pub split: SplitChoice,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `paper`.
#[derive(Debug, clap::Args)]
pub struct PaperArgs {
    /// Folder with the paper's public data: phase2_step_results.csv, phase2_experiment_results.csv,
    /// and, if they are there, the published tables.
    #[arg(long, value_name = "DIR", required = true)]
    pub data: PathBuf,
    /// Start of the random numbers; 42 is the paper's, and draws its very split, weights and
    /// minibatches.
    #[arg(long, value_name = "N", default_value_t = speckv_lab::paper::PAPER_SEED)]
    pub seed: u32,
    /// Print one JSON object in place of tables.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct EvaluateArgs {
    /// What is compared on what.
    #[command(flatten)]
    pub comparison: ComparisonOptions,
    /// What the weights become.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// How keys and values are stored.
    #[command(flatten)]
    pub cache: CacheOptions,
    /// Which devices run the models.
    #[command(flatten)]
    pub devices: DeviceOptions,
    /// Every controller is tested against this one.
    #[arg(long, value_name = "NAME", default_value = "off")]
    pub baseline: String,
    /// Rounds: every controller answers every prompt once in each, in a new order [default: 1]
    #[arg(long, value_name = "N", value_parser = whole(1..=1000_usize, "more rounds make each \
        prompt's speed surer; more prompts make the intervals narrower"))]
    pub rounds: Option<usize>,
    /// Threads that compute [default: one per performance core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads())]
    pub threads: Option<usize>,
    /// Compare saved evaluations in place of running one: given twice, before and after.
    #[arg(long, value_name = "FILE", help_heading = "Saved evaluations", conflicts_with_all = ["ComparisonOptions", "WeightArgs", "DraftWeightArgs", "CacheOptions", "DeviceOptions", "baseline", "rounds", "threads"])]
    pub saved: Vec<PathBuf>,
    /// Compare them although machine, files, threads or lengths differ.
    #[arg(long, help_heading = "Saved evaluations", requires = "saved")]
    pub despite_differences: bool,
    /// Print one JSON object in place of tables.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Folder of a grid: `speckv profile --grid DIR`.
    #[arg(long, value_name = "DIR")]
    pub grid: Option<PathBuf>,
    /// Folder of a trace: `speckv profile --trace DIR`.
    #[arg(long, value_name = "DIR")]
    pub trace: Option<PathBuf>,
    /// Report of a comparison: `speckv bench --output DIR` writes DIR/report.json; may be given
    /// several times.
    #[arg(long, value_name = "FILE")]
    pub bench: Vec<PathBuf>,
    /// Evaluation: `speckv evaluate --output DIR` writes DIR/evaluation.json; may be given several
    /// times.
    #[arg(long, value_name = "FILE")]
    pub evaluation: Vec<PathBuf>,
    /// Costs of passes: the JSON of `speckv bench --curve MODEL`; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub curve: Vec<PathBuf>,
    /// Weights of the predictor whose calibration is drawn from the trace: a file of `speckv
    /// train`, `shipped`, or `prior` [default: those shipped for the pair, else the prior]
    #[arg(long, value_name = "FILE|shipped|prior")]
    pub predictor: Option<String>,
    /// Date on the report [default: today].
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = date)]
    pub date: Option<String>,
    /// Title of the report.
    #[arg(long, value_name = "TEXT", default_value = "SpecKV: a pair of models, measured")]
    pub title: String,
    /// Folder for report.html and each figure as SVG.
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Parser of a date.
fn date(text: &str) -> Result<String, String> {
    let date: Result<jiff::civil::Date, _> = text.parse();
    date.map(|date| date.to_string()).map_err(|_| {
        format!("expected a date such as 2026-11-28, got {text:?}\nhint: omit --date for today's")
    })
}
