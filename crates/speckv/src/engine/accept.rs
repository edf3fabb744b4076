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
        let kept = self.stepper.kept().len();
        loop {
            let (accepted, beside) = (self.step.accepted, self.step.branch_accepted);
            // Rows: the text's last token, the draft, the branch.
            let row = first_row + if beside > 0 { kept + beside } else { accepted };
            let candidates = self.candidates(accepted, beside);
            let end = self.step.committed + accepted + beside;
            let choice = if self.chain.is_greedy() {
                self.choose_greedily(output, row, end, candidates)?
            } else {
                self.choose(output, row, end, candidates, buffers)?
            };
            let (Choice::Draft(token) | Choice::Branch(token) | Choice::Other(token)) = choice;
            self.likelihoods.decided(token, output, row)?;
            match choice {
                Choice::Draft(_) => self.step.accepted += 1,
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

    /// What may follow `accepted` tokens of the draft and `beside` tokens of the branch.
    fn candidates(&self, accepted: usize, beside: usize) -> Candidates {
        let branch = &self.stepper.record().branch;
        let in_branch = beside > 0 || branch.at == accepted;
        let next = branch.tokens.get(beside).filter(|_| in_branch);
        let draft = self.stepper.kept().get(accepted).filter(|_| beside == 0);
        Candidates { draft: draft.map(|it| it.token), branch: next.map(|it| it.token) }
    }

    /// The target's likeliest token.
    fn choose_greedily(
        &mut self,
        output: &mut M::Output,
        row: usize,
        end: usize,
        candidates: Candidates,
    ) -> Result<Choice, ModelError> {
        let token = if self.chain.has_penalty() {
            self.chain
                .argmax(output.logits(row)?, &self.tokens[..end])
                .map_err(|source| ModelError::Logits { row, source })?
        } else {
            let vocab_size = output.vocab_size();
            output.likeliest(row, vocab_size)?
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
            let q = &self.step.distributions[self.step.accepted];
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
        let kept = self.stepper.kept().len();
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
