//! How times grow with rows, learned from passes of whatever sizes come.

use super::passes::{self, PassClasses, PassPoint};

/// Times of passes by their rows, as factors on a pass of a known size. Never falls with the rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Growth {
    points: Vec<PassPoint>,
}

impl Growth {
    /// The growth that `classes` say, from `known` rows on, whose factor is 1. `prior` is what it
    /// is before any pass.
    pub(super) fn of(classes: &PassClasses, known: usize, prior: impl Fn(f64) -> f64) -> Self {
        let points =
            if classes.is_empty() { Vec::new() } else { classes.counted_from((known, 1.0), prior) };
        Growth { points }
    }

    /// Whether nothing was learned.
    pub(super) fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The factor of `rows` rows.
    pub(super) fn at(&self, rows: usize, prior: impl Fn(f64) -> f64) -> f64 {
        passes::at(&self.points, rows as f64, prior)
    }
}
