//! A model's weights, packed for the kernels and shared by all sequences.

use std::{ops::Range, path::PathBuf, sync::Arc};

use speckv_formats::{
    checkpoint::{Checkpoint, Part, Stored},
    compression::{Compression, Role},
    config::{Config, ConfigError},
    quant::{Rows, WeightType},
    weights::{
        self, EMBEDDING, Embedding, FactorTensors, Layout, LayoutError, MatrixSlot, VectorSlot,
        WeightError, WeightSink,
    },
};

use crate::{
    kernels::{CacheType, Isa, UnknownIsa, simd::GROUP},
    matrix::{Matrix, PackError, bits_per_element},
    pool::Pool,
};

/// One layer.
pub(super) type Layer = weights::Layer<Matrix, Vec<f32>>;

/// A matrix with an optional bias.
pub(super) type Projection = weights::Projection<Matrix, Vec<f32>>;

/// All weights of a model.
pub(super) struct Weights {
    pub embedding: Embedding,
    pub layers: Vec<Layer>,
    pub output_norm: Vec<f32>, // [hidden]
    pub head: Head,
    /// Factors that divide each pair's angle, where the file has them as tensors.
    pub rope_factors: FactorTensors<Vec<f32>>,
}

/// The output head.
pub(super) struct Head {
    pub matrix: Matrix, // [vocab, hidden]
    /// Tokens that are left out while the text has none of them; both ends are whole groups of
    /// rows.
    pub gap: Option<Range<u32>>,
}

/// Why a file's weights cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Tensors that are missing, not expected, or of another shape.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A tensor that cannot be decoded or packed.
    #[error(transparent)]
    Weight(#[from] WeightError<PackError>),
    /// Keys and values of this model cannot be stored so.
    #[error(
        "the cache cannot be {asked}: heads of {head_dim} values are not whole blocks of 32; \
         f16 is supported"
    )]
    CacheType {
        /// What was asked for.
        asked: CacheType,
        /// Values per head.
        head_dim: usize,
    },
    /// `SPECKV_ISA` names an instruction set that this machine does not have.
    #[error(transparent)]
    Isa(#[from] UnknownIsa),
    /// More context was asked for than the model was made for.
    #[error(
        "{path}: the model was made for {most} tokens of context, not {asked}",
        path = path.as_deref().unwrap_or("the model".as_ref()).display()
    )]
    Context {
        /// The model's file, if it is one.
        path: Option<PathBuf>,
        /// The model's limit.
        most: usize,
        /// What was asked for.
        asked: usize,
    },
}

/// Packs tensors for the kernels.
struct Packer<'a> {
    pool: &'a Pool,
}

impl WeightSink for Packer<'_> {
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Error = PackError;

    fn matrix(
        &mut self,
        _: &MatrixSlot,
        tensor: &Part<'_>,
        to: WeightType,
    ) -> Result<Matrix, PackError> {
        Matrix::pack(tensor, None, Some(to), self.pool)
    }

    fn vector(&mut self, _: &VectorSlot, values: Vec<f32>) -> Result<Vec<f32>, PackError> {
        Ok(values)
    }
}

impl Weights {
    /// Reads and packs everything.
    pub(super) fn load(
        file: &Checkpoint,
        config: &Config,
        options: &LoadOptions,
        progress: &mut dyn FnMut(weights::Progress),
    ) -> Result<Self, LoadError> {
        let mut packer = Packer { pool: &options.pool };
        let loaded = Layout::new(file, config)?.load(options.compression, &mut packer, progress)?;
        let gap = options.head_gap.clone();
        Ok(Weights {
            head: Head {
                matrix: loaded.head,
                gap: gap.and_then(|gap| whole_groups(gap, loaded.embedding.vocab_size)),
            },
            embedding: loaded.embedding,
            layers: loaded.layers,
            output_norm: loaded.output_norm,
            rope_factors: loaded.rope_factors,
        })
    }

    /// All matrices that a pass reads whole.
    fn matrices(&self) -> impl Iterator<Item = &Matrix> {
        self.layers.iter().flat_map(Layer::matrices).chain([&self.head.matrix])
    }

    /// Bytes of weights that one pass reads (the embedding's few rows left out).
    pub(super) fn pass_bytes(&self) -> u64 {
        let gap = self
            .head
            .gap
            .as_ref()
            .map_or(0, |gap| gap.len() as u64 / GROUP as u64 * self.head.matrix.group_bytes());
        self.matrices().map(|matrix| matrix.byte_len() as u64).sum::<u64>() - gap
    }

    /// Multiply-adds of one row through the whole model.
    pub(super) fn multiply_adds(&self) -> u64 {
        self.matrices().map(|matrix| (matrix.rows() * matrix.columns()) as u64).sum()
    }

    /// The type that takes the most bytes of the layers, by which a model's quantization is named.
    pub(super) fn dominant_type(&self) -> WeightType {
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
