//! Language models without weights: exact caches, pseudo-random logits, a settable agreement and a
//! settable cost.

pub use crate::sim_constraint::SimConstraint;

use std::time::Duration;

use crate::{
    engine::VirtualTime,
    logits::Logits,
    model::{Cache, Feed, LanguageModel, LastFeed, ModelError},
    signals::argmax,
    token::Token,
};

/// What a simulated model is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimSettings {
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Most positions of a cache.
    pub context_length: usize,
    /// How many of the last tokens decide the logits. A small order makes greedy text repeat soon;
    /// `usize::MAX` lets every token before matter, so that no error in a cache stays unseen.
    pub order: usize,
    /// Standard deviation of the logits: 0 is uniform, 5 is rather sure.
    pub sharpness: f32,
    /// Another seed is another model.
    pub seed: u64,
}

impl Default for SimSettings {
    fn default() -> Self {
        SimSettings {
            vocab_size: 32,
            context_length: 4096,
            order: usize::MAX,
            sharpness: 3.0,
            seed: 0,
        }
    }
}

/// How a simulated draft differs from its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference {
    /// After a share `1 - agreement` of all texts, chosen at random, the draft has
    /// unrelated logits of half the sharpness; after the others it has the target's logits.
    Share {
        /// From 0 (unrelated) to 1 (the same model).
        agreement: f64,
    },
    /// Everywhere `(1 - weight) * target + weight * unrelated` in the logits.
    Blend {
        /// From 0 (the same model) to 1 (unrelated).
        weight: f32,
    },
    /// The target's logits with their sign changed: likely is unlikely.
    Opposed,
}

/// What a simulated pass costs in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimCost {
    /// Once per pass.
    pub pass: Duration,
    /// Per token fed.
    pub token: Duration,
}

/// A deterministic pseudo-random language model: the logits are a hash of the last tokens and the
/// seed.
#[derive(Debug, Clone)]
pub struct SimModel {
    settings: SimSettings,
    difference: Option<Difference>,
    impossible: Option<(Token, Token)>, // modulus, residue
    mask: Option<Token>,
    cost: SimCost,
    time: VirtualTime,
}

/// State of a sequence in a [`SimModel`]: the tokens themselves.
#[derive(Debug, Clone, Default)]
pub struct SimCache {
    tokens: Vec<Token>,
    last: LastFeed,
    fed: Vec<Token>,  // all tokens of the last feed, if it had branches
    path: Vec<Token>, // the text of one row
}

/// Values of a simulated hidden state.
const HIDDEN: usize = 4;

impl SimModel {
    /// A model.
    #[must_use]
    pub fn new(settings: SimSettings) -> Self {
        SimModel {
            settings,
            difference: None,
            impossible: None,
            mask: None,
            cost: SimCost::default(),
            time: VirtualTime::new(),
        }
    }

    /// A draft for this model, on the same virtual clock.
    #[must_use]
    pub fn draft(&self, difference: Difference) -> Self {
        SimModel { difference: Some(difference), ..self.clone() }
    }

    /// The same model without the tokens that leave `residue` when divided by `modulus`: their
    /// logits are minus infinity.
    ///
    /// # Panics
    /// If `modulus` is 0.
    #[must_use]
    pub fn without(self, modulus: Token, residue: Token) -> Self {
        assert!(modulus > 0, "expected a modulus above 0");
        SimModel { impossible: Some((modulus, residue)), ..self }
    }

    /// The same model as a parallel draft: at the end of a text, each `mask` stands for the token
    /// that the model finds likeliest there.
    #[must_use]
    pub fn with_mask(self, mask: Token) -> Self {
        SimModel { mask: Some(mask), ..self }
    }

    /// `context` with the likeliest tokens in place of the masks at its end; nothing where there
    /// are none.
    fn unmasked(&self, context: &[Token]) -> Option<Vec<Token>> {
        let mask = self.mask?;
        let masks = context.iter().rev().take_while(|&&token| token == mask).count();
        let mut text = context[..context.len() - masks].to_vec();
        if masks == 0 || text.is_empty() {
            return None;
        }
        let known = SimModel { mask: None, ..self.clone() };
        let mut logits = vec![0.0; self.settings.vocab_size];
        for _ in 0..masks {
            known.write(&text, &mut logits);
            text.push(argmax(&logits).unwrap_or(mask));
        }
        Some(text)
    }

