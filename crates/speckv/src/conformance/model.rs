//! What a language model must hold.

use super::{ensure, text};
use crate::{
    logits::Logits,
    model::{Cache, Feed, LanguageModel, ModelError},
    signals::argmax,
    token::Token,
};

/// Positions that the checks use: more than one block of most kernels.
const LEN: usize = 20;

/// Checks that a model's caches behave and that its logits depend on nothing but the tokens before,
/// bit for bit.
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
    rows_are_shaped_and_finite(model, &tokens, &whole)?;
    splitting_changes_nothing(model, &tokens, &whole)?;
    truncating_equals_a_fresh_start(model, &tokens, &other)?;
    copying_equals_reading(model, &tokens, &other, &whole)?;
    company_changes_nothing(model, &tokens, &other, &whole)?;
    errors_change_nothing(model, &tokens, &whole)
}

/// Checks that a model refuses the caches of `other` with [`ModelError::ForeignCache`], in whatever
/// company they come, and that this changes nothing.
///
/// # Errors
/// The first of these that does not hold.
pub fn check_foreign_cache<M: LanguageModel>(model: &M, other: &M) -> Result<(), String> {
    let vocab_size = model.vocab_size().min(other.vocab_size());
    let tokens = text(vocab_size, 8, 3);
    let whole = read(model, &tokens, &[tokens.len()])?;
    for foreign_first in [false, true] {
        let mut own = model.new_cache().map_err(words)?;
        let mut foreign = other.new_cache().map_err(words)?;
        let mut logits = Logits::new();
        for (model, cache) in [(model, &mut own), (other, &mut foreign)] {
            let mut feeds = [Feed { cache, tokens: &tokens[..4], rows: 0 }];
            model.forward(&mut feeds, &mut logits).map_err(words)?;
        }
        let mut feeds =
            [&mut own, &mut foreign].map(|cache| Feed { cache, tokens: &tokens[4..], rows: 1 });
        if foreign_first {
            feeds.reverse();
        }
        match model.forward(&mut feeds, &mut logits) {
            Err(ModelError::ForeignCache { .. }) => {}
            Err(error) => return Err(format!("another model's cache: {error}")),
            Ok(()) => return Err("another model's cache was accepted".into()),
        }
        ensure(!own.copy_from(&foreign, 4), || "another model's cache was copied".into())?;
        ensure(own.len() == 4 && foreign.len() == 4, || {
            format!("the error changed the caches' lengths to {} and {}", own.len(), foreign.len())
        })?;
        let mut feeds = [Feed { cache: &mut own, tokens: &tokens[4..], rows: 4 }];
        model.forward(&mut feeds, &mut logits).map_err(words)?;
        let got: Vec<_> = (0..4).map(|row| logits.row(row).to_vec()).collect();
        ensure(same(&got, &whole[4..]).is_none(), || {
            "another model's cache changed what comes after".into()
        })?;
    }
    Ok(())
}

fn words(error: ModelError) -> String {
    format!("a valid pass failed: {error}")
}

/// Logits of every position, fed in passes of these sizes, [tokens, vocab].
fn read<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    sizes: &[usize],
) -> Result<Vec<Vec<f32>>, String> {
    let mut cache = model.new_cache().map_err(words)?;
    let (mut logits, mut read, mut all) = (Logits::new(), 0, Vec::new());
    for &size in sizes.iter().cycle() {
        let size = size.min(tokens.len() - read);
        let mut feeds =
            [Feed { cache: &mut cache, tokens: &tokens[read..read + size], rows: size }];
        model.forward(&mut feeds, &mut logits).map_err(words)?;
        all.extend((0..size).map(|row| logits.row(row).to_vec()));
        read += size;
        if read == tokens.len() {
            break;
        }
    }
    Ok(all)
}

fn same(a: &[Vec<f32>], b: &[Vec<f32>]) -> Option<usize> {
    let bits = |row: &Vec<f32>| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    (0..a.len().max(b.len())).find(|&i| a.get(i).map(bits) != b.get(i).map(bits))
}

