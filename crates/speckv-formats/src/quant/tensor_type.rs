//! The number formats that tensors come in.

use std::fmt;

/// How the elements of a tensor are stored. A row is cut into blocks of
/// [`block_len`](Self::block_len) elements, each stored in [`block_bytes`](Self::block_bytes)
/// bytes; the [module](super) documents every layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the formats' own; the module documents each")]
pub enum TensorType {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
    Iq3S,
    Iq3Xxs,
    Iq2S,
    Iq2Xs,
    Iq2Xxs,
    Iq1S,
    Iq1M,
    Mxfp4,
    Nvfp4,
    Tq1_0,
    Tq2_0,
}

impl TensorType {
    /// Every supported type.
    pub const ALL: [Self; 26] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Iq3S,
        Self::Iq3Xxs,
        Self::Iq2S,
        Self::Iq2Xs,
        Self::Iq2Xxs,
        Self::Iq1S,
        Self::Iq1M,
        Self::Mxfp4,
        Self::Nvfp4,
        Self::Tq1_0,
        Self::Tq2_0,
    ];

    /// Every type that [`quantize`](super::quantize) writes; the others are only read.
    pub const WRITTEN: [Self; 14] = {
        let mut written = [Self::F32; 14];
        let mut i = 0;
        while i < written.len() {
            written[i] = Self::ALL[i];
            i += 1;
        }
        written
    };

    /// Whether [`quantize`](super::quantize) writes the type.
    #[must_use]
    pub fn is_written(self) -> bool {
        Self::WRITTEN.contains(&self)
    }

    /// The number that stands for the type in a file.
    #[must_use]
    pub fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q2K => 10,
            Self::Q3K => 11,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::Iq4Nl => 20,
            Self::BF16 => 30,
            Self::Iq4Xs => 23,
            Self::Iq3S => 21,
            Self::Iq3Xxs => 18,
            Self::Iq2S => 22,
            Self::Iq2Xs => 17,
            Self::Iq2Xxs => 16,
            Self::Iq1S => 19,
            Self::Iq1M => 29,
            Self::Mxfp4 => 39,
            Self::Nvfp4 => 40,
            Self::Tq1_0 => 34,
            Self::Tq2_0 => 35,
        }
    }

    /// The type that a file's number stands for.
    ///
    /// # Errors
    /// [`UnsupportedTensorType`] for every other number.
    pub fn from_id(id: u32) -> Result<Self, UnsupportedTensorType> {
        Self::ALL.into_iter().find(|t| t.id() == id).ok_or(UnsupportedTensorType { id })
    }

    /// Elements per block.
    #[must_use]
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Iq4Nl => 32,
            Self::Mxfp4 => 32,
            Self::Nvfp4 => 64,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
            Self::Iq4Xs | Self::Iq3S | Self::Iq3Xxs | Self::Iq2S | Self::Iq2Xs => 256,
            Self::Iq2Xxs | Self::Iq1S | Self::Iq1M | Self::Tq1_0 | Self::Tq2_0 => 256,
        }
    }

    /// Bytes per block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q8_0 => 34,
            Self::Q4_0 | Self::Iq4Nl => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Iq4Xs => 136,
            Self::Iq3S => 110,
            Self::Iq3Xxs => 98,
            Self::Iq2S => 82,
            Self::Iq2Xs => 74,
            Self::Iq2Xxs => 66,
            Self::Iq1S => 50,
            Self::Iq1M => 56,
            Self::Mxfp4 => 17,
            Self::Nvfp4 => 36,
            Self::Tq1_0 => 54,
            Self::Tq2_0 => 66,
        }
    }

    /// The name that people use, such as `Q4_K`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Iq4Nl => "IQ4_NL",
            Self::Iq4Xs => "IQ4_XS",
            Self::Iq3S => "IQ3_S",
            Self::Iq3Xxs => "IQ3_XXS",
            Self::Iq2S => "IQ2_S",
            Self::Iq2Xs => "IQ2_XS",
            Self::Iq2Xxs => "IQ2_XXS",
            Self::Iq1S => "IQ1_S",
            Self::Iq1M => "IQ1_M",
            Self::Mxfp4 => "MXFP4",
            Self::Nvfp4 => "NVFP4",
            Self::Tq1_0 => "TQ1_0",
            Self::Tq2_0 => "TQ2_0",
        }
    }

    /// Bytes that `elements` elements take, or nothing if they are no whole number of blocks or too
    /// many to count.
    #[must_use]
    pub fn byte_len(self, elements: usize) -> Option<usize> {
        if !elements.is_multiple_of(self.block_len()) {
            return None;
        }
        (elements / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Bits per element, scales included.
    #[must_use]
    pub fn bits_per_element(self) -> f64 {
        (self.block_bytes() * 8) as f64 / self.block_len() as f64
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A tensor type that is not supported; says its number, its name if it has one, and what is
/// supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsupportedTensorType {
    /// The number in the file.
    pub id: u32,
}

impl UnsupportedTensorType {
    /// The name under which the type is known elsewhere.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        Some(match self.id {
            4 => "Q4_2",
            5 => "Q4_3",
            9 => "Q8_1",
            15 => "Q8_K",
            24 => "I8",
            25 => "I16",
            26 => "I32",
            27 => "I64",
            28 => "F64",
            31 => "Q4_0_4_4",
            32 => "Q4_0_4_8",
            33 => "Q4_0_8_8",
            36 => "IQ4_NL_4_4",
            37 => "IQ4_NL_4_8",
            38 => "IQ4_NL_8_8",
            _ => return None,
        })
    }
}

impl fmt::Display for UnsupportedTensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a tensor type of")?;
        for supported in TensorType::ALL {
            write!(f, " {supported}")?;
        }
        match self.name() {
            Some(name) => write!(f, ", got {name} (type {})", self.id),
            None => write!(f, ", got the unknown type {}", self.id),
        }
    }
}

impl std::error::Error for UnsupportedTensorType {}