    /// The same model with a cost.
    #[must_use]
    pub fn costing(self, cost: SimCost) -> Self {
        SimModel { cost, ..self }
    }

    /// The clock that passes advance; drafts of this model share it.
    #[must_use]
    pub fn time(&self) -> &VirtualTime {
        &self.time
    }

    /// The hash of the last tokens of `context`.
    fn text(&self, context: &[Token]) -> u64 {
        let SimSettings { order, seed, .. } = self.settings;
        let seen = &context[context.len() - context.len().min(order)..];
        seen.iter().fold(mix(seed), |hash, &token| mix(hash ^ u64::from(token)))
    }

    /// Writes the hidden state after `context`, `[HIDDEN]`: pseudo-random, as the logits are.
    fn write_hidden(&self, context: &[Token], out: &mut [f32]) {
        let text = self.text(context);
        let values = out.iter_mut().zip(1_u64..);
        values.for_each(|(value, number)| *value = normal(mix(text ^ mix(number << 32))));
    }

    /// Writes the logits after `context`, `[vocab]`.
    fn write(&self, context: &[Token], out: &mut [f32]) {
        let unmasked = self.unmasked(context);
        let context = unmasked.as_deref().unwrap_or(context);
        let sharpness = self.settings.sharpness;
        let text = self.text(context);
        let unrelated = mix(text ^ 0x5bd1_e995);
        let value = |hash: u64, token: usize, sharpness: f32| {
            sharpness * normal(mix(hash ^ mix(token as u64)))
        };
        for (token, logit) in out.iter_mut().enumerate() {
            *logit = match self.difference {
                Some(Difference::Share { agreement }) if uniform(mix(unrelated)) >= agreement => {
                    value(unrelated, token, 0.5 * sharpness)
                }
                None | Some(Difference::Share { .. }) => value(text, token, sharpness),
                Some(Difference::Blend { weight }) => {
                    (1.0 - weight) * value(text, token, sharpness)
                        + weight * value(unrelated, token, sharpness)
                }
                Some(Difference::Opposed) => -value(text, token, sharpness),
            };
        }
        if let Some((modulus, residue)) = self.impossible {
            out.iter_mut()
                .skip(residue as usize)
                .step_by(modulus as usize)
                .for_each(|logit| *logit = f32::NEG_INFINITY);
        }
    }
}

