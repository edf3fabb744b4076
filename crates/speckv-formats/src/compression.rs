//! What a model's matrices become when they are loaded.

use std::{fmt, str::FromStr};

use crate::quant::{TensorType, WeightType};

/// What happens to the weights of a model's matrices at load time. Vectors (norms, biases) and the
/// rows of the embedding that a pass looks up keep the values of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// They stay as the file has them. The 4 bits of bitsandbytes stay NF4 where they are blocks of
    /// 64 that no row cuts; else they become `Fp16`.
    #[default]
    AsIs,
    /// Half precision. From a type with fewer bits this gives the file's values, not those of the
    /// model that the file was made from.
    Fp16,
    /// [Q8_0](crate::quant::q8_0): 8 bits and a scale per 32 weights.
    Int8,
    /// [NF4](crate::quant::nf4) in the layers. An output head of more than 8 bits becomes `Int8`,
    /// one of fewer stays: QLoRA does not touch the head either.
    Nf4,
    /// For drafts: whatever takes more memory than [IQ4_NL](crate::quant::iq4_nl), 4.5 bits per
    /// weight, becomes IQ4_NL. The rest stays.
    Compact,
    /// One type of the file format for every matrix.
    Type(TensorType),
}

/// What a matrix is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A projection inside a layer.
    Layer,
    /// The output head.
    Head,
}

impl Compression {
    /// The compressions with names of their own.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("asis", Compression::AsIs),
        ("fp16", Compression::Fp16),
        ("int8", Compression::Int8),
        ("nf4", Compression::Nf4),
        ("compact", Compression::Compact),
    ];

    /// The type that a matrix gets which is stored in `from`.
    #[must_use]
    pub fn of(self, from: impl Into<WeightType>, role: Role) -> WeightType {
        let from = from.into();
        let larger =
            |than: TensorType| from.bits_per_element() > WeightType::File(than).bits_per_element();
        WeightType::File(match (self, role) {
            (Compression::AsIs, _) => return from,
            (Compression::Fp16, _) => TensorType::F16,
            (Compression::Int8, _) => TensorType::Q8_0,
            (Compression::Nf4, Role::Layer) => return WeightType::Nf4,
            (Compression::Nf4, Role::Head) if larger(TensorType::Q8_0) => TensorType::Q8_0,
            (Compression::Compact, _) if larger(TensorType::Iq4Nl) => TensorType::Iq4Nl,
            (Compression::Nf4 | Compression::Compact, _) => return from,
            (Compression::Type(to), _) => to,
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::Type(tensor_type) => f.pad(&tensor_type.name().to_lowercase()),
            named => {
                let name = Self::NAMED
                    .iter()
                    .find(|(_, compression)| compression == named)
                    .map_or("", |(name, _)| name);
                f.pad(name)
            }
        }
    }
}

/// A compression that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCompression(String);

impl fmt::Display for UnknownCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected")?;
        for (name, _) in Compression::NAMED {
            write!(f, " {name},")?;
        }
        write!(f, " or a type of the file format such as q4_0 or q6_k, got {:?}", self.0)
    }
}

impl std::error::Error for UnknownCompression {}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::NAMED.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
        let of_files = || {
            TensorType::WRITTEN
                .into_iter()
                .find(|t| text.eq_ignore_ascii_case(t.name()))
                .map(Compression::Type)
        };
        named
            .map(|(_, compression)| compression)
            .or_else(of_files)
            .ok_or_else(|| UnknownCompression(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compression_is_read_as_it_is_written() {
        let typed = TensorType::WRITTEN.into_iter().map(Compression::Type);
        for compression in
            Compression::NAMED.into_iter().map(|(_, compression)| compression).chain(typed)
        {
            assert_eq!(compression.to_string().parse(), Ok(compression));
            assert_eq!(compression.to_string().to_uppercase().parse(), Ok(compression));
        }
        let error = "nf5".parse::<Compression>().unwrap_err().to_string();
        assert!(error.contains("nf4") && error.contains("\"nf5\""), "{error}");
    }

    #[test]
    fn compact_never_makes_a_matrix_larger() {
        for from in TensorType::ALL {
            for role in [Role::Layer, Role::Head] {
                assert!(
                    Compression::Compact.of(from, role).bits_per_element()
                        <= WeightType::File(from).bits_per_element()
                );
            }
        }
    }

    #[test]
    fn nf4_leaves_a_small_head_and_halves_a_large_one() {
        let of = |from| Compression::Nf4.of(from, Role::Head);
        assert_eq!(of(TensorType::Q6K), TensorType::Q6K.into());
        assert_eq!(of(TensorType::F16), TensorType::Q8_0.into());
        assert_eq!(Compression::Nf4.of(TensorType::Q4K, Role::Layer), WeightType::Nf4);
    }
}
