//! The seconds of another engine's passes, seen from outside: of any number of rows, and not chosen
//! by this library.

mod classes;

pub use classes::PassPoint;
pub(super) use classes::{PassClasses, at};

use super::{Affine, CostError, CostModel, MEASURED_ROWS, Online, Parts};

/// t(n), the seconds of a pass over n rows, learned from whatever passes are made, from one row to
/// a hundred thousand.
///
/// Passes are sorted into classes of similar size: each size alone up to 16, then steps of an
/// eighth of the power of two below. A class keeps its last `window` passes and counts as their
/// median, so that stalls and compilations do no harm.
///
/// A class with fewer than [`SURE`](PassCurve::SURE) passes, or without one among the last
/// [`STALE`](PassCurve::STALE), is *unsure*: it counts for no more than the nearest sure class
/// below says by the prior's shape, nor for more than the nearest sure class above. So no size is
/// given up for one slow pass, as the first of a size often is, nor for good: a controller that
/// chooses sizes by this curve tries it again, for a few passes in a thousand, and a class that is
/// tried again forgets its old passes.
///
/// The classes are then made to rise with the rows (least squares, weighted by passes); between
/// them the curve is straight; below the first and beyond the last it has the shape of a prior. The
/// same passes in the same order make the same curve.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PassCurve {
    prior: CostModel,
    #[serde(flatten)]
    classes: PassClasses,
}

impl PassCurve {
    /// Passes per class that count unless said otherwise.
    pub const WINDOW: usize = PassClasses::WINDOW;
    /// Fewest passes of a class that can contradict the classes below it: of three, one may stall.
    pub const SURE: usize = PassClasses::SURE;
    /// After so many passes of other classes, the seconds of a class may no longer hold.
    pub const STALE: u64 = PassClasses::STALE;

    /// A curve before any pass: that of `prior`. `window` is brought into 1 to 1000.
    #[must_use]
    pub fn new(prior: CostModel, window: usize) -> Self {
        PassCurve { prior, classes: PassClasses::new(window) }
    }

    /// Learns from a pass over `rows` rows. What is not a positive number of seconds, and a pass
    /// over nothing, teach nothing.
    pub fn observe(&mut self, rows: usize, seconds: f64) {
        let _ = self.classes.observe(rows, seconds);
    }

    /// What it has the shape of where nothing was measured.
    #[must_use]
    pub fn prior(&self) -> &CostModel {
        &self.prior
    }

    /// Passes observed.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.classes.passes()
    }

    /// The classes with passes, ascending, as they were measured.
    #[must_use]
    pub fn points(&self) -> Vec<PassPoint> {
        self.classes.points()
    }

    /// t(rows) in seconds; never falls with the rows.
    #[must_use]
    pub fn seconds(&self, rows: usize) -> f64 {
        self.at(&self.counted(), rows)
    }

    /// A cost model with this curve for verification, and everything else from `base`.
    ///
    /// # Errors
    /// [`CostError::NotATime`] where `base` and the passes are so far apart that a time overflows.
    pub fn costs(&self, base: &CostModel) -> Result<CostModel, CostError> {
        let points = self.counted();
        let verify = std::array::from_fn(|index| Affine {
            seconds: self.at(&points, index + 1),
            per_context_token: 0.0,
        });
        let mut tail: Vec<(usize, f64)> = Vec::new();
        for point in &points {
            let rows = point.rows.round() as usize;
            if rows > tail.last().map_or(MEASURED_ROWS, |before| before.0) {
                tail.push((rows, self.at(&points, rows)));
            }
        }
        if let Some(&(last, _)) = tail.last() {
            // The slope beyond the end is the prior's, not that of the last two classes.
            tail.push((2 * last, self.at(&points, 2 * last)));
        }
        let parts = Parts {
            draft: Affine {
                seconds: base.draft_seconds(0),
                per_context_token: base.draft_seconds(1) - base.draft_seconds(0),
            },
            verify,
            catch_up_per_token: base.catch_up_seconds(1),
            ngram_per_token: base.ngram_seconds(),
            online: Online::calibrated(),
            tail,
            sources: base.parts().sources.clone(),
            draft_rows: base.parts().draft_rows.clone(),
            large: PassClasses::default(),
            rounds: base.parts().rounds.clone(),
        };
        CostModel::try_from(parts)
    }

    fn counted(&self) -> Vec<PassPoint> {
        self.classes.counted(|rows| self.prior_seconds(rows))
    }

    fn at(&self, points: &[PassPoint], rows: usize) -> f64 {
        at(points, rows.max(1) as f64, |rows| self.prior_seconds(rows))
    }

    fn prior_seconds(&self, rows: f64) -> f64 {
        self.prior.verify_seconds(rows.round() as usize, 0)
    }
}

#[cfg(test)]
mod tests;
