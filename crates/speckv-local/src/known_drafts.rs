//! Small models that are known to draft well for larger ones, to be offered where none is on this
//! machine. Nothing here is fetched unasked.

use sha2::{Digest, Sha256};
use speckv_formats::{
    checkpoint::Checkpoint,
    tokenizer::{TokenType, Tokenizer},
};

/// A known draft has at most this share of the target's bytes.
const MOST_SHARE: f64 = 0.5;

/// How a draft's vocabulary is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vocabulary {
    /// By its [`digest`].
    Digest(&'static str),
    /// By the family and the number of its tokens. Other families have other vocabularies of the
    /// same size; whether it is the same is compared when both are loaded.
    Family { architecture: &'static str, tokens: usize },
}

/// A draft to offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDraft {
    /// How to name it to `--draft`.
    pub name: &'static str,
    /// Its size in bytes, roughly.
    pub size: u64,
    /// The terms that it comes under.
    pub licence: &'static str,
    vocabulary: Vocabulary,
}

const QWEN2_5: Vocabulary =
    Vocabulary::Digest("024d3b15367b95c5d2784db9ca92b1af85541000437588a18b506fd19ed8c029");
const SMOLLM2: Vocabulary =
    Vocabulary::Digest("caf0a7d6e05ebc74476affa031dcd0a954796b0f7891210dcbaa53623b64a846");

/// Drafts, the smallest of a vocabulary first.
const KNOWN: [KnownDraft; 6] = [
    KnownDraft {
        name: "smollm2-135m",
        size: 98_362_432,
        licence: "Apache-2.0",
        vocabulary: SMOLLM2,
    },
    KnownDraft {
        name: "qwen2.5-coder-0.5b",
        size: 491_400_064,
        licence: "Apache-2.0",
        vocabulary: QWEN2_5,
    },
    KnownDraft {
        name: "hf:Qwen/Qwen3-0.6B-GGUF:Q8_0",
        size: 640_000_000,
        licence: "Apache-2.0",
        vocabulary: Vocabulary::Family { architecture: "qwen3", tokens: 151_936 },
    },
    KnownDraft {
        name: "hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
        size: 810_000_000,
        licence: "Llama 3.2 Community License",
        vocabulary: Vocabulary::Family { architecture: "llama", tokens: 128_256 },
    },
    KnownDraft {
        name: "hf:ggml-org/gemma-3-270m-it-GGUF:Q8_0",
        size: 290_000_000,
        licence: "Gemma Terms of Use",
        vocabulary: Vocabulary::Family { architecture: "gemma3", tokens: 262_144 },
    },
    KnownDraft {
        name: "hf:ggml-org/gemma-3-270m-it-GGUF:Q8_0",
        size: 290_000_000,
        licence: "Gemma Terms of Use",
        vocabulary: Vocabulary::Family { architecture: "gemma3", tokens: 262_208 },
    },
];

impl KnownDraft {
    /// Whether its vocabulary was compared, not only its size.
    #[must_use]
    pub fn is_certain(&self) -> bool {
        matches!(self.vocabulary, Vocabulary::Digest(_))
    }
}

/// SHA-256 over number, length and text of every token in use: padded sizes do not count.
#[must_use]
pub fn digest(tokenizer: &Tokenizer) -> String {
    let mut hasher = Sha256::new();
    for token in 0..tokenizer.vocab_size() as u32 {
        let (Some(text), Some(kind)) = (tokenizer.token_text(token), tokenizer.token_type(token))
        else {
            continue;
        };
        if kind != TokenType::Unused {
            hasher.update(token.to_le_bytes());
            hasher.update((text.len() as u32).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The smallest known draft with the target's vocabulary and at most half of its bytes.
#[must_use]
pub fn for_target(target: &Checkpoint, tokenizer: &Tokenizer) -> Option<KnownDraft> {
    let architecture = target.config().ok()?.architecture;
    let own = digest(tokenizer);
    let same = |draft: &&KnownDraft| match draft.vocabulary {
        Vocabulary::Digest(digest) => digest == own,
        Vocabulary::Family { architecture: family, tokens } => {
            family == architecture && tokens == tokenizer.vocab_size()
        }
    };
    let fits = |draft: &&KnownDraft| draft.size as f64 <= MOST_SHARE * target.file_size() as f64;
    KNOWN.iter().filter(same).filter(fits).min_by_key(|draft| draft.size).copied()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use speckv_formats::{gguf::Gguf, tiny::Tiny};

    use super::*;
    use crate::{catalogue::Catalogue, hub::HubName};

    #[test]
    fn every_name_is_one_that_can_be_given_to_draft() {
        let catalogue = Catalogue::builtin();
        for draft in KNOWN {
            let entry = catalogue.get(draft.name);
            assert!(entry.is_some() || HubName::parse(draft.name).is_some(), "{}", draft.name);
            assert!(entry.is_none_or(|entry| entry.size == draft.size));
        }
    }

    #[test]
    fn a_digest_tells_vocabularies_apart_and_not_their_padding() {
        let of = |tiny: &Tiny| {
            let file = Gguf::from_bytes(tiny.to_bytes().expect("a model")).expect("a file");
            let file: Checkpoint = Arc::new(file).into();
            let tokenizer = file.tokenizer().expect("a tokenizer");
            assert_eq!(for_target(&file, &tokenizer), None, "tiny models have no known draft");
            digest(&tokenizer)
        };
        let tiny = Tiny::default();
        let padded = Tiny { vocab_size: tiny.vocab_size + 5, ..tiny.clone() };
        assert_eq!(of(&tiny), of(&padded));
        assert_eq!(of(&tiny).len(), 64);
    }
}
