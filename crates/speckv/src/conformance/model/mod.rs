//! What a language model must hold.

mod branches;
mod caches;
mod continuations;
mod foreign;
mod outputs;

pub use foreign::check_foreign_cache;

use super::{ensure, text};
use crate::{
    model::{Cache, Feed, LanguageModel, ModelError, PassOutput},
    token::Token,
};

/// Positions that the checks use: more than one block of most kernels.
const LEN: usize = 20;

/// Checks that a model's caches and outputs behave, and that its logits depend on nothing but the
/// tokens before, bit for bit: not on the sizes of the passes, on other sequences in a pass, on
/// branches, on failed passes before, or on who continues a text: the caller or the model.
///
/// # Errors
/// The first truth that does not hold.
pub fn check_model<M: LanguageModel>(model: &M) -> Result<(), String> {
    let len = LEN.min(model.context_length().saturating_sub(2));
    ensure(len >= 4, || {
        format!("a context of {} tokens is too short to be checked", model.context_length())
    })?;
    let tokens = text(model.vocab_size(), len, 1);
    let other = text(model.vocab_size(), len, 2);
    let whole = read(model, &tokens, &[len])?;
    outputs::rows_are_shaped_and_finite(model, &tokens, &whole)?;
    outputs::answers_are_those_of_the_rows(model, &tokens)?;
    outputs::hidden_states_are_those_of_their_positions(model, &tokens, &whole)?;
    caches::splitting_changes_nothing(model, &tokens, &whole)?;
    caches::truncating_equals_a_fresh_start(model, &tokens, &other)?;
    caches::copying_equals_reading(model, &tokens, &other, &whole)?;
    caches::other_sequences_change_nothing(model, &tokens, &other, &whole)?;
    caches::errors_change_nothing(model, &tokens, &whole)?;
    continuations::have_the_bits_of_single_passes(model, &tokens, &other)?;
    continuations::of_several_sequences_are_apart(model, &tokens, &other)?;
    continuations::end_with_the_context(model, &tokens)?;
    continuations::errors_change_nothing(model, &tokens)?;
    branches::a_path_of_a_chain_is_kept(model, &tokens, &other)?;
    if model.takes_branches() && len >= branches::LONGEST {
        branches::a_row_of_a_tree_is_that_of_its_path(model, &tokens, &other)?;
        branches::a_kept_path_is_as_if_fed_alone(model, &tokens, &other)?;
        branches::forgotten_branches_leave_the_trunk(model, &tokens, &other)?;
        branches::trees_share_a_pass(model, &tokens, &other)?;
    }
    branches::wrong_trees_are_errors(model, &tokens)
}

fn words(error: ModelError) -> String {
    format!("a valid pass failed: {error}")
}

/// One pass with a new output; all its rows.
fn pass<M: LanguageModel>(
    model: &M,
    feeds: &mut [Feed<'_, M::Cache>],
) -> Result<Vec<Vec<f32>>, String> {
    let mut output = model.new_output();
    model.forward(feeds, &mut output).map_err(words)?;
    rows(&mut output)
}

/// All rows of an output, [rows, vocab].
fn rows(output: &mut impl PassOutput) -> Result<Vec<Vec<f32>>, String> {
    (0..output.rows()).map(|row| Ok(output.logits(row).map_err(words)?.to_vec())).collect()
}

/// A cache that has read `tokens`.
fn cache_of<M: LanguageModel>(model: &M, tokens: &[Token]) -> Result<M::Cache, String> {
    let mut cache = model.new_cache().map_err(words)?;
    if !tokens.is_empty() {
        pass(model, &mut [Feed::new(&mut cache, tokens, 0)])?;
    }
    Ok(cache)
}

/// Logits of every position, fed in passes of these sizes with one output, [tokens, vocab].
fn read<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    sizes: &[usize],
) -> Result<Vec<Vec<f32>>, String> {
    let mut cache = model.new_cache().map_err(words)?;
    let (mut output, mut read, mut all) = (model.new_output(), 0, Vec::new());
    for &size in sizes.iter().cycle() {
        let size = size.min(tokens.len() - read);
        let mut feeds = [Feed::new(&mut cache, &tokens[read..read + size], size)];
        model.forward(&mut feeds, &mut output).map_err(words)?;
        all.extend(rows(&mut output)?);
        read += size;
        if read == tokens.len() {
            break;
        }
    }
    Ok(all)
}

/// The first row that has other bits in `b` than in `a`, or is missing in one of them.
fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> Option<usize> {
    let bits = |row: &Vec<f32>| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    (0..a.len().max(b.len())).find(|&i| a.get(i).map(bits) != b.get(i).map(bits))
}
