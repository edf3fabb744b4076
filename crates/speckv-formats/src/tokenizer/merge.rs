//! Byte-pair merging: the best pair of neighbours first, the leftmost among equals.

use std::{cmp::Reverse, collections::BinaryHeap};

use speckv::token::Token;

const NONE: usize = usize::MAX;

/// A piece of the text, `start..end` in bytes, in a doubly linked list of its neighbours.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    pub start: usize,
    pub end: usize,
    pub token: Option<Token>,
    previous: usize,
    next: usize,
}

/// A pair that may be merged; outdated once either side has changed its bounds.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<P> {
    priority: P,
    left: usize,
    right: usize,
    start: usize,
    end: usize,
    token: Token,
}

/// Merges neighbours until `rule` allows no pair. `parts` are adjacent `(start, end, token)`;
/// `rule` gives a pair's priority (the least is merged first) and the token it becomes. O(n log n)
/// in the number of parts.
pub(super) fn merge<P: Ord>(
    parts: impl Iterator<Item = (usize, usize, Option<Token>)>,
    mut rule: impl FnMut(&Symbol, &Symbol) -> Option<(P, Token)>,
) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = parts
        .enumerate()
        .map(|(index, (start, end, token))| Symbol {
            start,
            end,
            token,
            previous: index.checked_sub(1).unwrap_or(NONE),
            next: index + 1,
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = NONE;
    }
    let mut heap = BinaryHeap::new();
    let mut offer = |symbols: &[Symbol], heap: &mut BinaryHeap<_>, left: usize, right: usize| {
        if left == NONE || right == NONE {
            return;
        }
        if let Some((priority, token)) = rule(&symbols[left], &symbols[right]) {
            let (start, end) = (symbols[left].start, symbols[right].end);
            heap.push(Reverse(Candidate { priority, left, right, start, end, token }));
        }
    };
    for right in 1..symbols.len() {
        offer(&symbols, &mut heap, right - 1, right);
    }
    while let Some(Reverse(best)) = heap.pop() {
        let (left, right) = (&symbols[best.left], &symbols[best.right]);
        // A merged-away symbol is empty; a grown one has other bounds.
        if left.start == left.end
            || left.next != best.right
            || left.start != best.start
            || right.end != best.end
        {
            continue;
        }
        let next = right.next;
        symbols[best.right].start = best.end;
        let left = &mut symbols[best.left];
        (left.end, left.token, left.next) = (best.end, Some(best.token), next);
        let previous = left.previous;
        if next != NONE {
            symbols[next].previous = best.left;
        }
        offer(&symbols, &mut heap, previous, best.left);
        offer(&symbols, &mut heap, best.left, next);
    }
    symbols.retain(|symbol| symbol.start < symbol.end);
    symbols
}
