//! Branches of a feed: where their keys and values lie, and how attention reads them.
//!
//! Token `i` of a feed is stored at place `start + i`, after the `start` positions that the cache
//! held. For the trunk that is its position. A token of a branch has a smaller position, which is
//! the place of another token. For attention over a branch, the tokens of its path are swapped to
//! their positions, and back afterwards. So a branch is read by the same kernel, from the same
//! layout and in the same order as a chain, and gets the same bits.

use std::ops::Range;

use speckv::model::Feed;

use super::{
    KvCache,
    cache::{CacheShape, Heads},
    scratch::{AttentionTask, Row, Scratch},
};
use crate::kernels::{CacheType, attention::SCALE_LEN, simd::GROUP};

/// A token of a branch that is not stored at its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub position: usize,
    pub place: usize,
}

/// Neighbouring rows of a pass that are one chain of a feed's branches, or of its trunk.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// Runs of one feed are read one after the other; the trunk has number 0.
    pub number: usize,
    /// The feed.
    pub feed: usize,
    /// Rows of the slice.
    pub rows: Range<usize>,
    /// Moves of [`Scratch::moves`], by ascending position, that lay its path out.
    pub moves: Range<usize>,
}

/// Runs that are read at the same time, each of another feed.
#[derive(Debug, Clone)]
pub(super) struct Round {
    /// Runs of [`Scratch::runs`].
    pub runs: Range<usize>,
    /// Tasks of [`Scratch::tasks`].
    pub tasks: Range<usize>,
}

impl Scratch {
    /// Plans attention over the rows of a slice: runs, their moves, and the tasks of each round.
    pub(super) fn plan_attention(
        &mut self,
        rows: &[Row],
        feeds: &[Feed<'_, KvCache>],
        kv_heads: usize,
        group: usize,
    ) {
        self.runs.clear();
        self.moves.clear();
        let mut first = 0;
        for part in rows.chunk_by(|a, b| a.feed == b.feed) {
            self.add_runs(first, part, &feeds[part[0].feed]);
            first += part.len();
        }
        self.runs.sort_unstable_by_key(|run| (run.number, run.feed));
        self.tasks.clear();
        self.rounds.clear();
        let mut start = 0;
        for runs in self.runs.chunk_by(|a, b| a.number == b.number) {
            let first = self.tasks.len();
            for Run { rows, .. } in runs {
                AttentionTask::split(&mut self.tasks, rows.start, rows.len(), kv_heads, group);
            }
            let end = start + runs.len();
            self.rounds.push(Round { runs: start..end, tasks: first..self.tasks.len() });
            start = end;
        }
    }

    /// Runs of one feed's neighbouring rows, the first of which is row `first` of the slice.
    fn add_runs(&mut self, first: usize, part: &[Row], feed: &Feed<'_, KvCache>) {
        let start = part[0].start;
        let index = |row: &Row| row.place - start;
        let trunk = feed.trunk();
        let follows = |_: &Row, row: &Row| feed.parent(index(row)) == index(row);
        let (mut number, mut row) = (0, first);
        for run in part.chunk_by(follows) {
            let begin = self.moves.len();
            if index(&run[0]) >= trunk {
                number += 1;
                for row in run.iter().rev() {
                    self.moves.push(Move { position: row.position, place: row.place });
                }
                let (mut above, mut position) = (feed.parent(index(&run[0])), run[0].position);
                while above > trunk {
                    position -= 1;
                    self.moves.push(Move { position, place: start + above - 1 });
                    above = feed.parent(above - 1);
                }
                self.moves[begin..].reverse();
            }
            self.runs.push(Run {
                number,
                feed: part[0].feed,
                rows: row..row + run.len(),
                moves: begin..self.moves.len(),
            });
            row += run.len();
        }
    }
}

/// Equally long pieces of a head's keys or values at equal distances: those of one position.
#[derive(Debug, Clone, Copy)]
struct Pieces {
    start: usize,
    step: usize,
    count: usize,
    len: usize, // bytes
}

impl Pieces {
    fn ranges(self) -> impl Iterator<Item = Range<usize>> {
        let Pieces { start, step, count, len } = self;
        (0..count).map(move |i| start + i * step..start + i * step + len)
    }
}

impl CacheShape {
    /// Where the keys of one position are in the keys of a head.
    fn keys_at(&self, position: usize) -> [Pieces; 2] {
        let CacheShape { head_dim, capacity, cache_type, .. } = *self;
        let (group, lane) = (position / GROUP * GROUP, position % GROUP);
        let value = |len: usize| Pieces {
            start: len * (group * head_dim + lane),
            step: len * GROUP,
            count: head_dim,
            len,
        };
        match cache_type {
            CacheType::F16 => [value(2), Pieces { count: 0, ..value(2) }],
            CacheType::Q8_0 => {
                let blocks = head_dim / SCALE_LEN;
                let start = capacity * head_dim + 2 * (group * blocks + lane);
                [value(1), Pieces { start, step: 2 * GROUP, count: blocks, len: 2 }]
            }
        }
    }

    /// Where the values of one position are in the values of a head.
    fn values_at(&self, position: usize) -> [Pieces; 2] {
        let CacheShape { head_dim, capacity, cache_type, .. } = *self;
        let row = |bytes: usize| Pieces {
            start: position * head_dim * bytes,
            step: 0,
            count: 1,
            len: head_dim * bytes,
        };
        match cache_type {
            CacheType::F16 => [row(2), Pieces { count: 0, ..row(2) }],
            CacheType::Q8_0 => {
                let start = capacity * head_dim + 2 * position;
                let count = head_dim / SCALE_LEN;
                [row(1), Pieces { start, step: 2 * capacity, count, len: 2 }]
            }
        }
    }

    /// The pieces of two positions, in the same order: of keys if `part`, a head's keys or values
    /// of a layer counted from 0, is even, else of values.
    fn pairs(
        &self,
        part: usize,
        a: usize,
        b: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        let pieces = |position| {
            if part.is_multiple_of(2) { self.keys_at(position) } else { self.values_at(position) }
        };
        let ranges = |pieces: [Pieces; 2]| pieces.into_iter().flat_map(Pieces::ranges);
        ranges(pieces(a)).zip(ranges(pieces(b)))
    }

    /// Copies the keys and values at place `from` over those at `to`, in all layers.
    pub(super) fn copy_position(&self, memory: &mut [u8], from: usize, to: usize) {
        for (part, bytes) in memory.chunks_exact_mut(self.part()).enumerate() {
            for (from, to) in self.pairs(part, from, to) {
                bytes.copy_within(from, to.start);
            }
        }
    }
}

impl Heads<'_> {
    /// Exchanges the keys and values of a layer at `position` and `place`, in all heads.
    ///
    /// # Safety
    /// No task uses the cache while this runs.
    pub(super) unsafe fn swap(&self, Move { position, place }: Move) {
        if position == place {
            return;
        }
        let part = self.shape.part();
        for number in 0..2 * self.shape.kv_heads {
            // SAFETY: no other task uses the cache.
            let bytes = unsafe { self.bytes(number * part..(number + 1) * part) };
            for (a, b) in self.shape.pairs(number, position, place) {
                // Pieces of different positions do not overlap.
                a.zip(b).for_each(|(a, b)| bytes.swap(a, b));
            }
        }
    }
}
