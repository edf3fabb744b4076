//! What a foreign engine's passes take, seen from outside: any number of rows, no control over which ones come.

use std::collections::{BTreeMap, VecDeque};

use super::{Affine, CostError, CostModel, MEASURED_ROWS, Online, Parts};

/// t(n), the seconds of a pass over n rows, learned from whatever passes are made, from one row to a hundred thousand.
///
/// Passes are sorted into classes of similar size: each size alone up to 16, then steps of an eighth of the power of two below. A class keeps its last
/// `window` passes and counts as their median, so that stalls and compilations do no harm. The medians are made to rise with the rows (least
/// squares, weighted by passes); between classes the curve is straight; below the first class and beyond the last one it has the shape of a prior.
/// The same passes in the same order make the same curve.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub struct PassCurve {
    prior: CostModel,
    window: usize,
    classes: BTreeMap<usize, Class>,
    passes: u64,
}

/// The last passes of a class, as (rows, seconds).
type Class = VecDeque<(usize, f64)>;

/// What is kept on disk.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Kept {
    prior: CostModel,
    window: usize,
    passes: u64,
    /// The last passes of all classes, each class in its order.
    kept: Vec<(usize, f64)>,
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
}

/// Most passes that a class keeps.
const LONGEST_WINDOW: usize = 1000;

impl PassCurve {
    /// Passes per class that count unless said otherwise.
    pub const WINDOW: usize = 15;

    /// A curve before any pass: that of `prior`. `window` is brought into 1 to 1000.
    #[must_use]
    pub fn new(prior: CostModel, window: usize) -> Self {
        PassCurve { prior, window: window.clamp(1, LONGEST_WINDOW), classes: BTreeMap::new(), passes: 0 }
    }

