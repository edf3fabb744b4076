//! Caches: passes of any size, truncation, copies, other sequences, failed passes.

use super::{
    Cache, Feed, LanguageModel, Token, cache_of, difference, ensure, pass, read, rows, words,
};

pub(super) fn splitting_changes_nothing<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    for sizes in [&[1][..], &[2], &[3, 1], &[5, 2], &[7], &[9, 8], &[16, 1], &[17]] {
        let split = read(model, tokens, sizes)?;
        if let Some(position) = difference(&split, whole) {
            return Err(format!(
                "fed in passes of {sizes:?} instead of one, position {position} has other logits"
            ));
        }
    }
    Ok(())
}

pub(super) fn truncating_equals_a_fresh_start<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    let len = tokens.len();
    for keep in [0, 1, len / 2, len - 1, len] {
        let mut cache = cache_of(model, tokens)?;
        cache.truncate(len + 1);
        ensure(cache.len() == len, || "truncating to more than is held changed the length".into())?;
        cache.truncate(keep);
        ensure(cache.len() == keep, || {
            format!("truncated to {keep}, the cache holds {}", cache.len())
        })?;
        let count = len.min(len + 1 - keep);
        let fed = &other[..count.min(model.context_length() - keep)];
        let got = pass(model, &mut [Feed::new(&mut cache, fed, fed.len())])?;
        let fresh_text: Vec<Token> = tokens[..keep].iter().chain(fed).copied().collect();
        let fresh = read(model, &fresh_text, &[fresh_text.len()])?;
        if let Some(position) = difference(&got, &fresh[keep..]) {
            return Err(format!(
                "after truncating to {keep}, token {position} fed has other logits \
                 than in a fresh cache"
            ));
        }
    }
    Ok(())
}

/// A cache that cannot copy must stay as it is.
pub(super) fn copying_equals_reading<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    let len = tokens.len();
    let from = cache_of(model, tokens)?;
    for keep in [0, 1, len / 2, len - 1] {
        let before = &other[..len / 2];
        let mut cache = cache_of(model, before)?;
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
        let got = pass(model, &mut [Feed::new(&mut cache, rest, rest.len())])?;
        if let Some(position) = difference(&got, &whole[keep..]) {
            return Err(format!(
                "after copying {keep} positions, token {position} has other logits \
                 than after reading"
            ));
        }
    }
    Ok(())
}

pub(super) fn other_sequences_change_nothing<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
    whole: &[Vec<f32>],
) -> Result<(), String> {
    let others = read(model, other, &[other.len()])?;
    let len = tokens.len();
    for (first, second) in [(1, 1), (1, len - 1), (len - 2, 2), (3, 5.min(len - 1))] {
        let (mut a, mut b) = (model.new_cache().map_err(words)?, cache_of(model, &other[..1])?);
        let rows = first.min(2);
        let second = second.min(len - 1);
        let mut feeds = [
            Feed::new(&mut a, &tokens[..first], rows),
            Feed::new(&mut b, &other[1..=second], second),
        ];
        let got = pass(model, &mut feeds)?;
        let expected = [&whole[first - rows..first], &others[1..=second]].concat();
        if let Some(row) = difference(&got, &expected) {
            return Err(format!(
                "two sequences with {first} and {second} tokens in one pass: \
                 row {row} is not what it is alone"
            ));
        }
    }
    Ok(())
}

pub(super) fn errors_change_nothing<M: LanguageModel>(
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
    for (what, fed, count) in bad {
        let mut caches = [cache_of(model, &tokens[..half])?, cache_of(model, &tokens[..half])?];
        let mut output = model.new_output();
        let [good, broken] = &mut caches;
        let mut feeds = [Feed::new(good, &tokens[half..], 1), Feed::new(broken, fed, count)];
        ensure(model.forward(&mut feeds, &mut output).is_err(), || format!("{what}: no error"))?;
        for cache in &mut caches {
            ensure(cache.len() == half, || {
                format!("{what}: the error left {} tokens in a cache of {half}", cache.len())
            })?;
            let rest = &tokens[half..];
            let mut feeds = [Feed::new(cache, rest, rest.len())];
            model.forward(&mut feeds, &mut output).map_err(words)?;
            ensure(difference(&rows(&mut output)?, &whole[half..]).is_none(), || {
                format!("{what}: the error changed what comes after")
            })?;
        }
    }
    Ok(())
}
