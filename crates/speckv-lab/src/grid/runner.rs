//! Every gamma on one prompt, interleaved.

use std::ops::ControlFlow;

use speckv::{
    controller::{Controller, Fixed, Off},
    engine::{Engine, EngineError, SequenceSettings},
    model::LanguageModel,
    sampling::SamplingSettings,
    token::Token,
};

use super::StepRow;
use crate::statistics::MersenneTwister;

/// Tokens per pass over the prompt: how often the caller may stop the measurement.
const PREFILL_CHUNK: usize = 128;
/// Tokens with the first gamma before anything is kept, so that memory is touched and threads are
/// awake.
const WARM_UP: usize = 4;

/// A prompt and what is to be done with it.
#[derive(Debug, Clone, Copy)]
pub struct BlockTask<'a> {
    /// The columns that all rows of the block share: compression, task, prompt, split, seed.
    pub row: &'a StepRow,
    /// The prompt.
    pub prompt: &'a [Token],
    /// Gammas, 0 for plain decoding.
    pub gammas: &'a [usize],
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Tokens that end it.
    pub end_tokens: &'a [Token],
}

/// Rows of one prompt under one compression, by gamma in the order asked for, then by step.
pub type Block = Vec<StepRow>;

/// Decodes the prompt greedily with every gamma, from the same caches, in an order that the seed
/// and the prompt's id decide: the same order whether the recording was broken off before or not.
/// `pieces` begins an answer's text and turns its tokens into pieces; `go_on` is told how many
/// tokens are done and may break off, and then nothing comes back.
///
/// # Errors
/// The engine's.
pub fn run_block<M: LanguageModel, P: FnMut(Token) -> String>(
    engine: &mut Engine<M>,
    task: &BlockTask<'_>,
    pieces: &mut dyn FnMut() -> P,
    go_on: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<Block>, EngineError> {
    let controller = |gamma: usize| -> Box<dyn Controller> {
        if gamma == 0 { Box::new(Off) } else { Box::new(Fixed::new(gamma)) }
    };
    let mut sequence = engine.sequence(SequenceSettings {
        prompt: task.prompt.to_vec(),
        sampling: SamplingSettings::default(),
        end_tokens: task.end_tokens.to_vec(),
        max_tokens: WARM_UP.min(task.max_tokens),
        controller: controller(task.gammas.first().copied().unwrap_or(0)),
    })?;
    if engine.prefill(&mut sequence, PREFILL_CHUNK, |_| go_on(0))?.is_break() {
        engine.close(sequence);
        return Ok(None);
    }
    engine.prefill_draft(&mut sequence)?;
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence])?;
    }
    let order = block_order(task.row, task.gammas.len());
    let mut answers = vec![Vec::new(); task.gammas.len()];
    let mut done = 0;
    for (place, &which) in order.iter().enumerate() {
        let gamma = task.gammas[which];
        sequence.rewind(task.prompt.len());
        sequence.set_max_tokens(task.max_tokens);
        sequence.set_controller(controller(gamma));
        let mut piece = pieces();
        let row = StepRow { gamma, place, ..task.row.clone() };
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence])?;
            let record = sequence.record();
            done += record.outcome.produced;
            let texts = record.tokens.iter().map(|&token| piece(token)).collect();
            let step = answers[which].len();
            answers[which].push(StepRow { step, ..row.clone() }.with(record, texts));
            if go_on(done).is_break() {
                engine.close(sequence);
                return Ok(None);
            }
        }
        // An answer that ends early counts as whole for the progress.
        done = (place + 1) * task.max_tokens;
    }
    engine.close(sequence);
    Ok(Some(answers.into_iter().flatten().collect()))
}

/// The order in which the gammas of a block are measured, as places in their list: decided by the
/// row's seed, compression and prompt.
#[must_use]
pub fn block_order(row: &StepRow, gammas: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..gammas).collect();
    MersenneTwister::new(block_seed(row)).shuffle(&mut order);
    order
}

/// FNV-1a over what names the block.
fn block_seed(row: &StepRow) -> u32 {
    let name = format!("{} {} {}", row.seed, row.compression, row.prompt_id);
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
