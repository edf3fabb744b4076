//! One pass over the weights.

use std::ops::Range;

use speckv::model::{Cache, Feed, ModelError};

use super::{
    GpuOutput, KvCache, Shared,
    buffers::{HEAD_ROWS, MAX_ROWS, PAGE_ROWS},
    failed,
    layer::{FeedPart, Slice},
    rare::RARE_REACH,
};
use crate::{
    device::{OFFSET_STEP, Recorder},
    error::GpuError,
    format::BLOCK,
    shader::CHUNK,
};

/// Layers that are submitted together: the device works on them while the next ones are recorded.
pub(super) const SUBMIT_LAYERS: usize = 8;

/// No path: every position of the row is at the slot of its number.
const NO_PATH: u32 = u32::MAX;

/// One position of a pass.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub feed: usize,
    pub token: u32,
    pub position: usize,
    pub slot: usize,
    /// For branches, the slots of the ancestors beyond the trunk, itself included, and the first
    /// position that they stand for.
    pub path: Vec<u32>,
    pub start: usize,
    pub logits: bool,
    pub hidden: bool,
    /// The last position up to here of a token that the output head omits elsewhere.
    pub rare: Option<usize>,
    /// Whether its logits omit the tokens of the head's gap.
    pub omits: bool,
}

/// What a model keeps for passes on the host.
#[derive(Debug, Default)]
pub(super) struct HostRoom {
    x: Vec<f32>,
    words: Vec<u32>,
}

/// All positions of the feeds, in their order. `gap` are the tokens that the output head omits.
pub(super) fn plan(feeds: &[Feed<'_, KvCache>], gap: Option<&Range<usize>>) -> Vec<Row> {
    let is_rare = |token: u32| gap.is_some_and(|gap| gap.contains(&(token as usize)));
    let mut rows: Vec<Row> = Vec::new();
    for (number, feed) in feeds.iter().enumerate() {
        let (held, trunk, first) = (feed.cache.len(), feed.trunk(), rows.len());
        for (i, &token) in feed.tokens.iter().enumerate() {
            let last = |count: usize| i + count >= feed.tokens.len();
            let mut row = Row {
                feed: number,
                token,
                position: held + i,
                slot: held + i,
                path: Vec::new(),
                start: 0,
                logits: last(feed.rows),
                hidden: last(feed.hidden),
                rare: None,
                omits: false,
            };
            if i >= trunk {
                // The parent is a position of the trunk, or of a branch with a path of its own.
                let parent = feed.parent(i);
                row.position = held;
                row.start = held;
                if parent > 0 {
                    let parent: &Row = &rows[first + parent - 1];
                    row.position = parent.position + 1;
                    row.path.clone_from(&parent.path);
                    row.start = if parent.path.is_empty() { row.position } else { parent.start };
                }
                row.path.push(row.slot as u32);
            }
            let before = match feed.parent(i).checked_sub(1) {
                Some(parent) => rows[first + parent].rare,
                None => feed.cache.last_rare(),
            };
            row.rare = if is_rare(token) { Some(row.position) } else { before };
            let far = row.rare.is_none_or(|last| row.position - last >= RARE_REACH);
            row.omits = gap.is_some() && far;
            rows.push(row);
        }
    }
    rows
}

/// Appends an entry at binding 0, whose number it returns: first row, rows, chunks, and the row
/// that gathered rows go to.
pub(super) fn push_entry(entries: &mut Vec<u32>, numbers: [usize; 4]) -> u32 {
    const WORDS: usize = OFFSET_STEP as usize / 4;
    let entry = entries.len() / WORDS;
    entries.extend(numbers.map(|number| number as u32));
    entries.resize((entry + 1) * WORDS, 0);
    entry as u32
}

/// Chunks of positions that rows up to this position read.
pub(super) fn chunks(position: usize) -> usize {
    position / CHUNK + 1
}

/// The slice of `rows`, the first of which is row `first` of the pass, and its entries at binding
/// 0, appended to `entries`. `longest`: chunks of positions that every row has room for.
pub(super) fn slice_of<'a>(
    rows: &[Row],
    mut first: usize,
    longest: usize,
    feeds: &'a [Feed<'_, KvCache>],
    entries: &mut Vec<u32>,
) -> Slice<'a> {
    let entry = push_entry(entries, [first, rows.len(), longest, 0]);
    let mut slice = Slice { entry, rows: rows.len(), feeds: Vec::new() };
    for part in rows.chunk_by(|a, b| a.feed == b.feed) {
        slice.feeds.push(FeedPart {
            entry: push_entry(entries, [first, part.len(), longest, 0]),
            rows: part.len(),
            chunks: part.iter().map(|row| chunks(row.position)).max().unwrap_or(1),
            caches: feeds[part[0].feed].cache.layers(),
        });
        first += part.len();
    }
    slice
}

