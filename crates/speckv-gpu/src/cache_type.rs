//! How keys and values are stored.

/// How keys and values are stored on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum CacheType {
    /// Half precision.
    #[default]
    F16,
    /// Signed bytes with a single-precision scale per 32 values of a head: 9/16 of the memory.
    Q8_0,
}

/// Values that share a scale.
const SCALE_VALUES: usize = 32;

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
        self == CacheType::F16 || head_dim.is_multiple_of(SCALE_VALUES)
    }

    /// Words of the key, or the value, of one head at one position, scales included.
    #[must_use]
    pub fn words(self, head_dim: usize) -> usize {
        match self {
            CacheType::F16 => head_dim / 2,
            CacheType::Q8_0 => head_dim / 4 + head_dim / SCALE_VALUES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_with_scales_take_nine_sixteenths_of_halves() {
        for head_dim in [32, 64, 96, 128, 256] {
            assert!(CacheType::Q8_0.takes(head_dim));
            let [halves, bytes] = [CacheType::F16, CacheType::Q8_0].map(|t| t.words(head_dim));
            assert_eq!(16 * bytes, 9 * halves, "heads of {head_dim}");
        }
        assert!(!CacheType::Q8_0.takes(48) && CacheType::F16.takes(48));
    }
}
