//! Arguments of `export`.

use std::path::PathBuf;

use speckv::record::Source;

use super::values::{gamma, whole};

/// Acceptance by position, as typed: 0.8,0.6,0.5.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(pub Vec<f64>);

impl std::str::FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = |part: &str| {
            part.trim().parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share))
        };
        text.split(',').map(share).collect::<Option<Vec<f64>>>().map(Shares).ok_or_else(|| {
            format!(
                "expected shares from 0 to 1, separated by commas, got {text:?}\nhint: \
                0.8,0.6,0.5 says that the first draft token was accepted in 80 % of the steps, \
                the first two in 60 %"
            )
        })
    }
}

fn source(text: &str) -> Result<Source, String> {
    match text {
        "model" => Ok(Source::MODEL),
        "ngram" => Ok(Source::NGRAM),
        _ => Err(format!(
            "expected model or ngram, got {text:?}\nhint: who drafts in the engine that the table \
             is for"
        )),
    }
}

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Acceptance from the traces in this folder: `speckv profile --trace DIR`.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "acceptance",
        conflicts_with = "acceptance"
    )]
    pub trace: Option<PathBuf>,
    /// Acceptance measured elsewhere, in place of traces: the share of steps that accept each draft
    /// position, as vLLM logs it (0.8,0.6,0.5).
    #[arg(long, value_name = "LIST")]
    pub acceptance: Option<Shares>,
    /// Seconds of the target's passes: the JSON of `speckv bench --curve MODEL`, or a curve by hand
    /// [default: the costs recorded with the traces]
    #[arg(long, value_name = "FILE")]
    pub curve: Option<PathBuf>,
    /// Seconds of the draft's passes, likewise [default: one draft token as recorded or as in
    /// --curve, growing with its rows as the target's passes do]
    #[arg(long, value_name = "FILE")]
    pub draft_curve: Option<PathBuf>,
    /// Who drafts: model or ngram, which takes no time [default: model where the traces have one]
    #[arg(long, value_name = "WHO", value_parser = source)]
    pub source: Option<Source>,
    /// Length of the context that passes are taken at [default: the traces' mean, or the least
    /// measured]
    #[arg(long, value_name = "N", value_parser = whole(0..=16_777_216_usize, "the mean length of \
        the texts that you serve"))]
    pub context: Option<usize>,
    /// Largest batch in the table.
    #[arg(long, value_name = "N", default_value = "64", value_parser = whole(1..=65_536_usize, "max_num_seqs in vLLM, max_batch_size in TensorRT-LLM"))]
    pub batch_max: usize,
    /// Largest gamma [default: as deep as the acceptance is known]
    #[arg(long, value_name = "N", value_parser = gamma())]
    pub gamma_max: Option<usize>,
    /// Write vllm.json and tensorrt-llm.yaml into this folder.
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}
