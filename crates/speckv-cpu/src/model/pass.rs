//! One pass over the weights.

use std::ops::Range;

use speckv::{
    logits::Logits,
    model::{Cache, Feed, ModelError},
};

use super::{
    Config, CpuModel, KvCache,
    cache::Heads,
    scratch::{Angles, AttentionTask, Row, Scratch, recycled, room},
    weights::{Layer, Projection},
};
use crate::{
    disjoint::DisjointMut,
    kernels::{
        STRIP,
        attention::{ATTENTION_ROWS, AttentionArgs},
        simd::GROUP,
    },
    matrix::{Input, Matrix, Output},
};

/// Most positions that go through the layers together. More would only take more memory: the
/// arithmetic is bound by then.
const MAX_ROWS: usize = 256;

/// From this many rows on, work on single rows is worth sharing among threads.
const SHARE_ROWS: usize = 4;

/// Tasks of a section for each thread, where there is enough to do.
const TASKS_PER_THREAD: usize = 8;

/// Pieces of work of one of `tasks` tasks that share `count` pieces: as many as each other's, or
/// one more.
fn part(count: usize, tasks: usize, task: usize) -> Range<usize> {
    task * count / tasks..(task + 1) * count / tasks
}

/// Most groups of 16 outputs that a task takes at once.
const TASK_GROUPS: usize = 16;

/// For so many tokens after one that the output head leaves out elsewhere, the head is whole: a
/// text in another script has more of them.
const RARE_REACH: usize = 256;

impl CpuModel {
    /// Runs `work` for every row, on all threads if there are enough rows.
    fn for_rows(&self, n: usize, work: &(dyn Fn(usize) + Sync)) {
        if n < SHARE_ROWS { (0..n).for_each(work) } else { self.pool.run(n, &|row, _| work(row)) }
    }

