//! Byte-pair merging: the best pair of neighbours first, the leftmost among equals.
//!
//! The state takes 16 bytes and a quarter per byte of text, whatever the text is: 12 for the linked
//! list of symbols, 4 for the priority of each pair, and a tree of minima over the priorities.

use speckv::token::Token;

use super::TokenizerError;

/// No neighbour, no token, no priority.
const NONE: u32 = u32::MAX;

/// Children of a node in the tree of minima.
const FAN: usize = 64;

/// A piece of the text, `start..end` in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub start: usize,
    pub end: usize,
    pub token: Option<Token>,
}

/// Symbols as a linked list. A symbol is named by the offset of its first byte; it ends where its
/// successor begins.
#[derive(Clone, Copy)]
struct Slot {
    token: u32,
    previous: u32,
    next: u32,
}

const UNUSED: Slot = Slot { token: NONE, previous: NONE, next: NONE };

/// A text cut into symbols.
pub(super) struct Merged {
    slots: Vec<Slot>, // the last one only marks the end
}

impl Merged {
    fn symbol(&self, start: u32) -> Symbol {
        let slot = self.slots[start as usize];
        Symbol {
            start: start as usize,
            end: slot.next as usize,
            token: (slot.token != NONE).then_some(slot.token),
        }
    }

    /// The symbols in the order of the text.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> + '_ {
        let end = self.slots.len().saturating_sub(1) as u32;
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let symbol = self.symbol(at);
                at = symbol.end as u32;
                symbol
            })
        })
    }
}

/// Merges neighbours until no pair has a priority.
///
/// `length`: bytes of the text. `parts`: adjacent `(start, end, token)` that cover it. `priority`:
/// the priority of a pair, the least is merged first and must be below [`u32::MAX`]; asked once
/// when the two become neighbours. `joined`: the token that a pair with a priority becomes; asked
/// when they are merged. O(n log n) in the length.
///
/// # Errors
/// [`TokenizerError::TooLarge`] for a text of 4 GiB or more.
pub(super) fn merge(
    length: usize,
    parts: impl Iterator<Item = (usize, usize, Option<Token>)>,
    mut priority: impl FnMut(Symbol, Symbol) -> Option<u32>,
    joined: impl Fn(Symbol, Symbol) -> Option<Token>,
) -> Result<Merged, TokenizerError> {
    if u32::try_from(length).is_err() || length as u32 == NONE {
        return Err(TokenizerError::TooLarge);
    }
    let mut list = Merged { slots: vec![UNUSED; length + 1] };
    let mut last = NONE;
    for (start, end, token) in parts {
        let token = token.unwrap_or(NONE);
        list.slots[start] = Slot { token, previous: last, next: end as u32 };
        last = start as u32;
    }
    let end = length as u32;
    let mut offer = |list: &Merged, left: u32| {
        let left = list.symbol(left);
        if left.end as u32 == end {
            return NONE;
        }
        priority(left, list.symbol(left.end as u32)).unwrap_or(NONE)
    };
    let mut priorities = vec![NONE; length];
    let mut at = 0;
    while at < end {
        priorities[at as usize] = offer(&list, at);
        at = list.slots[at as usize].next;
    }
    let mut pairs = Minima::new(priorities);
    while let Some(left) = pairs.first() {
        let right = list.slots[left as usize].next;
        let token = joined(list.symbol(left), list.symbol(right)).unwrap_or(NONE);
        let (previous, next) =
            (list.slots[left as usize].previous, list.slots[right as usize].next);
        list.slots[right as usize] = UNUSED;
        pairs.set(right, NONE);
        list.slots[left as usize] = Slot { token, previous, next };
        if next < end {
            list.slots[next as usize].previous = left;
        }
        if previous != NONE {
            pairs.set(previous, offer(&list, previous));
        }
        pairs.set(left, offer(&list, left));
    }
    Ok(list)
}

/// Numbers of which the leftmost smallest is found in O(log n).
struct Minima {
    numbers: Vec<u32>,
    levels: Vec<Vec<u32>>, // the minimum of each group of FAN, of FAN such groups, ...
}

impl Minima {
    fn new(numbers: Vec<u32>) -> Self {
        let mut levels: Vec<Vec<u32>> = Vec::new();
        loop {
            let below = levels.last().unwrap_or(&numbers);
            if below.len() <= FAN {
                return Minima { levels, numbers };
            }
            levels.push(below.chunks(FAN).map(least).collect());
        }
    }

