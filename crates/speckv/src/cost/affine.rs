//! Seconds that depend on the length of the context.

/// Seconds that are affine in the context length: `seconds + per_context_token * context`.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Affine {
    /// Seconds at an empty context.
    pub seconds: f64,
    /// Seconds more for every token of context.
    pub per_context_token: f64,
}

impl Affine {
    /// Value at a context length, in seconds.
    #[must_use]
    pub(super) fn at(self, context: usize) -> f64 {
        self.seconds + self.per_context_token * context as f64
    }

    /// The same, `factor` times as long.
    pub(super) fn scaled(self, factor: f64) -> Self {
        Affine {
            seconds: self.seconds * factor,
            per_context_token: self.per_context_token * factor,
        }
    }
}
