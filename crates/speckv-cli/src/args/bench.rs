//! Arguments of `bench`.

use std::path::PathBuf;

use speckv_formats::compression::Compression;
use speckv_lab::workload::Split;
use speckv_local::{draft_choice::DraftChoice, model_name::ModelName};

use super::{
    common::{CacheOptions, DeviceOptions, DraftWeightArgs, compression},
    values::{GammaList, draft, gamma_list, threads, whole},
};

/// Most tokens of context or prompt that can be asked for; what a model was made for is checked
/// when it is known.
const MOST_TOKENS: usize = 16_777_216;

/// Arguments of `bench`: a comparison of controllers, or with `--curve` what passes cost.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// The comparison.
    #[command(flatten)]
    pub comparison: ComparisonOptions,
    /// Measure what passes of 1 to 17 tokens cost, against the memory read rate, and nothing else:
    /// a catalogue name, the path of a GGUF file, or a shape with random weights: synthetic:1.5b,
    /// 7b, 14b, 32b
    #[arg(long, value_name = "MODEL", help_heading = "Curve", conflicts_with_all = ["ComparisonOptions", "DraftWeightArgs", "draft_device"])]
    pub curve: Option<ModelName>,
    /// Tokens already read when the passes are timed [default: 128,2048, or what the model was made
    /// for if that is less]
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Curve", requires = "curve",
        value_parser = whole(1..=MOST_TOKENS, "give lengths of text as people use them: 128,2048"))]
    pub context: Option<Vec<usize>>,
    /// Prompt lengths to time [default: 128,512, or what the model was made for if that is less]
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Curve", requires = "curve",
        value_parser = whole(1..=MOST_TOKENS, "give lengths of prompts as people write them: \
            128,512"))]
    pub prompt: Option<Vec<usize>>,
    /// Megabytes that the read rate is measured on [default: what a pass reads, so that caches help
    /// both alike]
    #[arg(long, value_name = "MB", help_heading = "Curve", requires = "curve",
        value_parser = whole(1..=65_536_usize, "it should be far more than the caches hold"))]
    pub buffer: Option<usize>,
    /// The target's weights: asis, fp16, int8, nf4, or a type such as q4_0; several are measured
    /// one after the other and compared
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "asis", help_heading = "Weights", value_parser = compression)]
    pub compression: Vec<Compression>,
    /// What the draft's weights become.
    #[command(flatten)]
    pub draft_weights: DraftWeightArgs,
    /// How keys and values are stored.
    #[command(flatten)]
    pub cache: CacheOptions,
    /// Which devices run the models.
    #[command(flatten)]
    pub devices: DeviceOptions,
    /// Rounds: everything is measured once in each, in a new order [default: 1; with --curve 9]
    #[arg(long, value_name = "N",
        value_parser = whole(1..=1000_usize, "more rounds make intervals narrower, and take \
            longer"))]
    pub rounds: Option<usize>,
    /// Threads that compute [default: one per performance core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads())]
    pub threads: Option<usize>,
    /// Print one JSON object in place of tables
    #[arg(long)]
    pub json: bool,
}

/// What is compared on what.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Comparison")]
pub struct ComparisonOptions {
    /// Target: a catalogue name or the path of a GGUF file [default: qwen2.5-coder-1.5b]
    #[arg(long, short, value_name = "MODEL")]
    pub model: Option<ModelName>,
    /// Draft: a catalogue name, a path, `self:TYPE` (the target's own weights compressed to TYPE),
    /// or `ngram` [default: qwen2.5-coder-0.5b with the default target, else ngram]
    #[arg(long, short, value_name = "MODEL|self:TYPE|ngram", value_parser = draft())]
    pub draft: Option<DraftChoice>,
    /// Controllers, each NAME or NAME@model, NAME@ngram, NAME@both to say who drafts; `none` for
    /// none [default: all; speckv where several compressions are compared]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub controllers: Option<Vec<String>>,
    /// Fixed gammas; `none` for none
    #[arg(long, value_name = "LIST", default_value = "1,2,3,4,5,6,7,8", value_parser = gamma_list)]
    pub gammas: GammaList,
    /// Half of the workload: `test`, or `train` for trying things out
    #[arg(long, value_name = "SPLIT", default_value = "test", value_parser = split)]
    pub split: Split,
    /// Tasks of the workload [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub tasks: Vec<String>,
    /// The first N prompts of each task [default: all]
    #[arg(long, value_name = "N", value_parser = whole(1..=100_000_usize, "2 prompts per task \
        make a quick look"))]
    pub prompts_per_task: Option<usize>,
    /// Most tokens of an answer
    #[arg(long, short = 'n', value_name = "N", default_value = "128",
        value_parser = whole(1..=MOST_TOKENS, "128 is a good start"))]
    pub max_tokens: usize,
    /// A folder of prompts in place of the built-in workload
    #[arg(long, value_name = "DIR")]
    pub workload: Option<PathBuf>,
    /// Move the draft's logits half a vocabulary on: as sure as ever, always wrong, at full cost.
    /// Shows what a worthless draft costs
    #[arg(long)]
    pub spoil_draft: bool,
    /// Let the draft read each prompt as part of the measured answer, in place of before
    /// it
    #[arg(long)]
    pub cold_draft: bool,
    /// Tokens that prompt and answer may have together [default: 4096, or what the model was made
    /// for if that is less]
    #[arg(long, value_name = "N", value_parser = whole(2..=MOST_TOKENS, "memory for the context \
        grows with it"))]
    pub ctx: Option<usize>,
    // These two are those of `PredictorOptions`: a flattened struct in here would empty the group
    // that `--curve` and `--saved` refuse.
    /// Weights that the SpecKV paper released, an .npz file, for the controller `paper` [default: a
    /// linear fit of its data]
    #[arg(long, value_name = "FILE")]
    pub paper_weights: Option<PathBuf>,
    /// Weights of the predictor of acceptance: a file of `speckv train`, `shipped`, or `prior`
    /// [default: those shipped for the pair, else the prior]
    #[arg(long, value_name = "FILE|shipped|prior")]
    pub predictor: Option<String>,
    /// Start of the random numbers that make orders and intervals
    #[arg(long, value_name = "N", default_value = "0")]
    pub seed: u64,
    /// Measure again what passes cost on this machine
    #[arg(long)]
    pub recalibrate: bool,
    /// Write samples.csv and samples.parquet (a line per answer) and report.json into this folder
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

fn split(text: &str) -> Result<Split, String> {
    text.parse().map_err(|error| format!("{error}\nhint: report figures of the test split only"))
}
