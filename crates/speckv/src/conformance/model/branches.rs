//! Trees: rows of branches, kept paths, forgotten branches.

use super::{Cache, Feed, LanguageModel, Token, cache_of, difference, ensure, pass, read, words};
use crate::model::ModelError;

/// Trees over ten tokens, and paths through them that end at the last of each list.
struct Shape {
    parents: &'static [usize],
    paths: &'static [&'static [usize]],
}

/// Tokens of the largest tree.
pub(super) const LONGEST: usize = 10;

/// One sibling of the trunk's third token; one of its first, with a chain behind it; two branches
/// of which one branches again, at the very end of the trunk and in its middle.
const SHAPES: [Shape; 3] = [
    Shape { parents: &[0, 1, 2, 3, 2], paths: &[&[0, 1, 4], &[0, 1, 2, 3], &[0, 1], &[]] },
    Shape { parents: &[0, 1, 0, 3, 4], paths: &[&[2, 3, 4], &[2, 3], &[2], &[0, 1], &[0]] },
    Shape {
        parents: &[0, 1, 2, 3, 4, 2, 6, 7, 6, 4],
        paths: &[&[0, 1, 5, 6, 7], &[0, 1, 5, 8], &[0, 1, 2, 3, 9], &[0, 1, 2, 3, 4], &[0, 1, 5]],
    },
];

/// Tokens of a tree, and its path to each of them.
fn path_to(parents: &[usize], index: usize) -> Vec<usize> {
    let mut path = vec![index];
    while let Some(&last) = path.last()
        && parents[last] > 0
    {
        path.push(parents[last] - 1);
    }
    path.reverse();
    path
}

fn pick(fed: &[Token], path: &[usize]) -> Vec<Token> {
    path.iter().map(|&index| fed[index]).collect()
}

/// Positions before the tree: none, few, and such that the tree crosses a block of 16.
fn starts(model: &impl LanguageModel, len: usize) -> Vec<usize> {
    let fits = |start: &usize| start + LONGEST + 2 <= model.context_length() && *start <= len;
    [0, 3, 13].into_iter().filter(fits).collect()
}

pub(super) fn a_path_of_a_chain_is_kept<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    let fed = &tokens[1..];
    for keep in [0, 1, fed.len() - 1, fed.len()] {
        let mut cache = cache_of(model, &tokens[..1])?;
        pass(model, &mut [Feed::new(&mut cache, fed, 1)])?;
        let path: Vec<usize> = (0..keep).collect();
        let skipping = [0, 2];
        ensure(cache.keep(&skipping).is_err() && cache.len() == tokens.len(), || {
            "a path that leaves out a token was kept".into()
        })?;
        cache.keep(&path).map_err(|error| format!("keeping {keep} tokens of a chain: {error}"))?;
        ensure(cache.len() == 1 + keep, || {
            format!("kept {keep} after 1, the cache holds {}", cache.len())
        })?;
        ensure(cache.keep(&path[..0]).is_err(), || "a feed was kept from twice".into())?;
        let got = pass(model, &mut [Feed::new(&mut cache, &other[..1], 1)])?;
        let fresh = read(model, &[&tokens[..1 + keep], &other[..1]].concat(), &[2 + keep])?;
        ensure(difference(&got, &fresh[1 + keep..]).is_none(), || {
            format!("after keeping {keep} tokens of a chain, the next has other logits")
        })?;
    }
    Ok(())
}

pub(super) fn a_row_of_a_tree_is_that_of_its_path<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    for Shape { parents, .. } in SHAPES {
        let fed = &other[..parents.len()];
        for start in starts(model, tokens.len()) {
            for rows in [1, parents.len() - 1, parents.len()] {
                let mut cache = cache_of(model, &tokens[..start])?;
                let feed = Feed::new(&mut cache, fed, rows).with_parents(parents);
                let trunk = feed.trunk();
                let got = pass(model, &mut [feed])?;
                ensure(got.len() == rows && cache.len() == start + trunk, || {
                    format!(
                        "a tree {parents:?} with {rows} rows after {start}: {} rows, {} held",
                        got.len(),
                        cache.len()
                    )
                })?;
                for (row, index) in (parents.len() - rows..parents.len()).enumerate() {
                    let path = pick(fed, &path_to(parents, index));
                    let text = [&tokens[..start], &path].concat();
                    let expected = read(model, &text, &[text.len()])?;
                    ensure(
                        difference(&got[row..=row], &expected[text.len() - 1..]).is_none(),
                        || {
                            format!(
                                "in a tree {parents:?} after {start} tokens, token {index} has \
                                 other logits than fed as a chain"
                            )
                        },
                    )?;
                }
            }
        }
    }
    Ok(())
}

