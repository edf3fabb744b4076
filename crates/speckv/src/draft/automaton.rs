//! A suffix automaton: every run of tokens in some texts, how often it stands there, and what
//! follows it (Blumer et al. 1985, "The smallest automaton recognizing the subwords of a text").

use std::collections::HashMap;

use super::continuations;
use crate::token::Token;

/// Between two texts: no token of any vocabulary.
pub(super) const GAP: Token = Token::MAX;

/// No state, edge or position.
const NONE: u32 = u32::MAX;

/// Most runs that are counted where a token is added, the longest ones. A text has more only where
/// it repeats a piece so many times in a row; the shortest of its runs are then counted too few
/// times.
const MOST_COUNTED: usize = 64;

/// Most continuations of a run that are told apart.
const MOST_TOLD: usize = 16;

/// Texts, one after the other, and an index of all their runs. A token more takes amortised
/// constant time.
#[derive(Debug)]
pub(super) struct Automaton {
    tokens: Vec<Token>,
    states: Vec<State>,               // the first is that of the empty run
    edges: Vec<Edge>,                 // of states that have more than one
    find: HashMap<(u32, Token), u32>, // state and token -> one of `edges`
    last: u32,                        // state of all tokens
}

/// Runs that end at the same positions.
#[derive(Debug, Clone, Copy)]
struct State {
    length: u32,  // of the longest run
    link: u32,    // state of the longest end of these runs that also ends elsewhere
    count: u32,   // positions where the runs end
    latest: u32,  // the last of these
    before: u32,  // the one before it; NONE if there is none
    token: Token, // of the first edge
    target: u32,  // of the first edge; NONE without edges
    more: u32,    // the newest of the other edges; NONE if there are none
}

/// What a state is followed by.
#[derive(Debug, Clone, Copy)]
struct Edge {
    token: Token,
    target: u32,
    next: u32, // the next edge of the same state; NONE at the last
}

/// A run of tokens that stands in an automaton. It stays valid while tokens are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Run {
    state: u32,
    length: u32,
}

impl Run {
    /// Tokens of the run.
    pub(super) fn len(self) -> usize {
        self.length as usize
    }
}

impl Default for Automaton {
    fn default() -> Self {
        Automaton {
            tokens: Vec::new(),
            states: vec![State::new(0, NONE)],
            edges: Vec::new(),
            find: HashMap::new(),
            last: 0,
        }
    }
}

impl State {
    fn new(length: u32, link: u32) -> Self {
        let (latest, before, target, more) = (NONE, NONE, NONE, NONE);
        State { length, link, count: 0, latest, before, token: GAP, target, more }
    }

    /// Whether a token of a text follows.
    fn continues(&self) -> bool {
        self.target != NONE && (self.token != GAP || self.more != NONE)
    }
}

