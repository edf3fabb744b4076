//! The sampling chain: penalties, bias, constraint, temperature, top-k, top-p, min-p.

use std::cmp::Ordering;

use super::{
    Constraint, ConstraintError, Distribution, SamplingError, SamplingSettings, TokenSet,
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

/// Logits that are skipped together where none of them can be a candidate.
const GROUP: usize = 64;

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
            Some(set) => Ok(Some(signals::read(memory.mask(set, logits, false))?.1)),
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

/// Tokens that may be drawn, with their logits and later their weights.
struct Candidates<'a>(&'a mut Vec<(f32, Token)>);

impl Candidates<'_> {
    /// Candidates: the `k` largest logits, of equal ones those with the smaller token.
    fn select_top(&mut self, logits: &[f32], k: usize) {
        let most = 2 * k.max(GROUP);
        let mut threshold = f32::NEG_INFINITY;
        for (index, group) in logits.chunks(GROUP).enumerate() {
            if !has_above(group, threshold) {
                continue;
            }
            // A later token that only equals the threshold loses the tie.
            let above = group.iter().enumerate().filter(|&(_, &logit)| logit > threshold);
            self.0.extend(above.map(|(within, &logit)| (logit, (index * GROUP + within) as Token)));
            if self.0.len() >= most {
                self.keep_top(k);
                threshold = self.0[k - 1].0;
            }
        }
        self.keep_top(k);
    }

    /// Keeps the `k` best candidates, the worst of them last.
    fn keep_top(&mut self, k: usize) {
        if self.0.len() > k {
            self.0.select_nth_unstable_by(k - 1, likelier_first);
            self.0.truncate(k);
        }
    }

    /// Candidates: the logits at or above `floor`, in the order of tokens.
    fn select_above(&mut self, logits: &[f32], floor: f64) {
        let threshold = (floor as f32).next_down().next_down(); // the strict comparison below must not lose the floor itself to rounding
        for (index, group) in logits.chunks(GROUP).enumerate() {
            if has_above(group, threshold) {
                let above = group.iter().enumerate().filter(|&(_, &logit)| logit > threshold);
                self.0.extend(
                    above.map(|(within, &logit)| (logit, (index * GROUP + within) as Token)),
                );
            }
        }
    }

    /// Keeps the fewest candidates, likeliest first, whose weights reach `share` of `whole` (by
    /// default of all candidates).
    fn cut_nucleus(&mut self, share: f64, whole: Option<f64>) {
        let whole =
            whole.unwrap_or_else(|| self.0.iter().map(|&(weight, _)| f64::from(weight)).sum());
        // First the likeliest few, which mostly are enough, then all the rest.
        let (mut sorted, mut piece, mut mass) = (0, 256, 0.0);
        while sorted < self.0.len() {
            let left = &mut self.0[sorted..];
            if piece < left.len() {
                left.select_nth_unstable_by(piece - 1, likelier_first);
            }
            let end = piece.min(left.len());
            let next = &mut left[..end];
            next.sort_unstable_by(likelier_first);
            let crossing = next.iter().position(|&(weight, _)| {
                mass += f64::from(weight);
                mass >= share * whole
            });
            if let Some(crossing) = crossing {
                self.0.truncate(sorted + crossing + 1);
                return;
            }
            sorted += next.len();
            piece = usize::MAX;
        }
    }
}

fn likelier_first(a: &(f32, Token), b: &(f32, Token)) -> Ordering {
    b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1))
}

/// Whether any value is above the threshold, without a branch per value.
fn has_above(group: &[f32], threshold: f32) -> bool {
    group.iter().fold(false, |any, &logit| any | (logit > threshold))
}

