//! Tokens that one pass of a parallel draft proposes.

use super::{Ask, DraftError, Proposal};
use crate::{model::PassOutput, token::Token};

/// The rows of one pass, for the asks of a step one after the other.
///
/// Row `i` has the distribution of the token `i + 1` positions after the text. It does not depend
/// on the tokens that are drawn from the rows before it.
#[derive(Debug, Default)]
pub(super) struct Block {
    start: usize,               // tokens of the text when the pass was made
    rows: Vec<Proposal>,        // likeliest tokens with their signals, [rows]
    logits: Vec<f32>,           // where more than the likeliest token is asked for, [rows, vocab]
    pub(super) fed: Vec<Token>, // what the pass read; empty between passes
}

impl Block {
    /// Has no rows any more.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
    }

    /// Whether the pass was made in the step of this ask and has a row for it.
    pub(super) fn answers(&self, ask: &Ask<'_>) -> bool {
        ask.drafted > 0
            && self.start + ask.drafted == ask.tokens.len()
            && ask.drafted < self.rows.len()
    }

    /// Takes `rows` rows of a pass, the first of which is `first`, made for this ask.
    ///
    /// # Errors
    /// Logits that make no token, or a failure of the device.
    pub(super) fn take(
        &mut self,
        output: &mut impl PassOutput,
        (first, rows): (usize, usize),
        vocab_size: usize,
        ask: &Ask<'_>,
    ) -> Result<(), DraftError> {
        self.forget();
        self.logits.clear();
        self.start = ask.tokens.len();
        for row in first..first + rows {
            self.rows.push(output.best(row, vocab_size)?.into());
            if needs_logits(ask) {
                self.logits.extend_from_slice(&output.logits(row)?[..vocab_size]);
            }
        }
        Ok(())
    }

    /// Answers an ask from its row.
    ///
    /// # Errors
    /// Logits that make no token.
    pub(super) fn answer(&self, ask: &mut Ask<'_>, vocab_size: usize) -> Result<(), DraftError> {
        let row = ask.tokens.len() - self.start;
        let best = self.rows[row];
        let logits = self.logits.get(row * vocab_size..(row + 1) * vocab_size);
        ask.proposal = Some(match logits {
            Some(logits) if needs_logits(ask) => choose(ask, best, logits)?,
            _ => best,
        });
        Ok(())
    }
}

/// Whether more than the likeliest token of a row may be asked for.
pub(crate) fn needs_logits(ask: &Ask<'_>) -> bool {
    !ask.chain.is_greedy() || ask.chain.changes_logits() || ask.chain.is_constrained()
}

/// The proposal of an ask by its chain, where the row's likeliest tokens are those of `best`; under
/// sampling its distribution is left in the ask.
///
/// # Errors
/// Logits that make no token.
pub(super) fn choose(
    ask: &mut Ask<'_>,
    best: Proposal,
    logits: &[f32],
) -> Result<Proposal, DraftError> {
    let Proposal { token: likeliest, second, mut signals } = best;
    let allowed = ask.chain.allows(ask.tokens, likeliest)?;
    if !allowed {
        signals = ask.chain.constrained_signals(logits, ask.tokens)?.unwrap_or(signals);
    }
    let token = if allowed && ask.chain.is_greedy() && !ask.chain.changes_logits() {
        likeliest
    } else if ask.chain.is_greedy() {
        ask.chain.argmax(logits, ask.tokens)?
    } else {
        ask.chain.fill(logits, ask.tokens, ask.distribution)?;
        ask.distribution.draw(ask.uniform)
    };
    let second = if token == likeliest { second } else { Some(likeliest) };
    Ok(Proposal { token, second, signals })
}
