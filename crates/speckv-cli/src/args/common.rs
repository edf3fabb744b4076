//! Options that several commands share.

use speckv_local::controllers::ControllerSpec;
use std::path::PathBuf;

use speckv_formats::{compression::Compression, quant::TensorType};
use speckv_local::{
    controllers,
    device_choice::{DeviceChoice, DeviceChoices, UnknownDevice},
    draft_choice::{DraftChoice, DraftHead},
    model_name::ModelName,
    suggest,
};

use super::values::{KvChoice, draft, gamma, number, threads, whole};

/// Which models run, and how.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Models")]
pub struct ModelOptions {
    /// Target: a catalogue name, the path of a GGUF file or of a Hugging Face folder [default:
    /// qwen2.5-coder-1.5b]
    #[arg(long, short, value_name = "MODEL", visible_alias = "target")]
    pub model: Option<ModelName>,
    /// Draft: a catalogue name, a path, `self:TYPE` (the target's own weights compressed to TYPE,
    /// such as self:nf4), `none`, `ngram` (look-up of earlier text), or MODEL+ngram [default:
    /// qwen2.5-coder-0.5b with the default target, else a smaller model with the same vocabulary
    /// that is on this machine, and look-up]
    #[arg(long, short, value_name = "MODEL|self:TYPE|none|ngram", value_parser = draft())]
    pub draft: Option<DraftChoice>,
    /// Draft with the model only, also where the controller would look up earlier text
    #[arg(long)]
    pub no_lookup: bool,
    /// The controller, which decides step by step how far to draft; see below [default: speckv]
    #[arg(long, value_name = "NAME", value_parser = controllers::parse)]
    pub controller: Option<ControllerSpec>,
    /// Whose weights the controllers' predictors have.
    #[command(flatten)]
    pub predictors: PredictorOptions,
    /// Measure again what passes cost on this machine
    #[arg(long)]
    pub recalibrate: bool,
    /// Tokens that a step may draft, 1 to 64 [default: the controller's own]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = gamma())]
    pub gamma: Option<usize>,
    /// What the weights become.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// Threads that compute [default: one per performance core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads())]
    pub threads: Option<usize>,
    /// Tokens that prompt and answer may have together [default: 4096, or what the model was made
    /// for if that is less]
    #[arg(long, value_name = "N", value_parser = whole(2..=16_777_216_usize, "memory for the \
        context grows with it; 4096 is a good start"))]
    pub ctx: Option<usize>,
    /// How keys and values are stored.
    #[command(flatten)]
    pub cache: CacheOptions,
    /// Which devices run the models.
    #[command(flatten)]
    pub devices: DeviceOptions,
}

/// Which devices run the models.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Devices")]
pub struct DeviceOptions {
    /// Device of the target: cpu, gpu (the first; a software adapter, with a warning, where there
    /// is no other), gpu:N as `speckv devices` numbers them, or auto: the one whose plain pass is
    /// faster, measured once, among those whose memory suffices; never a software adapter
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceChoice,
    /// Device of the draft [default: the target's; with --device auto the processor where both do
    /// not fit]
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub draft_device: Option<DeviceChoice>,
}

impl DeviceOptions {
    /// What the options say; `measure_anew` times plain passes again.
    #[must_use]
    pub fn choices(self, measure_anew: bool) -> DeviceChoices {
        DeviceChoices { target: self.device, draft: self.draft_device, measure_anew }
    }
}

/// Parser of a device.
pub(super) fn device(text: &str) -> Result<DeviceChoice, String> {
    text.parse().map_err(|error: UnknownDevice| error.to_string())
}

/// Whose weights the predictors have that controllers decide by.
#[derive(Debug, Clone, clap::Args)]
pub struct PredictorOptions {
    /// Weights that the SpecKV paper released, an .npz file, for the controller `paper` [default: a
    /// linear fit of its data]
    #[arg(long, value_name = "FILE")]
    pub paper_weights: Option<PathBuf>,
    /// Weights of the predictor of acceptance: a file of `speckv train`, `shipped`, or `prior`
    /// [default: those shipped for the pair, else the prior]
    #[arg(long, value_name = "FILE|shipped|prior")]
    pub predictor: Option<String>,
}

/// How keys and values are stored, the target's and the draft's.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct CacheOptions {
    /// Keys and values of the context: f16, or q8_0, which takes about half the memory and rounds a
    /// little
    #[arg(long, value_name = "TYPE", default_value = "f16", visible_alias = "kv-type")]
    pub kv: KvChoice,
}

