//! Weights that this crate contains, and the pair of models that they were trained for.

use std::sync::{Arc, OnceLock};

use super::Predictor;

/// Facts of a model's blueprint by which weights for it are found, whatever its file is called.
///
/// Fine-tunes and other compressions of the same model have the same shape, and get the same
/// weights: their drafts err in the same places, and the online correction does the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ModelShape {
    /// Architecture as its file names it: `qwen2`.
    pub architecture: String,
    /// Layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Tokens in the vocabulary, padding included.
    pub vocab_size: usize,
}

impl ModelShape {
    fn is(&self, architecture: &str, layers: usize, hidden: usize, vocab_size: usize) -> bool {
        self.architecture == architecture
            && (self.layers, self.hidden, self.vocab_size) == (layers, hidden, vocab_size)
    }
}

impl Predictor {
    /// The weights trained for this pair, if they come with this crate: Qwen2.5(-Coder) 1.5B
    /// drafted by 0.5B, and the 1.5B alone with look-up. For every other pair `None`: take
    /// [`Predictor::prior`].
    #[must_use]
    pub fn shipped(target: &ModelShape, draft: Option<&ModelShape>) -> Option<Arc<Predictor>> {
        let target_fits = target.is("qwen2", 28, 1536, 151_936);
        let draft_fits = draft.is_none_or(|draft| draft.is("qwen2", 24, 896, 151_936));
        if target_fits && draft_fits { default_pair() } else { None }
    }
}

fn default_pair() -> Option<Arc<Predictor>> {
    static WEIGHTS: OnceLock<Option<Arc<Predictor>>> = OnceLock::new();
    WEIGHTS
        .get_or_init(|| Predictor::from_json(include_str!("default_pair.json")).ok().map(Arc::new))
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(layers: usize, hidden: usize) -> ModelShape {
        ModelShape { architecture: "qwen2".into(), layers, hidden, vocab_size: 151_936 }
    }

    #[test]
    fn the_default_pair_gets_its_weights_and_other_pairs_get_none() {
        let (target, draft) = (shape(28, 1536), shape(24, 896));
        let shipped = Predictor::shipped(&target, Some(&draft)).expect("the weights parse");
        assert_ne!(*shipped, Predictor::prior(), "they were trained");
        assert_eq!(Predictor::shipped(&target, None), Some(shipped));
        assert_eq!(Predictor::shipped(&draft, Some(&target)), None);
        assert_eq!(Predictor::shipped(&target, Some(&shape(30, 576))), None);
        assert_eq!(
            Predictor::shipped(
                &ModelShape { architecture: "llama".into(), ..target },
                Some(&draft)
            ),
            None
        );
    }
}
