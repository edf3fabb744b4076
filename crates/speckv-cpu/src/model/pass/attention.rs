//! The attention part of a layer.

use speckv::model::Feed;

use super::super::{
    CpuModel, KvCache,
    cache::Heads,
    scratch::{Angles, AttentionTask, Row, Scratch, recycled, room},
    weights::Layer,
};
use crate::{
    disjoint::DisjointMut,
    kernels::attention::{ATTENTION_ROWS, AttentionArgs},
    matrix::{Input, Output},
};

impl CpuModel {
    /// Cosines and sines of this slice's positions, for every rotary embedding of the model.
    pub(super) fn angles(&self, rows: &[Row], scratch: &mut Scratch) {
        let sliding = self.config.sliding.as_ref().map_or(&self.config.rope, |s| &s.rope);
        let factors = [&self.config.rope, sliding].map(|rope| f64::from(rope.attention_factor));
        let embeddings = self.rope_frequencies.iter().zip(factors);
        for ((frequencies, factor), Angles { cos, sin }) in embeddings.zip(&mut scratch.angles) {
            let pairs = frequencies.len();
            let (cos, sin) = (room(cos, rows.len() * pairs), room(sin, rows.len() * pairs));
            for (i, row) in rows.iter().enumerate() {
                for (pair, frequency) in frequencies.iter().enumerate() {
                    let angle = row.position as f64 * frequency;
                    cos[i * pairs + pair] = (angle.cos() * factor) as f32;
                    sin[i * pairs + pair] = (angle.sin() * factor) as f32;
                }
            }
        }
    }

