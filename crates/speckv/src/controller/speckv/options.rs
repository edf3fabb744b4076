//! What a user may set on the default controller.

/// Options of [`Speckv`](super::Speckv).
///
/// | option | default | range | effect |
/// |---|---|---|---|
/// | `max_gamma` | 16 | 0 to 64 | most tokens per step |
/// | `credit` | 5 | >= 0 | plain steps per source that may be lost on finding out that it is worthless; fewer where many sequences share a pass |
/// | `allowance` | 0.015 | 0 to 1 | share of plain decoding's time that probing a worthless source may cost after that |
/// | `window` | 48 | >= 1 | steps over which the throughput is averaged: shorter follows change, longer is steadier |
/// | `siblings` | true | | whether the draft's second choice at an unsure token may be verified beside the draft, where that is worth a row |
/// | `prompt_weight` | 1 | 0 to 1 | share of the draft's reading of the *prompt* that counts as a price of drafting. 1: a draft must be worth it within what the answer is expected to have left; 0: the prompt's reading belongs to the prompt |
///
/// The defaults were chosen on synthetic traces of seeds below 100; `tests/simulated.rs` of
/// `speckv-lab` holds what they promise on other seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeckvOptions {
    /// See the table. More than [`MAX_GAMMA`](crate::controller::MAX_GAMMA) is that.
    pub max_gamma: usize,
    /// See the table.
    pub credit: f64,
    /// See the table.
    pub allowance: f64,
    /// See the table.
    pub window: f64,
    /// See the table.
    pub prompt_weight: f64,
    /// See the table.
    pub siblings: bool,
}

impl Default for SpeckvOptions {
    fn default() -> Self {
        SpeckvOptions {
            max_gamma: 16,
            credit: 5.0,
            allowance: 0.015,
            window: 48.0,
            prompt_weight: 1.0,
            siblings: true,
        }
    }
}
