//! How tokens are chosen.

use speckv::sampling::SamplingSettings;

use crate::error::ApiError;

/// Sampling as requests ask for it; `None` is the default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SamplingFields {
    /// `temperature`.
    pub temperature: Option<f32>,
    /// `top_p`.
    pub top_p: Option<f32>,
    /// `top_k`; below 1 is off, as in llama.cpp and vLLM.
    pub top_k: Option<i64>,
    /// `min_p`.
    pub min_p: Option<f32>,
    /// `repetition_penalty`, or llama.cpp's `repeat_penalty`.
    pub repetition_penalty: Option<f32>,
    /// llama.cpp's `repeat_last_n`: 0 looks at no token, -1 at all.
    pub repeat_last_n: Option<i64>,
    /// `seed`; -1 is none.
    pub seed: Option<i64>,
    /// `frequency_penalty`.
    pub frequency_penalty: Option<f32>,
    /// `presence_penalty`.
    pub presence_penalty: Option<f32>,
}

/// Penalties within which logits stay finite and the distribution is still one of the model's.
const PENALTIES: std::ops::RangeInclusive<f32> = 0.01..=100.0;

/// Temperature where a request gives none: OpenAI's.
pub const DEFAULT_TEMPERATURE: f32 = 1.0;

impl SamplingFields {
    /// The seed, if the request gives one.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.seed.filter(|&seed| seed != -1).map(|seed| seed as u64)
    }

    /// Checked settings, without a seed.
    ///
    /// # Errors
    /// A value outside its range.
    pub fn settings(&self) -> Result<SamplingSettings, ApiError> {
        let temperature = self.temperature.unwrap_or(DEFAULT_TEMPERATURE);
        if !(0.0..=10.0).contains(&temperature) {
            return Err(ApiError::field(
                "temperature",
                format!("Expected a temperature from 0 to 10, got {temperature}."),
            ));
        }
        let penalty = self.repetition_penalty.unwrap_or(1.0);
        if !PENALTIES.contains(&penalty) {
            let message = format!(
                "Expected a repetition_penalty from {} to {}, got {penalty}.",
                PENALTIES.start(),
                PENALTIES.end()
            );
            return Err(ApiError::field("repetition_penalty", message));
        }
        let defaults = SamplingSettings::default();
        let (repetition_penalty, repetition_window) = match self.repeat_last_n {
            None => (penalty, defaults.repetition_window),
            Some(0) => (1.0, defaults.repetition_window),
            // In the engine's settings 0 is the whole context.
            Some(last) => (penalty, usize::try_from(last).unwrap_or(0)),
        };
        let settings = SamplingSettings {
            temperature,
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.map_or(0, |k| usize::try_from(k).unwrap_or(0)),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty,
            repetition_window,
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            ..defaults
        };
        settings.check().map_err(|error| ApiError::field(error.field, format!("{error}.")))?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_kept() {
        let settings = |fields: SamplingFields| fields.settings().map_err(|error| error.body.param);
        assert_eq!(settings(SamplingFields::default()).expect("defaults").top_k, 0);
        let wrong = |name: &str, fields: SamplingFields| {
            assert_eq!(settings(fields).unwrap_err().as_deref(), Some(name))
        };
        wrong("temperature", SamplingFields { temperature: Some(-1.0), ..Default::default() });
        wrong("temperature", SamplingFields { temperature: Some(f32::NAN), ..Default::default() });
        wrong("top_p", SamplingFields { top_p: Some(0.0), ..Default::default() });
        wrong("min_p", SamplingFields { min_p: Some(2.0), ..Default::default() });
        for penalty in [0.0, 1e-38, -1.0, 1e30, f32::NAN] {
            let fields = SamplingFields { repetition_penalty: Some(penalty), ..Default::default() };
            wrong("repetition_penalty", fields);
        }
        wrong(
            "presence_penalty",
            SamplingFields { presence_penalty: Some(2.5), ..Default::default() },
        );
        assert_eq!(
            settings(SamplingFields { top_k: Some(-1), ..Default::default() }).expect("off").top_k,
            0
        );
    }

    #[test]
    fn the_window_of_the_penalty_is_llama_cpps() {
        let settings = |last| {
            let fields = SamplingFields {
                repetition_penalty: Some(1.2),
                repeat_last_n: last,
                ..Default::default()
            };
            let settings = fields.settings().expect("good");
            (settings.repetition_penalty, settings.repetition_window)
        };
        assert_eq!(settings(None), (1.2, 64));
        assert_eq!(settings(Some(0)).0, 1.0, "no token is looked at");
        assert_eq!(settings(Some(-1)), (1.2, 0), "the whole context");
        assert_eq!(settings(Some(10)), (1.2, 10));
    }

    #[test]
    fn a_seed_of_minus_one_is_none() {
        let seed = |seed| SamplingFields { seed, ..Default::default() }.seed();
        assert_eq!((seed(None), seed(Some(-1))), (None, None));
        assert_eq!((seed(Some(0)), seed(Some(-2))), (Some(0), Some(u64::MAX - 1)));
    }
}
