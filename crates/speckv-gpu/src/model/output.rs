//! Logits of a pass, on the device, and what the host asks of them.

use std::sync::Arc;

use speckv::{
    logits::LogitsError,
    model::{Best, ModelError, PassOutput},
    signals::Signals,
    token::Token,
};

use super::{Shared, buffers::PAGE_ROWS, failed};
use crate::{
    device::{Bindings, Buffer, Reading},
    error::GpuError,
    format::BLOCK,
    matrix::{Choice, Gather, Multiply, Output},
    shader::{Epilogue, SIGNAL_PART},
};

/// Words of a part's results; see the shader `signals`.
const PART_WORDS: usize = 8;

/// Rows of logits that are made at once, and the head bound to them.
#[derive(Debug)]
pub(super) struct Page {
    pub logits: Buffer,
    pub head: Multiply,
    pub signals: Bindings,
    pub parts: Buffer,
    /// Embeddings of the likeliest tokens of its rows, where the device has them.
    pub gather: Option<Gather>,
    /// Rows whose logits of the head's gap are those of tokens that are impossible.
    gap_is_omitted: [bool; PAGE_ROWS],
}

/// What a row's logits say, or why they make no token.
type Answer = Result<Best, LogitsError>;

/// Output of passes on a device. Rows stay there; answers of a few bytes per row come back.
pub struct GpuOutput {
    pub(super) shared: Arc<Shared>,
    pages: Vec<Page>,
    reading: Option<Reading>,
    /// Numbers that the kernel of the signals reads: tokens that count, logits per row, parts.
    signal_shape: Option<Buffer>,
    rows: usize,
    /// Answers of the rows, and the number of tokens that they are over.
    answers: Vec<Answer>,
    vocab: usize,
    /// The row of logits that was asked for last.
    row: Option<(usize, Vec<f32>)>,
    hidden: Vec<Vec<f32>>,
}

