//! What reading and plain decoding cost, for predictions of how long a measurement takes.

use speckv::cost::CostModel;

/// Tokens of the pass that tells what the reading of a prompt costs; longer ones cost less a token.
const READ_ROWS: usize = 48;
/// Context at which times are predicted.
const CONTEXT: usize = 256;

/// Seconds per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Of a prompt that the target reads.
    pub read: f64,
    /// Of a prompt that the draft model reads.
    pub draft_read: f64,
    /// Of an answer that is decoded plainly.
    pub decode: f64,
}

impl Pace {
    /// The pace of a pair with these costs.
    #[must_use]
    pub fn of(costs: &CostModel) -> Self {
        Pace {
            read: costs.verify_seconds(READ_ROWS, CONTEXT) / READ_ROWS as f64,
            draft_read: costs.catch_up_seconds(READ_ROWS) / READ_ROWS as f64,
            decode: costs.plain_seconds(CONTEXT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_costs() {
        let costs = CostModel::uncalibrated();
        let pace = Pace::of(&costs);
        assert_eq!(pace.decode, costs.plain_seconds(256));
        assert!((pace.read * 48.0 - costs.verify_seconds(48, 256)).abs() < 1e-12);
        assert!(pace.read < pace.decode, "tokens that are read share a pass: {pace:?}");
    }
}
