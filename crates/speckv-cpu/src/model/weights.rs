//! A model's weights: read from the file once, packed, shared by all sequences.

use std::{ops::Range, path::PathBuf, sync::Arc};

use speckv_formats::{
    checkpoint::{Checkpoint, Stored},
    compression::{Compression, Role},
    config::{Biases, Config, ConfigError},
    quant::{self, Rows, WeightType},
};

use super::cache::CacheType;
use crate::{
    kernels::{Isa, simd::GROUP},
    matrix::{Matrix, PackError, bits_per_element},
    pool::Pool,
};

/// One layer. Vectors are `[width]`; a bias that the file does not have is absent.
pub(super) struct Layer {
    pub attention_norm: Vec<f32>,                 // [hidden]
    pub query: Projection,                        // [heads * head_dim, hidden]
    pub key: Projection,                          // [kv_heads * head_dim, hidden]
    pub value: Projection,                        // [kv_heads * head_dim, hidden]
    pub output: Projection,                       // [hidden, heads * head_dim]
    pub query_norm: Option<Vec<f32>>,             // [head_dim]
    pub key_norm: Option<Vec<f32>>,               // [head_dim]
    pub attention_post_norm: Option<Vec<f32>>,    // [hidden]
    pub feed_forward_post_norm: Option<Vec<f32>>, // [hidden]
    pub feed_forward_norm: Vec<f32>,              // [hidden]
    pub gate: Matrix,                             // [feed_forward, hidden]
    pub up: Matrix,                               // [feed_forward, hidden]
    pub down: Matrix,                             // [hidden, feed_forward]
}

/// A matrix with an optional bias.
pub(super) struct Projection {
    pub matrix: Matrix,
    pub bias: Option<Vec<f32>>, // [rows]
}

/// All weights of a model.
pub(super) struct Weights {
    pub embedding: Embedding,
    pub layers: Vec<Layer>,
    pub output_norm: Vec<f32>, // [hidden]
    pub head: Head,
    /// Factor that divides each pair's angle, if the file has one: [rope.dim / 2].
    pub rope_factors: Option<Vec<f32>>,
}

/// The output head.
pub(super) struct Head {
    pub matrix: Matrix, // [vocab, hidden]
    /// Tokens that are left out while the text has none of them; both ends are whole groups of
    /// rows.
    pub gap: Option<Range<u32>>,
}

const EMBEDDING: &str = "token_embd.weight";

/// Token embeddings, [vocab, hidden]. They stay in the file: a pass reads one row per token.
pub(super) struct Embedding {
    file: Checkpoint,
    pub vocab_size: usize,
}

impl Embedding {
    /// Writes the embedding of `token` to `out`, `[hidden]`.
    pub fn read(&self, token: u32, out: &mut [f32]) -> Result<(), quant::QuantError> {
        self.file.stored(EMBEDDING).expect("loading has seen it").read(token as usize, out)
    }
}

/// Why a file's weights cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The blueprint.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tensor that every model of the architecture has is not in the file.
    #[error("the tensor {name} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor is in the file that the metadata leave no room for: to overlook it would change
    /// what the model says.
    #[error("the tensor {name} is in the file, expected {expected}")]
    Unexpected {
        /// Its name.
        name: String,
        /// What the metadata say.
        expected: String,
    },
    /// A bias that the metadata speak of is not in the file.
    #[error("the tensor {name} is missing, expected {expected}")]
    MissingBias {
        /// Its name.
        name: String,
        /// What the metadata say.
        expected: String,
    },
    /// A tensor's shape contradicts the metadata.
    #[error("the tensor {name} has the shape {got:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Shape by the metadata, [in, out].
        expected: Vec<usize>,
        /// Shape in the file.
        got: Vec<usize>,
    },
    /// A tensor could not be packed.
    #[error("the tensor {name} cannot be used")]
    Pack {
        /// Its name.
        name: String,
        /// Why.
        source: PackError,
    },
    /// A vector could not be decoded.
    #[error("the tensor {name} cannot be decoded")]
    Decode {
        /// Its name.
        name: String,
        /// Why.
        source: quant::QuantError,
    },
    /// Keys and values of this model cannot be stored so.
    #[error(
        "the cache cannot be {asked}: heads of {head_dim} values are not whole blocks of 32; f16 is supported"
    )]
    CacheType {
        /// What was asked for.
        asked: CacheType,
        /// Values per head.
        head_dim: usize,
    },
    /// More context was asked for than the model was made for.
    #[error("{path}: the model was made for {most} tokens of context, not {asked}", path = path.as_deref().unwrap_or("the model".as_ref()).display())]
    Context {
        /// The model's file, if it is one.
        path: Option<PathBuf>,
        /// The model's limit.
        most: usize,
        /// What was asked for.
        asked: usize,
    },
}

