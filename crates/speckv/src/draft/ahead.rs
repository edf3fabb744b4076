//! Tokens that a draft model has made before they were asked for.

use super::Proposal;
use crate::token::Token;

/// The continuation of a text that one submission has made, for the asks of a step one after the
/// other. It is worth nothing for another text: an ask is answered where its text goes on as the
/// continuation does.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    start: usize, // tokens of the text that it continues
    proposals: Vec<Proposal>,
    known: usize, // proposals that the text is known to have taken
}

impl Ahead {
    /// Has nothing any more.
    pub(super) fn forget(&mut self) {
        self.proposals.clear();
        self.known = 0;
    }

    /// Takes a continuation of the first `start` tokens of the text.
    pub(super) fn take(&mut self, start: usize, proposals: impl Iterator<Item = Proposal>) {
        self.forget();
        self.start = start;
        self.proposals.extend(proposals);
    }

    /// The number of the proposal for the token after this text.
    fn place(&self, tokens: &[Token]) -> Option<usize> {
        let taken = tokens.get(self.start..)?;
        let next = self.proposals.get(..=taken.len())?;
        next.iter().zip(taken).all(|(made, token)| made.token == *token).then_some(taken.len())
    }

    /// Whether it has the token after this text.
    pub(super) fn has(&self, tokens: &[Token]) -> bool {
        self.place(tokens).is_some()
    }

    /// The proposal for the token after this text.
    pub(super) fn answer(&mut self, tokens: &[Token]) -> Option<Proposal> {
        let place = self.place(tokens)?;
        self.known = place;
        Some(self.proposals[place])
    }

    /// Positions that are known to be of the text, of a cache of `len` positions: those that it
    /// would have if each token had been made when it was asked for.
    pub(super) fn held(&self, len: usize) -> usize {
        if self.proposals.is_empty() { len } else { len.min(self.start + self.known) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::Signals;

    fn ahead() -> Ahead {
        let mut ahead = Ahead::default();
        let proposal = |token| Proposal { token, second: None, signals: Signals::default() };
        ahead.take(2, [7, 8, 9].into_iter().map(proposal));
        ahead
    }

    #[test]
    fn an_ask_is_answered_where_its_text_takes_what_was_made() {
        let mut ahead = ahead();
        let mut token = |tokens: &[Token]| ahead.answer(tokens).map(|proposal| proposal.token);
        assert_eq!(token(&[1, 1]), Some(7));
        assert_eq!(token(&[1, 1, 7]), Some(8));
        assert_eq!(token(&[1, 1, 7, 8]), Some(9));
        assert_eq!(token(&[1, 1, 7, 8, 9]), None, "nothing more was made");
        assert_eq!(token(&[1, 1, 5]), None, "another token was taken");
        assert_eq!(token(&[1, 1, 7, 5]), None, "another token was taken later");
        assert_eq!(token(&[1]), None, "a shorter text");
    }

    #[test]
    fn a_cache_holds_what_single_passes_would_have_read() {
        let mut ahead = ahead();
        assert_eq!(ahead.held(4), 2);
        ahead.answer(&[1, 1, 7]);
        assert_eq!(ahead.held(4), 3);
        ahead.answer(&[1, 1, 7, 8]);
        assert_eq!((ahead.held(4), ahead.held(1)), (4, 1));
        ahead.forget();
        assert_eq!((ahead.held(9), ahead.has(&[1, 1])), (9, false));
    }
}
