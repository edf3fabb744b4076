//! What every constraint must do.

use super::ensure;
use crate::{
    sampling::{Constraint, Randomness, TokenSet},
    token::Token,
};

/// Walks at random through what a constraint allows, back and forth, and checks that
///
/// - [`is_allowed`](Constraint::is_allowed) says of every token what
///   [`allowed`](Constraint::allowed) says, and at least one token is allowed;
/// - a forced token is the only one that is allowed;
/// - after [`rollback`](Constraint::rollback) it answers as one that never went further.
///
/// `make` gives a constraint before its first token. Tokens of `end_tokens` end a walk.
///
/// # Errors
/// The first rule that does not hold, in words.
pub fn check_constraint(
    make: &dyn Fn() -> Box<dyn Constraint>,
    vocab_size: usize,
    end_tokens: &[Token],
    seed: u64,
    steps: usize,
) -> Result<(), String> {
    let words = |error: crate::sampling::ConstraintError| error.to_string();
    let mut randomness = Randomness::new(seed);
    let (mut constraint, mut text) = (make(), Vec::<Token>::new());
    let mut set = TokenSet::empty(vocab_size);
    for step in 0..steps {
        let mut choices: Vec<Token> = (0..vocab_size as Token).collect();
        let forced = constraint.forced().map_err(words)?;
        if constraint.allowed(&mut set).map_err(words)? {
            choices.retain(|&token| set.contains(token));
        }
        ensure(!choices.is_empty(), || format!("step {step}: no token is allowed after {text:?}"))?;
        if let Some(forced) = forced {
            ensure(choices == [forced], || {
                format!("step {step}: {forced} is forced, and {choices:?} are allowed")
            })?;
        }
        let probes = (0..32).map(|_| (randomness.uniform() * vocab_size as f64) as Token);
        for token in probes.chain(choices.iter().copied().take(64)).collect::<Vec<_>>() {
            let said = constraint.is_allowed(token).map_err(words)?;
            ensure(said == choices.binary_search(&token).is_ok(), || {
                format!("step {step}: is_allowed({token}) is {said} after {text:?}")
            })?;
        }
        let back = (randomness.uniform() * 6.0) as usize;
        let drawn = choices[(randomness.uniform() * choices.len() as f64) as usize];
        if back > 0 && back <= text.len() && randomness.uniform() < 0.3 {
            constraint.rollback(back).map_err(words)?;
            text.truncate(text.len() - back);
            let mut fresh = make();
            for &token in &text {
                fresh.advance(token).map_err(words)?;
            }
            let mut expected = TokenSet::empty(vocab_size);
            let all = (
                constraint.allowed(&mut set).map_err(words)?,
                fresh.allowed(&mut expected).map_err(words)?,
            );
            ensure(all.0 == all.1, || format!("step {step}: rolled back, {all:?} differ"))?;
            let differs = |&token: &Token| set.contains(token) != expected.contains(token);
            if let Some(token) = (0..vocab_size as Token).find(differs).filter(|_| all.0) {
                return Err(format!(
                    "step {step}: token {token} differs after a rollback to {text:?}"
                ));
            }
            let both = (constraint.forced().map_err(words)?, fresh.forced().map_err(words)?);
            ensure(both.0 == both.1, || format!("step {step}: forced tokens {both:?} differ"))?;
        } else {
            constraint.advance(drawn).map_err(words)?;
            text.push(drawn);
            if end_tokens.contains(&drawn) {
                (constraint, text) = (make(), Vec::new());
            }
        }
    }
    Ok(())
}
