//! Models of real shapes with random weights, for measuring what passes cost.
//!
//! What they say means nothing; what a pass takes is what it takes with real weights of that shape.
//! Types are those of a usual 4-bit file: Q4_K, and Q6_K where such files spend more bits.

use std::sync::Arc;

use crate::{
    checkpoint::Checkpoint,
    gguf::{Gguf, GgufError, TensorInfo, Writer},
    quant::{TensorType, random_blocks},
};

/// Blocks of a type that are made; a tensor repeats them.
const BLOCKS: usize = 1 << 14;

/// Tensors of a type begin at a multiple of this, in bytes.
const ALIGNMENT: usize = 64;

/// The shape of a model: but for `tiny`, that of the Qwen2.5 model of its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synthetic {
    /// Name, which is the size.
    pub name: &'static str,
    /// Layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Query heads, of 128 values each.
    pub heads: usize,
    /// Key-value heads.
    pub kv_heads: usize,
    /// Tokens.
    pub vocab: usize,
}

const fn shape(
    name: &'static str,
    [layers, hidden, feed_forward, heads, kv_heads, vocab]: [usize; 6],
) -> Synthetic {
    Synthetic { name, layers, hidden, feed_forward, heads, kv_heads, vocab }
}

/// Values per head.
const HEAD_DIM: usize = 128;

/// What a name must begin with to mean one of these.
pub const PREFIX: &str = "synthetic:";

impl Synthetic {
    /// All shapes; `tiny` shows in a second that a measurement works.
    pub const ALL: [Self; 5] = [
        shape("tiny", [2, 256, 512, 2, 1, 1024]),
        shape("1.5b", [28, 1536, 8960, 12, 2, 151_936]),
        shape("7b", [28, 3584, 18_944, 28, 4, 152_064]),
        shape("14b", [48, 5120, 13_824, 40, 8, 152_064]),
        shape("32b", [64, 5120, 27_648, 40, 8, 152_064]),
    ];

    /// The shape that a model's name means: `synthetic:7b`.
    #[must_use]
    pub fn named(model: &str) -> Option<Self> {
        let name = model.strip_prefix(PREFIX)?;
        Self::ALL.into_iter().find(|shape| shape.name == name)
    }

    /// Tensors: name, shape [in, out], type.
    fn tensors(&self) -> Vec<(String, Vec<usize>, TensorType)> {
        let &Synthetic { layers, hidden, feed_forward, heads, kv_heads, vocab, .. } = self;
        let (queries, keys) = (heads * HEAD_DIM, kv_heads * HEAD_DIM);
        let mut tensors = vec![
            ("token_embd.weight".to_owned(), vec![hidden, vocab], TensorType::Q4K),
            ("output_norm.weight".to_owned(), vec![hidden], TensorType::F32),
            ("output.weight".to_owned(), vec![hidden, vocab], TensorType::Q6K),
        ];
        for layer in 0..layers {
            let eighth = layers / 8;
            let more = layer < eighth
                || layer >= 7 * layers / 8
                || (layer.saturating_sub(eighth)) % 3 == 2;
            let larger = if more { TensorType::Q6K } else { TensorType::Q4K };
            let (vector, matrix) = (TensorType::F32, TensorType::Q4K);
            let parts = [
                ("attn_norm.weight", vec![hidden], vector),
                ("attn_q.weight", vec![hidden, queries], matrix),
                ("attn_q.bias", vec![queries], vector),
                ("attn_k.weight", vec![hidden, keys], matrix),
                ("attn_k.bias", vec![keys], vector),
                ("attn_v.weight", vec![hidden, keys], larger),
                ("attn_v.bias", vec![keys], vector),
                ("attn_output.weight", vec![queries, hidden], matrix),
                ("ffn_norm.weight", vec![hidden], vector),
                ("ffn_gate.weight", vec![hidden, feed_forward], matrix),
                ("ffn_up.weight", vec![hidden, feed_forward], matrix),
                ("ffn_down.weight", vec![feed_forward, hidden], larger),
            ];
            let named =
                parts.map(|(part, shape, kind)| (format!("blk.{layer}.{part}"), shape, kind));
            tensors.extend(named);
        }
        tensors
    }

