//! Which tokens of a text are scored, and what context each has.

use std::ops::Range;

/// How a text is cut.
///
/// Windows of `window` positions begin every `stride` tokens. A token is scored in the first window
/// that reaches it, so that every token but the first few has at least `window - stride` tokens of
/// context. Models that begin a text with a token of their own read it at the start of every
/// window, where it takes one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Positions of a window.
    pub window: usize,
    /// Tokens from the start of one window to that of the next, less than `window`.
    pub stride: usize,
    /// Whether a token of the model's own begins every window.
    pub begins: bool,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Tokens of the text that it holds.
    pub tokens: Range<usize>,
    /// Those of them that are scored: the last ones.
    pub scored: Range<usize>,
}

impl Plan {
    /// The windows of a text of so many tokens, in order; their scored tokens are neighbours,
    /// without gap or overlap.
    ///
    /// # Panics
    /// If `stride` is 0 or not less than the tokens that a window holds.
    #[must_use]
    pub fn windows(&self, tokens: usize) -> Vec<Window> {
        let own = usize::from(self.begins);
        assert!(
            self.stride > 0 && self.stride + own < self.window,
            "a stride of {} in {}",
            self.stride,
            self.window
        );
        let room = self.window - own;
        // Without a token before it, the first one cannot be predicted.
        let mut scored = 1 - own;
        let mut windows = Vec::new();
        let mut start = 0;
        while scored < tokens {
            let end = tokens.min(start + room);
            windows.push(Window { tokens: start..end, scored: scored..end });
            scored = end;
            start += self.stride;
        }
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_scored_once_with_the_promised_context() {
        for (window, stride) in [(16, 8), (16, 1), (16, 14), (8, 3)] {
            for begins in [false, true] {
                let plan = Plan { window, stride, begins };
                for tokens in [0, 1, 2, 7, 8, 9, 16, 17, 100] {
                    let windows = plan.windows(tokens);
                    let scored: Vec<usize> =
                        windows.iter().flat_map(|window| window.scored.clone()).collect();
                    assert_eq!(
                        scored,
                        (usize::from(!begins)..tokens).collect::<Vec<_>>(),
                        "{plan:?}, {tokens}"
                    );
                    for (number, Window { tokens, scored }) in windows.iter().enumerate() {
                        assert!(
                            tokens.len() + usize::from(begins) <= window
                                && scored.end == tokens.end
                        );
                        let context = scored.start - tokens.start + usize::from(begins);
                        assert!(
                            context >= if number == 0 { 1 } else { window - stride },
                            "{plan:?}: {context}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_text_that_fits_is_one_window() {
        let plan = Plan { window: 512, stride: 256, begins: true };
        assert_eq!(plan.windows(300), [Window { tokens: 0..300, scored: 0..300 }]);
    }
}