impl Automaton {
    /// The texts.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.states.truncate(1);
        self.states[0] = State::new(0, NONE);
        self.edges.clear();
        self.find.clear();
        self.last = 0;
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.tokens.capacity() * size_of::<Token>()
            + self.states.capacity() * size_of::<State>()
            + self.edges.capacity() * size_of::<Edge>()
            // The table has a byte for each entry and is at most 7/8 full.
            + self.find.capacity() * (size_of::<((u32, Token), u32)>() + 1) * 8 / 7
    }

    /// Adds a token.
    pub(super) fn push(&mut self, token: Token) {
        let position = self.tokens.len() as u32;
        self.tokens.push(token);
        let new = self.add_state(State::new(position + 1, 0));
        let mut at = self.last;
        while at != NONE && self.step(at, token).is_none() {
            self.set_edge(at, token, new);
            at = self.states[at as usize].link;
        }
        if at != NONE
            && let Some(next) = self.step(at, token)
        {
            let length = self.states[at as usize].length + 1;
            let link = if self.states[next as usize].length == length {
                next
            } else {
                self.split(next, length, at, token)
            };
            self.states[new as usize].link = link;
        }
        self.last = new;
        self.count_ends(new, position);
    }

    /// Gives the runs of `state` of at most `length` tokens a state of their own, to which `token`
    /// leads from state `from` and its links.
    fn split(&mut self, state: u32, length: u32, mut from: u32, token: Token) -> u32 {
        let whole = self.states[state as usize];
        let part = self.add_state(State { length, target: NONE, more: NONE, ..whole });
        if whole.target != NONE {
            self.set_edge(part, whole.token, whole.target);
        }
        let mut edge = whole.more;
        while edge != NONE {
            let Edge { token, target, next } = self.edges[edge as usize];
            self.set_edge(part, token, target);
            edge = next;
        }
        while from != NONE && self.step(from, token) == Some(state) {
            self.set_edge(from, token, part);
            from = self.states[from as usize].link;
        }
        self.states[state as usize].link = part;
        part
    }

    fn add_state(&mut self, state: State) -> u32 {
        self.states.push(state);
        (self.states.len() - 1) as u32
    }

    /// Counts a position where the runs of a state, and all ends of them, end.
    fn count_ends(&mut self, mut state: u32, position: u32) {
        for _ in 0..MOST_COUNTED {
            if state == 0 {
                return;
            }
            let State { link, count, latest, before, .. } = &mut self.states[state as usize];
            *count += 1;
            (*before, *latest) = (*latest, position);
            state = *link;
        }
    }

    /// The state that `token` leads to.
    fn step(&self, state: u32, token: Token) -> Option<u32> {
        let State { token: first, target, more, .. } = self.states[state as usize];
        if target != NONE && first == token {
            return Some(target);
        }
        if more == NONE {
            return None;
        }
        self.find.get(&(state, token)).map(|&edge| self.edges[edge as usize].target)
    }

    fn set_edge(&mut self, state: u32, token: Token, target: u32) {
        let place = &mut self.states[state as usize];
        if place.target == NONE || place.token == token {
            (place.token, place.target) = (token, target);
            return;
        }
        let new = self.edges.len() as u32;
        let edge = *self.find.entry((state, token)).or_insert(new);
        if edge == new {
            self.edges.push(Edge { token, target, next: place.more });
            place.more = new;
        } else {
            self.edges[edge as usize].target = target;
        }
    }

    /// The longest end of the tokens that also stands earlier.
    pub(super) fn end(&self) -> Run {
        let state = self.states[self.last as usize].link;
        if state == NONE {
            return Run::default();
        }
        Run { state, length: self.states[state as usize].length }
    }

    /// The last `most` tokens of a run, in the state that they have now.
    fn shorten(&self, run: Run, most: u32) -> Run {
        let Run { mut state, length } = run;
        let length = length.min(most);
        while state != 0 {
            let link = self.states[state as usize].link;
            if self.states[link as usize].length < length {
                break;
            }
            state = link;
        }
        Run { state, length }
    }

    /// The longest end of a run and a token after it that stands here.
    pub(super) fn extend(&self, run: Run, token: Token) -> Run {
        let Run { mut state, mut length } = self.shorten(run, NONE);
        loop {
            if let Some(next) = self.step(state, token) {
                return Run { state: next, length: length + 1 };
            }
            if state == 0 {
                return Run::default();
            }
            state = self.states[state as usize].link;
            length = self.states[state as usize].length;
        }
    }

    /// The longest end of a run, of at most `most` tokens, that something follows.
    pub(super) fn followed(&self, run: Run, most: usize) -> Run {
        let mut run = self.shorten(run, u32::try_from(most).unwrap_or(NONE));
        while run.state != 0 && !self.states[run.state as usize].continues() {
            let state = self.states[run.state as usize].link;
            run = Run { state, length: self.states[state as usize].length };
        }
        run
    }

    /// The position of what follows a run where it stands last; where a text ends there, of its
    /// most frequent continuation. The run is one that [`followed`](Self::followed) gave.
    pub(super) fn next(&self, run: Run) -> Option<usize> {
        let State { latest, before, .. } = self.states[run.state as usize];
        let at_end = latest as usize + 1 == self.tokens.len();
        let place = if at_end { before } else { latest };
        let next = (place != NONE).then_some(place as usize + 1);
        if next.is_some_and(|next| self.tokens[next] != GAP) {
            return next;
        }
        let best = self.edges_of(run.state).max_by_key(|&(_, count, place)| (count, place));
        best.map(|(_, _, place)| place as usize)
    }

    /// Adds the continuations of a run with their counts, as many as are told apart. Returns the
    /// count of all of them.
    pub(super) fn count_next(&self, run: Run, counts: &mut Vec<(Token, u32)>) -> u32 {
        let mut told = 0;
        for (token, count, _) in self.edges_of(run.state).take(MOST_TOLD) {
            told += count;
            continuations::count(counts, token, count);
        }
        let State { count, latest, .. } = self.states[run.state as usize];
        let at_end = u32::from(latest as usize + 1 == self.tokens.len());
        let ends = self.step(run.state, GAP).map_or(0, |gap| self.states[gap as usize].count);
        told.max(count.saturating_sub(at_end + ends))
    }

    /// Tokens that follow a state, with their counts and where each stands last.
    fn edges_of(&self, state: u32) -> impl Iterator<Item = (Token, u32, u32)> + '_ {
        let State { token, target, more, .. } = self.states[state as usize];
        let mut edge = more;
        let others = std::iter::from_fn(move || {
            let Edge { token, target, next } = *self.edges.get(edge as usize)?;
            edge = next;
            Some((token, target))
        });
        let first = (target != NONE).then_some((token, target));
        first.into_iter().chain(others).filter(|&(token, _)| token != GAP).map(|(token, target)| {
            let State { count, latest, .. } = self.states[target as usize];
            (token, count, latest)
        })
    }
}

#[cfg(test)]
mod tests;