pub(super) fn a_kept_path_is_as_if_fed_alone<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    for Shape { parents, paths } in SHAPES {
        let fed = &other[..parents.len()];
        for start in starts(model, tokens.len()) {
            for path in paths {
                let what = || format!("path {path:?} of a tree {parents:?} after {start} tokens");
                let mut cache = cache_of(model, &tokens[..start])?;
                pass(model, &mut [Feed::new(&mut cache, fed, 1).with_parents(parents)])?;
                cache.keep(path).map_err(|error| format!("{}: {error}", what()))?;
                let text = [&tokens[..start], &pick(fed, path)].concat();
                ensure(cache.len() == text.len(), || {
                    format!("{}: the cache holds {}", what(), cache.len())
                })?;
                ensure(cache.keep(&[]).is_err(), || format!("{}: kept twice", what()))?;
                let next = &tokens[..2];
                let got = pass(model, &mut [Feed::new(&mut cache, next, 2)])?;
                let text = [&text, next].concat();
                let expected = read(model, &text, &[text.len()])?;
                ensure(difference(&got, &expected[text.len() - 2..]).is_none(), || {
                    format!("{}: what comes after it has other logits", what())
                })?;
            }
        }
    }
    Ok(())
}

pub(super) fn forgotten_branches_leave_the_trunk<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    for Shape { parents, .. } in SHAPES {
        let fed = &other[..parents.len()];
        for start in starts(model, tokens.len()) {
            for cut in [None, Some(0), Some(1)] {
                let mut cache = cache_of(model, &tokens[..start])?;
                let feed = Feed::new(&mut cache, fed, 0).with_parents(parents);
                let trunk = feed.trunk() - cut.unwrap_or(0);
                pass(model, &mut [feed])?;
                if cut.is_some() {
                    cache.truncate(start + trunk);
                    ensure(cache.keep(&[]).is_err(), || "kept after truncating".into())?;
                }
                let next = &tokens[..2];
                let got = pass(model, &mut [Feed::new(&mut cache, next, 2)])?;
                let text = [&tokens[..start], &fed[..trunk], next].concat();
                let expected = read(model, &text, &[text.len()])?;
                ensure(difference(&got, &expected[text.len() - 2..]).is_none(), || {
                    format!(
                        "after a tree {parents:?} that was left, {start} and {trunk} tokens have \
                         other logits after them"
                    )
                })?;
            }
        }
    }
    Ok(())
}

/// Two sequences with trees and one without.
pub(super) fn trees_share_a_pass<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
    other: &[Token],
) -> Result<(), String> {
    let (first, second) = (&SHAPES[2], &SHAPES[0]);
    let start = starts(model, tokens.len()).pop().unwrap_or(0);
    let (a, b) = (&other[..first.parents.len()], &tokens[..second.parents.len()]);
    let alone = |held: &[Token], fed: &[Token], parents: &[usize]| {
        let mut cache = cache_of(model, held)?;
        pass(model, &mut [Feed::new(&mut cache, fed, fed.len()).with_parents(parents)])
    };
    let expected = [
        alone(&tokens[..start], a, first.parents)?,
        alone(other, &tokens[..2], &[])?,
        alone(&other[..2], b, second.parents)?,
    ]
    .concat();
    let mut caches = [
        cache_of(model, &tokens[..start])?,
        cache_of(model, other)?,
        cache_of(model, &other[..2])?,
    ];
    let [x, y, z] = &mut caches;
    let mut feeds = [
        Feed::new(x, a, a.len()).with_parents(first.parents),
        Feed::new(y, &tokens[..2], 2),
        Feed::new(z, b, b.len()).with_parents(second.parents),
    ];
    match difference(&pass(model, &mut feeds)?, &expected) {
        None => Ok(()),
        Some(row) => Err(format!("trees in one pass: row {row} is not what it is alone")),
    }
}

pub(super) fn wrong_trees_are_errors<M: LanguageModel>(
    model: &M,
    tokens: &[Token],
) -> Result<(), String> {
    let bad: [(&str, &[usize]); 3] = [
        ("fewer parents than tokens", &[0, 1]),
        ("a token that follows itself", &[0, 2, 2]),
        ("a token that follows a later one", &[0, 1, 4]),
    ];
    let refused = |parents: &[usize]| -> Result<ModelError, String> {
        let mut cache = cache_of(model, &tokens[..1])?;
        let mut feeds = [Feed::new(&mut cache, &tokens[..3], 1).with_parents(parents)];
        let outcome = model.forward(&mut feeds, &mut model.new_output());
        ensure(cache.len() == 1, || "a refused tree changed the cache".into())?;
        outcome.err().ok_or_else(|| format!("parents {parents:?} of three tokens: no error"))
    };
    for (what, parents) in bad {
        refused(parents).map_err(|error| format!("{what}: {error}"))?;
    }
    if !model.takes_branches() {
        let error = refused(&[0, 1, 1])?;
        ensure(matches!(error, ModelError::Unsupported { .. }), || {
            format!("a model without branches says: {error}")
        })?;
    }
    let mut cache = cache_of(model, tokens)?;
    cache.truncate(tokens.len() - 1);
    ensure(cache.keep(&[]).is_err(), || "a feed was kept from after truncating".into())?;
    let mut fresh = model.new_cache().map_err(words)?;
    ensure(fresh.keep(&[]).is_err(), || "a cache without a feed kept one".into())
}