/// Reads tensors and counts bytes.
struct Loader<'a> {
    file: &'a Checkpoint,
    /// Added to the weights of norms.
    norm_offset: f32,
    pool: &'a Pool,
    compression: Compression,
    progress: &'a mut dyn FnMut(Progress),
    done: u64,
    total: u64,
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read.
    pub done: u64,
    /// Bytes to read.
    pub total: u64,
}

impl Loader<'_> {
    fn missing(&self, name: &str) -> LoadError {
        LoadError::Missing { name: self.file.spelled(name) }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Stored<'_>, LoadError> {
        let tensor = self.file.stored(name).ok_or_else(|| self.missing(name))?;
        if tensor.shape() != shape {
            let (expected, got) = (shape.to_vec(), tensor.shape().to_vec());
            return Err(LoadError::Shape { name: self.file.spelled(name), expected, got });
        }
        Ok(tensor)
    }

    fn finish(&mut self, name: &str) {
        if let Some(tensor) = self.file.stored(name) {
            self.done += tensor.byte_len() as u64;
            // The packed copy is what counts from here on.
            self.file.release(&tensor);
        }
        (self.progress)(Progress { done: self.done, total: self.total });
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let tensor = self.tensor(name, &[len])?;
        let mut values = vec![0.0; len];
        tensor
            .read(0, &mut values)
            .map_err(|source| LoadError::Decode { name: name.to_owned(), source })?;
        self.finish(name);
        Ok(values)
    }

    fn opt_vector(&mut self, name: &str, len: usize) -> Result<Option<Vec<f32>>, LoadError> {
        self.file.stored(name).is_some().then(|| self.vector(name, len)).transpose()
    }

    fn norm(&mut self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        let mut weights = self.vector(name, len)?;
        if self.norm_offset != 0.0 {
            weights.iter_mut().for_each(|weight| *weight += self.norm_offset);
        }
        Ok(weights)
    }

    fn opt_norm(
        &mut self,
        wanted: bool,
        name: &str,
        len: usize,
    ) -> Result<Option<Vec<f32>>, LoadError> {
        wanted.then(|| self.norm(name, len)).transpose()
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, LoadError> {
        let tensor = self.tensor(name, &[columns, rows])?;
        let to = self.compression.of(tensor.weight_type(), Role::Layer);
        let matrix = Matrix::pack(&tensor, None, Some(to), self.pool)
            .map_err(|source| LoadError::Pack { name: name.to_owned(), source })?;
        self.finish(name);
        Ok(matrix)
    }

    /// `biased` is what the blueprint says of the bias, if it says anything.
    fn projection(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
        biased: Option<bool>,
    ) -> Result<Projection, LoadError> {
        let matrix = self.matrix(&format!("{name}.weight"), rows, columns)?;
        let bias = format!("{name}.bias");
        let found = self.file.stored(&bias).is_some();
        let (name, source) = (self.file.spelled(&bias), self.file.said_by("attention_bias"));
        match biased {
            Some(true) if !found => {
                Err(LoadError::MissingBias { name, expected: format!("a bias, as {source} says") })
            }
            Some(false) if found => Err(LoadError::Unexpected {
                name,
                expected: format!("none, as {source} is not true"),
            }),
            _ => Ok(Projection { matrix, bias: self.opt_vector(&bias, rows)? }),
        }
    }

    /// Refuses layers beyond those that the blueprint counts.
    fn check_layers(&self, layers: usize) -> Result<(), LoadError> {
        let beyond = |tensor: &Stored<'_>| {
            let number = tensor.name().strip_prefix("blk.").and_then(|rest| rest.split('.').next());
            number
                .and_then(|number| number.parse::<usize>().ok())
                .is_some_and(|number| number >= layers)
        };
        let Some(tensor) = self.file.contents().find(beyond) else { return Ok(()) };
        let expected = format!("{layers} layers, as {} says", self.file.said_by("block_count"));
        Err(LoadError::Unexpected { name: self.file.spelled(tensor.name()), expected })
    }

    fn layer(&mut self, config: &Config, layer: usize) -> Result<Layer, LoadError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let (hidden, feed_forward) = (config.hidden, config.feed_forward);
        let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let Biases { query_key_value: biased, output: output_biased } = config.biases;
        Ok(Layer {
            attention_norm: self.norm(&name("attn_norm.weight"), hidden)?,
            query: self.projection(&name("attn_q"), queries, hidden, biased)?,
            key: self.projection(&name("attn_k"), keys, hidden, biased)?,
            value: self.projection(&name("attn_v"), keys, hidden, biased)?,
            output: self.projection(&name("attn_output"), hidden, queries, output_biased)?,
            query_norm: self.opt_norm(
                config.query_key_norm,
                &name("attn_q_norm.weight"),
                config.head_dim,
            )?,
            key_norm: self.opt_norm(
                config.query_key_norm,
                &name("attn_k_norm.weight"),
                config.head_dim,
            )?,
            attention_post_norm: self.opt_norm(
                config.post_norms,
                &name("post_attention_norm.weight"),
                hidden,
            )?,
            feed_forward_post_norm: self.opt_norm(
                config.post_norms,
                &name("post_ffw_norm.weight"),
                hidden,
            )?,
            feed_forward_norm: self.norm(&name("ffn_norm.weight"), hidden)?,
            gate: self.matrix(&name("ffn_gate.weight"), feed_forward, hidden)?,
            up: self.matrix(&name("ffn_up.weight"), feed_forward, hidden)?,
            down: self.matrix(&name("ffn_down.weight"), hidden, feed_forward)?,
        })
    }
}

