//! Continuations in one submission, against single passes.

use super::{cache_of, difference, ensure, rows, words};
use crate::{
    model::{Best, Cache, Feed, LanguageModel, ModelError, PassOutput},
    token::Token,
};

/// Tokens that the checks ask for.
const COUNT: usize = 5;

/// Longest context whose end is checked: its cache is filled.
const LONGEST: usize = 8192;

/// A continuation: its tokens and signals, and the logits of their rows, [tokens, vocab].
#[derive(Default)]
struct Continuation {
    best: Vec<Best>,
    logits: Vec<Vec<f32>>,
}

/// Continues what `cache` holds by `count` tokens with a pass for each, over `vocab` tokens.
fn single_passes<M: LanguageModel>(
    model: &M,
    cache: &mut M::Cache,
    text: &[Token],
    (count, vocab): (usize, usize),
) -> Result<Continuation, String> {
    let (mut output, mut made) = (model.new_output(), Continuation::default());
    let mut fed = text.to_vec();
    for _ in 0..count {
        model.forward(&mut [Feed::new(cache, &fed, 1)], &mut output).map_err(words)?;
        let best = output.best(0, vocab).map_err(words)?;
        made.logits.extend(rows(&mut output)?);
        made.best.push(best);
        fed = vec![best.token];
    }
    Ok(made)
}

/// Continues several texts in one call, and checks what it says of its rows; one continuation of
/// each feed.
fn continued<M: LanguageModel>(
    model: &M,
    feeds: &mut [Feed<'_, M::Cache>],
    (count, vocab): (usize, usize),
) -> Result<Vec<Continuation>, String> {
    let mut output = model.new_output();
    let lengths: Vec<usize> =
        feeds.iter().map(|feed| feed.cache.len() + feed.tokens.len()).collect();
    let made = model.continue_greedily(feeds, count, vocab, &mut output).map_err(words)?;
    let limit = model.continuation_limit(feeds.len()).max(1);
    ensure((1..=count.min(limit)).contains(&made), || {
        format!("expected 1 to {count} tokens of a continuation, at most {limit}, got {made}")
    })?;
    ensure(output.rows() == made * feeds.len(), || {
        format!("expected {made} rows of each of {} feeds, got {}", feeds.len(), output.rows())
    })?;
    for (feed, length) in feeds.iter().zip(lengths) {
        let (expected, got) = (length + made - 1, feed.cache.len());
        ensure(got == expected, || {
            format!("expected {expected} positions after a continuation, got {got}")
        })?;
    }
    // Answers first: rows of logits may be asked for after them.
    let best: Vec<Best> = (0..output.rows())
        .map(|row| output.best(row, vocab).map_err(words))
        .collect::<Result<_, _>>()?;
    let logits = rows(&mut output)?;
    let of_feed = |feed: usize| Continuation {
        best: best.iter().skip(feed).step_by(feeds.len()).copied().collect(),
        logits: logits.iter().skip(feed).step_by(feeds.len()).cloned().collect(),
    };
    Ok((0..feeds.len()).map(of_feed).collect())
}

/// The first difference of two continuations, in words.
fn equal(what: &str, got: &Continuation, expected: &Continuation) -> Result<(), String> {
    let made = got.best.len().min(expected.best.len());
    ensure(difference(&got.logits[..made], &expected.logits[..made]).is_none(), || {
        let row = difference(&got.logits[..made], &expected.logits[..made]).unwrap_or(0);
        format!("{what}: token {row} of a continuation has other logits than in a single pass")
    })?;
    ensure(got.best[..made] == expected.best[..made], || {
        format!("{what}: a continuation has {:?}, single passes {:?}", got.best, expected.best)
    })
}

/// Logits after `token`, read after what a cache holds.
fn after<M: LanguageModel>(
    model: &M,
    cache: &mut M::Cache,
    token: Token,
) -> Result<Vec<Vec<f32>>, String> {
    let mut output = model.new_output();
    model.forward(&mut [Feed::new(cache, &[token], 1)], &mut output).map_err(words)?;
    rows(&mut output)
}

/// Over all tokens and over a part of them; what stays in the cache is what single passes leave,
/// whole and cut.
pub(super) fn have_the_bits_of_single_passes<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    let half = tokens.len() / 2;
    let count = COUNT.min(model.context_length() - half);
    for vocab in [model.vocab_size(), model.vocab_size().div_ceil(2)] {
        let mut single = cache_of(model, &tokens[..half - 2])?;
        let mut cache = cache_of(model, &tokens[..half - 2])?;
        let text = &tokens[half - 2..half];
        let expected = single_passes(model, &mut single, text, (count, vocab))?;
        let feeds = &mut [Feed::new(&mut cache, text, 1)];
        let got = continued(model, feeds, (count, vocab))?.remove(0);
        equal(&format!("{vocab} tokens count"), &got, &expected)?;
        for len in [cache.len(), half + (cache.len() - half) / 2, half] {
            cache.truncate(len);
            single.truncate(len);
            if len < model.context_length() {
                let got = after(model, &mut cache, other[0])?;
                let expected = after(model, &mut single, other[0])?;
                ensure(difference(&got, &expected).is_none(), || {
                    format!(
                        "a cache cut to {len} positions after a continuation is not that of \
                        single passes"
                    )
                })?;
            }
        }
    }
    Ok(())
}

