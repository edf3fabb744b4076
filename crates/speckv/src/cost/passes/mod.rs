//! What a foreign engine's passes take, seen from outside: any number of rows, no control over
//! which ones come.

use std::collections::{BTreeMap, VecDeque};

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
/// given up for one slow pass, as the first of a size often is, nor for good: whoever chooses sizes
/// by this curve tries it again, for a few passes in a thousand, and a class that is tried again
/// forgets what it was.
///
/// The classes are then made to rise with the rows (least squares, weighted by passes); between
/// them the curve is straight; below the first and beyond the last it has the shape of a prior. The
/// same passes in the same order make the same curve.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct PassCurve {
    prior: CostModel,
    window: usize,
    classes: BTreeMap<usize, Class>,
    passes: u64,
}

/// The last passes of a class.
type Class = VecDeque<Pass>;

/// One pass: rows, seconds, and which of all passes it was, from 0.
type Pass = (usize, f64, u64);

/// What is kept on disk.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Kept {
    prior: CostModel,
    window: usize,
    passes: u64,
    /// The last passes of all classes, each class in its order.
    kept: Vec<Pass>,
}

/// A class with passes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassPoint {
    /// Mean rows of its passes.
    pub rows: f64,
    /// Median of their seconds.
    pub seconds: f64,
    /// Passes in the window.
    pub passes: usize,
    /// Whether they are enough, and the last of them is recent.
    pub sure: bool,
}

/// Most passes that a class keeps.
const LONGEST_WINDOW: usize = 1000;

impl PassCurve {
    /// Passes per class that count unless said otherwise.
    pub const WINDOW: usize = 15;
    /// Fewest passes of a class that can contradict the classes below it: of three, one may stall.
    pub const SURE: usize = 3;
    /// After so many passes of other classes, what a class cost is hearsay.
    pub const STALE: u64 = 1000;

    /// A curve before any pass: that of `prior`. `window` is brought into 1 to 1000.
    #[must_use]
    pub fn new(prior: CostModel, window: usize) -> Self {
        PassCurve {
            prior,
            window: window.clamp(1, LONGEST_WINDOW),
            classes: BTreeMap::new(),
            passes: 0,
        }
    }

    /// Learns from a pass over `rows` rows. What is not a positive number of seconds, and a pass
    /// over nothing, teach nothing.
    pub fn observe(&mut self, rows: usize, seconds: f64) {
        if !is_pass(rows, seconds) {
            return;
        }
        let class = self.classes.entry(class_of(rows)).or_default();
        if class.back().is_some_and(|&(_, _, last)| is_stale(last, self.passes)) {
            class.clear();
        }
        keep(class, (rows, seconds, self.passes), self.window);
        self.passes += 1;
    }

    /// What it has the shape of where nothing was measured.
    #[must_use]
    pub fn prior(&self) -> &CostModel {
        &self.prior
    }

    /// Passes observed.
    #[must_use]
    pub fn passes(&self) -> u64 {
        self.passes
    }

    /// The classes with passes, ascending, as they were measured.
    #[must_use]
    pub fn points(&self) -> Vec<PassPoint> {
        let point = |class: &Class| {
            let mut seconds: Vec<f64> = class.iter().map(|pass| pass.1).collect();
            let rows = class.iter().map(|pass| pass.0 as f64).sum::<f64>() / class.len() as f64;
            let recent = class.back().is_some_and(|&(_, _, last)| !is_stale(last, self.passes));
            let enough = class.len() >= PassCurve::SURE.min(self.window);
            PassPoint {
                rows,
                seconds: super::calibration::median(&mut seconds),
                passes: class.len(),
                sure: enough && recent,
            }
        };
        self.classes.values().map(point).collect()
    }