impl Shared {
    /// Says which rows the head works on.
    pub(super) fn head_entry(&self, first: usize, count: usize) {
        let offset = u64::from(HEAD_ROWS) * OFFSET_STEP;
        self.device.write(&self.buffers.entries, offset, &[first as u32, count as u32, 0, 0]);
    }

    /// The pass: positions go through the layers in slices.
    pub(super) fn pass(
        &self,
        feeds: &mut [Feed<'_, KvCache>],
        output: &mut GpuOutput,
        host: &mut HostRoom,
    ) -> Result<(), ModelError> {
        for feed in feeds.iter_mut() {
            feed.cache.reserve(feed.cache.len() + feed.tokens.len())?;
        }
        let gap = self.gap.as_ref();
        let rows = plan(feeds, gap);
        output.begin(rows.iter().filter(|row| row.logits).count()).map_err(failed)?;
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let (slice, after) = rest.split_at(self.slice_len(rest));
            self.slice(slice, feeds, output, host)?;
            rest = after;
        }
        for feed in feeds {
            let trunk = feed.trunk();
            let is_rare = |token: u32| gap.is_some_and(|gap| gap.contains(&(token as usize)));
            let tokens = feed.tokens.iter().enumerate();
            let rare: Vec<usize> =
                tokens.filter(|(_, token)| is_rare(**token)).map(|(index, _)| index).collect();
            feed.cache.note(feed.tokens.len(), trunk, feed.parents, &rare);
        }
        Ok(())
    }

    /// Rows of the next slice: as many as the room for partial results and paths takes.
    fn slice_len(&self, rows: &[Row]) -> usize {
        let (mut longest, mut paths) = (0, 0);
        let fitting = rows.iter().take(MAX_ROWS).enumerate().take_while(|(i, row)| {
            longest = longest.max(chunks(row.position));
            paths += row.path.len();
            *i < self.sizes.slice_rows(longest) && paths <= self.sizes.paths
        });
        fitting.count().max(1)
    }