/// Feeds of several lengths in one call.
pub(super) fn of_several_sequences_are_apart<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    let half = tokens.len() / 2;
    let vocab = model.vocab_size();
    let count = COUNT.min(model.context_length() - half);
    let texts = [(&tokens[..half - 1], &tokens[half - 1..half]), (&other[..1], &other[1..half])];
    let mut caches = Vec::new();
    for (held, _) in texts {
        caches.push(cache_of(model, held)?);
    }
    let feeds = caches.iter_mut().zip(texts);
    let mut feeds: Vec<_> = feeds.map(|(cache, (_, text))| Feed::new(cache, text, 1)).collect();
    let got = continued(model, &mut feeds, (count, vocab))?;
    for (number, ((held, text), got)) in texts.into_iter().zip(&got).enumerate() {
        let mut cache = cache_of(model, held)?;
        let expected = single_passes(model, &mut cache, text, (count, vocab))?;
        equal(&format!("sequence {number} of two"), got, &expected)?;
        let of_continuation = &mut caches[number];
        let Some(last) = got.best.last() else { continue };
        if of_continuation.len() == model.context_length() {
            continue;
        }
        cache.truncate(of_continuation.len()); // single passes may have made more
        let expected = after(model, &mut cache, last.token)?;
        let got = after(model, of_continuation, last.token)?;
        ensure(difference(&got, &expected).is_none(), || {
            format!("sequence {number} of two: a continuation's cache is not that of single passes")
        })?;
    }
    Ok(())
}

/// A cache never holds more than the context.
pub(super) fn end_with_the_context<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
) -> Result<(), String> {
    let context = model.context_length();
    let mut cache = model.new_cache().map_err(words)?;
    if context > LONGEST || !cache.pretend(context - 2) {
        return Ok(());
    }
    let feeds = &mut [Feed::new(&mut cache, &tokens[..1], 1)];
    let made = continued(model, feeds, (COUNT, model.vocab_size()))?.remove(0).best.len();
    ensure(made <= 2, || {
        format!("expected at most 2 tokens where the context has room for 2 more, got {made}")
    })
}

/// A feed that is refused leaves every cache as it was.
pub(super) fn errors_change_nothing<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
) -> Result<(), String> {
    let half = tokens.len() / 2;
    let mut caches = [cache_of(model, &tokens[..half])?, cache_of(model, &tokens[..half])?];
    let unknown = [model.vocab_size() as Token];
    let [a, b] = &mut caches;
    let mut feeds = [Feed::new(a, &tokens[half..=half], 1), Feed::new(b, &unknown, 1)];
    let mut output = model.new_output();
    let got = model.continue_greedily(&mut feeds, COUNT, model.vocab_size(), &mut output);
    ensure(matches!(got, Err(ModelError::UnknownToken { .. })), || {
        format!("a continuation of a token outside the vocabulary gives {got:?}")
    })?;
    ensure(caches.iter().all(|cache| cache.len() == half), || {
        "a refused continuation has changed a cache".into()
    })
}