    /// The leftmost place of the smallest number; `None` if all are [`NONE`].
    fn first(&self) -> Option<u32> {
        let top = self.levels.last().unwrap_or(&self.numbers);
        let smallest = least(top);
        if smallest == NONE {
            return None;
        }
        let mut at = place(top, 0, smallest);
        for level in self.levels.iter().rev().skip(1) {
            at = place(level, at * FAN, smallest);
        }
        Some(if self.levels.is_empty() { at } else { place(&self.numbers, at * FAN, smallest) }
            as u32)
    }

    fn set(&mut self, at: u32, number: u32) {
        let mut at = at as usize;
        self.numbers[at] = number;
        let mut below: &[u32] = &self.numbers;
        for level in &mut self.levels {
            at /= FAN;
            let smallest = least(&below[at * FAN..below.len().min((at + 1) * FAN)]);
            if std::mem::replace(&mut level[at], smallest) == smallest {
                return;
            }
            below = level;
        }
    }
}

fn least(numbers: &[u32]) -> u32 {
    numbers.iter().copied().min().unwrap_or(NONE)
}

/// The first place from `from` on that holds `number`.
fn place(numbers: &[u32], from: usize, number: u32) -> usize {
    from + numbers[from..].iter().position(|&other| other == number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As defined: look at all neighbours, merge the best, and again.
    fn naive(text: &[u8], rank: impl Fn(&[u8]) -> Option<u32>) -> Vec<(usize, usize)> {
        let mut pieces: Vec<(usize, usize)> = (0..text.len()).map(|at| (at, at + 1)).collect();
        loop {
            let best = (1..pieces.len())
                .filter_map(|at| Some((rank(&text[pieces[at - 1].0..pieces[at].1])?, at)))
                .min();
            let Some((_, at)) = best else { return pieces };
            pieces[at - 1].1 = pieces[at].1;
            pieces.remove(at);
        }
    }

    fn merged(text: &[u8], rank: impl Fn(&[u8]) -> Option<u32>) -> Vec<(usize, usize)> {
        let parts = (0..text.len()).map(|at| (at, at + 1, Some(0)));
        let joined = |left: Symbol, right: Symbol| rank(&text[left.start..right.end]);
        merge(text.len(), parts, joined, joined)
            .expect("small")
            .symbols()
            .map(|symbol| (symbol.start, symbol.end))
            .collect()
    }

    /// A rank for about half of all short texts, with many equal ones.
    fn rank(text: &[u8]) -> Option<u32> {
        let hash = text.iter().fold(7_u32, |hash, &byte| hash.wrapping_mul(31) ^ u32::from(byte));
        (text.len() <= 12 && hash % 2 == 0).then_some(hash / 2 % 50)
    }

    proptest! {
        #[test]
        fn merging_is_what_repeated_search_for_the_best_pair_gives(
            text in proptest::collection::vec(0_u8..4, 0..400)
        ) {
            prop_assert_eq!(merged(&text, rank), naive(&text, rank));
        }
    }

    #[test]
    fn the_tree_of_minima_holds_over_several_levels() {
        let text: Vec<u8> =
            (0..9000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 29) as u8).collect();
        assert_eq!(merged(&text, rank), naive(&text, rank));
        assert_eq!(merged(&[], rank), []);
        assert_eq!(merged(&[1], rank), [(0, 1)]);
    }

    #[test]
    fn a_text_without_a_space_takes_less_than_twenty_bytes_per_byte() {
        let length = 1 << 20;
        let list = Merged { slots: vec![UNUSED; length + 1] };
        let pairs = Minima::new(vec![NONE; length]);
        let numbers =
            pairs.numbers.capacity() + pairs.levels.iter().map(Vec::capacity).sum::<usize>();
        let bytes = list.slots.capacity() * size_of::<Slot>() + numbers * size_of::<u32>();
        assert!(bytes < 17 * length, "{} bytes per byte", bytes as f64 / length as f64);
    }

    #[test]
    fn symbols_of_several_bytes_keep_their_bounds() {
        let parts = [(0, 2, Some(1)), (2, 3, None), (3, 6, Some(1))];
        let list = merge(6, parts.into_iter(), |_, _| None, |_, _| None).expect("small");
        let symbols: Vec<_> = list.symbols().map(|s| (s.start, s.end, s.token)).collect();
        assert_eq!(symbols, parts);
    }
}
