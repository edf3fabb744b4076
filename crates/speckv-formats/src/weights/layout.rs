//! Which tensors make up a model, and what shapes they must have.

use std::collections::HashSet;

use super::{Layer, Projection, embedding::EMBEDDING};
use crate::{
    checkpoint::{Checkpoint, Stored},
    compression::Role,
    config::{Biases, Config},
    quant::Rows,
};

/// A matrix of a model: its tensor and the shape that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixSlot {
    /// The tensor's name in GGUF.
    pub name: String,
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
    /// Number of values.
    pub len: usize,
    /// Added to each stored value: 1 for the norms of folders of the Gemma family, else 0.
    pub offset: f32,
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
    /// Factor that divides each rotary pair's angle, if the file has one: [rope.dim / 2].
    pub rope_factors: Option<VectorSlot>,
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
            rope_factors: finder.optional("rope_freqs.weight", config.rope.dim / 2)?,
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
        layers.chain([&self.output_norm]).chain(&self.rope_factors)
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
        self.check(name, &[columns, rows])?;
        Ok(MatrixSlot { name: name.to_owned(), rows, columns, role })
    }

    fn vector(&self, name: &str, len: usize) -> Result<VectorSlot, LayoutError> {
        self.check(name, &[len])?;
        Ok(VectorSlot { name: name.to_owned(), len, offset: 0.0 })
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
        let matrix = self.matrix(&format!("{name}.weight"), rows, columns, Role::Layer)?;
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
            _ => Ok(Projection { matrix, bias: self.optional(&bias, rows)? }),
        }
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
        let &Config { hidden, feed_forward, head_dim, query_key_norm, post_norms, .. } =
            self.config;
        let (queries, keys) = (self.config.heads * head_dim, self.config.kv_heads * head_dim);
        let Biases { query_key_value: biased, output: output_biased, feed_forward: inner } =
            self.config.biases;
        let name = |part: &str| format!("blk.{layer}.{part}");
        let norm = |part, len| self.norm(&name(part), len);
        let norm_if = |wanted: bool, part, len| wanted.then(|| norm(part, len)).transpose();
        let projection =
            |part, rows, columns, biased| self.projection(&name(part), rows, columns, biased);
        Ok(Layer {
            attention_norm: norm("attn_norm.weight", hidden)?,
            query: projection("attn_q", queries, hidden, biased)?,
            key: projection("attn_k", keys, hidden, biased)?,
            value: projection("attn_v", keys, hidden, biased)?,
            output: projection("attn_output", hidden, queries, output_biased)?,
            query_norm: norm_if(query_key_norm, "attn_q_norm.weight", head_dim)?,
            key_norm: norm_if(query_key_norm, "attn_k_norm.weight", head_dim)?,
            attention_post_norm: norm_if(post_norms, "post_attention_norm.weight", hidden)?,
            feed_forward_post_norm: norm_if(post_norms, "post_ffw_norm.weight", hidden)?,
            feed_forward_norm: norm("ffn_norm.weight", hidden)?,
            gate: projection("ffn_gate", feed_forward, hidden, inner)?,
            up: projection("ffn_up", feed_forward, hidden, inner)?,
            down: projection("ffn_down", hidden, feed_forward, inner)?,
        })
    }
}
