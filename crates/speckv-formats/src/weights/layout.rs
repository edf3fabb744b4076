//! Which tensors make up a model, and what shapes they must have.

use std::{collections::HashSet, ops::Range};

use super::{FactorTensors, Layer, Projection, embedding::EMBEDDING};
use crate::{
    checkpoint::{Checkpoint, Stored},
    compression::Role,
    config::{Biases, Config, QueryKeyNorm},
    quant::{QuantError, Rows},
};

/// A matrix of a model: its tensor and the shape that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixSlot {
    /// The tensor's name in GGUF.
    pub name: String,
    /// Row of the tensor that the matrix begins with: not 0 where a tensor holds several matrices.
    pub first: usize,
    /// Number of outputs.
    pub rows: usize,
    /// Number of inputs.
    pub columns: usize,
    /// What it is for, which decides how it is compressed.
    pub role: Role,
}

/// A vector of a model: its tensor and the length that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSlot {
    /// The tensor's name in GGUF.
    pub name: String,
    /// Value of the tensor that the vector begins with.
    pub first: usize,
    /// Number of values.
    pub len: usize,
    /// Added to each stored value: 1 for the norms of folders of the Gemma family, else 0.
    pub offset: f32,
}

impl VectorSlot {
    /// The vector's values in its tensor, the offset added.
    ///
    /// # Errors
    /// A tensor that is shorter than the layout has found.
    pub fn values(&self, tensor: &Stored<'_>) -> Result<Vec<f32>, QuantError> {
        let mut values = vec![0.0; tensor.elements()];
        tensor.read(0, &mut values)?;
        let mut values = values.split_off(self.first.min(values.len()));
        values.truncate(self.len);
        if self.offset != 0.0 {
            values.iter_mut().for_each(|value| *value += self.offset);
        }
        Ok(values)
    }
}

/// Where every weight of a model is in its file. Making one reads no weights.
#[derive(Debug)]
pub struct Layout {
    pub(super) file: Checkpoint,
    /// Token embeddings, [vocab, hidden].
    pub embedding: MatrixSlot,
    /// Layers, first to last.
    pub layers: Vec<Layer<MatrixSlot, VectorSlot>>,
    /// Weights of the norm before the output head, `[hidden]`.
    pub output_norm: VectorSlot,
    /// Output head, [vocab, hidden]: the embedding's tensor where the two are tied.
    pub head: MatrixSlot,
    /// Factors that divide each rotary pair's angle, where the file has them as tensors.
    pub rope_factors: FactorTensors<VectorSlot>,
}

/// Why the tensors of a file are not those of its configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A tensor that every model of the architecture has is not in the file.
    #[error("the tensor {name} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor that the configuration rules out is in the file: ignoring it would change the
    /// model's output.
    #[error("the tensor {name} is in the file, expected {expected}")]
    Unexpected {
        /// Its name.
        name: String,
        /// What the configuration says.
        expected: String,
    },
    /// A bias that the configuration demands is not in the file.
    #[error("the tensor {name} is missing, expected {expected}")]
    MissingBias {
        /// Its name.
        name: String,
        /// What the configuration says.
        expected: String,
    },
    /// A tensor's shape contradicts the configuration.
    #[error("the tensor {name} has the shape {got:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Shape by the configuration, [in, out].
        expected: Vec<usize>,
        /// Shape in the file.
        got: Vec<usize>,
    },
}

