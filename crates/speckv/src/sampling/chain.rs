//! The sampling chain: penalties, bias, constraint, temperature, top-k, top-p, min-p.

use super::{
    Constraint, ConstraintError, Distribution, SamplingError, SamplingSettings, TokenSet,
    candidates::{Candidates, sum_of_weights},
    constraint::Constrained,
};
use crate::{
    exponential::exp,
    logits::LogitsError,
    signals::{self, Signals},
    token::Token,
};

/// Checked [`SamplingSettings`] with the memory that applying them needs, and the constraint on the
/// output if there is one; one per sequence, shared by draft and target.
#[derive(Debug)]
pub struct Chain {
    settings: SamplingSettings,
    output: Output,
    constraint: Option<Constrained>,
    memory: Memory,
}

/// What of a text is output.
#[derive(Debug, Default)]
struct Output {
    start: usize,           // position of its first token
    end_tokens: Vec<Token>, // impossible before `min_tokens`
}

/// Memory that a chain reuses from row to row.
#[derive(Debug, Clone, Default)]
struct Memory {
    adjusted: Vec<f32>, // a row after penalties, bias and mask, [vocab]; empty without these
    recent: Vec<Token>, // sorted tokens of the window or of the output
    candidates: Vec<(f32, Token)>, // logit (later: weight) and token
}

impl Chain {
    /// A chain with these settings.
    ///
    /// # Errors
    /// A setting outside its range.
    pub fn new(settings: SamplingSettings) -> Result<Self, SamplingError> {
        settings.check()?;
        Ok(Chain {
            settings,
            output: Output::default(),
            constraint: None,
            memory: Memory::default(),
        })
    }

    /// The output begins at position `start` of the text, and these tokens may end it. A constraint
    /// begins there.
    pub fn begin(&mut self, start: usize, end_tokens: &[Token]) {
        self.output.start = start;
        self.output.end_tokens.clear();
        self.output.end_tokens.extend_from_slice(end_tokens);
    }

    /// Puts the output under a constraint, or under none.
    pub fn constrain(&mut self, constraint: Option<Box<dyn Constraint>>) {
        self.constraint = constraint.map(Constrained::new);
    }

    /// Whether there is a constraint.
    #[must_use]
    pub fn is_constrained(&self) -> bool {
        self.constraint.is_some()
    }

