//! Token embeddings, [vocab, hidden].

use std::sync::{Arc, PoisonError};

use speckv_formats::{
    checkpoint::{Checkpoint, Stored},
    quant::{QuantError, Rows},
    weights::{EMBEDDING, Layout},
};

use super::{
    GpuOutput, Shared,
    buffers::HEAD_ROWS,
    load::{self, LoadError, LoadOptions},
    pass::push_entry,
    weights::Weights,
};
use crate::{
    device::OFFSET_STEP,
    error::GpuError,
    format::{BLOCK, Format},
    matrix::{Matrix, matrix_bytes},
};

/// Tokens whose embeddings on the device are compared with the file's.
const COMPARED: usize = 16;

/// A token that a part of a row does not have.
const NO_TOKEN: u32 = u32::MAX;

/// The embeddings. They stay in the file, of which a pass reads one row per token; a draft has them
/// on the device too.
#[derive(Debug)]
pub(super) struct Embedding {
    file: Checkpoint,
    place: Place,
}

/// Where the device has them.
#[derive(Debug)]
enum Place {
    Nowhere,
    /// They are the output head.
    Head,
    Own(Matrix),
}

impl Embedding {
    /// Those of a file, on the device where they are the head or where `options` ask for it.
    pub(super) fn new(
        file: Checkpoint,
        layout: &Layout,
        weights: &Weights,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let place = Self::place(&file, layout, weights, options)?;
        Ok(Embedding { file, place })
    }

    fn place(
        file: &Checkpoint,
        layout: &Layout,
        weights: &Weights,
        options: &LoadOptions,
    ) -> Result<Place, LoadError> {
        let stored = file.stored(EMBEDDING).expect("the layout has found it");
        // Of other tensors the device has rounded values.
        let Stored::Plain(tensor) = stored else { return Ok(Place::Nowhere) };
        let weight_type = tensor.weight_type();
        if layout.is_tied() && weights.head.weight_type() == weight_type {
            return Ok(Place::Head);
        }
        let shape = [layout.embedding.rows, layout.embedding.columns];
        let bytes = matrix_bytes(weight_type, shape[0], shape[1]);
        if !options.embedding || !Format::supports(weight_type) || !fits(file, options, bytes)? {
            return Ok(Place::Nowhere);
        }
        let source = |row: usize, out: &mut Vec<u8>| {
            out.extend_from_slice(tensor.bytes(row).expect("the tensor has bytes of its rows"));
            Ok(())
        };
        let matrix = Matrix::build(&options.device, weight_type, shape, &source);
        file.release(&stored);
        match matrix {
            Ok(matrix) => Ok(Place::Own(matrix)),
            Err(source) => Err(LoadError::Weight { name: file.spelled(EMBEDDING), source }),
        }
    }

    /// Reads the embedding of a token.
    pub(super) fn read(&self, token: usize, out: &mut [f32]) -> Result<(), QuantError> {
        self.file.stored(EMBEDDING).expect("the layout has found it").read(token, out)
    }

    /// The embeddings in the device's memory.
    pub(super) fn on_device<'a>(&'a self, weights: &'a Weights) -> Option<&'a Matrix> {
        match &self.place {
            Place::Nowhere => None,
            Place::Head => Some(&weights.head),
            Place::Own(matrix) => Some(matrix),
        }
    }
}

/// Whether so many more bytes fit beside the model, where the device's memory is known.
fn fits(file: &Checkpoint, options: &LoadOptions, bytes: u64) -> Result<bool, LoadError> {
    let need = load::memory_need(file, options)?.total() + bytes;
    Ok(options.device.adapter().memory().is_none_or(|available| need <= available))
}

impl Shared {
    /// Whether the device gathers embeddings with the bits that the host reads; compared once.
    pub(super) fn gathers(shared: &Arc<Shared>) -> bool {
        if shared.embedding.on_device(&shared.weights).is_none() {
            return false;
        }
        if let Some(&gathers) = shared.gathers.get() {
            return gathers;
        }
        match Self::compare_embeddings(shared) {
            Ok(same) => *shared.gathers.get_or_init(|| same),
            // Compared again next time. A device that stays so says it in the pass that follows.
            Err(_) => false,
        }
    }

    fn compare_embeddings(shared: &Arc<Shared>) -> Result<bool, GpuError> {
        let (device, buffers) = (&*shared.device, &shared.buffers);
        let mut output = GpuOutput::new(Arc::clone(shared));
        output.begin(COMPARED)?;
        let last = shared.vocab - 1;
        let tokens: Vec<usize> = (0..COMPARED).map(|i| i * last / (COMPARED - 1)).collect();
        let mut parts = Vec::new();
        for &token in &tokens {
            output.push_chosen(token as u32, NO_TOKEN, &mut parts);
        }
        let mut entry = Vec::new();
        push_entry(&mut entry, [0, COMPARED, 0, 0]);
        let _turn = shared.turn.lock().unwrap_or_else(PoisonError::into_inner);
        device.write(&buffers.entries, u64::from(HEAD_ROWS) * OFFSET_STEP, &entry);
        device.write(&output.page(0).parts, 0, &parts);
        let mut recorder = device.recorder();
        let Some(gather) = &output.page(0).gather else { return Ok(false) };
        gather.record(&mut recorder, HEAD_ROWS, COMPARED);
        device.run(recorder)?;
        let width = shared.sizes.hidden_blocks * BLOCK;
        let got = device.read(&buffers.x, 0, COMPARED * width)?;
        let mut expected = vec![0.0; width];
        let same = tokens.iter().zip(got.chunks_exact(width)).all(|(&token, got)| {
            let read = shared.read_embedding(token, &mut expected);
            read.is_ok() && expected.iter().zip(got).all(|(x, got)| x.to_bits() == *got)
        });
        Ok(same)
    }

    /// The embedding of a token as it goes into the residual stream, filled up with zeros.
    pub(super) fn read_embedding(&self, token: usize, x: &mut [f32]) -> Result<(), QuantError> {
        self.embedding.read(token, &mut x[..self.config.hidden])?;
        if self.config.embedding_scale != 1.0 {
            x.iter_mut().for_each(|x| *x *= self.config.embedding_scale);
        }
        Ok(())
    }
}