/// What becomes of the weights of target and draft when they are loaded.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Weights")]
pub struct WeightArgs {
    /// The target's weights: asis, fp16, int8, nf4, or a type such as q4_0. From a file with fewer
    /// bits, fp16 and int8 keep the file's values
    #[arg(long, value_name = "TYPE", default_value = "asis", value_parser = compression)]
    pub compression: Compression,
    /// The draft's.
    #[command(flatten)]
    pub draft: DraftWeightArgs,
}

/// What becomes of the draft's weights.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Weights")]
pub struct DraftWeightArgs {
    /// The draft's weights: as --compression, or compact, which brings whatever is larger to 4.5
    /// bits; `--draft self:TYPE` says its own. The output stays the same [default: compact]
    #[arg(long, value_name = "TYPE", value_parser = compression)]
    pub draft_compression: Option<Compression>,
    /// Tokens that the draft's output head covers while the text has no others: the first N and the
    /// special ones, or `whole`. Fewer make a cheaper draft that sometimes cannot say what the
    /// target will; the output stays the same
    #[arg(long, value_name = "N|whole", default_value = "100352")]
    pub draft_head: DraftHead,
}

/// Parser of a compression.
pub(super) fn compression(text: &str) -> Result<Compression, String> {
    text.parse().map_err(|error| {
        let hint = recipe(text).or_else(|| similar(text));
        let hint = hint.unwrap_or_else(|| "asis keeps what the file has".into());
        format!("{error}\nhint: {hint}")
    })
}

/// What the name of a whole file's recipe means: `q4_k_m` and the like mix types of weights.
fn recipe(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (types, size) = lower.rsplit_once('_')?;
    let is_recipe = types.ends_with("_k") && ["s", "m", "l", "xl"].contains(&size);
    let real = is_recipe.then(|| types.parse::<Compression>().ok())??;
    Some(format!(
        "{text} names a recipe for whole files: most matrices in {real}, some in a larger type; \
         give one type, such as {real}"
    ))
}

/// The question whether a similar type was meant.
fn similar(text: &str) -> Option<String> {
    let names: Vec<String> = Compression::NAMED
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .chain(TensorType::WRITTEN.into_iter().map(|kind| kind.name().to_ascii_lowercase()))
        .collect();
    let meant = suggest::closest(text, names.iter().map(String::as_str));
    meant.map(|meant| format!("did you mean {meant}?"))
}

/// How tokens are chosen.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingOptions {
    /// Most tokens of an answer [default: 512]
    #[arg(long, short = 'n', value_name = "N", value_parser = whole(1..=16_777_216_usize, "the answer ends by itself; this is the most it may have"))]
    pub max_tokens: Option<usize>,
    /// 0 takes the likeliest token, above 0 samples
    #[arg(long, short, value_name = "T", default_value = "0", allow_negative_numbers = true,
        value_parser = number("from 0 to 10", |t| (0.0..=10.0).contains(&t), "0 is greedy, 0.7 is \
            lively, above 1.5 most models ramble"))]
    pub temperature: f32,
    /// Keep the K likeliest tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value = "0", allow_negative_numbers = true,
        value_parser = whole(0..=16_777_216_usize, "0 keeps all tokens, 40 is a common value"))]
    pub top_k: usize,
    /// Keep the fewest tokens whose probabilities reach P; 1 keeps all
    #[arg(long, value_name = "P", default_value = "1", allow_negative_numbers = true,
        value_parser = number("above 0, at most 1", |p| p > 0.0 && p <= 1.0, "1 keeps all tokens, \
            0.95 is a common value"))]
    pub top_p: f32,
    /// Keep tokens at least P times as likely as the likeliest; 0 keeps all
    #[arg(long, value_name = "P", default_value = "0", allow_negative_numbers = true,
        value_parser = number("from 0 to 1", |p| (0.0..=1.0).contains(&p), "0 keeps all tokens, \
            0.05 is a common value"))]
    pub min_p: f32,
    /// Make tokens of the recent text less likely; 1 does nothing
    #[arg(long, value_name = "R", default_value = "1", allow_negative_numbers = true,
        value_parser = number("above 0, at most 10", |r| r > 0.0 && r <= 10.0, "1 does nothing, \
            1.1 is a common value"))]
    pub repetition_penalty: f32,
    /// Start of the random numbers
    #[arg(long, value_name = "N", default_value = "0")]
    pub seed: u64,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT", value_parser = stop_string)]
    pub stop: Vec<String>,
    /// Instructions that come before the conversation
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub system: Option<String>,
    /// Give the prompt to the model as it is, without its chat template
    #[arg(long)]
    pub raw: bool,
}

fn stop_string(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("expected a text, got an empty one\nhint: omit --stop to end where the model ends"
            .into())
    } else {
        Ok(text.to_owned())
    }
}