/// The finalizer of SplitMix64 (Steele et al. 2014).
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn uniform(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// About normal with deviation 1: four 16-bit uniform numbers, summed.
fn normal(hash: u64) -> f32 {
    let sum: u64 = (0..4).map(|part| (hash >> (16 * part)) & 0xffff).sum();
    (sum as f32 / 65_535.0 - 2.0) * 3.0_f32.sqrt()
}

impl LanguageModel for SimModel {
    type Cache = SimCache;
    type Output = Logits;

    fn vocab_size(&self) -> usize {
        self.settings.vocab_size
    }

    fn context_length(&self) -> usize {
        self.settings.context_length
    }

    fn hidden_size(&self) -> Option<usize> {
        Some(HIDDEN)
    }

    fn takes_branches(&self) -> bool {
        true
    }

    fn new_cache(&self) -> Result<SimCache, ModelError> {
        Ok(SimCache::default())
    }

    fn new_output(&self) -> Logits {
        Logits::new()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, SimCache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        feeds.iter().try_for_each(|feed| feed.check(self))?;
        logits.reshape(feeds.iter().map(|feed| feed.rows).sum(), self.settings.vocab_size);
        logits.reshape_hidden(feeds.iter().map(|feed| feed.hidden).sum(), HIDDEN);
        let (mut row, mut hidden_row, mut fed) = (0, 0, 0);
        for feed in feeds.iter_mut() {
            let count = feed.tokens.len();
            feed.cache.feed(feed.tokens, feed.parents, feed.trunk());
            for index in count - feed.rows.max(feed.hidden)..count {
                let context = feed.cache.context(index);
                if index + feed.rows >= count {
                    self.write(context, logits.row_mut(row));
                    row += 1;
                }
                if index + feed.hidden >= count {
                    self.write_hidden(context, logits.hidden_mut(hidden_row));
                    hidden_row += 1;
                }
            }
            fed += count;
        }
        self.time
            .advance(self.cost.pass + self.cost.token * u32::try_from(fed).unwrap_or(u32::MAX));
        Ok(())
    }
}

impl SimCache {
    /// Appends a feed's trunk, and keeps its branches aside.
    fn feed(&mut self, tokens: &[Token], parents: &[usize], trunk: usize) {
        self.last.note(self.tokens.len(), tokens.len(), parents);
        self.tokens.extend_from_slice(&tokens[..trunk]);
        self.fed.clear();
        if !parents.is_empty() {
            self.fed.extend_from_slice(tokens);
        }
    }

    /// The text up to token `index` of the last feed, that token included.
    fn context(&mut self, index: usize) -> &[Token] {
        let start = self.last.start();
        if self.fed.is_empty() {
            return &self.tokens[..=start + index];
        }
        self.path.clear();
        let mut next = index + 1;
        while next > 0 {
            self.path.push(self.fed[next - 1]);
            next = self.last.parent(next - 1);
        }
        self.path.extend(self.tokens[..start].iter().rev());
        self.path.reverse();
        &self.path
    }
}

impl Cache for SimCache {
    fn len(&self) -> usize {
        self.tokens.len()
    }

    fn truncate(&mut self, len: usize) {
        self.last.forget();
        self.tokens.truncate(len);
    }

    fn keep(&mut self, path: &[usize]) -> Result<(), ModelError> {
        self.last.check(path)?;
        let start = self.last.start();
        if self.fed.is_empty() {
            self.tokens.truncate(start + path.len());
        } else {
            self.tokens.truncate(start);
            self.tokens.extend(path.iter().map(|&token| self.fed[token]));
        }
        self.last.forget();
        Ok(())
    }

    fn copy_from(&mut self, other: &Self, len: usize) -> bool {
        let Some(tokens) = other.tokens.get(..len) else { return false };
        self.last.forget();
        self.tokens.clear();
        self.tokens.extend_from_slice(tokens);
        true
    }

    fn pretend(&mut self, len: usize) -> bool {
        self.last.forget();
        self.tokens.resize(self.tokens.len().max(len), 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(difference: Difference) -> f64 {
        let target = SimModel::new(SimSettings::default());
        let draft = target.draft(difference);
        let mut rows = [vec![0.0; 32], vec![0.0; 32]];
        let same = (0..4_000).filter(|&token| {
            target.write(&[token], &mut rows[0]);
            draft.write(&[token], &mut rows[1]);
            argmax(&rows[0]) == argmax(&rows[1])
        });
        same.count() as f64 / 4_000.0
    }

    #[test]
    fn a_draft_agrees_as_often_as_it_was_set_to() {
        for set in [0.0, 0.3, 0.8, 1.0] {
            let expected = set + (1.0 - set) / 32.0; // unrelated models agree by chance
            let got = agreement(Difference::Share { agreement: set });
            assert!((got - expected).abs() < 0.03, "{got} instead of {expected}");
        }
        assert_eq!(agreement(Difference::Blend { weight: 0.0 }), 1.0);
        assert_eq!(agreement(Difference::Opposed), 0.0);
    }

    #[test]
    fn masks_stand_for_the_likeliest_tokens() {
        let model = SimModel::new(SimSettings::default()).with_mask(7);
        let likeliest = |context: &[Token]| {
            let mut row = vec![0.0; 32];
            model.write(context, &mut row);
            argmax(&row).unwrap()
        };
        let (next, after) = (likeliest(&[3, 1]), likeliest(&[3, 1, 7]));
        assert_eq!(after, likeliest(&[3, 1, next]));
        assert_eq!(likeliest(&[3, 1, 7, 7]), likeliest(&[3, 1, next, after]));
    }

    #[test]
    fn a_pass_costs_what_it_was_set_to() {
        let model = SimModel::new(SimSettings::default())
            .costing(SimCost { pass: Duration::from_millis(30), token: Duration::from_millis(2) });
        let mut cache = model.new_cache().unwrap();
        let mut feeds = [Feed::new(&mut cache, &[1, 2, 3], 1)];
        model.forward(&mut feeds, &mut Logits::new()).unwrap();
        assert_eq!(model.time().now(), Duration::from_millis(36));
    }
}
