//! A draft that is worth nothing, at the price of a real one.

use std::sync::Arc;

use speckv::{
    logits::Logits,
    model::{Feed, LanguageModel, ModelError},
};

/// A model whose logits are moved half a vocabulary on: as sure as before and wrong. It costs what
/// the model costs, and no confidence or entropy tells that it is worthless; only the outcomes do.
#[derive(Debug)]
pub struct Spoiled<M>(pub Arc<M>);

impl<M: LanguageModel> LanguageModel for Spoiled<M> {
    type Cache = M::Cache;

    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.0.context_length()
    }

    fn new_cache(&self) -> Result<M::Cache, ModelError> {
        self.0.new_cache()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, M::Cache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        let rows: usize = feeds.iter().map(|feed| feed.rows).sum();
        self.0.forward(feeds, logits)?;
        for row in 0..rows {
            let row = logits.row_mut(row);
            row.rotate_left(row.len() / 2);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use speckv::{
        signals,
        sim::{SimModel, SimSettings},
    };

    use super::*;

    fn read<M: LanguageModel>(model: &M, token: u32) -> (u32, f32) {
        let mut cache = model.new_cache().expect("memory");
        let mut logits = Logits::new();
        model
            .forward(&mut [Feed { cache: &mut cache, tokens: &[token], rows: 1 }], &mut logits)
            .expect("a pass");
        let (likeliest, signals) = signals::read(logits.row(0)).expect("finite logits");
        (likeliest, signals.confidence)
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
}