/// sum e^((x - largest) / temperature), summed in chunks so that `f32` lanes stay exact enough.
fn sum_of_weights(logits: &[f32], largest: f32, temperature: f32) -> f64 {
    const LANES: usize = 16;
    let mut total = 0.0;
    for chunk in logits.chunks(2048) {
        let mut lanes = [0.0_f32; LANES];
        let (groups, rest) = chunk.as_chunks::<LANES>();
        for group in groups {
            for lane in 0..LANES {
                lanes[lane] += exp((group[lane] - largest) / temperature);
            }
        }
        for (lane, logit) in rest.iter().enumerate() {
            lanes[lane] += exp((logit - largest) / temperature);
        }
        total += lanes.into_iter().map(f64::from).sum::<f64>();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Randomness;

    fn noise(len: usize, scale: f64, seed: u64) -> Vec<f32> {
        let mut randomness = Randomness::new(seed);
        // Rounded, so that ties are frequent.
        (0..len)
            .map(|_| ((randomness.uniform() - 0.5) * scale * 8.0).round() as f32 / 8.0)
            .collect()
    }

    /// The same settings in f64, by sorting everything.
    fn reference(settings: &SamplingSettings, logits: &[f32], context: &[Token]) -> Vec<f64> {
        let mut logits: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
        let window = if settings.repetition_window == 0 {
            context.len()
        } else {
            settings.repetition_window
        };
        let recent = &context[context.len() - window.min(context.len())..];
        for (token, logit) in logits.iter_mut().enumerate() {
            if recent.contains(&(token as Token)) {
                let penalty = f64::from(settings.repetition_penalty);
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
        if settings.top_k > 0 {
            order.truncate(settings.top_k);
        }
        let most = logits[order[0]];
        let weight =
            |token: usize| ((logits[token] - most) / f64::from(settings.temperature)).exp();
        let total: f64 = order.iter().map(|&token| weight(token)).sum();
        let mut mass = 0.0;
        let mut kept = Vec::new();
        for token in order {
            if weight(token) >= f64::from(settings.min_p) {
                kept.push(token);
            }
            mass += weight(token);
            if settings.top_p < 1.0 && mass >= f64::from(settings.top_p) * total {
                break;
            }
        }
        let total: f64 = kept.iter().map(|&token| weight(token)).sum();
        let mut probabilities = vec![0.0; logits.len()];
        kept.into_iter().for_each(|token| probabilities[token] = weight(token) / total);
        probabilities
    }

    #[test]
    fn every_combination_of_settings_equals_its_definition() {
        let mut chain_memory = Distribution::new();
        for (seed, len) in [1, 2, 5, 64, 65, 700, 5_000].into_iter().enumerate() {
            for top_k in [0, 1, 3, 40, 100_000] {
                for top_p in [1.0, 0.97, 0.5, 0.013] {
                    for min_p in [0.0, 0.07, 1.0] {
                        for (temperature, penalty, window) in
                            [(1.0, 1.0, 0), (0.3, 1.37, 3), (2.7, 0.83, 0)]
                        {
                            let settings = SamplingSettings {
                                temperature,
                                top_k,
                                top_p,
                                min_p,
                                repetition_penalty: penalty,
                                repetition_window: window,
                                ..SamplingSettings::default()
                            };
                            let logits = noise(len, 9.0, seed as u64);
                            let context: Vec<Token> = [1, 4, 0, 4, 2]
                                .into_iter()
                                .map(|token| token % len as Token)
                                .collect();
                            let expected = reference(&settings, &logits, &context);
                            let mut chain = Chain::new(settings.clone()).unwrap();
                            chain.fill(&logits, &context, &mut chain_memory).unwrap();
                            for (token, &expected) in expected.iter().enumerate() {
                                let got = f64::from(chain_memory.probability(token as Token));
                                assert!(
                                    (got - expected).abs() < 3e-6,
                                    "token {token} of {len}: {got} instead of {expected}, \
                                     {settings:?}"
                                );
                                assert_eq!(
                                    got > 0.0,
                                    expected > 1e-37,
                                    "token {token} of {len}, {settings:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn of_equal_tokens_the_smaller_number_is_kept() {
        let settings =
            SamplingSettings { temperature: 1.0, top_k: 3, ..SamplingSettings::default() };
        let mut distribution = Distribution::new();
        Chain::new(settings.clone()).unwrap().fill(&[1.0; 500], &[], &mut distribution).unwrap();
        assert_eq!(distribution.iter().map(|(token, _)| token).collect::<Vec<_>>(), [0, 1, 2]);
        let settings = SamplingSettings { top_k: 0, top_p: 0.5, ..settings };
        Chain::new(settings).unwrap().fill(&[1.0; 4], &[], &mut distribution).unwrap();
        assert_eq!(distribution.iter().map(|(token, _)| token).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_tiny_temperature_is_nearly_greedy_and_never_empty() {
        for temperature in [f32::MIN_POSITIVE, 1e-40, 1e-6] {
            let settings =
                SamplingSettings { temperature, top_p: 0.9, ..SamplingSettings::default() };
            let mut distribution = Distribution::new();
            Chain::new(settings)
                .unwrap()
                .fill(&[1.0, 2.0, f32::NEG_INFINITY, 1.5], &[], &mut distribution)
                .unwrap();
            assert_eq!(distribution.iter().collect::<Vec<_>>(), [(1, 1.0)]);
        }
    }

    #[test]
    fn impossible_tokens_stay_impossible() {
        for (top_k, top_p) in [(0, 1.0), (5, 1.0), (0, 0.99)] {
            let settings =
                SamplingSettings { temperature: 5.0, top_k, top_p, ..SamplingSettings::default() };
            let mut logits = vec![f32::NEG_INFINITY; 300];
            (logits[7], logits[200]) = (-3.0, 4.0);
            let mut distribution = Distribution::new();
            Chain::new(settings).unwrap().fill(&logits, &[], &mut distribution).unwrap();
            assert_eq!(
                distribution
                    .iter()
                    .filter(|(_, p)| *p > 0.0)
                    .map(|(token, _)| token)
                    .collect::<Vec<_>>(),
                [7, 200]
            );
        }
    }

    #[test]
    fn broken_logits_are_errors() {
        let settings = SamplingSettings { temperature: 1.0, ..SamplingSettings::default() };
        let mut chain = Chain::new(settings).unwrap();
        let mut distribution = Distribution::new();
        assert_eq!(
            chain.fill(&[0.0, f32::NAN], &[], &mut distribution),
            Err(LogitsError::NotANumber)
        );
        assert_eq!(
            chain.fill(&[f32::NEG_INFINITY; 3], &[], &mut distribution),
            Err(LogitsError::AllImpossible)
        );
        assert_eq!(chain.fill(&[], &[], &mut distribution), Err(LogitsError::Empty));
    }
}
