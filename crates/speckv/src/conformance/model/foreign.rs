//! Caches that another model made.

use super::{
    Cache, Feed, LanguageModel, ModelError, cache_of, difference, ensure, pass, read, text,
};

/// Checks that a model refuses the caches of `other` with [`ModelError::ForeignCache`], whatever
/// else is in the pass, and that this changes nothing.
///
/// # Errors
/// The first of these that does not hold.
pub fn check_foreign_cache<M: LanguageModel>(model: &M, other: &M) -> Result<(), String> {
    let tokens = text(model.vocab_size().min(other.vocab_size()), 8, 3);
    let (before, after) = tokens.split_at(4);
    let whole = read(model, &tokens, &[tokens.len()])?;
    for foreign_first in [false, true] {
        let (mut own, mut foreign) = (cache_of(model, before)?, cache_of(other, before)?);
        let mut feeds = [Feed::new(&mut own, after, 1), Feed::new(&mut foreign, after, 1)];
        if foreign_first {
            feeds.reverse();
        }
        match model.forward(&mut feeds, &mut model.new_output()) {
            Err(ModelError::ForeignCache { .. }) => {}
            Err(error) => return Err(format!("another model's cache: {error}")),
            Ok(()) => return Err("another model's cache was accepted".into()),
        }
        ensure(!own.copy_from(&foreign, 4), || "another model's cache was copied".into())?;
        ensure(own.len() == 4 && foreign.len() == 4, || {
            format!("the error changed the caches' lengths to {} and {}", own.len(), foreign.len())
        })?;
        let got = pass(model, &mut [Feed::new(&mut own, after, 4)])?;
        ensure(difference(&got, &whole[4..]).is_none(), || {
            "another model's cache changed what comes after".into()
        })?;
    }
    Ok(())
}