    /// One slice of positions through all layers, and the logits of those that want them.
    fn slice(
        &self,
        rows: &[Row],
        feeds: &[Feed<'_, KvCache>],
        output: &mut GpuOutput,
        host: &mut HostRoom,
    ) -> Result<(), ModelError> {
        self.write_rows(rows, host);
        self.write_embeddings(rows, host)?;
        let slice = self.write_entries(rows, feeds);
        let recorder = self.record_layers(self.device.recorder(), &slice).map_err(failed)?;
        let wanted = |which: &dyn Fn(&Row) -> bool| -> Vec<u32> {
            (0u32..).zip(rows).filter(|(_, row)| which(row)).map(|(i, _)| i).collect()
        };
        let hidden = wanted(&|row| row.hidden);
        let logits = wanted(&|row| row.logits);
        if hidden.is_empty() && logits.is_empty() {
            return self.device.run(recorder).map_err(failed);
        }
        let mut recorder = Some(recorder);
        for picked in hidden.chunks(PAGE_ROWS) {
            let recorder = recorder.take().unwrap_or_else(|| self.device.recorder());
            let words = self.hidden(picked, recorder).map_err(failed)?;
            output.take_hidden(&words);
        }
        let mut rest = &logits[..];
        while !rest.is_empty() {
            let first = output.next_row();
            let (picked, after) = rest.split_at((PAGE_ROWS - first % PAGE_ROWS).min(rest.len()));
            let recorder = recorder.take().unwrap_or_else(|| self.device.recorder());
            let omits: Vec<bool> = picked.iter().map(|&row| rows[row as usize].omits).collect();
            let words = self.head(picked, &omits, first, output, recorder).map_err(failed)?;
            output.take(&words);
            rest = after;
        }
        Ok(())
    }

    /// Positions, slots, paths and angles of the rows.
    pub(super) fn write_rows(&self, rows: &[Row], host: &mut HostRoom) {
        let (device, buffers) = (&*self.device, &self.buffers);
        let mut paths = Vec::new();
        host.words.clear();
        for row in rows {
            let (start, path) = if row.path.is_empty() {
                (NO_PATH, 0)
            } else {
                (row.start as u32, paths.len() as u32)
            };
            paths.extend_from_slice(&row.path);
            host.words.extend([row.position as u32, row.slot as u32, start, path]);
        }
        device.write(&buffers.rows, 0, &host.words);
        device.write(&buffers.paths, 0, &paths);
        let sliding = self.config.sliding.as_ref().map_or(&self.config.rope, |s| &s.rope);
        let factors = [&self.config.rope, sliding].map(|rope| f64::from(rope.attention_factor));
        let embeddings = self.rope_frequencies.iter().zip(factors);
        for ((frequencies, factor), angles) in embeddings.zip(&buffers.angles) {
            host.words.clear();
            for row in rows {
                host.words.extend(frequencies.iter().flat_map(|frequency| {
                    let angle = row.position as f64 * frequency;
                    [angle.cos(), angle.sin()].map(|part| ((part * factor) as f32).to_bits())
                }));
            }
            device.write(angles, 0, &host.words);
        }
    }

    /// The embeddings of the rows' tokens into the residual stream.
    pub(super) fn write_embeddings(
        &self,
        rows: &[Row],
        host: &mut HostRoom,
    ) -> Result<(), ModelError> {
        let width = self.sizes.hidden_blocks * BLOCK;
        host.x.clear();
        host.x.resize(rows.len() * width, 0.0);
        for (row, x) in rows.iter().zip(host.x.chunks_exact_mut(width)) {
            self.read_embedding(row.token as usize, x)
                .map_err(|error| ModelError::Backend(Box::new(error)))?;
        }
        self.device.write(&self.buffers.x, 0, bytemuck::cast_slice(&host.x));
        Ok(())
    }

    /// Which rows belong to which sequence.
    fn write_entries<'a>(&self, rows: &[Row], feeds: &'a [Feed<'_, KvCache>]) -> Slice<'a> {
        let longest = rows.iter().map(|row| chunks(row.position)).max().unwrap_or(1);
        let mut entries = Vec::new();
        let slice = slice_of(rows, 0, longest, feeds, &mut entries);
        self.device.write(&self.buffers.entries, 0, &entries);
        slice
    }

    /// Submits the layers, and records the last of them.
    pub(super) fn record_layers<'d>(
        &'d self,
        mut recorder: Recorder<'d>,
        slice: &Slice<'_>,
    ) -> Result<Recorder<'d>, GpuError> {
        for (number, layer) in self.layers.iter().enumerate() {
            if number > 0 && number.is_multiple_of(SUBMIT_LAYERS) {
                let full = std::mem::replace(&mut recorder, self.device.recorder());
                self.device.submit(full)?;
            }
            layer.record(number, &mut recorder, &self.kernels, &self.sizes, slice)?;
        }
        Ok(recorder)
    }

    /// The norm before the head, of picked rows; their places in the page begin at `first`.
    fn pick(&self, picked: &[u32], first: usize, recorder: &mut Recorder<'_>) {
        self.head_entry(first, picked.len());
        self.device.write(&self.buffers.picked, first as u64 * 4, picked);
        let kernel = &self.kernels.norm_picked;
        recorder.dispatch(kernel, &self.output_norm, HEAD_ROWS, [picked.len(), 1, 1]);
    }

    fn hidden(&self, picked: &[u32], mut recorder: Recorder<'_>) -> Result<Vec<u32>, GpuError> {
        self.pick(picked, 0, &mut recorder);
        let bytes = (picked.len() * self.sizes.hidden_blocks * BLOCK) as u64 * 4;
        let reading = self.device.reading(bytes)?;
        recorder.copy_to_host(&self.buffers.head.exact, 0, &reading, 0, bytes);
        self.device.run_and_read(recorder, &reading, bytes, <[u32]>::to_vec)
    }

    /// Logits of picked rows, row `first` of the pass and those after it, and their answers.
    /// `omits` says of each whether it omits the tokens of the head's gap; where all do, these are
    /// not computed.
    fn head(
        &self,
        picked: &[u32],
        omits: &[bool],
        first: usize,
        output: &mut GpuOutput,
        mut recorder: Recorder<'_>,
    ) -> Result<Vec<u32>, GpuError> {
        self.pick(picked, first % PAGE_ROWS, &mut recorder);
        let all = omits.iter().all(|&omits| omits);
        let omitted = self.gap.clone().filter(|_| all).unwrap_or(0..0);
        let head = &output.page(first).head;
        head.record_without(&mut recorder, HEAD_ROWS, picked.len(), &omitted)?;
        output.record_gap(&mut recorder, first, omits, all);
        let bytes = output.record_signals(&mut recorder, first, picked.len())?;
        let words = self.device.run_and_read(recorder, output.reading(), bytes, <[u32]>::to_vec)?;
        output.note_gap(first, omits);
        Ok(words)
    }
}
