//! Reading a model's weights into a backend.

use super::{Embedding, FactorTensors, Layer, Layout, MatrixSlot, Projection, VectorSlot, Weights};
use crate::{
    checkpoint::{Checkpoint, Part, Stored},
    compression::Compression,
    quant::{QuantError, Rows, WeightType},
};

/// A backend's side of loading: stores the weights as its kernels need them.
pub trait WeightSink {
    /// A stored matrix.
    type Matrix;
    /// A stored vector.
    type Vector;
    /// Why a tensor cannot be stored.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Stores the matrix of `slot`, [rows, columns], with weights of the type `to`. `tensor` has
    /// the shape [columns, rows]; [`Rows`] reads it row by row, in its own type or another.
    ///
    /// # Errors
    /// The backend's: memory that is refused, a type or a value that it cannot hold.
    fn matrix(
        &mut self,
        slot: &MatrixSlot,
        tensor: &Part<'_>,
        to: WeightType,
    ) -> Result<Self::Matrix, Self::Error>;

    /// Stores the vector of `slot`, `[len]`, whose offset has been added.
    ///
    /// # Errors
    /// The backend's.
    fn vector(&mut self, slot: &VectorSlot, values: Vec<f32>) -> Result<Self::Vector, Self::Error>;
}

/// The weights of a model as a sink stores them.
pub type WeightsOf<S> = Weights<<S as WeightSink>::Matrix, <S as WeightSink>::Vector>;

/// Why a tensor cannot be loaded; `E` is the backend's reason.
#[derive(Debug, thiserror::Error)]
pub enum WeightError<E: std::error::Error + 'static> {
    /// The backend cannot store it.
    #[error("the tensor {name} cannot be used")]
    Store {
        /// Its name.
        name: String,
        /// Why.
        source: E,
    },
    /// A vector could not be decoded.
    #[error("the tensor {name} cannot be decoded")]
    Decode {
        /// Its name.
        name: String,
        /// Why.
        source: QuantError,
    },
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to read.
    pub total: u64,
}

impl Layout {
    /// Gives every tensor to `sink`: matrices as `compression` says, vectors as floats with their
    /// offset. Pages of the file are released after use, so that the loaded copy alone takes
    /// memory.
    ///
    /// # Errors
    /// See [`WeightError`].
    pub fn load<S: WeightSink>(
        &self,
        compression: Compression,
        sink: &mut S,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<WeightsOf<S>, WeightError<S::Error>> {
        let total = self.bytes_read();
        let mut loader = Loader { layout: self, compression, sink, progress, done: 0, total };
        Ok(Weights {
            head: loader.matrix(&self.head)?,
            layers: self
                .layers
                .iter()
                .map(|slots| loader.layer(slots))
                .collect::<Result<_, _>>()?,
            output_norm: loader.vector(&self.output_norm)?,
            rope_factors: FactorTensors {
                usual: loader.opt_values(self.rope_factors.usual.as_ref())?,
                long: loader.opt_values(self.rope_factors.long.as_ref())?,
            },
            embedding: Embedding::new(self.file.clone(), self.embedding.rows),
        })
    }
}

/// Reads tensors, hands them on and counts bytes.
struct Loader<'a, S> {
    layout: &'a Layout,
    compression: Compression,
    sink: &'a mut S,
    progress: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
}

type Loaded<T, S> = Result<T, WeightError<<S as WeightSink>::Error>>;

impl<'a, S: WeightSink> Loader<'a, S> {
    fn file(&self) -> &'a Checkpoint {
        &self.layout.file
    }

    fn stored(&self, name: &str) -> Stored<'a> {
        self.file().stored(name).expect("the layout has found the tensor in this file")
    }

    fn finish(&mut self, tensor: &Stored<'_>, bytes: u64) {
        self.file().release(tensor);
        self.done += bytes;
        (self.progress)(Progress { done: self.done, total: self.total });
    }

    fn matrix(&mut self, slot: &MatrixSlot) -> Loaded<S::Matrix, S> {
        let tensor = self.stored(&slot.name);
        let part = Part::new(tensor, slot.first..slot.first + slot.rows);
        let to = self.compression.of(part.weight_type(), slot.role);
        let matrix = self.sink.matrix(slot, &part, to).map_err(|source| WeightError::Store {
            name: self.file().spelled(&slot.name),
            source,
        })?;
        self.finish(&tensor, self.layout.matrix_bytes(slot));
        Ok(matrix)
    }

    /// The floats of a vector, its offset added.
    fn values(&mut self, slot: &VectorSlot) -> Loaded<Vec<f32>, S> {
        let tensor = self.stored(&slot.name);
        let values = slot.values(&tensor).map_err(|source| WeightError::Decode {
            name: self.file().spelled(&slot.name),
            source,
        })?;
        self.finish(&tensor, tensor.byte_len() as u64);
        Ok(values)
    }

    fn opt_values(&mut self, slot: Option<&VectorSlot>) -> Loaded<Option<Vec<f32>>, S> {
        slot.map(|slot| self.values(slot)).transpose()
    }

    fn vector(&mut self, slot: &VectorSlot) -> Loaded<S::Vector, S> {
        let values = self.values(slot)?;
        self.sink
            .vector(slot, values)
            .map_err(|source| WeightError::Store { name: self.file().spelled(&slot.name), source })
    }

    fn optional(&mut self, slot: Option<&VectorSlot>) -> Loaded<Option<S::Vector>, S> {
        slot.map(|slot| self.vector(slot)).transpose()
    }

    fn projection(
        &mut self,
        slots: &Projection<MatrixSlot, VectorSlot>,
    ) -> Loaded<Projection<S::Matrix, S::Vector>, S> {
        Ok(Projection {
            matrix: self.matrix(&slots.matrix)?,
            bias: self.optional(slots.bias.as_ref())?,
        })
    }

    fn layer(
        &mut self,
        slots: &Layer<MatrixSlot, VectorSlot>,
    ) -> Loaded<Layer<S::Matrix, S::Vector>, S> {
        Ok(Layer {
            attention_norm: self.optional(slots.attention_norm.as_ref())?,
            query: self.projection(&slots.query)?,
            key: self.projection(&slots.key)?,
            value: self.projection(&slots.value)?,
            output: self.projection(&slots.output)?,
            query_norm: self.optional(slots.query_norm.as_ref())?,
            key_norm: self.optional(slots.key_norm.as_ref())?,
            attention_post_norm: self.optional(slots.attention_post_norm.as_ref())?,
            feed_forward_post_norm: self.optional(slots.feed_forward_post_norm.as_ref())?,
            feed_forward_norm: self.optional(slots.feed_forward_norm.as_ref())?,
            gate: self.projection(&slots.gate)?,
            up: self.projection(&slots.up)?,
            down: self.projection(&slots.down)?,
        })
    }
}
