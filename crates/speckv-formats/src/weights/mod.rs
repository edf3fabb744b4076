//! The weights of a transformer: which tensors a model has, and what a backend makes of them.
//!
//! A [`Layout`] says where everything is, by tensor name and shape, without reading a weight:
//! biases, norm offsets, tied output heads and layers beyond the model's end are settled there.
//! [`Layout::load`] then hands each tensor to the backend's [`WeightSink`], which stores it as its
//! kernels need it, and returns the same structure with the backend's types.
//!
//! ```text
//! Checkpoint + Config -> Layout -> load(WeightSink) -> Weights<Matrix, Vector>
//! ```

mod embedding;
mod layout;
mod load;
#[cfg(test)]
mod tests;

use crate::config::RopeFactors;

pub use embedding::{EMBEDDING, Embedding, EmbeddingError};
pub use layout::{Layout, LayoutError, MatrixSlot, VectorSlot};
pub use load::{Progress, WeightError, WeightSink, WeightsOf};

/// All weights of a model, with matrices of type `M` and vectors of type `V`.
#[derive(Debug)]
pub struct Weights<M, V> {
    /// Token embeddings, [vocab, hidden].
    pub embedding: Embedding,
    /// Layers, first to last.
    pub layers: Vec<Layer<M, V>>,
    /// Weights of the norm before the output head, `[hidden]`.
    pub output_norm: V,
    /// Output head, [vocab, hidden].
    pub head: M,
    /// Factors that divide each rotary pair's angle, where the file has them as tensors.
    pub rope_factors: FactorTensors<Vec<f32>>,
}

/// Factors of rotary pairs that a file keeps as tensors, each [rope.dim / 2].
#[derive(Debug, Clone, PartialEq)]
pub struct FactorTensors<V> {
    /// Of all contexts, or of short ones.
    pub usual: Option<V>,
    /// Of long contexts.
    pub long: Option<V>,
}

impl FactorTensors<Vec<f32>> {
    /// The factors, as [`Rope::frequencies`](crate::config::Rope::frequencies) takes them.
    #[must_use]
    pub fn as_factors(&self) -> RopeFactors<'_> {
        RopeFactors { usual: self.usual.as_deref(), long: self.long.as_deref() }
    }
}

/// One layer. Norms that the family does not have are absent.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the names of a transformer's parts; shapes stand beside them")]
pub struct Layer<M, V> {
    pub attention_norm: Option<V>,         // [hidden]
    pub query: Projection<M, V>,           // [heads * head_dim, hidden]
    pub key: Projection<M, V>,             // [kv_heads * head_dim, hidden]
    pub value: Projection<M, V>,           // [kv_heads * head_dim, hidden]
    pub output: Projection<M, V>,          // [hidden, heads * head_dim]
    pub query_norm: Option<V>,             // [head_dim], or [heads * head_dim]
    pub key_norm: Option<V>,               // [head_dim], or [kv_heads * head_dim]
    pub attention_post_norm: Option<V>,    // [hidden]
    pub feed_forward_post_norm: Option<V>, // [hidden]
    pub feed_forward_norm: Option<V>,      // [hidden]
    pub gate: Projection<M, V>,            // [feed_forward, hidden]
    pub up: Projection<M, V>,              // [feed_forward, hidden]
    pub down: Projection<M, V>,            // [hidden, feed_forward]
}

/// A matrix with an optional bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection<M, V> {
    /// The matrix, [rows, columns].
    pub matrix: M,
    /// The bias, `[rows]`; absent where the file has none.
    pub bias: Option<V>,
}

impl<M, V> Layer<M, V> {
    /// The layer's matrices, in the order in which a pass reads them.
    pub fn matrices(&self) -> [&M; 7] {
        self.projections().map(|projection| &projection.matrix)
    }

    fn projections(&self) -> [&Projection<M, V>; 7] {
        let Layer { query, key, value, output, gate, up, down, .. } = self;
        [query, key, value, output, gate, up, down]
    }

    /// The layer's vectors: norms and biases.
    pub fn vectors(&self) -> impl Iterator<Item = &V> {
        let norms = [
            self.attention_norm.as_ref(),
            self.query_norm.as_ref(),
            self.key_norm.as_ref(),
            self.attention_post_norm.as_ref(),
            self.feed_forward_norm.as_ref(),
            self.feed_forward_post_norm.as_ref(),
        ];
        self.projections()
            .into_iter()
            .filter_map(|part| part.bias.as_ref())
            .chain(norms.into_iter().flatten())
    }
}