fn rows_are_shaped_and_finite<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    for (position, row) in whole.iter().enumerate() {
        ensure(row.len() == model.vocab_size(), || {
            format!("position {position} has {} logits", row.len())
        })?;
        argmax(row).map_err(|error| format!("position {position}: {error}"))?;
    }
    for rows in 0..=tokens.len() {
        let mut cache = model.new_cache().map_err(words)?;
        ensure(cache.is_empty() && cache.len() == 0, || "a new cache is not empty".into())?;
        let mut logits = Logits::new();
        model
            .forward(&mut [Feed { cache: &mut cache, tokens, rows }], &mut logits)
            .map_err(words)?;
        ensure(logits.rows() == rows, || format!("asked for {rows} rows, got {}", logits.rows()))?;
        ensure(cache.len() == tokens.len(), || {
            format!("fed {} tokens, the cache holds {}", tokens.len(), cache.len())
        })?;
        let got: Vec<_> = (0..rows).map(|row| logits.row(row).to_vec()).collect();
        ensure(same(&got, &whole[tokens.len() - rows..]).is_none(), || {
            format!("asking for {rows} rows changes them")
        })?;
    }
    Ok(())
}

fn splitting_changes_nothing<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    for sizes in [&[1][..], &[2], &[3, 1], &[5, 2], &[7], &[9, 8], &[16, 1], &[17]] {
        let split = read(model, tokens, sizes)?;
        if let Some(position) = same(&split, whole) {
            return Err(format!(
                "fed in passes of {sizes:?} instead of one, position {position} has other logits"
            ));
        }
    }
    Ok(())
}

fn truncating_equals_a_fresh_start<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    let len = tokens.len();
    for keep in [0, 1, len / 2, len - 1, len] {
        let mut cache = model.new_cache().map_err(words)?;
        let mut logits = Logits::new();
        model
            .forward(&mut [Feed { cache: &mut cache, tokens, rows: 0 }], &mut logits)
            .map_err(words)?;
        cache.truncate(len + 1);
        ensure(cache.len() == len, || "truncating to more than is held changed the length".into())?;
        cache.truncate(keep);
        ensure(cache.len() == keep, || {
            format!("truncated to {keep}, the cache holds {}", cache.len())
        })?;
        let count = len.min(len + 1 - keep);
        let fed = &other[..count.min(model.context_length() - keep)];
        model
            .forward(&mut [Feed { cache: &mut cache, tokens: fed, rows: fed.len() }], &mut logits)
            .map_err(words)?;
        let got: Vec<_> = (0..fed.len()).map(|row| logits.row(row).to_vec()).collect();
        let fresh_text: Vec<Token> = tokens[..keep].iter().chain(fed).copied().collect();
        let fresh = read(model, &fresh_text, &[fresh_text.len()])?;
        if let Some(position) = same(&got, &fresh[keep..]) {
            return Err(format!(
                "after truncating to {keep}, token {position} fed has other logits than in a fresh cache"
            ));
        }
    }
    Ok(())
}

/// A cache that cannot copy must stay as it is.
fn copying_equals_reading<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    let len = tokens.len();
    let mut logits = Logits::new();
    let mut from = model.new_cache().map_err(words)?;
    model.forward(&mut [Feed { cache: &mut from, tokens, rows: 0 }], &mut logits).map_err(words)?;
    for keep in [0, 1, len / 2, len - 1] {
        let mut cache = model.new_cache().map_err(words)?;
        let before = &other[..len / 2];
        model
            .forward(&mut [Feed { cache: &mut cache, tokens: before, rows: 0 }], &mut logits)
            .map_err(words)?;
        ensure(!cache.copy_from(&from, len + 1) && cache.len() == before.len(), || {
            "more positions were copied than were held".into()
        })?;
        if !cache.copy_from(&from, keep) {
            return ensure(cache.len() == before.len(), || {
                "a cache that was not copied has another length".into()
            });
        }
        ensure(cache.len() == keep && from.len() == len, || {
            format!("copied {keep}, the cache holds {}", cache.len())
        })?;
        let rest = &tokens[keep..];
        model
            .forward(&mut [Feed { cache: &mut cache, tokens: rest, rows: rest.len() }], &mut logits)
            .map_err(words)?;
        let got: Vec<_> = (0..rest.len()).map(|row| logits.row(row).to_vec()).collect();
        if let Some(position) = same(&got, &whole[keep..]) {
            return Err(format!(
                "after copying {keep} positions, token {position} has other logits than after reading"
            ));
        }
    }
    Ok(())
}