    /// Learns from a pass over `rows` rows. What is not a positive number of seconds, and a pass over nothing, teach nothing.
    pub fn observe(&mut self, rows: usize, seconds: f64) {
        if rows == 0 || !(seconds.is_finite() && seconds > 0.0) {
            return;
        }
        let class = self.classes.entry(class_of(rows)).or_default();
        if class.len() == self.window {
            class.pop_front();
        }
        class.push_back((rows, seconds));
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

    /// The classes with passes, ascending, before they are made to rise.
    #[must_use]
    pub fn points(&self) -> Vec<PassPoint> {
        let point = |class: &Class| {
            let mut seconds: Vec<f64> = class.iter().map(|pass| pass.1).collect();
            let rows = class.iter().map(|pass| pass.0 as f64).sum::<f64>() / class.len() as f64;
            PassPoint { rows, seconds: super::calibration::median(&mut seconds), passes: class.len() }
        };
        self.classes.values().map(point).collect()
    }

    /// t(rows) in seconds; never falls with the rows.
    #[must_use]
    pub fn seconds(&self, rows: usize) -> f64 {
        self.at(&rising(self.points()), rows)
    }

    /// A cost model with this curve for verification, and everything else from `base`.
    ///
    /// # Errors
    /// [`CostError::NotATime`] where `base` and the passes are so far apart that a time overflows.
    pub fn costs(&self, base: &CostModel) -> Result<CostModel, CostError> {
        let points = rising(self.points());
        let verify =
            std::array::from_fn(|index| Affine { seconds: self.at(&points, index + 1), per_context_token: 0.0 });
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

    fn at(&self, points: &[PassPoint], rows: usize) -> f64 {
        let prior = |rows: f64| self.prior.verify_seconds(rows.round() as usize, 0);
        let scaled = |point: &PassPoint| point.seconds * prior(rows as f64) / prior(point.rows);
        let here = rows.max(1) as f64;
        match points.iter().position(|point| point.rows >= here) {
            None => points.last().map_or_else(|| prior(here), |last| scaled(last).max(last.seconds)),
            Some(0) => scaled(&points[0]).min(points[0].seconds),
            Some(index) => {
                let (from, to) = (points[index - 1], points[index]);
                from.seconds + (to.seconds - from.seconds) * (here - from.rows) / (to.rows - from.rows)
            }
        }
    }
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

/// The nearest points (least squares, weighted by passes) whose seconds never fall: pool adjacent violators.
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
        for (rows, seconds) in kept.kept {
            if rows == 0 || !(seconds.is_finite() && seconds > 0.0) {
                return Err(CostError::NotATime { got: seconds });
            }
            curve.observe(rows, seconds);
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
mod tests {
    use super::*;
    use crate::cost::SharedPass;

    fn curve(passes: impl IntoIterator<Item = (usize, f64)>) -> PassCurve {
        let mut curve = PassCurve::new(CostModel::uncalibrated(), PassCurve::WINDOW);
        passes.into_iter().for_each(|(rows, seconds)| curve.observe(rows, seconds));
        curve
    }

    #[test]
    fn classes_are_in_order_and_hold_at_most_an_eighth() {
        for rows in 1..100_000_usize {
            let (here, next) = (class_of(rows), class_of(rows + 1));
            assert!(next == here || next == here + 1, "{rows}: {here}, {next}");
        }
        for class in 1..class_of(100_000) {
            let members: Vec<usize> = (1..100_001).filter(|&rows| class_of(rows) == class).collect();
            let (first, last) = (members[0], members[members.len() - 1]);
            assert!(last == first || (last - first) as f64 <= first as f64 / 8.0, "class {class}: {first} to {last}");
        }
    }

    #[test]
    fn before_any_pass_the_curve_is_the_priors() {
        let prior = CostModel::uncalibrated();
        for rows in [1, 2, 17, 40] {
            assert_eq!(curve([]).seconds(rows), prior.verify_seconds(rows, 0));
        }
    }

    #[test]
    fn between_classes_it_is_straight_and_outside_it_has_the_priors_shape() {
        let curve = curve([(2, 0.020), (6, 0.028), (100, 0.1)]);
        assert!((curve.seconds(4) - 0.024).abs() < 1e-12);
        // The prior's t(n) is proportional to 1 + 0.12 (n - 1): t(1) = 0.020 / 1.12, t(200) = 0.1 (1 + 0.12 * 199) / (1 + 0.12 * 99)
        assert!((curve.seconds(1) - 0.020 / 1.12).abs() < 1e-12);
        assert!((curve.seconds(200) - 0.1 * 24.88 / 12.88).abs() < 1e-9);
        assert_eq!(curve.seconds(0), curve.seconds(1));
    }

    #[test]
    fn a_stall_moves_nothing_and_old_passes_are_forgotten() {
        let mut learned = curve((0..15).map(|_| (8, 0.030)));
        learned.observe(8, 9.0);
        assert_eq!(learned.seconds(8), 0.030);
        for _ in 0..15 {
            learned.observe(8, 0.045);
        }
        assert_eq!(learned.seconds(8), 0.045);
        let before = learned.clone();
        [(0, 1.0), (8, 0.0), (8, f64::NAN), (8, -1.0)]
            .iter()
            .for_each(|&(rows, seconds)| learned.observe(rows, seconds));
        assert_eq!(learned, before);
    }

    #[test]
    fn it_never_falls_with_the_rows_whatever_was_measured() {
        let mut state = 7_u64;
        let mut learned = curve([]);
        for _ in 0..400 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let rows = 1 + (state >> 33) as usize % 300;
            learned.observe(rows, 0.01 + ((state >> 20) % 1000) as f64 * 1e-4);
        }
        let costs = learned.costs(&CostModel::uncalibrated()).expect("times");
        for rows in 1..900 {
            assert!(learned.seconds(rows + 1) >= learned.seconds(rows) - 1e-12, "{rows}");
            assert!(
                costs.verify_seconds(rows + 1, 0) >= costs.verify_seconds(rows, 0) - 1e-12,
                "{rows} in the cost model"
            );
        }
    }

    #[test]
    fn the_cost_model_has_the_curve_at_any_number_of_rows_and_the_rest_of_its_base() {
        let learned = curve((1..200).map(|rows| (rows, 0.040 + 0.0005 * rows as f64)));
        let base = CostModel::uncalibrated();
        let costs = learned.costs(&base).expect("times");
        for rows in [1, 5, 17, 18, 31, 64, 100, 180] {
            let expected = 0.040 + 0.0005 * rows as f64;
            let got = costs.verify_seconds(rows, 0);
            assert!((got / expected - 1.0).abs() < 0.01, "{rows} rows: {got} instead of {expected}");
        }
        assert_eq!(costs.draft_seconds(500), base.draft_seconds(500));
        assert_eq!(costs.catch_up_seconds(3), base.catch_up_seconds(3));
        // 64 sequences: one more row costs its 0.5 ms, and a share of the pass is t(64) / 64.
        let crowd = SharedPass::crowd(64, 0);
        let one_more = costs.shared_verify_seconds(2, 0, crowd) - costs.shared_plain_seconds(0, crowd);
        assert!((one_more - 0.0005).abs() < 5e-5, "{one_more}");
        let text = serde_json::to_string(&costs).expect("JSON");
        let back: CostModel = serde_json::from_str(&text).expect("a model"); // JSON rounds the last digit
        assert!((back.verify_seconds(130, 0) / costs.verify_seconds(130, 0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn it_comes_back_from_json_and_nonsense_does_not() {
        let learned = curve([(1, 0.25), (40, 0.75), (1, 0.5)]);
        let text = serde_json::to_string(&learned).expect("JSON");
        let back: PassCurve = serde_json::from_str(&text).expect("a curve");
        assert_eq!((back.points(), back.passes()), (learned.points(), 3));
        for wrong in [text.replace("0.75", "-1"), text.replace("[40,", "[0,"), "{}".into()] {
            assert!(serde_json::from_str::<PassCurve>(&wrong).is_err(), "{wrong}");
        }
    }
}
