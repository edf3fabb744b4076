//! A sequence's text as look-up follows it: its index, and where its end stands in it and in the
//! earlier texts.

use super::automaton::{Automaton, Run};
use crate::token::Token;

/// What look-up keeps of a sequence.
#[derive(Debug, Default)]
pub(super) struct Text {
    own: Automaton,
    known: usize, // tokens of `own` that are known to be the text's
    here: Cursor,
    scope: Option<u64>, // of the earlier texts that it may find
    there: Cursor,
    read: usize, // tokens of the text that `there` has followed
    stamp: u64,  // of the earlier texts that it followed them in
}

/// Where a text's end, and the tokens drafted after it, stand in an automaton.
#[derive(Debug, Default)]
struct Cursor {
    text: Run,
    drafted: Vec<Token>,
    runs: Vec<Run>, // after each of `drafted`
}

impl Cursor {
    /// The text has another end.
    fn begin(&mut self, text: Run) {
        self.text = text;
        self.drafted.clear();
        self.runs.clear();
    }

    /// The longest end of text and `drafted` that stands in the automaton. What was drafted before
    /// and is drafted still is not followed again.
    fn after(&mut self, automaton: &Automaton, drafted: &[Token]) -> Run {
        let same = self.drafted.iter().zip(drafted).take_while(|(old, new)| old == new).count();
        self.drafted.truncate(same);
        self.runs.truncate(same);
        for &token in &drafted[same..] {
            let run = automaton.extend(self.run(), token);
            self.drafted.push(token);
            self.runs.push(run);
        }
        self.run()
    }

    fn run(&self) -> Run {
        self.runs.last().copied().unwrap_or(self.text)
    }
}

impl Text {
    /// Its index.
    pub(super) fn own(&self) -> &Automaton {
        &self.own
    }

    /// The scope of the earlier texts that it may find.
    pub(super) fn scope(&self) -> Option<u64> {
        self.scope
    }

    /// Another scope.
    pub(super) fn set_scope(&mut self, scope: Option<u64>) {
        (self.scope, self.read) = (scope, 0);
    }

    /// The text may have changed from position `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.known = self.known.min(len);
    }

    /// Reads on to the end of `text`. Where it is another text than before, and not only a longer
    /// one, it is read anew.
    pub(super) fn follow(&mut self, text: &[Token]) {
        let (held, known) = (self.own.tokens().len(), self.known);
        let continues = held <= text.len() && self.own.tokens()[known..] == text[known..held];
        if !continues {
            self.own.clear();
            self.read = 0;
        }
        let held = self.own.tokens().len();
        if held < text.len() || !continues {
            text[held..].iter().for_each(|&token| self.own.push(token));
            self.here.begin(self.own.end());
        }
        self.known = text.len();
    }

    /// The longest end of the text and `drafted` that stands earlier in the text.
    pub(super) fn here(&mut self, drafted: &[Token]) -> Run {
        self.here.after(&self.own, drafted)
    }

    /// The longest end of `text`, which was followed, and `drafted` that stands in earlier texts;
    /// of more than `most` tokens at least the last `most`. `stamp` changes with the earlier texts.
    pub(super) fn there(
        &mut self,
        (earlier, stamp): (&Automaton, u64),
        text: &[Token],
        drafted: &[Token],
        most: usize,
    ) -> Run {
        let goes_on = self.stamp == stamp && (1..=text.len()).contains(&self.read);
        if !goes_on || self.read < text.len() {
            let start = if goes_on { self.read } else { text.len().saturating_sub(most) };
            let run = if goes_on { self.there.text } else { Run::default() };
            let follow = |run, &token| earlier.extend(run, token);
            self.there.begin(text[start..].iter().fold(run, follow));
            (self.stamp, self.read) = (stamp, text.len());
        }
        self.there.after(earlier, drafted)
    }
}