    /// Why the constraint failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&ConstraintError> {
        self.constraint.as_ref().and_then(Constrained::failure)
    }

    /// Whether the constraint, if there is one, allows `token` after `context`.
    ///
    /// # Errors
    /// [`LogitsError::Constraint`].
    pub fn allows(&mut self, context: &[Token], token: Token) -> Result<bool, LogitsError> {
        match &mut self.constraint {
            None => Ok(true),
            Some(constraint) => constraint
                .allows(self.output.of(context), token)
                .map_err(|_| LogitsError::Constraint),
        }
    }

    /// The one token that the constraint allows after `context`, where it is known to be the only
    /// one and the other settings do not forbid it.
    ///
    /// # Errors
    /// [`LogitsError::Constraint`].
    pub fn forced(&mut self, context: &[Token]) -> Result<Option<Token>, LogitsError> {
        let Some(constraint) = &mut self.constraint else { return Ok(None) };
        let token =
            constraint.forced(self.output.of(context)).map_err(|_| LogitsError::Constraint)?;
        let blocked = self.output.blocks_end(&self.settings, context);
        Ok(token.filter(|token| !(blocked && self.output.end_tokens.contains(token))))
    }

    /// Gives back the memory that was taken for applying the settings; the next row takes it again.
    pub fn release(&mut self) {
        self.memory = Memory::default();
        if let Some(constraint) = &mut self.constraint {
            constraint.release();
        }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &SamplingSettings {
        &self.settings
    }

    /// Whether the likeliest token is always taken and no random number is used.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.settings.is_greedy()
    }

    /// Whether the chain changes logits, other than by a constraint.
    #[must_use]
    pub fn changes_logits(&self) -> bool {
        let SamplingSettings {
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            logit_bias,
            min_tokens,
            ..
        } = &self.settings;
        *repetition_penalty != 1.0
            || *frequency_penalty != 0.0
            || *presence_penalty != 0.0
            || !logit_bias.is_empty()
            || *min_tokens > 0
    }

    /// The token that greedy decoding takes: the likeliest after penalties and bias of those that
    /// the constraint allows, the first one of several. `logits` are `[vocab]`; `context` is every
    /// token before this position.
    ///
    /// # Errors
    /// See [`signals::argmax`], and [`LogitsError::Constraint`].
    pub fn argmax(&mut self, logits: &[f32], context: &[Token]) -> Result<Token, LogitsError> {
        let Chain { settings, output, constraint, memory } = self;
        let changes = memory.adjust(settings, output, logits, context);
        let row = if changes { &memory.adjusted[..] } else { logits };
        let likeliest = signals::argmax(row)?;
        let Some(constraint) = constraint else { return Ok(likeliest) };
        let text = output.of(context);
        let failed = |_| LogitsError::Constraint;
        // The likeliest of all is the likeliest of those that are allowed, if it is one of them.
        if constraint.allows(text, likeliest).map_err(failed)? {
            return Ok(likeliest);
        }
        match constraint.set_after(text).map_err(failed)? {
            None => Ok(likeliest),
            Some(set) => signals::argmax(memory.mask(set, logits, changes)),
        }
    }

    /// Entropy, confidence and margin of `logits` (`[vocab]`) over what the constraint allows after
    /// `context`; `None` where it allows all.
    ///
    /// # Errors
    /// As [`argmax`](Chain::argmax).
    pub fn constrained_signals(
        &mut self,
        logits: &[f32],
        context: &[Token],
    ) -> Result<Option<Signals>, LogitsError> {
        let Chain { output, constraint: Some(constraint), memory, .. } = self else {
            return Ok(None);
        };
        match constraint.set_after(output.of(context)).map_err(|_| LogitsError::Constraint)? {
            None => Ok(None),
            Some(set) => Ok(Some(signals::read(memory.mask(set, logits, false))?.signals)),
        }
    }

    /// Fills `distribution` with the probabilities that settings and constraint make of `logits`
    /// (`[vocab]`) after `context` (every token before this position). At temperature 0 that is
    /// certainty of the greedy token. It always holds at least one token.
    ///
    /// Among equally likely tokens, top-k and top-p keep those with the smaller number. Top-p keeps
    /// the token that crosses the mass.
    ///
    /// # Errors
    /// See [`signals::argmax`], and [`LogitsError::Constraint`].
    pub fn fill(
        &mut self,
        logits: &[f32],
        context: &[Token],
        distribution: &mut Distribution,
    ) -> Result<(), LogitsError> {
        let Chain { settings, output, constraint, memory } = self;
        let mut changes = memory.adjust(settings, output, logits, context);
        if let Some(constraint) = constraint {
            let set =
                constraint.set_after(output.of(context)).map_err(|_| LogitsError::Constraint)?;
            if let Some(set) = set {
                memory.mask(set, logits, changes);
                changes = true;
            }
        }
        let Memory { adjusted, candidates, .. } = memory;
        let logits = if changes { &adjusted[..] } else { logits };
        candidates.clear();
        let mut candidates = Candidates(candidates);
        let (likeliest, largest) = signals::largest(logits)?;
        let SamplingSettings { temperature, top_k, top_p, min_p, .. } = *settings;
        if settings.is_greedy() {
            distribution.set_certain(likeliest);
            return Ok(());
        }
        let has_top_k = top_k > 0 && top_k < logits.len();
        if !has_top_k && top_p == 1.0 && min_p == 0.0 {
            let weights = distribution.dense_weights(logits.len());
            for (weight, &logit) in weights.iter_mut().zip(logits.iter()) {
                *weight = exp((logit - largest) / temperature);
            }
            distribution.normalize();
            return Ok(());
        }

        // The mass that top-p counts is relative to: None is all that the candidates hold.
        let mut whole = None;
        if has_top_k {
            candidates.select_top(logits, top_k);
        } else {
            let mut floor = f64::from(min_p);
            if top_p < 1.0 {
                // Tokens below (1 - p) / vocab hold less than 1 - p together, so that the nucleus
                // lies above; half of that for rounding.
                let all = sum_of_weights(logits, largest, temperature);
                floor = floor.max(all * (1.0 - f64::from(top_p)) / (2.0 * logits.len() as f64));
                whole = Some(all);
            }
            candidates.select_above(
                logits,
                f64::from(largest) + f64::from(temperature) * (floor * 0.999).ln(),
            );
        }
        for (weight, _) in candidates.0.iter_mut() {
            *weight = exp((*weight - largest) / temperature);
        }
        if top_p < 1.0 {
            candidates.cut_nucleus(f64::from(top_p), whole);
        }
        candidates.0.retain(|&(weight, _)| weight >= min_p && weight > 0.0);
        candidates.0.sort_unstable_by_key(|&(_, token)| token);
        distribution.clear();
        for &(weight, token) in candidates.0.iter() {
            distribution.push(token, weight);
        }
        distribution.normalize();
        Ok(())
    }
}

