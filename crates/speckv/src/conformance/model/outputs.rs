//! Outputs: shapes, and what they say of their rows.

use super::{Feed, LanguageModel, PassOutput, Token, difference, ensure, pass, words};
use crate::{
    model::{Cache, ModelError},
    signals::{self, Best},
};

/// Signals are read by each backend with its own operations.
const SIGNALS_TOLERANCE: f32 = 1e-3;

pub(super) fn rows_are_shaped_and_finite<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    for (position, row) in whole.iter().enumerate() {
        ensure(row.len() == model.vocab_size(), || {
            format!("position {position} has {} logits", row.len())
        })?;
        signals::argmax(row).map_err(|error| format!("position {position}: {error}"))?;
    }
    for rows in 0..=tokens.len() {
        let mut cache = model.new_cache().map_err(words)?;
        ensure(cache.is_empty() && cache.len() == 0, || "a new cache is not empty".into())?;
        let got = pass(model, &mut [Feed::new(&mut cache, tokens, rows)])?;
        ensure(got.len() == rows, || format!("asked for {rows} rows, got {}", got.len()))?;
        ensure(cache.len() == tokens.len(), || {
            format!("fed {} tokens, the cache holds {}", tokens.len(), cache.len())
        })?;
        ensure(difference(&got, &whole[tokens.len() - rows..]).is_none(), || {
            format!("asking for {rows} rows changes them")
        })?;
    }
    Ok(())
}

/// Likeliest tokens and signals agree with the logits, over whole rows and over their beginnings,
/// however often and in whatever order they are asked for.
pub(super) fn answers_are_those_of_the_rows<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
) -> Result<(), String> {
    let (mut cache, mut output) = (model.new_cache().map_err(words)?, model.new_output());
    let count = 4;
    model.forward(&mut [Feed::new(&mut cache, tokens, count)], &mut output).map_err(words)?;
    ensure(output.rows() == count && output.vocab_size() == model.vocab_size(), || {
        format!("the output says {} rows of {} logits", output.rows(), output.vocab_size())
    })?;
    let whole = model.vocab_size();
    for vocab in [whole, whole.div_ceil(2), 1, whole] {
        for row in [2, 0, 3, 1, 2] {
            let best = output.best(row, vocab).map_err(words)?;
            let likeliest = output.likeliest(row, vocab).map_err(words)?;
            let logits = &output.logits(row).map_err(words)?[..vocab];
            let Best { token, second, signals } =
                signals::read(logits).map_err(|error| error.to_string())?;
            ensure((best.token, likeliest) == (token, token), || {
                format!(
                    "row {row}, {vocab} tokens: {token} is likeliest, best says {}, likeliest \
                     {likeliest}",
                    best.token
                )
            })?;
            ensure(best.second.is_none() || best.second == second, || {
                format!(
                    "row {row}, {vocab} tokens: the second token is {second:?}, best says {:?}",
                    best.second
                )
            })?;
            let near = |a: f32, b: f32| (a - b).abs() <= SIGNALS_TOLERANCE * b.abs().max(1.0);
            let got = best.signals;
            ensure(
                near(got.entropy_bits, signals.entropy_bits)
                    && near(got.confidence, signals.confidence)
                    && near(got.margin, signals.margin)
                    && got.match_length == 0,
                || format!("row {row}, {vocab} tokens: expected {signals:?}, got {got:?}"),
            )?;
        }
    }
    let missing = |outcome: Result<(), ModelError>, what: &str| {
        ensure(matches!(outcome, Err(ModelError::Row { .. })), || {
            format!("{what} of a row that is not there: no error")
        })
    };
    missing(output.logits(count).map(drop), "logits")?;
    missing(output.best(count, whole).map(drop), "the best token")?;
    missing(output.likeliest(count, whole).map(drop), "the likeliest token")?;
    missing(output.hidden(0).map(drop), "the hidden state")
}

/// Hidden states are shaped, do not change the logits, and depend on the tokens before alone.
pub(super) fn hidden_states_are_those_of_their_positions<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    let Some(size) = model.hidden_size() else {
        let mut cache = model.new_cache().map_err(words)?;
        let mut feeds = [Feed::new(&mut cache, tokens, 1).with_hidden(1)];
        let outcome = model.forward(&mut feeds, &mut model.new_output());
        return ensure(matches!(outcome, Err(ModelError::Unsupported { .. })), || {
            "a model without hidden states was asked for one: no error".into()
        });
    };
    let len = tokens.len();
    let states = |output: &mut M::Output| -> Result<Vec<Vec<f32>>, String> {
        (0..output.hidden_rows())
            .map(|row| Ok(output.hidden(row).map_err(words)?.to_vec()))
            .collect()
    };
    let (mut cache, mut output) = (model.new_cache().map_err(words)?, model.new_output());
    let mut feeds = [Feed::new(&mut cache, tokens, 0).with_hidden(len)];
    model.forward(&mut feeds, &mut output).map_err(words)?;
    let all = states(&mut output)?;
    ensure(all.len() == len && all.iter().all(|state| state.len() == size), || {
        format!("expected {len} hidden states of {size} values, got {}", all.len())
    })?;
    ensure(all.iter().flatten().all(|x| x.is_finite()), || "a hidden state is not finite".into())?;
    ensure(difference(&all[..1], &all[1..2]).is_some(), || {
        "two positions have the same hidden state".into()
    })?;
    // Few or many of them, beside few or many rows, of two sequences.
    for (first, wanted, rows) in [(1, 1, 1), (2, 3, 1), (len - 2, 1, 2), (len / 2, 2, 0)] {
        let mut caches = [model.new_cache().map_err(words)?, model.new_cache().map_err(words)?];
        let [a, b] = &mut caches;
        pass(model, &mut [Feed::new(b, &tokens[..first], 0)])?;
        let rest = &tokens[first..];
        let (rows, wanted) = (rows.min(first).min(rest.len()), wanted.min(rest.len()));
        let mut feeds = [
            Feed::new(a, &tokens[..first], rows).with_hidden(first),
            Feed::new(b, rest, rows).with_hidden(wanted),
        ];
        model.forward(&mut feeds, &mut output).map_err(words)?;
        let expected = [&all[..first], &all[len - wanted..]].concat();
        if let Some(row) = difference(&states(&mut output)?, &expected) {
            return Err(format!(
                "{wanted} hidden states beside {rows} rows: state {row} is not that of its position"
            ));
        }
        let expected = [&whole[first - rows..first], &whole[len - rows..]].concat();
        ensure(difference(&super::rows(&mut output)?, &expected).is_none(), || {
            format!("asking for {wanted} hidden states changes {rows} rows")
        })?;
    }
    model.forward(&mut [Feed::new(&mut cache, &tokens[..1], 1)], &mut output).map_err(words)?;
    ensure(output.hidden_rows() == 0, || "hidden states are left of an earlier pass".into())
}
