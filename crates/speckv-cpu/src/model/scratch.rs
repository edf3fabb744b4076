//! Room for one pass, kept from pass to pass so that a step allocates nothing.

use super::{
    branches::{Move, Round, Run},
    cache::Heads,
};
use crate::kernels::{activation::Activations, attention::ATTENTION_ROWS};

/// One position in a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// The feed that it belongs to.
    pub feed: usize,
    /// Its token.
    pub token: u32,
    /// Positions that its cache held before the pass.
    pub start: usize,
    /// Its position in the sequence.
    pub position: usize,
    /// Where its keys and values are stored: its position, except in a branch.
    pub place: usize,
    /// The last position of its text with a token that the output head leaves out elsewhere.
    pub rare: Option<usize>,
    /// Its row in the logits, if they are wanted.
    pub logits: Option<usize>,
    /// Its hidden state in the output, if that is wanted.
    pub hidden: Option<usize>,
    /// Whether its logits leave out the tokens of the output head's gap.
    pub gap: bool,
}

/// Buffers of one pass over `n` rows.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub plan: Vec<Row>,
    pub caches: Vec<Heads<'static>>, // always empty: only its memory is used again
    pub tasks: Vec<AttentionTask>,
    pub runs: Vec<Run>,
    pub moves: Vec<Move>,
    pub rounds: Vec<Round>,
    pub x: Vec<f32>,         // [n, hidden], the residual stream
    pub normed: Vec<f32>,    // [n, hidden]
    pub delta: Vec<f32>,     // [n, hidden]
    pub query: Vec<f32>,     // [n, heads * head_dim]
    pub key: Vec<f32>,       // [n, kv_heads * head_dim]
    pub value: Vec<f32>,     // [n, kv_heads * head_dim]
    pub attended: Vec<f32>,  // [n, heads * head_dim]
    pub gated: Vec<f32>,     // [n, feed_forward]
    pub angles: [Angles; 2], // of layers that see everything, and of those that slide
    pub scores: Vec<f32>,    // [threads, ATTENTION_ROWS * (positions + 2 * head_dim)]
    pub wide: Activations,   // [n, hidden]
    pub attn: Activations,   // [n, heads * head_dim]
    pub inner: Activations,  // [n, feed_forward]
}

/// Cosines and sines of one rotary embedding.
#[derive(Debug, Default)]
pub(super) struct Angles {
    pub cos: Vec<f32>, // [n, rope.dim / 2]
    pub sin: Vec<f32>, // [n, rope.dim / 2]
}

/// Query rows of one sequence that read one key-value head: neighbouring rows of the pass, some of
/// the head's queries.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionTask {
    /// First row of the pass.
    pub row: usize,
    /// Rows of the pass.
    pub rows: usize,
    /// Key-value head.
    pub kv_head: usize,
    /// First query head.
    pub head: usize,
    /// Query heads.
    pub heads: usize,
}

impl AttentionTask {
    /// Appends the tasks for `rows` neighbouring rows from `row` on that belong to one sequence.
    pub(super) fn split(
        tasks: &mut Vec<AttentionTask>,
        row: usize,
        rows: usize,
        kv_heads: usize,
        group: usize,
    ) {
        let heads_at_once = group.min(ATTENTION_ROWS);
        let rows_at_once = (ATTENTION_ROWS / heads_at_once).max(1);
        for kv_head in 0..kv_heads {
            for first in (0..rows).step_by(rows_at_once) {
                for head in (0..group).step_by(heads_at_once) {
                    tasks.push(AttentionTask {
                        row: row + first,
                        rows: rows_at_once.min(rows - first),
                        kv_head,
                        head: kv_head * group + head,
                        heads: heads_at_once.min(group - head),
                    });
                }
            }
        }
    }
}

/// Gives a buffer `len` values, whatever they are. Allocates only when more is needed than ever
/// before.
pub(super) fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// The memory of a vector, for elements that differ in a lifetime only: such a vector is collected
/// in place, without an allocation.
pub(super) fn recycled<'a>(mut caches: Vec<Heads<'_>>) -> Vec<Heads<'a>> {
    caches.clear();
    caches.into_iter().map(|_| unreachable!("the vector is empty")).collect()
}