impl Layout {
    /// Finds every tensor of the model in `file` and checks its shape.
    ///
    /// A tensor of the file that is no part of the model is refused, unless it is one that cannot
    /// change the text: rotary frequencies that were computed, and parts for pictures.
    ///
    /// # Errors
    /// See [`LayoutError`].
    pub fn new(file: &Checkpoint, config: &Config) -> Result<Self, LayoutError> {
        let finder = Finder { file, config };
        finder.check_layers()?;
        let embedding = file.stored(EMBEDDING).ok_or_else(|| finder.missing(EMBEDDING))?;
        let vocab_size = config
            .vocab_size
            .unwrap_or_else(|| embedding.shape().get(1).copied().unwrap_or_default());
        let matrix = |name: &str, role| finder.matrix(name, vocab_size, config.hidden, role);
        // Models with tied embeddings have no output matrix of their own.
        let head = if file.stored("output.weight").is_some() { "output.weight" } else { EMBEDDING };
        let layout = Layout {
            embedding: matrix(EMBEDDING, Role::Head)?,
            head: matrix(head, Role::Head)?,
            layers: (0..config.layers)
                .map(|layer| finder.layer(layer))
                .collect::<Result<_, _>>()?,
            output_norm: finder.norm("output_norm.weight", config.hidden)?,
            rope_factors: finder.rope_factors()?,
            file: file.clone(),
        };
        match layout.unused().into_iter().find(|name| !is_harmless(name)) {
            None => Ok(layout),
            Some(name) => Err(LayoutError::Unexpected {
                name: file.spelled(&name),
                expected: format!("only tensors of the {} architecture", config.architecture),
            }),
        }
    }

    /// Whether the output head is the embedding.
    #[must_use]
    pub fn is_tied(&self) -> bool {
        self.head.name == self.embedding.name
    }

    /// The matrices that a pass reads whole: those of the layers, then the output head.
    pub fn matrices(&self) -> impl Iterator<Item = &MatrixSlot> {
        self.layers.iter().flat_map(Layer::matrices).chain([&self.head])
    }

    /// All vectors.
    pub fn vectors(&self) -> impl Iterator<Item = &VectorSlot> {
        let layers = self.layers.iter().flat_map(Layer::vectors);
        let FactorTensors { usual, long } = &self.rope_factors;
        layers.chain([&self.output_norm]).chain(usual).chain(long)
    }

    /// Bytes of the matrices and vectors in the file.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        let matrices = self.matrices().map(|slot| self.matrix_bytes(slot));
        let vectors = self.vectors().filter_map(|slot| self.file.stored(&slot.name));
        matrices.chain(vectors.map(|tensor| tensor.byte_len() as u64)).sum()
    }

    /// Bytes of a matrix in the file: its share of the tensor that it lies in.
    pub(super) fn matrix_bytes(&self, slot: &MatrixSlot) -> u64 {
        let Some(tensor) = self.file.stored(&slot.name) else { return 0 };
        let rows = tensor.shape().get(1).copied().unwrap_or(1).max(1);
        (tensor.byte_len() as u128 * slot.rows as u128 / rows as u128) as u64
    }

    /// GGUF's names of the tensors that the model consists of.
    #[must_use]
    pub fn names(&self) -> HashSet<&str> {
        let matrices = self.matrices().chain([&self.embedding]).map(|slot| slot.name.as_str());
        matrices.chain(self.vectors().map(|slot| slot.name.as_str())).collect()
    }

    /// The file's tensors that are no part of the model and cannot change the text, by GGUF's
    /// names, in the file's order.
    #[must_use]
    pub fn unused(&self) -> Vec<String> {
        let used = self.names();
        let names = self.file.contents().map(|tensor| tensor.name().to_owned());
        names.filter(|name| !used.contains(name.as_str())).collect()
    }
}

/// Whether a tensor that is no part of the model cannot change the text.
fn is_harmless(name: &str) -> bool {
    let of_pictures = ["v.", "mm."];
    name.ends_with("rotary_emb.inv_freq")
        || name.ends_with("attn_rot_embd.weight")
        || of_pictures.iter().any(|prefix| name.starts_with(prefix))
}

/// Looks tensors up in a file and checks them.
struct Finder<'a> {
    file: &'a Checkpoint,
    config: &'a Config,
}

