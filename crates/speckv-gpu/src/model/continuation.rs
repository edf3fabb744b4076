//! Passes that go on from their own likeliest tokens, without the host.
//!
//! All rows are planned before anything runs: positions are known, tokens are not. After each pass
//! the device finds the likeliest token of each sequence and gathers its embedding into the row of
//! the next pass. The host waits once, for the answers of all rows.

use speckv::model::{Cache, Feed, ModelError};

use super::{
    GpuOutput, KvCache, Shared,
    buffers::{MAX_ROWS, PAGE_ROWS},
    failed,
    layer::Slice,
    pass::{HostRoom, Row, chunks, plan, push_entry, slice_of},
};
use crate::error::GpuError;

/// One pass of a continuation: its rows, and the entry of those that want logits.
struct Step<'a> {
    slice: Slice<'a>,
    head: u32,
}

impl Shared {
    /// See [`speckv::model::LanguageModel::continue_greedily`].
    pub(super) fn continue_greedily(
        &self,
        feeds: &mut [Feed<'_, KvCache>],
        (count, vocab): (usize, usize),
        output: &mut GpuOutput,
        host: &mut HostRoom,
    ) -> Result<usize, ModelError> {
        let mut rows = plan(feeds, self.gap.as_ref());
        let (sequences, fed) = (feeds.len(), rows.len());
        let made = self.makes(feeds, &rows, count);
        if made < 2 || vocab == 0 {
            self.pass(feeds, output, host)?;
            return Ok(1);
        }
        for feed in feeds.iter_mut() {
            feed.cache.reserve(feed.cache.len() + feed.tokens.len() + made - 1)?;
        }
        output.begin(made * sequences).map_err(failed)?;
        output.count_over(vocab);
        self.write_embeddings(&rows, host)?;
        let ends: Vec<Row> = rows.iter().filter(|row| row.logits).cloned().collect();
        for further in 1..made {
            let next = |row: &Row| {
                let position = row.position + further;
                Row { position, slot: position, token: 0, ..row.clone() }
            };
            rows.extend(ends.iter().map(next));
        }
        self.write_rows(&rows, host);
        let steps = self.write_steps(&rows, (fed, made), feeds);
        let words = self.run_steps(&steps, &ends, output).map_err(failed)?;
        output.take(&words);
        for feed in feeds {
            feed.cache.note(feed.tokens.len(), feed.tokens.len(), &[], &[]);
            feed.cache.extend(made - 1);
        }
        Ok(made)
    }

    /// Tokens that one continuation of these feeds makes, at most `count`: 1 where it needs more
    /// than a continuation has.
    fn makes(&self, feeds: &[Feed<'_, KvCache>], rows: &[Row], count: usize) -> usize {
        let plain =
            |feed: &Feed<'_, KvCache>| (feed.rows, feed.hidden, feed.parents) == (1, 0, &[][..]);
        // A token of the gap that the device chooses would make the rows after it whole.
        let whole = |row: &Row| self.gap.is_some() && !row.omits;
        if feeds.is_empty() || !feeds.iter().all(plain) || rows.iter().any(whole) {
            return 1;
        }
        let longest = rows.iter().map(|row| row.position).max().unwrap_or(0);
        let most = count.min(PAGE_ROWS / feeds.len()).min(self.context - longest);
        let fits = |made: &usize| {
            let rows = rows.len() + (made - 1) * feeds.len();
            rows <= MAX_ROWS.min(self.sizes.slice_rows(chunks(longest + made - 1)))
        };
        (1..=most).rev().find(fits).unwrap_or(1)
    }

    /// Writes which rows belong to which pass and sequence, and which of them want logits. The
    /// first pass has `fed` rows, each other one has one of each sequence.
    fn write_steps<'a>(
        &self,
        rows: &[Row],
        (fed, made): (usize, usize),
        feeds: &'a [Feed<'_, KvCache>],
    ) -> Vec<Step<'a>> {
        let sequences = feeds.len();
        let longest = rows.iter().map(|row| chunks(row.position)).max().unwrap_or(1);
        let (mut entries, mut steps) = (Vec::new(), Vec::with_capacity(made));
        let mut picked = Vec::new();
        let mut first = 0;
        for step in 0..made {
            let end = fed + step * sequences;
            let slice = slice_of(&rows[first..end], first, longest, feeds, &mut entries);
            let head = push_entry(&mut entries, [step * sequences, sequences, 0, end]);
            let wanted = (first..end).filter(|&row| rows[row].logits);
            picked.extend(wanted.map(|row| row as u32));
            steps.push(Step { slice, head });
            first = end;
        }
        self.device.write(&self.buffers.entries, 0, &entries);
        self.device.write(&self.buffers.picked, 0, &picked);
        steps
    }

    /// Runs the passes one after the other; the answers of all rows. `ends`: the last row of each
    /// feed.
    fn run_steps(
        &self,
        steps: &[Step<'_>],
        ends: &[Row],
        output: &mut GpuOutput,
    ) -> Result<Vec<u32>, GpuError> {
        let sequences = ends.len();
        let omits: Vec<bool> = ends.iter().map(|row| row.omits).collect();
        let omitted = self.gap.clone().unwrap_or(0..0); // all rows omit it
        let mut recorder = self.device.recorder();
        for (number, Step { slice, head }) in steps.iter().enumerate() {
            let first = number * sequences;
            recorder = self.record_layers(recorder, slice)?;
            let norm = &self.kernels.norm_picked;
            recorder.dispatch(norm, &self.output_norm, *head, [sequences, 1, 1]);
            let page = output.page(first);
            page.head.record_without(&mut recorder, *head, sequences, &omitted)?;
            output.record_gap(&mut recorder, first, &omits, true);
            output.record_parts(&mut recorder, *head, first, sequences);
            if let Some(gather) = &output.page(first).gather
                && number + 1 < steps.len()
            {
                gather.record(&mut recorder, *head, sequences);
            }
        }
        let rows = steps.len() * sequences;
        let (offset, bytes) = output.answer_bytes(0, rows);
        recorder.copy_to_host(&output.page(0).parts, offset, output.reading(), 0, bytes);
        let words = self.device.run_and_read(recorder, output.reading(), bytes, <[u32]>::to_vec)?;
        for number in 0..steps.len() {
            output.note_gap(number * sequences, &omits);
        }
        Ok(words)
    }
}