fn company_changes_nothing<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    let others = read(model, other, &[other.len()])?;
    let len = tokens.len();
    for (first, second) in [(1, 1), (1, len - 1), (len - 2, 2), (3, 5.min(len - 1))] {
        let mut caches = [model.new_cache().map_err(words)?, model.new_cache().map_err(words)?];
        let mut logits = Logits::new();
        let [a, b] = &mut caches;
        model
            .forward(&mut [Feed { cache: b, tokens: &other[..1], rows: 0 }], &mut logits)
            .map_err(words)?;
        let rows = first.min(2);
        let mut feeds = [
            Feed { cache: a, tokens: &tokens[..first], rows },
            Feed {
                cache: b,
                tokens: &other[1..1 + second.min(len - 1)],
                rows: second.min(len - 1),
            },
        ];
        model.forward(&mut feeds, &mut logits).map_err(words)?;
        let got: Vec<_> = (0..logits.rows()).map(|row| logits.row(row).to_vec()).collect();
        let expected = [&whole[first - rows..first], &others[1..1 + second.min(len - 1)]].concat();
        if let Some(row) = same(&got, &expected) {
            return Err(format!(
                "two sequences with {first} and {second} tokens in one pass: row {row} is not what it is alone"
            ));
        }
    }
    Ok(())
}

fn errors_change_nothing<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    let (vocab_size, context) = (model.vocab_size(), model.context_length());
    let half = tokens.len() / 2;
    let too_long = vec![tokens[0]; context - half + 1];
    let unknown = [tokens[0], vocab_size as Token];
    let bad: [(&str, &[Token], usize); 5] = [
        ("no tokens", &[], 0),
        ("more rows than tokens", &tokens[..1], 2),
        ("a token outside the vocabulary", &unknown, 1),
        ("the largest token number", &[Token::MAX], 1),
        ("more tokens than the context holds", &too_long, 1),
    ];
    for (what, fed, rows) in bad {
        let mut caches = [model.new_cache().map_err(words)?, model.new_cache().map_err(words)?];
        let mut logits = Logits::new();
        let [good, broken] = &mut caches;
        for cache in [&mut *good, &mut *broken] {
            model
                .forward(&mut [Feed { cache, tokens: &tokens[..half], rows: 0 }], &mut logits)
                .map_err(words)?;
        }
        let mut feeds = [
            Feed { cache: good, tokens: &tokens[half..], rows: 1 },
            Feed { cache: broken, tokens: fed, rows },
        ];
        ensure(model.forward(&mut feeds, &mut logits).is_err(), || format!("{what}: no error"))?;
        for cache in &mut caches {
            ensure(cache.len() == half, || {
                format!("{what}: the error left {} tokens in a cache of {half}", cache.len())
            })?;
            let rest = &tokens[half..];
            model
                .forward(&mut [Feed { cache, tokens: rest, rows: rest.len() }], &mut logits)
                .map_err(words)?;
            let got: Vec<_> = (0..rest.len()).map(|row| logits.row(row).to_vec()).collect();
            ensure(same(&got, &whole[half..]).is_none(), || {
                format!("{what}: the error changed what comes after")
            })?;
        }
    }
    Ok(())
}