    /// `x += W_o attention(norm(x))`; with a post-norm, `x += norm(W_o attention(norm(x)))`.
    /// Families without the first norm read `x` itself.
    pub(super) fn attend(
        &self,
        number: usize,
        layer: &Layer,
        rows: &[Row],
        feeds: &mut [Feed<'_, KvCache>],
        scratch: &mut Scratch,
    ) {
        let (config, n) = (&self.config, rows.len());
        let (hidden, head_dim) = (config.hidden, config.head_dim);
        let (queries, keys) = (config.heads * head_dim, config.kv_heads * head_dim);
        self.norm(layer.attention_norm.as_deref(), n, scratch);
        let input = Input::new(&scratch.wide, &scratch.normed);
        let query = room(&mut scratch.query, n * queries);
        let key = room(&mut scratch.key, n * keys);
        let value = room(&mut scratch.value, n * keys);
        self.multiply(
            input,
            n,
            [
                (&layer.query.matrix, Output::new(query, queries)),
                (&layer.key.matrix, Output::new(key, keys)),
                (&layer.value.matrix, Output::new(value, keys)),
            ],
        );

        // Biases, norms, rotation, and keys and values into the caches.
        let (query, key, value) =
            (DisjointMut::new(query), DisjointMut::new(key), DisjointMut::new(value));
        let rope = usize::from(config.slides(number));
        let Angles { cos, sin } = &scratch.angles[rope];
        let pairs = self.rope_frequencies[rope].len();
        let (rotates, interleaved) = (config.rotates(number), config.rope.interleaved);
        let mut caches = recycled(std::mem::take(&mut scratch.caches));
        caches.extend(feeds.iter_mut().map(|feed| feed.cache.heads(number)));
        self.for_rows(n, &|row| {
            // SAFETY: one task per row, and rows of one cache have different places.
            unsafe {
                let query = query.row(row, queries);
                let (key, value) = (key.row(row, keys), value.row(row, keys));
                for (values, projection) in [
                    (&mut *query, &layer.query),
                    (&mut *key, &layer.key),
                    (&mut *value, &layer.value),
                ] {
                    self.add_bias(values, projection);
                }
                for (values, norm) in
                    [(&mut *query, &layer.query_norm), (&mut *key, &layer.key_norm)]
                {
                    // As many values go through a norm together as it has weights: those of a head,
                    // or all.
                    let Some(norm) = norm else { continue };
                    for part in values.chunks_exact_mut(norm.len()) {
                        self.isa.rms_norm_in_place(part, norm, config.epsilon);
                    }
                }
                if rotates {
                    let angles = row * pairs..(row + 1) * pairs;
                    let (cos, sin) = (&cos[angles.clone()], &sin[angles]);
                    let (queries, keys) =
                        (query.chunks_exact_mut(head_dim), key.chunks_exact_mut(head_dim));
                    for head in queries.chain(keys) {
                        self.isa.rotate(head, cos, sin, interleaved);
                    }
                }
                if let Some(growth) = config.query_growth {
                    self.isa.scale(query, growth.at(rows[row].position));
                }
                let cache = caches[rows[row].feed];
                let heads = key.chunks_exact(head_dim).zip(value.chunks_exact(head_dim));
                for (head, (key, value)) in heads.enumerate() {
                    cache.store(head, rows[row].place, key, value);
                }
            }
        });

        self.read_caches(number, rows, &caches, scratch);
        scratch.caches = recycled(caches);
        if queries.is_multiple_of(32) {
            scratch.attn.reshape(n, queries);
            let parts = scratch.attn.parts();
            let attended = &scratch.attended;
            self.for_rows(n, &|row| {
                // SAFETY: one task per row.
                unsafe {
                    self.isa.quantize(&attended[row * queries..(row + 1) * queries], parts, row)
                };
            });
        }
        let input = Input::new(&scratch.attn, &scratch.attended);
        let delta = room(&mut scratch.delta, n * hidden);
        self.multiply(input, n, [(&layer.output.matrix, Output::new(delta, hidden))]);
        if layer.output.bias.is_some() {
            delta.chunks_exact_mut(hidden).for_each(|row| self.add_bias(row, &layer.output));
        }
        self.add_to_stream(layer.attention_post_norm.as_deref(), n, scratch);
    }

    /// Attention of every row over its cache: `attended`, [n, heads * head_dim].
    fn read_caches(&self, layer: usize, rows: &[Row], caches: &[Heads<'_>], scratch: &mut Scratch) {
        let config = &self.config;
        let (n, head_dim, width) = (rows.len(), config.head_dim, config.heads * config.head_dim);
        let positions =
            rows.iter().map(|row| row.position + 1).max().unwrap_or(0).next_multiple_of(16);
        let attended = Output::new(room(&mut scratch.attended, n * width), width);
        // One strip per thread: scores, then the queries and results of its task.
        let strip = ATTENTION_ROWS * (positions + 2 * head_dim);
        let scores = DisjointMut::new(room(&mut scratch.scores, self.pool.threads() * strip));
        let query = &scratch.query;
        let scale = config.attention_scale;
        let window = config
            .sliding
            .as_ref()
            .filter(|_| config.slides(layer))
            .map_or(usize::MAX, |s| s.window);
        let read = |task: AttentionTask, thread: usize| {
            let AttentionTask { row: first, rows: task_rows, kv_head, head, heads } = task;
            let lines = task_rows * heads;
            // SAFETY: no other task runs under this thread's number.
            let strip = unsafe { scores.row(thread, strip) };
            let (scores, rest) = strip.split_at_mut(ATTENTION_ROWS * positions);
            let (queries, out) = rest.split_at_mut(ATTENTION_ROWS * head_dim);
            let (mut from, mut visible) = ([0usize; ATTENTION_ROWS], [0usize; ATTENTION_ROWS]);
            for line in 0..lines {
                let (row, head) = (first + line / heads, head + line % heads);
                visible[line] = rows[row].position + 1;
                from[line] = visible[line].saturating_sub(window);
                queries[line * head_dim..(line + 1) * head_dim]
                    .copy_from_slice(&query[row * width + head * head_dim..][..head_dim]);
            }
            let cache = caches[rows[first].feed];
            let mut line = 0;
            while line < lines {
                let count = self.isa.tile_rows(lines - line);
                // SAFETY: the cache's capacity exceeds every visible position; strip and query hold
                // `lines` rows; nothing is written to the cache during this section.
                unsafe {
                    let args = AttentionArgs {
                        keys: cache.keys(kv_head),
                        values: cache.values(kv_head),
                        capacity: cache.shape.capacity,
                        head_dim,
                        queries: queries.as_ptr().add(line * head_dim),
                        from: from.as_ptr().add(line),
                        visible: visible.as_ptr().add(line),
                        scale,
                        cap: config.attention_cap,
                        scores: scores.as_mut_ptr(),
                        score_stride: positions,
                        out: out.as_mut_ptr().add(line * head_dim),
                    };
                    self.isa.attention_kernel(cache.shape.cache_type, count)(&args);
                }
                line += count;
            }
            for line in 0..lines {
                let (row, head) = (first + line / heads, head + line % heads);
                let from = &out[line * head_dim..(line + 1) * head_dim];
                let columns = head * head_dim..(head + 1) * head_dim;
                let to = attended.pointer(row..row + 1, columns);
                // SAFETY: each task has its own rows and heads of `attended`; `to` is valid for one
                // head, as `pointer` checks.
                unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, head_dim) };
            }
        };
        for round in &scratch.rounds {
            let tasks = &scratch.tasks[round.tasks.clone()];
            let runs = &scratch.runs[round.runs.clone()];
            for run in runs {
                let moves = &scratch.moves[run.moves.clone()];
                // SAFETY: no section runs.
                moves.iter().for_each(|&moved| unsafe { caches[run.feed].swap(moved) });
            }
            self.pool.run(tasks.len(), &|task, thread| read(tasks[task], thread));
            for run in runs {
                let moves = &scratch.moves[run.moves.clone()];
                // SAFETY: no section runs.
                moves.iter().rev().for_each(|&moved| unsafe { caches[run.feed].swap(moved) });
            }
        }
    }
}
