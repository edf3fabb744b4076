//! Arguments of `perplexity`.

use std::path::PathBuf;

use speckv_formats::compression::Compression;
use speckv_local::{device_choice::DeviceChoice, model_name::ModelName};

use super::{
    common::{compression, device},
    values::{KvChoice, threads, whole},
};

/// Arguments of `perplexity`.
#[derive(Debug, clap::Args)]
pub struct PerplexityArgs {
    /// The text: a file, or `-` for standard input.
    pub text: PathBuf,
    /// The model in question: a catalogue name, or the path of a GGUF file or a Hugging Face folder
    /// [default: qwen2.5-coder-1.5b]
    #[arg(long, short, value_name = "MODEL", visible_alias = "target")]
    pub model: Option<ModelName>,
    /// What it is compared with: adds KL divergence and agreement. Both models are in memory at the
    /// same time
    #[arg(long, short, value_name = "MODEL")]
    pub reference: Option<ModelName>,
    /// The model's weights: asis, fp16, int8, nf4, or a type such as q4_0
    #[arg(long, value_name = "TYPE", default_value = "asis", value_parser = compression)]
    pub compression: Compression,
    /// The reference's weights; without --reference the model itself with these is the reference
    #[arg(long, value_name = "TYPE", value_parser = compression)]
    pub reference_compression: Option<Compression>,
    /// Keys and values of the model: f16 or q8_0
    #[arg(long, value_name = "TYPE", default_value = "f16", visible_alias = "kv-type")]
    pub kv: KvChoice,
    /// Keys and values of the reference: f16 or q8_0
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    pub reference_kv: KvChoice,
    /// Positions of a window [default: 512, or what the models were made for if that is less]
    #[arg(long, value_name = "N", value_parser = whole(4..=1_048_576_usize, "512 is a common \
        size"))]
    pub window: Option<usize>,
    /// Tokens from the start of one window to that of the next [default: half a window]
    #[arg(long, value_name = "N", value_parser = whole(1..=1_048_575_usize, "half a window gives \
        every token at least as much context"))]
    pub stride: Option<usize>,
    /// Read only the first N tokens of the text [default: all]
    #[arg(long, value_name = "N", value_parser = whole(2..=1_000_000_000_usize, "a few thousand \
        tokens give a first impression"))]
    pub tokens: Option<usize>,
    /// Device of both models: cpu, gpu, gpu:N, or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = device)]
    pub device: DeviceChoice,
    /// Threads that compute [default: one per performance core]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<usize>,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}