impl GpuOutput {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        GpuOutput {
            vocab: shared.vocab,
            shared,
            pages: Vec::new(),
            reading: None,
            signal_shape: None,
            rows: 0,
            answers: Vec::new(),
            row: None,
            hidden: Vec::new(),
        }
    }

    fn parts(&self) -> usize {
        self.shared.vocab.div_ceil(SIGNAL_PART)
    }

    /// Words of the answers of a page.
    fn page_words(&self) -> usize {
        PAGE_ROWS * self.parts() * PART_WORDS
    }

    /// Makes room for a pass of so many rows, and forgets the last one.
    pub(super) fn begin(&mut self, rows: usize) -> Result<(), GpuError> {
        self.rows = 0;
        self.answers.clear();
        self.row = None;
        self.hidden.clear();
        let shared = Arc::clone(&self.shared);
        let device = &*shared.device;
        if self.signal_shape.is_none() {
            let shape = [self.vocab as u32, shared.vocab as u32, self.parts() as u32];
            self.signal_shape = Some(device.uniform("shape", &shape)?);
            self.reading = Some(device.reading(self.page_words() as u64 * 4)?);
        }
        while self.pages.len() * PAGE_ROWS < rows {
            let page = self.new_page()?;
            self.pages.push(page);
        }
        Ok(())
    }

    fn new_page(&self) -> Result<Page, GpuError> {
        let shared = &*self.shared;
        let (device, vocab) = (&*shared.device, shared.vocab);
        let logits = device.buffer("logits", (PAGE_ROWS * vocab) as u64 * 4)?;
        let parts = device.buffer("signals", self.page_words() as u64 * 4)?;
        let cap = shared.config.logit_cap;
        let output = Output {
            to: &logits,
            factors: None,
            first: 0,
            stride: vocab,
            epilogue: if cap.is_some() { Epilogue::Cap } else { Epilogue::Store },
            cap: cap.unwrap_or(0.0),
            factor: shared.config.logit_scale,
            bias: None,
        };
        let buffers = &shared.buffers;
        let head =
            Multiply::new(device, &buffers.entries, &shared.weights.head, &buffers.head, output)?;
        let shape = self.signal_shape.as_ref().expect("made before the first page");
        let signals = shared
            .kernels
            .signals
            .bind_whole(device, &[&buffers.entries, shape, &logits, &parts])?;
        let choice = Choice { shape, parts: &parts };
        let scale = shared.config.embedding_scale;
        let embedding = shared.embedding.on_device(&shared.weights);
        let gather = embedding.map(|matrix| {
            Gather::new(device, &buffers.entries, (matrix, scale), choice, &buffers.x)
        });
        let gather = gather.transpose()?;
        Ok(Page { logits, head, signals, parts, gather, gap_is_omitted: [false; PAGE_ROWS] })
    }

    /// The row that the next answers are of.
    pub(super) fn next_row(&self) -> usize {
        self.answers.len()
    }

    /// The page of a row.
    pub(super) fn page(&self, row: usize) -> &Page {
        &self.pages[row / PAGE_ROWS]
    }

    /// Records that the tokens of the head's gap are impossible in those of the rows from row
    /// `first` on that omit them; `all` says that the head has computed none of them.
    pub(super) fn record_gap(
        &mut self,
        recorder: &mut crate::device::Recorder<'_>,
        first: usize,
        omits: &[bool],
        all: bool,
    ) {
        let shared = Arc::clone(&self.shared);
        let (Some(gap), Some(impossible)) = (&shared.gap, &shared.impossible) else { return };
        let page = &mut self.pages[first / PAGE_ROWS];
        for (place, &omits) in (first % PAGE_ROWS..).zip(omits) {
            // Known again once the pass has run.
            let is_omitted = std::mem::take(&mut page.gap_is_omitted[place]);
            if omits && !(all && is_omitted) {
                let offset = (place * shared.vocab + gap.start) as u64 * 4;
                recorder.copy(impossible, 0, &page.logits, offset, gap.len() as u64 * 4);
            }
        }
    }

    /// Notes which rows omit the head's gap, after a pass that has run.
    pub(super) fn note_gap(&mut self, first: usize, omits: &[bool]) {
        let page = &mut self.pages[first / PAGE_ROWS];
        page.gap_is_omitted[first % PAGE_ROWS..][..omits.len()].copy_from_slice(omits);
    }

    /// Where the host reads the answers of a page.
    pub(super) fn reading(&self) -> &Reading {
        self.reading.as_ref().expect("made when a pass begins")
    }

    /// First byte and number of bytes of the answers of `count` rows from row `first` of a page on.
    pub(super) fn answer_bytes(&self, first: usize, count: usize) -> (u64, u64) {
        let row = (self.parts() * PART_WORDS * 4) as u64;
        (first as u64 * row, count as u64 * row)
    }

    /// Takes the answers of the next rows.
    pub(super) fn take(&mut self, words: &[u32]) {
        for row in words.chunks_exact(self.parts() * PART_WORDS) {
            self.answers.push(answer(row, self.vocab.div_ceil(SIGNAL_PART)));
        }
        self.rows = self.answers.len();
    }

    /// Takes hidden states, `[rows, blocks, 32]`.
    pub(super) fn take_hidden(&mut self, words: &[u32]) {
        let (hidden, width) = (self.shared.config.hidden, self.shared.sizes.hidden_blocks * BLOCK);
        for row in words.chunks_exact(width) {
            self.hidden.push(row[..hidden].iter().map(|&word| f32::from_bits(word)).collect());
        }
    }

    /// Appends the parts of a row whose likeliest token is `token`; the other ones have `none`.
    pub(super) fn push_chosen(&self, token: u32, none: u32, parts: &mut Vec<u32>) {
        for part in 0..self.parts() {
            let is_its = token as usize / SIGNAL_PART == part;
            let mut words = [0; PART_WORDS];
            words[..2].copy_from_slice(&[if is_its { token } else { none }, 1f32.to_bits()]);
            parts.extend(words);
        }
    }

    /// Has the signals of the next pass be over so many tokens.
    pub(super) fn count_over(&mut self, vocab: usize) {
        self.vocab = vocab;
        let shape = self.signal_shape.as_ref().expect("made when a pass begins");
        let numbers = [vocab as u32, self.shared.vocab as u32, self.parts() as u32];
        self.shared.device.write(shape, 0, &numbers);
    }

    /// Reads the rows over another number of tokens.
    fn ask(&mut self, vocab: usize) -> Result<(), ModelError> {
        if vocab == self.vocab {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let device = &*shared.device;
        let turn = shared.turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let rows = std::mem::take(&mut self.rows);
        self.answers.clear();
        self.count_over(vocab);
        for first in (0..rows).step_by(PAGE_ROWS) {
            let count = PAGE_ROWS.min(rows - first);
            let mut recorder = device.recorder();
            shared.head_entry(0, count);
            let words = self
                .record_signals(&mut recorder, first, count)
                .and_then(|bytes| {
                    device.run_and_read(recorder, self.reading(), bytes, <[u32]>::to_vec)
                })
                .map_err(failed)?;
            self.take(&words);
        }
        drop(turn);
        self.rows = rows;
        Ok(())
    }

    /// Records the signals of the `count` rows that `entry` names, in the page of row `first` of
    /// the pass.
    pub(super) fn record_parts(
        &self,
        recorder: &mut crate::device::Recorder<'_>,
        entry: u32,
        first: usize,
        count: usize,
    ) {
        let parts = self.vocab.div_ceil(SIGNAL_PART);
        let kernel = &self.shared.kernels.signals;
        recorder.dispatch(kernel, &self.page(first).signals, entry, [count, parts, 1]);
    }

    /// Records the signals of `count` rows from row `first` of the pass on, which are in one page,
    /// and their way to the host. The bytes that come.
    pub(super) fn record_signals(
        &self,
        recorder: &mut crate::device::Recorder<'_>,
        first: usize,
        count: usize,
    ) -> Result<u64, GpuError> {
        let page = self.page(first);
        self.record_parts(recorder, super::buffers::HEAD_ROWS, first, count);
        let (offset, bytes) = self.answer_bytes(first % PAGE_ROWS, count);
        recorder.copy_to_host(&page.parts, offset, self.reading(), 0, bytes);
        Ok(bytes)
    }

    fn check(&self, row: usize) -> Result<(), ModelError> {
        if row < self.rows { Ok(()) } else { Err(ModelError::Row { row, rows: self.rows }) }
    }
}