    /// The points as they count: unsure ones bounded by the sure ones beside them, then all made to
    /// rise.
    fn counted(&self) -> Vec<PassPoint> {
        let mut points = self.points();
        let (mut below, mut above): (Option<PassPoint>, _) = (None, f64::INFINITY);
        for point in &mut points {
            if point.sure {
                below = Some(*point);
            } else if let Some(sure) = below {
                point.seconds = point.seconds.min(self.shaped(&sure, point.rows));
            }
        }
        for point in points.iter_mut().rev() {
            if point.sure {
                above = point.seconds;
            } else {
                point.seconds = point.seconds.min(above);
            }
        }
        rising(points)
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
        };
        CostModel::try_from(parts)
    }

    fn prior_seconds(&self, rows: f64) -> f64 {
        self.prior.verify_seconds(rows.round() as usize, 0)
    }

    /// What `point` says of `rows` by the prior's shape.
    fn shaped(&self, point: &PassPoint, rows: f64) -> f64 {
        point.seconds * self.prior_seconds(rows) / self.prior_seconds(point.rows)
    }

    fn at(&self, points: &[PassPoint], rows: usize) -> f64 {
        let here = rows.max(1) as f64;
        match points.iter().position(|point| point.rows >= here) {
            None => points.last().map_or_else(
                || self.prior_seconds(here),
                |last| self.shaped(last, here).max(last.seconds),
            ),
            Some(0) => self.shaped(&points[0], here).min(points[0].seconds),
            Some(index) => {
                let (from, to) = (points[index - 1], points[index]);
                from.seconds
                    + (to.seconds - from.seconds) * (here - from.rows) / (to.rows - from.rows)
            }
        }
    }
}

/// Whether that can be a pass: over something, in a positive number of seconds.
fn is_pass(rows: usize, seconds: f64) -> bool {
    rows > 0 && seconds.is_finite() && seconds > 0.0
}

/// Adds a pass to its class, of which the last `window` are kept.
fn keep(class: &mut Class, pass: Pass, window: usize) {
    if class.len() == window {
        class.pop_front();
    }
    class.push_back(pass);
}

/// Whether pass number `last` is so long ago, after `passes` passes, that what it took may no
/// longer hold.
fn is_stale(last: u64, passes: u64) -> bool {
    passes - last > PassCurve::STALE
}

/// Number of the class: 1 to 16 rows each alone, then eight classes per power of two.
fn class_of(rows: usize) -> usize {
    if rows <= 16 {
        return rows;
    }
    let octave = rows.ilog2() as usize; // at least 4
    let eighth = ((rows - (1 << octave)) >> (octave - 3)).min(7);
    17 + 8 * (octave - 4) + eighth
}

/// The nearest points (least squares, weighted by passes) whose seconds never fall: pool adjacent
/// violators.
fn rising(mut points: Vec<PassPoint>) -> Vec<PassPoint> {
    let mut blocks: Vec<(f64, usize, usize)> = Vec::new(); // (mean seconds, passes, points)
    for point in &points {
        blocks.push((point.seconds, point.passes, 1));
        while let [.., left, right] = blocks[..]
            && left.0 > right.0
        {
            let passes = left.1 + right.1;
            let mean = (left.0 * left.1 as f64 + right.0 * right.1 as f64) / passes as f64;
            blocks.truncate(blocks.len() - 2);
            blocks.push((mean, passes, left.2 + right.2));
        }
    }
    let seconds = blocks.iter().flat_map(|&(mean, _, count)| std::iter::repeat_n(mean, count));
    points.iter_mut().zip(seconds).for_each(|(point, seconds)| point.seconds = seconds);
    points
}

impl TryFrom<Kept> for PassCurve {
    type Error = CostError;

    fn try_from(kept: Kept) -> Result<Self, CostError> {
        let mut curve = PassCurve::new(kept.prior, kept.window);
        for pass @ (rows, seconds, number) in kept.kept {
            if !is_pass(rows, seconds) {
                return Err(CostError::NotATime { got: seconds });
            }
            if number >= kept.passes {
                return Err(CostError::NotAPass { got: number, passes: kept.passes });
            }
            keep(curve.classes.entry(class_of(rows)).or_default(), pass, curve.window);
        }
        curve.passes = kept.passes;
        Ok(curve)
    }
}

impl From<PassCurve> for Kept {
    fn from(curve: PassCurve) -> Kept {
        let PassCurve { prior, window, classes, passes } = curve;
        Kept { prior, window, passes, kept: classes.into_values().flatten().collect() }
    }
}

#[cfg(test)]
mod tests;