    /// Bytes of the tensors.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.tensors().iter().map(|(_, shape, kind)| byte_len(shape, *kind) as u64).sum()
    }

    /// The model, in memory. `context` is the longest context that it takes.
    ///
    /// Tensors of one type share their bytes, so that the memory is that of the largest tensor of
    /// each type: a gigabyte for 32b.
    ///
    /// # Errors
    /// None of the shapes here has any.
    pub fn checkpoint(&self, context: usize) -> Result<Checkpoint, GgufError> {
        let mut header = Writer::new();
        let int = |x: usize| u32::try_from(x).unwrap_or(u32::MAX);
        header
            .set("general.architecture", "qwen2")
            .set("general.name", format!("synthetic {}", self.name))
            .set("qwen2.block_count", int(self.layers))
            .set("qwen2.context_length", int(context))
            .set("qwen2.embedding_length", int(self.hidden))
            .set("qwen2.feed_forward_length", int(self.feed_forward))
            .set("qwen2.attention.head_count", int(self.heads))
            .set("qwen2.attention.head_count_kv", int(self.kv_heads))
            .set("qwen2.attention.layer_norm_rms_epsilon", 1e-6f32)
            .set("qwen2.rope.freq_base", 1_000_000f32);
        let header = Gguf::from_bytes(header.to_bytes()?)?;
        let mut tensors: Vec<TensorInfo> = self
            .tensors()
            .into_iter()
            .map(|(name, shape, tensor_type)| TensorInfo {
                byte_len: byte_len(&shape, tensor_type),
                offset: 0,
                name,
                shape,
                tensor_type,
            })
            .collect();
        let mut bytes = Vec::new();
        for kind in [TensorType::Q4K, TensorType::Q6K, TensorType::F32] {
            let of_kind = || tensors.iter().filter(|info| info.tensor_type == kind);
            let largest = of_kind().map(|info| info.byte_len).max().unwrap_or(0);
            let start = bytes.len();
            for info in tensors.iter_mut().filter(|info| info.tensor_type == kind) {
                info.offset = start as u64;
            }
            let pattern = match kind {
                TensorType::F32 => 1f32.to_le_bytes().to_vec(),
                kind => random_blocks(kind, BLOCKS, 1),
            };
            bytes.reserve_exact(largest.next_multiple_of(ALIGNMENT));
            while bytes.len() < start + largest {
                let rest = start + largest - bytes.len();
                bytes.extend_from_slice(&pattern[..rest.min(pattern.len())]);
            }
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        }
        Ok(Arc::new(Gguf::sharing(header, tensors, bytes)?).into())
    }
}

/// Bytes of a tensor.
fn byte_len(shape: &[usize], kind: TensorType) -> usize {
    shape.iter().product::<usize>() / kind.block_len() * kind.block_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Layout;

    #[test]
    fn shapes_are_those_of_files_of_that_size() {
        let gigabytes = |name: &str| {
            let shape = Synthetic::named(&format!("{PREFIX}{name}")).unwrap();
            (shape.byte_len() as f64 / 1e8).round() / 10.0
        };
        // Published Q4_K_M files of Qwen2.5 take 4.7, 9.0 and 19.9 GB; the 1.5B file has a tied
        // head, which is counted twice here.
        let sizes = ["1.5b", "7b", "14b", "32b"].map(gigabytes);
        assert!((1.0..1.3).contains(&sizes[0]), "{sizes:?}");
        assert!((4.5..4.9).contains(&sizes[1]), "{sizes:?}");
        assert!((8.7..9.3).contains(&sizes[2]), "{sizes:?}");
        assert!((19.4..20.3).contains(&sizes[3]), "{sizes:?}");
        assert_eq!(Synthetic::named("7b"), None);
        assert_eq!(Synthetic::named("synthetic:8b"), None);
    }

    #[test]
    fn a_model_is_whole_and_takes_the_memory_of_its_largest_tensors() {
        let tiny = Synthetic::named("synthetic:tiny").unwrap();
        let file = tiny.checkpoint(64).unwrap();
        let config = file.config().unwrap();
        assert_eq!((config.layers, config.head_dim, config.context_length), (2, 128, 64));
        let layout = Layout::new(&file, &config).unwrap();
        assert_eq!(layout.unused(), Vec::<String>::new());
        assert!(!layout.is_tied());
        let head =
            byte_len(&[256, 1024], TensorType::Q4K) + byte_len(&[256, 1024], TensorType::Q6K);
        let rest = file.file_size() as usize - head;
        assert!(rest < 4096, "{rest} bytes beside embedding and head");
        let mut row = vec![0f32; 256];
        file.stored("blk.1.attn_q.weight").unwrap().read(7, &mut row).unwrap();
        assert!(row.iter().all(|x| x.is_finite()) && row.iter().any(|&x| x != row[0]));
    }
}