impl Output {
    /// The output in `context`.
    fn of<'a>(&self, context: &'a [Token]) -> &'a [Token] {
        context.get(self.start..).unwrap_or_default()
    }

    /// Whether end tokens are impossible after `context`.
    fn blocks_end(&self, settings: &SamplingSettings, context: &[Token]) -> bool {
        settings.min_tokens > self.of(context).len()
    }
}

impl Memory {
    /// Makes `adjusted` the row with penalties and bias, where there are any; `false` if the row
    /// stays as it is.
    ///
    /// The repetition penalty divides positive and multiplies negative logits of the window's
    /// tokens, each token once (Keskar et al. 2019, arXiv 1909.05858, in the form that keeps the
    /// direction for negative logits). The others are OpenAI's: `logit - count * frequency - presence`
    /// over the output, then the bias.
    fn adjust(
        &mut self,
        settings: &SamplingSettings,
        output: &Output,
        logits: &[f32],
        context: &[Token],
    ) -> bool {
        let SamplingSettings {
            repetition_penalty: penalty,
            repetition_window: window,
            frequency_penalty: frequency,
            presence_penalty: presence,
            ref logit_bias,
            ..
        } = *settings;
        let Memory { adjusted, recent, .. } = self;
        let counts = frequency != 0.0 || presence != 0.0;
        let blocked = output.blocks_end(settings, context) && !output.end_tokens.is_empty();
        if penalty == 1.0 && !counts && logit_bias.is_empty() && !blocked {
            return false;
        }
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        if penalty != 1.0 {
            let start = if window == 0 { 0 } else { context.len().saturating_sub(window) };
            sort_into(recent, &context[start..]);
            recent.dedup();
            for &token in recent.iter() {
                if let Some(logit) = adjusted.get_mut(token as usize) {
                    *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
                }
            }
        }
        if counts {
            sort_into(recent, output.of(context));
            for same in recent.chunk_by(|a, b| a == b) {
                if let Some(logit) = adjusted.get_mut(same[0] as usize) {
                    *logit -= same.len() as f32 * frequency + presence;
                }
            }
        }
        for &(token, bias) in logit_bias {
            if let Some(logit) = adjusted.get_mut(token as usize) {
                *logit += bias;
            }
        }
        if blocked {
            for &token in &output.end_tokens {
                if let Some(logit) = adjusted.get_mut(token as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        true
    }

    /// The row, or what [`adjust`](Memory::adjust) made of it, with the tokens outside the set
    /// impossible.
    fn mask(&mut self, set: &TokenSet, logits: &[f32], is_adjusted: bool) -> &[f32] {
        if !is_adjusted {
            self.adjusted.clear();
            self.adjusted.extend_from_slice(logits);
        }
        set.mask(&mut self.adjusted);
        &self.adjusted
    }
}

fn sort_into(sorted: &mut Vec<Token>, tokens: &[Token]) {
    sorted.clear();
    sorted.extend_from_slice(tokens);
    sorted.sort_unstable();
}

#[cfg(test)]
mod tests;
