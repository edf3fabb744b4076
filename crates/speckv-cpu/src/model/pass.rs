//! One pass over the weights.

mod attention;
mod head;

use std::ops::Range;

use speckv::{
    logits::Logits,
    model::{Cache, Feed, ModelError},
};

use super::{
    Config, CpuModel, KvCache,
    scratch::{Row, Scratch, room},
    weights::{Layer, Projection},
};
use crate::{
    disjoint::DisjointMut,
    kernels::STRIP,
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
}
