//! Seconds of passes by their rows, from a file: measured by `bench --curve`, stored as a cost
//! model, or written by hand.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;
use speckv::cost::{CostModel, MEASURED_ROWS};
use speckv_lab::{
    batch_table::{RowTimes, TableError},
    report::inputs::CurveFile,
};
use speckv_local::failure::{Failure, Outcome, chain};

/// Milliseconds of passes by rows.
#[derive(Debug, Clone)]
pub struct Points {
    /// A pass of so many rows.
    pub verify_ms: BTreeMap<usize, f64>,
    /// One draft token.
    pub draft_ms: Option<f64>,
}

impl Points {
    /// The same curve, `factor` times as slow.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> BTreeMap<usize, f64> {
        self.verify_ms.iter().map(|(&rows, ms)| (rows, factor * ms)).collect()
    }

    /// The curve to calculate with; failures name `path`.
    ///
    /// # Errors
    /// A curve without a time of 1 row, or with something that is not a time.
    pub fn row_times(&self, path: Option<&Path>) -> Outcome<RowTimes> {
        let failure = |error: TableError| Failure::new(chain(&error), HINT);
        RowTimes::new(self.verify_ms.iter().map(|(&rows, ms)| (rows, ms / 1e3))).map_err(|error| {
            match path {
                Some(path) => failure(error).about(path.display()),
                None => failure(error),
            }
        })
    }
}

/// What a file says of passes.
#[derive(Debug)]
pub enum Curves {
    /// `speckv bench --curve`, by context.
    Measured(CurveFile),
    /// Written by hand.
    ByHand(Points),
    /// A stored cost model.
    Model(Box<CostModel>),
}

/// A curve by hand: times of 1, 2, 3, ... rows, or times by rows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ByHand {
    verify_ms: Times,
    draft_ms: Option<f64>,
    #[serde(rename = "catch_up_ms")]
    _catch_up_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
enum Times {
    InOrder(Vec<f64>),
    ByRows(BTreeMap<usize, f64>),
}

impl TryFrom<Value> for Times {
    type Error = serde_json::Error;

    // Not derived: serde's untagged enums do not know that a key of JSON may be a number.
    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        if value.is_array() {
            return serde_json::from_value(value).map(Times::InOrder);
        }
        serde_json::from_value(value).map(Times::ByRows)
    }
}

const HINT: &str = "give what `speckv bench --curve MODEL --json` prints, or a curve such as \
    {\"verify_ms\": {\"1\": 20, \"8\": 21, \"64\": 30}, \"draft_ms\": 4}";

impl Curves {
    /// Reads any of the three.
    ///
    /// # Errors
    /// A file that cannot be read, or that holds no times.
    pub fn read(path: &Path) -> Outcome<Self> {
        let text = fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
        let wrong = |error: serde_json::Error| {
            Failure::new(format!("no curve: {error}"), HINT).about(path.display())
        };
        let value: Value = serde_json::from_str(&text).map_err(wrong)?;
        if value.get("curves").is_some() {
            let file: CurveFile = serde_json::from_value(value).map_err(wrong)?;
            let whole = !file.curves.is_empty();
            return whole.then_some(Curves::Measured(file)).ok_or_else(|| {
                Failure::new("no curve: `curves` is empty", HINT).about(path.display())
            });
        }
        if value.get("verify").is_some() {
            return serde_json::from_value(value)
                .map(|cost| Curves::Model(Box::new(cost)))
                .map_err(wrong);
        }
        let by_hand: ByHand = serde_json::from_value(value).map_err(wrong)?;
        let verify_ms = match by_hand.verify_ms {
            Times::InOrder(times) => (1..).zip(times).collect(),
            Times::ByRows(times) => times,
        };
        Ok(Curves::ByHand(Points { verify_ms, draft_ms: by_hand.draft_ms }))
    }

    /// The points of a cost model at a context.
    #[must_use]
    pub fn of_cost(cost: &CostModel, context: usize) -> Points {
        let verify_ms = (1..=MEASURED_ROWS)
            .map(|rows| (rows, 1e3 * cost.verify_seconds(rows, context)))
            .collect();
        Points { verify_ms, draft_ms: Some(1e3 * cost.draft_seconds(context)) }
    }

    /// The curve at the context nearest to the wanted one, and that context.
    #[must_use]
    pub fn at(&self, wanted: Option<usize>) -> (Points, usize) {
        match self {
            Curves::Model(cost) => (Self::of_cost(cost, wanted.unwrap_or(0)), wanted.unwrap_or(0)),
            Curves::ByHand(points) => (points.clone(), wanted.unwrap_or(0)),
            Curves::Measured(file) => {
                let nearest = file
                    .curves
                    .iter()
                    .min_by_key(|curve| curve.context.abs_diff(wanted.unwrap_or(0)));
                let passes = nearest.map_or(&[][..], |curve| &curve.passes);
                let verify_ms =
                    passes.iter().map(|pass| (pass.rows, pass.milliseconds.median)).collect();
                (Points { verify_ms, draft_ms: None }, nearest.map_or(0, |curve| curve.context))
            }
        }
    }
}
