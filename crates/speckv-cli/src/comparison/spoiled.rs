//! A draft whose proposals are useless, at the cost of a real one.

use std::sync::Arc;

use speckv::{
    model::{Best, Feed, LanguageModel, ModelError, PassOutput},
    signals,
};

/// A model whose logits are rotated by half a vocabulary: as sure as before and wrong. It costs
/// what the model costs, and neither confidence nor entropy shows that its tokens are useless; only
/// the outcomes do.
#[derive(Debug)]
pub struct Spoiled<M>(pub Arc<M>);

/// The output of a [`Spoiled`] model.
#[derive(Debug)]
pub struct SpoiledOutput<O> {
    inner: O,
    row: Vec<f32>, // one rotated row, [vocab]
}

impl<O: PassOutput> PassOutput for SpoiledOutput<O> {
    fn rows(&self) -> usize {
        self.inner.rows()
    }

    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    fn best(&mut self, row: usize, vocab: usize) -> Result<Best, ModelError> {
        let logits = self.logits(row)?;
        signals::read(&logits[..vocab.min(logits.len())])
            .map_err(|source| ModelError::Logits { row, source })
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], ModelError> {
        let logits = self.inner.logits(row)?;
        let (first, second) = logits.split_at(logits.len() / 2);
        self.row.clear();
        self.row.extend_from_slice(second);
        self.row.extend_from_slice(first);
        Ok(&self.row)
    }

    fn hidden_rows(&self) -> usize {
        self.inner.hidden_rows()
    }

    fn hidden(&mut self, row: usize) -> Result<&[f32], ModelError> {
        self.inner.hidden(row)
    }
}

impl<M: LanguageModel> LanguageModel for Spoiled<M> {
    type Cache = M::Cache;
    type Output = SpoiledOutput<M::Output>;

    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.0.context_length()
    }

    fn hidden_size(&self) -> Option<usize> {
        self.0.hidden_size()
    }

    fn takes_branches(&self) -> bool {
        self.0.takes_branches()
    }

    fn new_cache(&self) -> Result<M::Cache, ModelError> {
        self.0.new_cache()
    }

    fn new_output(&self) -> Self::Output {
        SpoiledOutput { inner: self.0.new_output(), row: Vec::new() }
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, M::Cache>],
        output: &mut Self::Output,
    ) -> Result<(), ModelError> {
        self.0.forward(feeds, &mut output.inner)
    }
}

#[cfg(test)]
mod tests {
    use speckv::{
        conformance::check_model,
        sim::{SimModel, SimSettings},
    };

    use super::*;

    fn read<M: LanguageModel>(model: &M, token: u32) -> (u32, f32) {
        let (mut cache, mut output) = (model.new_cache().expect("memory"), model.new_output());
        model.forward(&mut [Feed::new(&mut cache, &[token], 1)], &mut output).expect("a pass");
        let Best { token, signals, .. } =
            output.best(0, model.vocab_size()).expect("finite logits");
        (token, signals.confidence)
    }

    #[test]
    fn a_spoiled_model_is_as_sure_and_says_something_else() {
        let model = SimModel::new(SimSettings::default());
        let spoiled = Spoiled(Arc::new(model.clone()));
        for token in 0..32 {
            let (good, bad) = (read(&model, token), read(&spoiled, token));
            assert_eq!((good.0 + 16) % 32, bad.0);
            assert!((good.1 - bad.1).abs() < 1e-5, "{good:?} {bad:?}");
        }
    }

    #[test]
    fn a_spoiled_model_is_a_language_model() {
        check_model(&Spoiled(Arc::new(SimModel::new(SimSettings::default())))).expect("conforms");
    }
}
