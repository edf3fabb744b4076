//! Arguments of `bench`.

use super::values::{threads, whole};

/// Most tokens of context or prompt that can be asked for; what a model was made for is checked when it is known.
const MOST_TOKENS: usize = 16_777_216;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Measure what passes of 1 to 17 tokens cost, against the memory read rate: a catalogue name or the path of a GGUF file
    #[arg(long, value_name = "MODEL")]
    pub curve: String,
    /// Tokens already read when the passes are timed [default: 128,2048, or what the model was made for if that is less]
    #[arg(long, value_name = "LIST", value_delimiter = ',',
        value_parser = whole(1..=MOST_TOKENS, "give lengths of text as people use them: 128,2048"))]
    pub context: Option<Vec<usize>>,
    /// Prompt lengths to time [default: 128,512, or what the model was made for if that is less]
    #[arg(long, value_name = "LIST", value_delimiter = ',',
        value_parser = whole(1..=MOST_TOKENS, "give lengths of prompts as people write them: 128,512"))]
    pub prompt: Option<Vec<usize>>,
    /// Rounds: every length is timed once in each, in a new order
    #[arg(long, value_name = "N", default_value = "9",
        value_parser = whole(1..=1000_usize, "9 rounds give medians with quartiles that mean something"))]
    pub rounds: usize,
    /// Megabytes that the read rate is measured on; must be far more than the caches hold
    #[arg(long, value_name = "MB", default_value = "512",
        value_parser = whole(1..=65_536_usize, "512 is enough for caches up to 64 MB"))]
    pub buffer: usize,
    /// Threads that compute [default: the number of cores]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = threads())]
    pub threads: Option<usize>,
    /// Print one JSON object with all samples in place of tables
    #[arg(long)]
    pub json: bool,
}
