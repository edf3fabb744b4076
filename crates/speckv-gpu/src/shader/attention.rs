//! Kernels of attention.

use super::{Shader, Values, quantize};
use crate::cache_type::CacheType;

/// Positions of a chunk: fixed, because it decides the order of sums.
pub const CHUNK: usize = 128;

/// Bytes of workgroup memory that a kernel takes at most: what every adapter has.
const WORKGROUP_BYTES: usize = 16 << 10;

/// What a model's attention kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Values per head, a multiple of 16.
    pub head_dim: usize,
    /// Query heads that share a key-value head.
    pub group: usize,
    /// How keys and values are stored.
    pub cache: CacheType,
    /// Whether scaled scores go through a soft cap.
    pub cap: bool,
}

impl AttentionShape {
    /// Query heads of one workgroup.
    #[must_use]
    pub fn lines(self) -> usize {
        let bytes = (2 * self.head_dim + 2 * CHUNK) * 4; // per line
        self.group.min(8).min(WORKGROUP_BYTES / bytes).max(1)
    }

    /// Workgroups that share the query heads of a key-value head.
    #[must_use]
    pub fn parts(self) -> usize {
        self.group.div_ceil(self.lines())
    }

    /// Attention over one chunk.
    #[must_use]
    pub fn attend(self) -> Shader {
        let (pairs, lines) = (self.head_dim / 2, self.lines());
        // Threads that share a pair of dimensions.
        let subs = 1 << (CHUNK / pairs).max(1).ilog2();
        Shader::new(
            "attend",
            Values::default()
                .with("CHUNK", CHUNK)
                .with("HEAD_DIM", self.head_dim)
                .with("LINES", lines)
                .with("QUERIES", lines * self.head_dim / 4)
                .with("SCORES", lines * CHUNK)
                .with("MERGED", lines * pairs)
                .with("SUBS", subs)
                .with("LANES", CHUNK / subs)
                .when("SPLIT", subs > 1)
                .when("CAP", self.cap)
                .when("BYTES", self.cache == CacheType::Q8_0),
        )
    }

    /// Puts the chunks together.
    #[must_use]
    pub fn merge(self) -> Shader {
        Shader::new(
            "merge",
            quantize("block_values", "0u", "q")
                .with("CHUNK", CHUNK)
                .with("HEAD_DIM", self.head_dim),
        )
    }

    /// Biases, norms of heads, rotation, growth of queries with their position, and keys and values
    /// into the cache.
    #[must_use]
    pub fn rotate(self, interleaved: bool, norm: bool, bias: bool, growth: bool) -> Shader {
        Shader::new(
            "rotate",
            Values::default()
                .with("HEAD_DIM", self.head_dim)
                .when("INTERLEAVED", interleaved)
                .when("NORM", norm)
                .when("BIAS", bias)
                .when("GROWTH", growth)
                .when("BYTES", self.cache == CacheType::Q8_0),
        )
    }

    /// Moves positions of a cache.
    #[must_use]
    pub fn keep(self) -> Shader {
        let values = Values::default().with("HEAD_DIM", self.head_dim);
        Shader::new("keep", values.when("BYTES", self.cache == CacheType::Q8_0))
    }
}
