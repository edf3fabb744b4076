//! Acceptance: which of the verified tokens stay, and which token follows them.

use super::Sequence;
use crate::{
    model::{Cache, LanguageModel, ModelError, PassOutput},
    sampling::Distribution,
    token::Token,
    verify::{Verified, is_accepted, verify},
};

/// Memory that the acceptance of a sampled step reuses.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    p: Distribution,      // of the target
    rest: Distribution,   // (p - q)+ of a first candidate
    second: Distribution, // certain of a second candidate
    left: Distribution,   // what is left after that
}

/// The tokens that a position may be continued with: the draft's, and that of the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidates {
    draft: Option<Token>,
    branch: Option<Token>,
}

/// What a position is continued with.
enum Choice {
    Draft(Token),
    Branch(Token),
    Other(Token),
}

impl<M: LanguageModel> Sequence<M> {
    /// Walks from the last token of the text along the draft and, where it leaves it, along the
    /// branch, as far as the target agrees.
    pub(super) fn accept(
        &mut self,
        output: &mut M::Output,
        first_row: usize,
        buffers: &mut Buffers,
    ) -> Result<(), ModelError> {
        let trunk = self.tokens.len() - self.step.committed; // drafted tokens and forced ones
        loop {
            let (accepted, beside) = (self.step.accepted, self.step.branch_accepted);
            if beside == 0 && self.accept_forced(accepted) {
                if self.ends_with(self.tokens[self.step.committed + accepted]) {
                    return Ok(());
                }
                continue;
            }
            // Rows: the text's last token, the draft, the branch.
            let row = first_row + if beside > 0 { trunk + beside } else { accepted };
            let candidates = self.candidates(accepted, beside, trunk);
            let end = self.step.committed + accepted + beside;
            let choice = if self.chain.is_greedy() {
                self.choose_greedily(output, row, end, candidates)?
            } else {
                self.choose(output, row, end, candidates, buffers)?
            };
            let (Choice::Draft(token) | Choice::Branch(token) | Choice::Other(token)) = choice;
            self.likelihoods.decided(token, output, row)?;
            match choice {
                Choice::Draft(_) => {
                    self.step.accepted += 1;
                    self.step.accepted_drafts += 1;
                }
                Choice::Branch(_) => {
                    self.tokens.truncate(end);
                    self.tokens.push(token);
                    self.step.branch_accepted += 1;
                }
                Choice::Other(_) => {
                    self.step.last_token = Some(token);
                    return Ok(());
                }
            }
            if self.ends_with(token) {
                return Ok(());
            }
        }
    }

    /// Whether the token at this position after the committed ones was forced: then it stays.
    fn accept_forced(&mut self, position: usize) -> bool {
        let is_forced = self.step.is_forced.get(position).copied().unwrap_or(false);
        self.step.accepted += usize::from(is_forced);
        is_forced
    }

    /// What may follow `accepted` of the `trunk` tokens of the draft and `beside` tokens of the
    /// branch.
    fn candidates(&self, accepted: usize, beside: usize, trunk: usize) -> Candidates {
        let branch = &self.stepper.record().branch;
        let in_branch = beside > 0 || branch.at == accepted;
        let next = branch.tokens.get(beside).filter(|_| in_branch);
        let draft =
            (beside == 0 && accepted < trunk).then(|| self.tokens[self.step.committed + accepted]);
        Candidates { draft, branch: next.map(|it| it.token) }
    }

    /// The target's likeliest token.
    fn choose_greedily(
        &mut self,
        output: &mut M::Output,
        row: usize,
        end: usize,
        candidates: Candidates,
    ) -> Result<Choice, ModelError> {
        let text = &self.tokens[..end];
        let failed = |source| ModelError::Logits { row, source };
        let vocab_size = output.vocab_size();
        let likeliest = match self.chain.changes_logits() {
            true => None,
            false => Some(output.likeliest(row, vocab_size)?),
        };
        let token = match likeliest {
            Some(token) if self.chain.allows(text, token).map_err(failed)? => token,
            _ => self.chain.argmax(output.logits(row)?, text).map_err(failed)?,
        };
        Ok(match candidates {
            Candidates { draft: Some(draft), .. } if draft == token => Choice::Draft(token),
            Candidates { branch: Some(branch), .. } if branch == token => Choice::Branch(token),
            _ => Choice::Other(token),
        })
    }

    /// A token with the target's distribution: the draft's candidate is kept or not, then the
    /// branch's against what is left, then one is drawn from what is left after that.
    fn choose(
        &mut self,
        output: &mut M::Output,
        row: usize,
        end: usize,
        Candidates { draft, branch }: Candidates,
        Buffers { p, rest, second, left }: &mut Buffers,
    ) -> Result<Choice, ModelError> {
        self.chain
            .fill(output.logits(row)?, &self.tokens[..end], p)
            .map_err(|source| ModelError::Logits { row, source })?;
        let mut target = &*p;
        if let Some(token) = draft {
            let q = &self.step.distributions[self.step.accepted_drafts];
            let u_accept = self.randomness.uniform();
            if is_accepted(p.probability(token), q.probability(token), u_accept) {
                // The draw that a rejection would have taken: texts do not depend on it.
                let _ = self.randomness.uniform();
                return Ok(Choice::Draft(token));
            }
            if rest.set_rest(p, q) {
                target = &*rest;
            } else {
                self.step.rest_was_empty = true;
            }
        }
        let Some(token) = branch else {
            return Ok(Choice::Other(target.draw(self.randomness.uniform())));
        };
        second.set_certain(token);
        let (u_accept, u_draw) = (self.randomness.uniform(), self.randomness.uniform());
        Ok(match verify(token, target, second, u_accept, u_draw, left) {
            Verified::Accepted => Choice::Branch(token),
            Verified::Recovered { token, rest_was_empty } => {
                self.step.rest_was_empty |= rest_was_empty;
                Choice::Other(token)
            }
        })
    }

    /// Has the target's cache hold the accepted tokens of the branch in place of the draft's.
    ///
    /// # Errors
    /// The cache's.
    pub(super) fn keep_branch(&mut self) -> Result<(), ModelError> {
        let kept = self.stepper.kept().len(); // nothing is forced beside a branch
        let step = &mut self.step;
        if step.branch_accepted == 0 || step.parents.is_empty() {
            return Ok(()); // the branch is no branch where it goes on at the draft's end
        }
        step.path.clear();
        step.path.extend(0..=step.unread + step.accepted);
        let first = step.unread + 1 + kept;
        step.path.extend(first..first + step.branch_accepted);
        self.cache.keep(&step.path)
    }
}