impl Weights {
    /// Reads and packs everything.
    pub fn load(
        file: &Checkpoint,
        config: &Config,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, LoadError> {
        let total = file.contents().map(|tensor| tensor.byte_len() as u64).sum();
        let LoadOptions { compression, ref pool, .. } = *options;
        let mut loader = Loader {
            file,
            norm_offset: config.norm_offset,
            pool,
            compression,
            progress,
            done: 0,
            total,
        };
        loader.check_layers(config.layers)?;
        let embedding = file.stored(EMBEDDING).ok_or_else(|| loader.missing(EMBEDDING))?;
        let vocab_size =
            config.vocab_size.unwrap_or_else(|| embedding.shape().get(1).copied().unwrap_or(0));
        loader.tensor(EMBEDDING, &[config.hidden, vocab_size])?;
        // Models with tied embeddings have no output matrix of their own.
        let head_name =
            if file.stored("output.weight").is_some() { "output.weight" } else { EMBEDDING };
        let head_tensor = loader.tensor(head_name, &[config.hidden, vocab_size])?;
        let to = compression.of(head_tensor.weight_type(), Role::Head);
        let matrix = Matrix::pack(&head_tensor, None, Some(to), pool)
            .map_err(|source| LoadError::Pack { name: head_name.to_owned(), source })?;
        loader.finish(head_name);
        let layers = (0..config.layers)
            .map(|layer| loader.layer(config, layer))
            .collect::<Result<_, _>>()?;
        Ok(Weights {
            layers,
            output_norm: loader.norm("output_norm.weight", config.hidden)?,
            rope_factors: loader.opt_vector("rope_freqs.weight", config.rope.dim / 2)?,
            head: Head {
                matrix,
                gap: options.head_gap.clone().and_then(|gap| whole_groups(gap, vocab_size)),
            },
            embedding: Embedding { file: file.clone(), vocab_size },
        })
    }

    /// All matrices that a pass reads whole.
    fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        let layers = self.layers.iter().flat_map(|layer| {
            let Layer { query, key, value, output, gate, up, down, .. } = layer;
            [&query.matrix, &key.matrix, &value.matrix, &output.matrix, gate, up, down]
        });
        layers.chain([&self.head.matrix])
    }