/// Puts the parts of a row together.
///
/// With m the largest logit and Z the sum of e^(x - m): a part's sums are against its own largest
/// value m', so that Z = sum of e^(m' - m) Z' and the moments follow.
fn answer(row: &[u32], parts: usize) -> Answer {
    let float = |word: u32| f64::from(f32::from_bits(word));
    let parts = row.chunks_exact(PART_WORDS).take(parts);
    let (mut token, mut largest, mut second) = (u32::MAX, f64::NEG_INFINITY, f64::NEG_INFINITY);
    for part in parts.clone() {
        if part[5] != 0 {
            return Err(LogitsError::NotANumber);
        }
        let (first, next) = (float(part[1]), float(part[2]));
        if part[0] != u32::MAX && first > largest {
            second = largest.max(next);
            (token, largest) = (part[0], first);
        } else if part[0] != u32::MAX {
            second = second.max(first);
        }
    }
    if token == u32::MAX {
        return Err(LogitsError::AllImpossible);
    }
    let (mut weights, mut moments) = (0.0, 0.0);
    for part in parts.filter(|part| part[0] != u32::MAX) {
        let shift = float(part[1]) - largest;
        let scale = shift.exp();
        weights += scale * float(part[3]);
        moments += scale * (float(part[4]) + shift * float(part[3]));
    }
    let signals = Signals {
        entropy_bits: ((weights.ln() - moments / weights) / std::f64::consts::LN_2).max(0.0) as f32,
        confidence: (1.0 / weights) as f32,
        margin: (-(second - largest).exp_m1() / weights) as f32,
        match_length: 0,
    };
    Ok(Best { token: token as Token, second: None, signals })
}

impl PassOutput for GpuOutput {
    fn rows(&self) -> usize {
        self.rows
    }

    fn vocab_size(&self) -> usize {
        self.shared.vocab
    }

    fn best(&mut self, row: usize, vocab: usize) -> Result<Best, ModelError> {
        self.check(row)?;
        let vocab = vocab.min(self.shared.vocab);
        if vocab == 0 {
            return Err(ModelError::Logits { row, source: LogitsError::Empty });
        }
        self.ask(vocab)?;
        self.answers[row].map_err(|source| ModelError::Logits { row, source })
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], ModelError> {
        self.check(row)?;
        if self.row.as_ref().is_none_or(|(held, _)| *held != row) {
            let vocab = self.shared.vocab;
            let offset = (row % PAGE_ROWS * vocab) as u64 * 4;
            let words =
                self.shared.device.read(&self.page(row).logits, offset, vocab).map_err(failed)?;
            self.row = Some((row, words.into_iter().map(f32::from_bits).collect()));
        }
        Ok(&self.row.as_ref().expect("just read").1)
    }

    fn hidden_rows(&self) -> usize {
        self.hidden.len()
    }

    fn hidden(&mut self, row: usize) -> Result<&[f32], ModelError> {
        let rows = self.hidden.len();
        self.hidden.get(row).map(Vec::as_slice).ok_or(ModelError::Row { row, rows })
    }
}