impl Finder<'_> {
    fn missing(&self, name: &str) -> LayoutError {
        LayoutError::Missing { name: self.file.spelled(name) }
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<(), LayoutError> {
        let tensor = self.file.stored(name).ok_or_else(|| self.missing(name))?;
        if tensor.shape() == shape {
            return Ok(());
        }
        let (expected, got) = (shape.to_vec(), tensor.shape().to_vec());
        Err(LayoutError::Shape { name: self.file.spelled(name), expected, got })
    }

    fn matrix(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
        role: Role,
    ) -> Result<MatrixSlot, LayoutError> {
        self.part(name, 0..rows, rows, columns, role)
    }

    /// Some rows of a tensor that has `all`.
    fn part(
        &self,
        name: &str,
        rows: Range<usize>,
        all: usize,
        columns: usize,
        role: Role,
    ) -> Result<MatrixSlot, LayoutError> {
        self.check(name, &[columns, all])?;
        Ok(MatrixSlot { name: name.to_owned(), first: rows.start, rows: rows.len(), columns, role })
    }

    fn vector(&self, name: &str, len: usize) -> Result<VectorSlot, LayoutError> {
        self.check(name, &[len])?;
        Ok(VectorSlot { name: name.to_owned(), first: 0, len, offset: 0.0 })
    }

    /// Factors of rotary pairs: one list, or one for short and one for long contexts.
    fn rope_factors(&self) -> Result<FactorTensors<VectorSlot>, LayoutError> {
        const NAMES: [&str; 2] = ["rope_factors_short.weight", "rope_factors_long.weight"];
        let pairs = self.config.rope.dim / 2;
        let long = match &self.config.rope.long {
            Some(long) if self.file.stored("rope_freqs.weight").is_none() => long,
            _ => {
                let usual = self.optional("rope_freqs.weight", pairs)?;
                return Ok(FactorTensors { usual, long: None });
            }
        };
        // A longer context than the original one was reached with factors.
        let stretched = long.factors.is_empty() && self.config.context_length > long.context;
        if !stretched && NAMES.iter().all(|name| self.file.stored(name).is_none()) {
            return Ok(FactorTensors { usual: None, long: None });
        }
        let [usual, long] = NAMES.map(|name| self.vector(name, pairs));
        Ok(FactorTensors { usual: Some(usual?), long: Some(long?) })
    }

    fn optional(&self, name: &str, len: usize) -> Result<Option<VectorSlot>, LayoutError> {
        self.file.stored(name).is_some().then(|| self.vector(name, len)).transpose()
    }

    fn norm(&self, name: &str, len: usize) -> Result<VectorSlot, LayoutError> {
        Ok(VectorSlot { offset: self.config.norm_offset, ..self.vector(name, len)? })
    }

    /// `biased` is what the configuration says of the bias, if it says anything.
    fn projection(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
        biased: Option<bool>,
    ) -> Result<Projection<MatrixSlot, VectorSlot>, LayoutError> {
        self.projection_part(name, 0..rows, rows, columns, biased)
    }

    /// A projection whose matrix and bias are some rows of tensors that have `all`.
    fn projection_part(
        &self,
        name: &str,
        rows: Range<usize>,
        all: usize,
        columns: usize,
        biased: Option<bool>,
    ) -> Result<Projection<MatrixSlot, VectorSlot>, LayoutError> {
        let weight = format!("{name}.weight");
        let matrix = self.part(&weight, rows.clone(), all, columns, Role::Layer)?;
        let bias = format!("{name}.bias");
        let found = self.file.stored(&bias).is_some();
        let field = if name.contains(".ffn_") { "mlp_bias" } else { "attention_bias" };
        let (name, source) = (self.file.spelled(&bias), self.file.said_by(field));
        match biased {
            Some(true) if !found => Err(LayoutError::MissingBias {
                name,
                expected: format!("a bias, as {source} says"),
            }),
            Some(false) if found => Err(LayoutError::Unexpected {
                name,
                expected: format!("none, as {source} is not true"),
            }),
            _ => {
                let bias = self.optional(&bias, all)?;
                let of_part = |slot| VectorSlot { first: rows.start, len: rows.len(), ..slot };
                Ok(Projection { matrix, bias: bias.map(of_part) })
            }
        }
    }

    /// Neighbouring parts of one tensor, each with its number of rows.
    fn fused<const PARTS: usize>(
        &self,
        name: &str,
        rows: [usize; PARTS],
        columns: usize,
        biased: Option<bool>,
    ) -> Result<[Projection<MatrixSlot, VectorSlot>; PARTS], LayoutError> {
        let all = rows.iter().sum();
        let mut parts = Vec::with_capacity(PARTS);
        let mut first = 0;
        for rows in rows {
            let rows = first..first + rows;
            first = rows.end;
            parts.push(self.projection_part(name, rows, all, columns, biased)?);
        }
        Ok(parts.try_into().unwrap_or_else(|_| unreachable!("one projection for each part")))
    }

    /// Refuses layers beyond those that the configuration counts.
    fn check_layers(&self) -> Result<(), LayoutError> {
        let layers = self.config.layers;
        let beyond = |tensor: &Stored<'_>| {
            let number = tensor.name().strip_prefix("blk.").and_then(|rest| rest.split('.').next());
            number
                .and_then(|number| number.parse::<usize>().ok())
                .is_some_and(|number| number >= layers)
        };
        let Some(tensor) = self.file.contents().find(beyond) else { return Ok(()) };
        let expected = format!("{layers} layers, as {} says", self.file.said_by("block_count"));
        Err(LayoutError::Unexpected { name: self.file.spelled(tensor.name()), expected })
    }

    fn layer(&self, layer: usize) -> Result<Layer<MatrixSlot, VectorSlot>, LayoutError> {
        let &Config { hidden, feed_forward, head_dim, pre_norms, post_norms, .. } = self.config;
        let (queries, keys) = (self.config.heads * head_dim, self.config.kv_heads * head_dim);
        let Biases { query_key_value: biased, output: output_biased, feed_forward: inner } =
            self.config.biases;
        let name = |part: &str| format!("blk.{layer}.{part}");
        let norm_if =
            |wanted: bool, part: &str, len| wanted.then(|| self.norm(&name(part), len)).transpose();
        let projection =
            |part, rows, columns, biased| self.projection(&name(part), rows, columns, biased);
        // Matrices of one input may lie in one tensor.
        let is_fused = |whole: &str, part: &str| {
            self.file.stored(&name(whole)).is_some() && self.file.stored(&name(part)).is_none()
        };
        let [query, key, value] = match is_fused("attn_qkv.weight", "attn_q.weight") {
            true => self.fused(&name("attn_qkv"), [queries, keys, keys], hidden, biased)?,
            false => [
                projection("attn_q", queries, hidden, biased)?,
                projection("attn_k", keys, hidden, biased)?,
                projection("attn_v", keys, hidden, biased)?,
            ],
        };
        let [gate, up] = match is_fused("ffn_up.weight", "ffn_gate.weight") {
            true => self.fused(&name("ffn_up"), [feed_forward, feed_forward], hidden, inner)?,
            false => [
                projection("ffn_gate", feed_forward, hidden, inner)?,
                projection("ffn_up", feed_forward, hidden, inner)?,
            ],
        };
        let head_norms = match self.config.query_key_norm {
            None => None,
            Some(QueryKeyNorm::PerHead) => Some([head_dim, head_dim]),
            Some(QueryKeyNorm::Whole) => Some([queries, keys]),
        };
        let head_norm = |part, which: usize| match head_norms {
            Some(lengths) => self.norm(&name(part), lengths[which]).map(Some),
            None => Ok(None),
        };
        Ok(Layer {
            attention_norm: norm_if(pre_norms, "attn_norm.weight", hidden)?,
            query,
            key,
            value,
            output: projection("attn_output", hidden, queries, output_biased)?,
            query_norm: head_norm("attn_q_norm.weight", 0)?,
            key_norm: head_norm("attn_k_norm.weight", 1)?,
            attention_post_norm: norm_if(post_norms, "post_attention_norm.weight", hidden)?,
            feed_forward_post_norm: norm_if(post_norms, "post_ffw_norm.weight", hidden)?,
            feed_forward_norm: norm_if(pre_norms, self.config.feed_forward_norm(), hidden)?,
            gate,
            up,
            down: projection("ffn_down", hidden, feed_forward, inner)?,
        })
    }
}
