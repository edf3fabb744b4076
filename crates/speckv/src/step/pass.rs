//! Who shares a target pass, as far as the sequences know when a step begins.

use crate::cost::SharedPass;

/// What the other sequences of a pass expect of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Draft tokens that it verifies: as many as in its last step.
    pub verifies: usize,
    /// Whether it drafts with the model: as decided in this step where it is decided, else as in
    /// its last step; a sequence before its first step is taken to draft.
    pub drafts: bool,
}

impl Expected {
    /// A sequence that reads its prompt: it verifies nothing, and is taken to draft when it begins.
    pub const READING: Expected = Expected { verifies: 0, drafts: true };
}

/// One sequence of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Rows that it feeds without its draft: 1 for decoding, and what the target has not read.
    pub rows: usize,
    /// What the others expect of it.
    pub expected: Expected,
}

/// The pass of all `members`, as member `index` sees it; `None` is a sequence that is not in it.
#[must_use]
pub fn shared_pass(members: impl Iterator<Item = Option<Member>>, index: usize) -> SharedPass {
    let mut pass = SharedPass { sequences: 0, rows: 0, drafted_beside: 0, drafting_beside: 0 };
    for (other, member) in members.enumerate() {
        let Some(Member { rows, expected }) = member else { continue };
        pass.sequences += 1;
        pass.rows += rows;
        if other != index {
            pass.drafted_beside += expected.verifies;
            pass.drafting_beside += usize::from(expected.drafts);
        }
    }
    pass
}
