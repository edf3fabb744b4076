//! The knobs of sampling.

use crate::token::Token;

/// How tokens are chosen from logits. The default is greedy decoding.
///
/// | name | default | range | effect | when it misleads |
/// |---|---|---|---|---|
/// | `temperature` | 0 | 0, or more | divides the logits: below 1 sharper, above 1 flatter; 0 takes the likeliest token | above about 1.5 small models ramble; a tiny value is not 0: it still uses random numbers |
/// | `top_k` | 0 (off) | 0, or more | keeps the k likeliest tokens | a fixed k is too many where the model is sure and too few where it is not |
/// | `top_p` | 1 (off) | above 0, to 1 | keeps the fewest tokens whose probabilities reach p | with a high temperature the nucleus holds thousands of tokens |
/// | `min_p` | 0 (off) | 0 to 1 | keeps tokens at least `min_p` times as likely as the likeliest | at 1 only the likeliest (and its equals) remain |
/// | `repetition_penalty` | 1 (off) | 0.01 to 100 | for tokens in the window, divides positive logits and multiplies negative ones | punishes needed repetitions (names, code); above 1.2 text degrades |
/// | `repetition_window` | 64 | 0 (all), or more | how many of the last tokens, prompt included, are penalised | with 0 the cost of a step grows with the context |
/// | `frequency_penalty` | 0 (off) | -2 to 2 | subtracted from a token's logit once for each time that the output has it | grows with the length of the output: words such as "the" become rare |
/// | `presence_penalty` | 0 (off) | -2 to 2 | subtracted from the logit of every token that the output has | as `frequency_penalty` |
/// | `logit_bias` | none | -100 to 100 each | added to the logits of these tokens | a word has several tokens, with and without the space before it |
/// | `min_tokens` | 0 | 0, or more | end tokens are impossible before the output has so many tokens | the model goes on after its answer is complete |
/// | `seed` | 0 | any | start of the random numbers | the same seed gives the same text only with the same controller: speculation uses random numbers differently |
///
/// The order is: repetition penalty, frequency and presence penalty, bias, [`Constraint`],
/// temperature, top-k, top-p, min-p, as in Hugging Face's `generate`. The penalties are defined on
/// the logits and come first. Temperature comes before the
/// filters, so that they cut the distribution that is drawn from. Top-p counts the mass of what
/// top-k left; min-p compares probabilities with each other, so that where it stands makes no
/// difference to the tokens it removes.
///
/// [`Constraint`]: super::Constraint
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingSettings {
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Number of tokens kept; 0 keeps all.
    pub top_k: usize,
    /// Probability mass kept; 1 keeps all.
    pub top_p: f32,
    /// Smallest probability kept, relative to the largest; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of recent tokens; 1 does nothing.
    pub repetition_penalty: f32,
    /// Number of recent tokens that are penalised; 0 is the whole context.
    pub repetition_window: usize,
    /// Subtracted from a token's logit for each time that the output has it.
    pub frequency_penalty: f32,
    /// Subtracted from the logit of every token of the output.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(Token, f32)>,
    /// Tokens of the output before which no end token is possible.
    pub min_tokens: usize,
    /// Start of the random numbers.
    pub seed: u64,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        SamplingSettings {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_window: 64,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            min_tokens: 0,
            seed: 0,
        }
    }
}

impl SamplingSettings {
    /// Checks every field against its range.
    ///
    /// # Errors
    /// The first field outside its range.
    pub fn check(&self) -> Result<(), SamplingError> {
        let within = |field, range, got: f32, ok: bool| {
            if ok && got.is_finite() { Ok(()) } else { Err(SamplingError { field, range, got }) }
        };
        within("temperature", "0 or more", self.temperature, self.temperature >= 0.0)?;
        within("top_p", "above 0, at most 1", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0)?;
        within("min_p", "0 to 1", self.min_p, (0.0..=1.0).contains(&self.min_p))?;
        within(
            "repetition_penalty",
            "0.01 to 100",
            self.repetition_penalty,
            (0.01..=100.0).contains(&self.repetition_penalty),
        )?;
        for (name, got) in [
            ("frequency_penalty", self.frequency_penalty),
            ("presence_penalty", self.presence_penalty),
        ] {
            within(name, "-2 to 2", got, (-2.0..=2.0).contains(&got))?;
        }
        for &(_, bias) in &self.logit_bias {
            within("logit_bias", "-100 to 100", bias, (-100.0..=100.0).contains(&bias))?;
        }
        Ok(())
    }

    /// Whether the likeliest token is always taken and no random number is used.
    #[must_use]
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

/// A sampling setting outside its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{field}: expected {range}, got {got}")]
pub struct SamplingError {
    /// Name of the field of [`SamplingSettings`].
    pub field: &'static str,
    /// The range it must be in.
    pub range: &'static str,
    /// Its value.
    pub got: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_greedy_and_valid() {
        let settings = SamplingSettings::default();
        assert!(settings.is_greedy());
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn a_value_outside_its_range_is_named() {
        type Change = fn(&mut SamplingSettings);
        let broken: [(&str, Change); 17] = [
            ("temperature", |s| s.temperature = -0.1),
            ("temperature", |s| s.temperature = f32::NAN),
            ("temperature", |s| s.temperature = f32::INFINITY),
            ("top_p", |s| s.top_p = 0.0),
            ("top_p", |s| s.top_p = 1.01),
            ("top_p", |s| s.top_p = f32::NAN),
            ("min_p", |s| s.min_p = -0.5),
            ("min_p", |s| s.min_p = 1.5),
            ("repetition_penalty", |s| s.repetition_penalty = 0.0),
            ("repetition_penalty", |s| s.repetition_penalty = 1e-38),
            ("repetition_penalty", |s| s.repetition_penalty = 1e38),
            ("repetition_penalty", |s| s.repetition_penalty = -2.0),
            ("repetition_penalty", |s| s.repetition_penalty = f32::INFINITY),
            ("frequency_penalty", |s| s.frequency_penalty = 2.1),
            ("presence_penalty", |s| s.presence_penalty = f32::NAN),
            ("logit_bias", |s| s.logit_bias = vec![(3, 101.0)]),
            ("logit_bias", |s| s.logit_bias = vec![(1, 0.0), (3, f32::NAN)]),
        ];
        for (field, change) in broken {
            let mut settings = SamplingSettings::default();
            change(&mut settings);
            assert_eq!(settings.check().map_err(|error| error.field), Err(field));
        }
    }
}