    /// All products of `input` with several matrices in one section.
    fn multiply<const COUNT: usize>(
        &self,
        input: Input<'_>,
        n: usize,
        products: [(&Matrix, Output<'_>); COUNT],
    ) {
        self.multiply_groups(
            input,
            n,
            &products.map(|(matrix, out)| (matrix, 0..matrix.groups(), out)),
        );
    }

    /// Products of `input` with some groups of 16 rows of several matrices, in one section.
    fn multiply_groups(
        &self,
        input: Input<'_>,
        n: usize,
        products: &[(&Matrix, Range<usize>, Output<'_>)],
    ) {
        let total: usize = products.iter().map(|(_, groups, _)| groups.len()).sum();
        let tasks = self.tasks(total, TASK_GROUPS);
        self.pool.run(tasks, &|task, _| {
            let mut wanted = part(total, tasks, task);
            for (matrix, groups, out) in products {
                let here = wanted.start.min(groups.len())..wanted.end.min(groups.len());
                wanted = wanted.start - here.start..wanted.end - here.end;
                let groups = groups.start + here.start..groups.start + here.end;
                if !groups.is_empty() {
                    // SAFETY: each task has other groups, and each product another output.
                    unsafe { matrix.multiply(self.isa, groups, input, n, *out) };
                }
            }
        });
    }

    /// Tasks for `count` pieces of work, of at most `most` pieces each: some per thread, so that a
    /// thread that was interrupted does not hold up the others for long, and as many for each, so
    /// that none waits for another's last one.
    fn tasks(&self, count: usize, most: usize) -> usize {
        let threads = self.pool.threads();
        let each = count.div_ceil(threads * most).max(TASKS_PER_THREAD);
        (threads * each).min(count)
    }

    /// The pass: positions go through the layers in slices of at most [`MAX_ROWS`].
    pub(super) fn pass(
        &self,
        feeds: &mut [Feed<'_, KvCache>],
        logits: &mut Logits,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        let gap = self.weights.head.gap.as_ref();
        let mut plan = std::mem::take(&mut scratch.plan);
        plan.clear();
        let (mut wanted, mut states) = (0, 0);
        for (number, feed) in feeds.iter().enumerate() {
            let (start, first) = (feed.cache.len(), plan.len());
            for (i, &token) in feed.tokens.iter().enumerate() {
                let (position, rare_before) = match feed.parent(i).checked_sub(1) {
                    Some(parent) => (plan[first + parent].position + 1, plan[first + parent].rare),
                    None => (start, feed.cache.last_rare()),
                };
                let is_rare = gap.is_some_and(|gap| gap.contains(&token));
                let rare = if is_rare { Some(position) } else { rare_before };
                let far = rare.is_none_or(|last| position - last >= RARE_REACH);
                let number_in = |last: usize, count: &mut usize| {
                    (i + last >= feed.tokens.len()).then(|| {
                        *count += 1;
                        *count - 1
                    })
                };
                plan.push(Row {
                    feed: number,
                    token,
                    start,
                    position,
                    place: start + i,
                    rare,
                    logits: number_in(feed.rows, &mut wanted),
                    hidden: number_in(feed.hidden, &mut states),
                    gap: gap.is_some() && far,
                });
            }
        }
        logits.reshape(wanted, self.weights.embedding.vocab_size);
        logits.reshape_hidden(states, self.config.hidden);
        let result =
            plan.chunks(MAX_ROWS).try_for_each(|rows| self.slice(rows, feeds, logits, scratch));
        scratch.plan = plan;
        result?;
        for feed in feeds {
            let is_rare = |token: &u32| gap.is_some_and(|gap| gap.contains(token));
            let rare = feed.tokens.iter().enumerate().filter(|(_, token)| is_rare(token));
            let (count, trunk) = (feed.tokens.len(), feed.trunk());
            feed.cache.grow(count, trunk, feed.parents, rare.map(|(index, _)| index));
        }
        Ok(())
    }

    /// One slice of positions through all layers.
    fn slice(
        &self,
        rows: &[Row],
        feeds: &mut [Feed<'_, KvCache>],
        logits: &mut Logits,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        let (config, n) = (&self.config, rows.len());
        let hidden = config.hidden;
        let x = room(&mut scratch.x, n * hidden);
        for (row, x) in rows.iter().zip(x.chunks_exact_mut(hidden)) {
            self.weights
                .embedding
                .read(row.token, x)
                .map_err(|error| ModelError::Backend(Box::new(error)))?;
        }
        if config.embedding_scale != 1.0 {
            self.isa.scale(x, config.embedding_scale);
        }
        self.angles(rows, scratch);
        scratch.plan_attention(rows, feeds, config.kv_heads, config.group());
        for (number, layer) in self.weights.layers.iter().enumerate() {
            self.attend(number, layer, rows, feeds, scratch);
            self.feed_forward(layer, n, scratch);
        }
        self.hidden_states(rows, logits, scratch);
        self.head(rows, logits, scratch);
        Ok(())
    }

    /// Hidden states of the rows that want them: what the output head reads.
    fn hidden_states(&self, rows: &[Row], logits: &mut Logits, scratch: &Scratch) {
        let hidden = self.config.hidden;
        for (row, x) in rows.iter().zip(scratch.x.chunks_exact(hidden)) {
            let Some(state) = row.hidden else { continue };
            let (norm, out) = (&self.weights.output_norm, logits.hidden_mut(state));
            self.isa.rms_norm(x, norm, self.config.epsilon, out);
        }
    }

    /// Cosines and sines of this slice's positions, for every rotary embedding of the model.
    fn angles(&self, rows: &[Row], scratch: &mut Scratch) {
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

    /// `normed = rms_norm(x)`, or `x` where there is no norm, and its quantized form.
    fn norm(&self, weight: Option<&[f32]>, n: usize, scratch: &mut Scratch) {
        let hidden = self.config.hidden;
        let normed = DisjointMut::new(room(&mut scratch.normed, n * hidden));
        let quantize = hidden.is_multiple_of(32);
        if quantize {
            scratch.wide.reshape(n, hidden);
        }
        let parts = scratch.wide.parts();
        let x = &scratch.x;
        self.for_rows(n, &|row| {
            // SAFETY: one task per row.
            let normed = unsafe { normed.row(row, hidden) };
            let x = &x[row * hidden..(row + 1) * hidden];
            match weight {
                Some(weight) => self.isa.rms_norm(x, weight, self.config.epsilon, normed),
                None => normed.copy_from_slice(x),
            }
            if quantize {
                // SAFETY: one task per row.
                unsafe { self.isa.quantize(normed, parts, row) };
            }
        });
    }

    /// `x += W_o attention(norm(x))`; with a post-norm, `x += norm(W_o attention(norm(x)))`. Families
    /// without the first norm read `x` itself.
    fn attend(
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

    /// `x += scale * delta`, or `x += scale * norm(delta)`.
    fn add_to_stream(&self, norm: Option<&[f32]>, n: usize, scratch: &mut Scratch) {
        let hidden = self.config.hidden;
        let delta = &mut scratch.delta[..n * hidden];
        if let Some(norm) = norm {
            let delta = DisjointMut::new(delta);
            self.for_rows(n, &|row| {
                // SAFETY: one task per row.
                let delta = unsafe { delta.row(row, hidden) };
                self.isa.rms_norm_in_place(delta, norm, self.config.epsilon);
            });
        }
        let delta = &mut scratch.delta[..n * hidden];
        if self.config.residual_scale != 1.0 {
            self.isa.scale(delta, self.config.residual_scale);
        }
        self.isa.add(&mut scratch.x[..n * hidden], delta);
    }

    fn add_bias(&self, values: &mut [f32], projection: &Projection) {
        if let Some(bias) = &projection.bias {
            self.isa.add(values, bias);
        }
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

    /// `x += W_down (activation(W_gate norm(x)) * W_up norm(x))`, with a post-norm as in attention.
    fn feed_forward(&self, layer: &Layer, n: usize, scratch: &mut Scratch) {
        let Config { hidden, feed_forward: width, activation, .. } = self.config;
        self.norm(layer.feed_forward_norm.as_deref(), n, scratch);
        let input = Input::new(&scratch.wide, &scratch.normed);
        let quantize = layer.down.matrix.is_quantized();
        if quantize {
            scratch.inner.reshape(n, width);
        }
        let parts = scratch.inner.parts();
        let gated = Output::new(room(&mut scratch.gated, n * width), width);
        // A task takes 32 outputs of both matrices at a time: what they become is one block of the
        // next product's input.
        let blocks = width.div_ceil(32);
        let tasks = self.tasks(blocks, TASK_GROUPS / 2);
        self.pool.run(tasks, &|task, _| {
            let mut gate = [0f32; STRIP * 32];
            let mut up = [0f32; STRIP * 32];
            for block in part(blocks, tasks, task) {
                let columns = 32.min(width - 32 * block);
                let groups = 2 * block..2 * block + columns.div_ceil(16);
                for first in (0..n).step_by(STRIP) {
                    let rows = STRIP.min(n - first);
                    let input = input.from_row(first);
                    let (gate_out, up_out) = (
                        Output::window(&mut gate, 32, 32 * block),
                        Output::window(&mut up, 32, 32 * block),
                    );
                    // SAFETY: `gate` and `up` belong to this task alone.
                    unsafe {
                        layer.gate.matrix.multiply(self.isa, groups.clone(), input, rows, gate_out);
                        layer.up.matrix.multiply(self.isa, groups.clone(), input, rows, up_out);
                    }
                    for (values, bias) in [(&mut gate, &layer.gate.bias), (&mut up, &layer.up.bias)]
                    {
                        let Some(bias) = bias else { continue };
                        let bias = &bias[32 * block..32 * block + columns];
                        for row in values[..32 * rows].chunks_exact_mut(32) {
                            self.isa.add(&mut row[..columns], bias);
                        }
                    }
                    let (gate, up) = (&gate[..32 * rows], &up[..32 * rows]);
                    if quantize {
                        // SAFETY: the block belongs to this task alone.
                        unsafe { self.isa.glu_quantize(activation, gate, up, parts, first, block) };
                        continue;
                    }
                    for row in 0..rows {
                        let mut inner = [0f32; 32];
                        let strip = 32 * row..32 * row + 32;
                        self.isa.glu(activation, &gate[strip.clone()], &up[strip], &mut inner);
                        let (row, start) = (first + row, 32 * block);
                        let to = gated.pointer(row..row + 1, start..start + columns);
                        // SAFETY: the columns belong to this task alone, and `to` is valid for
                        // them.
                        unsafe { std::ptr::copy_nonoverlapping(inner.as_ptr(), to, columns) };
                    }
                }
            }
        });
        let input = Input::new(&scratch.inner, &scratch.gated);
        let delta = room(&mut scratch.delta, n * hidden);
        self.multiply(input, n, [(&layer.down.matrix, Output::new(delta, hidden))]);
        if layer.down.bias.is_some() {
            delta.chunks_exact_mut(hidden).for_each(|row| self.add_bias(row, &layer.down));
        }
        self.add_to_stream(layer.feed_forward_post_norm.as_deref(), n, scratch);
    }

    /// Logits of the rows that want them.
    fn head(&self, rows: &[Row], logits: &mut Logits, scratch: &mut Scratch) {
        let (hidden, head) = (self.config.hidden, &self.weights.head);
        let Some(first) = rows.iter().find_map(|row| row.logits) else { return };
        // The wanted rows move to the front of the residual stream, which nothing reads any more.
        let mut count = 0;
        for (i, _) in rows.iter().enumerate().filter(|(_, row)| row.logits.is_some()) {
            scratch.x.copy_within(i * hidden..(i + 1) * hidden, count * hidden);
            count += 1;
        }
        self.norm(Some(&self.weights.output_norm), count, scratch);
        let input = Input::new(&scratch.wide, &scratch.normed);
        let vocab_size = self.weights.embedding.vocab_size;
        let values = logits.rows_mut(first, count);
        let out = Output::new(values, vocab_size);
        let groups = head.matrix.groups();
        let wanted = || rows.iter().filter(|row| row.logits.is_some());
        match &head.gap {
            Some(gap) if wanted().all(|row| row.gap) => {
                let (start, end) = (gap.start as usize / GROUP, gap.end as usize / GROUP);
                self.multiply_groups(
                    input,
                    count,
                    &[(&head.matrix, 0..start, out), (&head.matrix, end..groups, out)],
                );
            }
            _ => self.multiply_groups(input, count, &[(&head.matrix, 0..groups, out)]),
        }
        self.finish_logits(values);
        if let Some(gap) = &head.gap {
            let leaving_out =
                wanted().zip(values.chunks_exact_mut(vocab_size)).filter(|(row, _)| row.gap);
            leaving_out.for_each(|(_, values)| {
                values[gap.start as usize..gap.end as usize].fill(f32::NEG_INFINITY)
            });
        }
    }

    /// Logits as the model has them: scaled, then capped.
    fn finish_logits(&self, logits: &mut [f32]) {
        if self.config.logit_scale != 1.0 {
            self.isa.scale(logits, self.config.logit_scale);
        }
        if let Some(cap) = self.config.logit_cap {
            self.isa.soft_cap(logits, cap);
        }
    }
}