    /// Bytes of weights that one pass reads (the embedding's few rows left out).
    pub fn pass_bytes(&self) -> u64 {
        let gap = self
            .head
            .gap
            .as_ref()
            .map_or(0, |gap| gap.len() as u64 / GROUP as u64 * self.head.matrix.group_bytes());
        self.matrices().map(|matrix| matrix.byte_len() as u64).sum::<u64>() - gap
    }

    /// Multiply-adds of one row through the whole model.
    pub fn multiply_adds(&self) -> u64 {
        self.matrices().map(|matrix| (matrix.rows() * matrix.columns()) as u64).sum()
    }

    /// The type that takes the most bytes of the layers: what people call a model's quantization.
    pub fn dominant_type(&self) -> WeightType {
        let mut bytes: Vec<(WeightType, usize)> = Vec::new();
        for matrix in self.matrices().take(7 * self.layers.len()) {
            match bytes.iter_mut().find(|(weight_type, _)| *weight_type == matrix.weight_type()) {
                Some((_, sum)) => *sum += matrix.byte_len(),
                None => bytes.push((matrix.weight_type(), matrix.byte_len())),
            }
        }
        let most = bytes.into_iter().max_by_key(|&(_, sum)| sum);
        most.map_or(self.head.matrix.weight_type(), |(weight_type, _)| weight_type)
    }
}

/// The whole groups of rows inside a range of tokens.
fn whole_groups(gap: Range<u32>, vocab_size: usize) -> Option<Range<u32>> {
    let group = GROUP as u32;
    let end = gap.end.min(u32::try_from(vocab_size).unwrap_or(u32::MAX));
    let gap = gap.start.next_multiple_of(group)..end / group * group;
    (!gap.is_empty()).then_some(gap)
}

/// Bytes of memory that a file's matrices take once they are packed.
#[must_use]
pub fn packed_bytes(file: &Checkpoint, compression: Compression) -> u64 {
    let bytes = |tensor: &Stored<'_>, role| {
        let to = compression.of(tensor.weight_type(), role);
        (tensor.elements() as f64 * bits_per_element(to) / 8.0) as u64
    };
    let in_layers =
        |tensor: &Stored<'_>| tensor.name().starts_with("blk.") && tensor.shape().len() == 2;
    let layers: u64 =
        file.contents().filter(in_layers).map(|tensor| bytes(&tensor, Role::Layer)).sum();
    let head = file.stored("output.weight").or_else(|| file.stored(EMBEDDING));
    layers + head.map_or(0, |tensor| bytes(&tensor, Role::Head))
}

/// Options of loading.
#[derive(Clone)]
pub struct LoadOptions {
    /// Threads, shared by all models that run in turn.
    pub pool: Arc<Pool>,
    /// Most positions of a sequence; `None` is what the model was made for.
    pub context: Option<usize>,
    /// Instruction set; `None` is the best that the machine has, or what `SPECKV_ISA` says.
    pub isa: Option<Isa>,
    /// Tokens that the output head leaves out, only for drafts: their logits are minus infinity as
    /// long as none of the last 256 tokens is one of them.
    pub head_gap: Option<Range<u32>>,
    /// What the matrices become.
    pub compression: Compression,
    /// How keys and values are stored.
    pub cache_type: CacheType,
}

impl LoadOptions {
    /// Everything by default on these threads.
    #[must_use]
    pub fn new(pool: Arc<Pool>) -> Self {
        LoadOptions {
            pool,
            context: None,
            isa: None,
            head_gap: None,
            compression: Compression::AsIs,
            cache_type: CacheType::F16,
        }
    }
}
