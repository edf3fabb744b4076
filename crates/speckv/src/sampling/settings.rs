//! The knobs of sampling.

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
/// | `seed` | 0 | any | start of the random numbers | the same seed gives the same text only with the same controller: speculation uses random numbers differently |
///
/// The order is: repetition penalty, temperature, top-k, top-p, min-p, as in Hugging Face's
/// `generate`. The penalty is defined on the logits and comes first. Temperature comes before the
/// filters, so that they cut the distribution that is drawn from. Top-p counts the mass of what
/// top-k left; min-p compares probabilities with each other, so that where it stands makes no
/// difference to the tokens it removes.
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
        )
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
        let broken: [(&str, Change); 13] = [
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
        ];
        for (field, change) in broken {
            let mut settings = SamplingSettings::default();
            change(&mut settings);
            assert_eq!(settings.check().map_err(|error| error.field), Err(field));
        }
    }
}
