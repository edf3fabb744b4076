//! Passes sorted by their size, and what each size takes.

use std::collections::{BTreeMap, VecDeque};

use super::super::{CostError, calibration};

/// The last passes of a class.
type Class = VecDeque<Pass>;

/// One pass: rows, seconds, and which of all passes it was, from 0.
type Pass = (usize, f64, u64);

/// Most passes that a class keeps.
const LONGEST_WINDOW: usize = 1000;

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

/// Passes in classes of similar size: each size alone up to 16, then steps of an eighth of the
/// power of two below. See [`PassCurve`](super::PassCurve) for what becomes of them.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub(in crate::cost) struct PassClasses {
    window: usize,
    classes: BTreeMap<usize, Class>,
    passes: u64,
}

/// What is kept on disk.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Kept {
    window: usize,
    passes: u64,
    /// The last passes of all classes, each class in its order.
    kept: Vec<Pass>,
}

impl Default for PassClasses {
    fn default() -> Self {
        Self::new(PassClasses::WINDOW)
    }
}

impl PassClasses {
    /// Passes per class that count unless said otherwise.
    pub(crate) const WINDOW: usize = 15;
    /// Fewest passes of a class that can contradict the classes below it: of three, one may stall.
    pub(crate) const SURE: usize = 3;
    /// After so many passes of other classes, the seconds of a class may no longer hold.
    pub(crate) const STALE: u64 = 1000;

    /// No passes yet. `window` is brought into 1 to 1000.
    pub(crate) fn new(window: usize) -> Self {
        let window = window.clamp(1, LONGEST_WINDOW);
        PassClasses { window, classes: BTreeMap::new(), passes: 0 }
    }

    /// Adds a pass over `rows` rows. Returns whether it counts: it is over something, in a positive
    /// number of seconds.
    pub(crate) fn observe(&mut self, rows: usize, seconds: f64) -> bool {
        if !is_pass(rows, seconds) {
            return false;
        }
        let class = self.classes.entry(class_of(rows)).or_default();
        if class.back().is_some_and(|&(_, _, last)| is_stale(last, self.passes)) {
            class.clear();
        }
        keep(class, (rows, seconds, self.passes), self.window);
        self.passes += 1;
        true
    }

    /// Passes observed.
    pub(crate) fn passes(&self) -> u64 {
        self.passes
    }

    /// Whether there were none.
    pub(crate) fn is_empty(&self) -> bool {
        self.passes == 0
    }

    /// Whether the class of `rows` has enough and recent passes.
    pub(crate) fn is_sure(&self, rows: usize) -> bool {
        self.classes.get(&class_of(rows)).is_some_and(|class| self.counts(class))
    }

    fn counts(&self, class: &Class) -> bool {
        let recent = class.back().is_some_and(|&(_, _, last)| !is_stale(last, self.passes));
        recent && class.len() >= PassClasses::SURE.min(self.window)
    }

    /// The classes with passes, ascending, as they were measured.
    pub(crate) fn points(&self) -> Vec<PassPoint> {
        let point = |class: &Class| {
            let mut seconds: Vec<f64> = class.iter().map(|pass| pass.1).collect();
            let rows = class.iter().map(|pass| pass.0 as f64).sum::<f64>() / class.len() as f64;
            PassPoint {
                rows,
                seconds: calibration::median(&mut seconds),
                passes: class.len(),
                sure: self.counts(class),
            }
        };
        self.classes.values().map(point).collect()
    }

    /// The points as they count: unsure ones bounded by the sure ones beside them, then all made to
    /// rise. `shape` says in which proportion times grow with rows where nothing was measured.
    pub(crate) fn counted(&self, shape: impl Fn(f64) -> f64) -> Vec<PassPoint> {
        counted(self.points(), shape)
    }

    /// The same with a point before them that is known: (rows, seconds).
    pub(crate) fn counted_from(
        &self,
        known: (usize, f64),
        shape: impl Fn(f64) -> f64,
    ) -> Vec<PassPoint> {
        let (rows, seconds) = (known.0 as f64, known.1);
        let first = PassPoint { rows, seconds, passes: KNOWN, sure: true };
        counted(std::iter::once(first).chain(self.points()).collect(), shape)
    }
}

/// Passes that a known point counts as: it does not move.
const KNOWN: usize = 1_000_000;

/// See [`PassClasses::counted`].
fn counted(mut points: Vec<PassPoint>, shape: impl Fn(f64) -> f64) -> Vec<PassPoint> {
    let (mut below, mut above): (Option<PassPoint>, _) = (None, f64::INFINITY);
    for point in &mut points {
        if point.sure {
            below = Some(*point);
        } else if let Some(sure) = below {
            point.seconds = point.seconds.min(shaped(&sure, point.rows, &shape));
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

/// The line through `points`, which rise: straight between them, in the proportions of `shape`
/// before the first and after the last; `shape` itself where there are none.
pub(in crate::cost) fn at(points: &[PassPoint], rows: f64, shape: impl Fn(f64) -> f64) -> f64 {
    match points.iter().position(|point| point.rows >= rows) {
        None => points
            .last()
            .map_or_else(|| shape(rows), |last| shaped(last, rows, &shape).max(last.seconds)),
        Some(0) => shaped(&points[0], rows, &shape).min(points[0].seconds),
        Some(index) => {
            let (from, to) = (points[index - 1], points[index]);
            from.seconds + (to.seconds - from.seconds) * (rows - from.rows) / (to.rows - from.rows)
        }
    }
}

/// What `point` says of `rows` by `shape`.
fn shaped(point: &PassPoint, rows: f64, shape: impl Fn(f64) -> f64) -> f64 {
    point.seconds * shape(rows) / shape(point.rows)
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
    passes - last > PassClasses::STALE
}

/// Number of the class: 1 to 16 rows each alone, then eight classes per power of two.
pub(super) fn class_of(rows: usize) -> usize {
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

impl TryFrom<Kept> for PassClasses {
    type Error = CostError;

    fn try_from(kept: Kept) -> Result<Self, CostError> {
        let mut made = PassClasses::new(kept.window);
        for pass @ (rows, seconds, number) in kept.kept {
            if !is_pass(rows, seconds) {
                return Err(CostError::NotATime { got: seconds });
            }
            if number >= kept.passes {
                return Err(CostError::NotAPass { got: number, passes: kept.passes });
            }
            keep(made.classes.entry(class_of(rows)).or_default(), pass, made.window);
        }
        made.passes = kept.passes;
        Ok(made)
    }
}

impl From<PassClasses> for Kept {
    fn from(made: PassClasses) -> Kept {
        let PassClasses { window, classes, passes } = made;
        Kept { window, passes, kept: classes.into_values().flatten().collect() }
    }
}
