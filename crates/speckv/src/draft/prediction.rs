//! A text that a sequence will probably go on with, as a request says.

use std::collections::HashMap;

use super::continuations;
use crate::{signals::Signals, token::Token};

/// The end of a text, and what is predicted to follow it.
///
/// It is found by the longest run of tokens that the text at hand ends with, over up to
/// [`LONGEST_RUN`] tokens, so that an answer that repeats the prediction with changes is followed
/// from after each change.
#[derive(Debug)]
pub(super) struct Prediction {
    tokens: Vec<Token>,
    places: HashMap<Token, Vec<usize>>, // after each occurrence of a token
}

/// A place in a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Predicted {
    /// The token there.
    pub token: Token,
    /// Tokens from it on.
    pub available: usize,
    /// Tokens before it that the text ends with.
    pub run: usize,
    /// Of the tokens at the places with the longest run.
    pub signals: Signals,
}

/// Most tokens that are compared.
const LONGEST_RUN: usize = 64;
/// Most places that are compared.
const MOST_PLACES: usize = 1024;

impl Prediction {
    /// What follows `text`.
    pub(super) fn new(text: &[Token], next: &[Token]) -> Self {
        let end = &text[text.len().saturating_sub(LONGEST_RUN)..];
        let tokens = [end, next].concat();
        let mut places = HashMap::<Token, Vec<usize>>::new();
        for (place, token) in tokens.iter().enumerate() {
            places.entry(*token).or_default().push(place + 1);
        }
        Prediction { tokens, places }
    }

    /// Where the longest run that ends `text` goes on, if it has at least `least` tokens; of equal
    /// runs, the first. `counts` becomes the tokens at the places with the longest run.
    pub(super) fn find(
        &self,
        text: &[Token],
        least: usize,
        counts: &mut Vec<(Token, u32)>,
    ) -> Option<Predicted> {
        let places = self.places.get(text.last()?)?;
        let (mut longest, mut first) = (least.max(1), None);
        counts.clear();
        for &place in places.iter().take(MOST_PLACES) {
            let Some(&token) = self.tokens.get(place) else { continue };
            let both = self.tokens[..place].iter().rev().zip(text.iter().rev());
            let run = both.take(LONGEST_RUN).take_while(|(a, b)| a == b).count();
            if run < longest {
                continue;
            }
            if run > longest || first.is_none() {
                (longest, first) = (run, Some(place));
                counts.clear();
            }
            continuations::count(counts, token, 1);
        }
        let place = first?;
        Some(Predicted {
            token: self.tokens[place],
            available: self.tokens.len() - place,
            run: longest,
            signals: continuations::signals(counts, 0, longest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(prediction: &Prediction, text: &[Token]) -> Option<(Token, usize)> {
        prediction.find(text, 2, &mut Vec::new()).map(|found| (found.token, found.run))
    }

    #[test]
    fn it_begins_where_the_text_ends_and_is_found_again_after_a_change() {
        let prediction = Prediction::new(&[1, 2, 3], &[10, 11, 12, 13, 14, 15]);
        assert_eq!(next(&prediction, &[1, 2, 3]), Some((10, 3)));
        assert_eq!(next(&prediction, &[1, 2, 3, 10]), Some((11, 4)));
        assert_eq!(next(&prediction, &[1, 2, 3, 10, 99]), None, "a change");
        assert_eq!(next(&prediction, &[1, 2, 3, 10, 99, 12]), None, "one token is too few");
        assert_eq!(next(&prediction, &[1, 2, 3, 10, 99, 12, 13]), Some((14, 2)));
        assert_eq!(next(&prediction, &[9, 14, 15]), None, "nothing follows its end");
        let found = prediction.find(&[1, 2, 3], 2, &mut Vec::new()).expect("a place");
        assert_eq!((found.available, found.signals.confidence), (6, 1.0));
    }

    #[test]
    fn the_longest_run_wins_and_equal_ones_are_counted() {
        let prediction = Prediction::new(&[0, 1, 2], &[5, 7, 1, 2, 6, 1, 2, 5]);
        assert_eq!(next(&prediction, &[7, 1, 2]), Some((6, 3)));
        let found = prediction.find(&[9, 1, 2], 2, &mut Vec::new()).expect("three places");
        assert_eq!((found.token, found.run), (5, 2));
        assert!((found.signals.confidence - 2.0 / 3.0).abs() < 1e-6);
        assert!((found.signals.margin - 1.0 / 3.0).abs() < 1e-6);
    }
}
