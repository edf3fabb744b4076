//! How keys and values are stored.

use speckv_formats::config::Config;

use super::attention::SCALE_LEN;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum CacheType {
    /// Half precision.
    #[default]
    F16,
    /// Signed bytes with a half-precision scale per 32 values of a head: 17/32 of the memory.
    Q8_0,
}

impl CacheType {
    /// Name as users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CacheType::F16 => "f16",
            CacheType::Q8_0 => "q8_0",
        }
    }

    /// Whether heads of so many values can be stored so.
    #[must_use]
    pub fn takes(self, head_dim: usize) -> bool {
        self == CacheType::F16 || head_dim.is_multiple_of(SCALE_LEN)
    }

    /// Bytes of the keys, or values, of `positions` positions of one head.
    pub(crate) fn bytes(self, positions: usize, head_dim: usize) -> usize {
        match self {
            CacheType::F16 => positions * head_dim * 2,
            CacheType::Q8_0 => positions * (head_dim + head_dim / SCALE_LEN * 2),
        }
    }

    /// Bytes of keys and values per position of a sequence.
    #[must_use]
    pub fn position_bytes(self, config: &Config) -> usize {
        config.layers * config.kv_heads * 2 * self.bytes(1, config.head_dim)
    }
}

impl std::fmt::Display for CacheType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
