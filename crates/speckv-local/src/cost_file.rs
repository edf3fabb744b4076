//! Measured costs from a file: a stored cost model, or a curve written by hand.

use std::path::Path;

use speckv::cost::{CostModel, Samples, TimeSample, VerifySample};

use crate::failure::{Failure, Outcome, chain};

/// A curve in milliseconds, as one measures and writes it down.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Curve {
    /// Passes of 1, 2, 3, ... rows.
    verify_ms: Vec<f64>,
    /// One draft token.
    draft_ms: Option<f64>,
    /// Reading one missed token in a longer pass of the draft.
    catch_up_ms: Option<f64>,
}

/// Either shape.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum Content {
    Model(Box<CostModel>),
    Curve(Curve),
}

const HINT: &str = "give a stored cost model, or a curve such as {\"verify_ms\": [40, 41, 43], \
    \"draft_ms\": 14, \"catch_up_ms\": 4}";

/// Reads a cost model.
///
/// # Errors
/// A file that cannot be read, or that holds no times.
pub fn read(path: &Path) -> Outcome<CostModel> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    parse(&text).map_err(|failure| failure.about(path.display()))
}

/// A cost model out of a file's text.
///
/// # Errors
/// A text that holds no times.
pub fn parse(text: &str) -> Outcome<CostModel> {
    let content: Content = serde_json::from_str(text)
        .map_err(|error| Failure::new(format!("no measured costs: {error}"), HINT))?;
    let curve = match content {
        Content::Model(model) => return Ok(*model),
        Content::Curve(curve) => curve,
    };
    let seconds = |ms: f64| ms / 1e3;
    let verify = curve.verify_ms.iter().enumerate();
    let one = |ms: Option<f64>| {
        ms.map(|ms| TimeSample { tokens: 1, context: 0, seconds: seconds(ms) })
            .into_iter()
            .collect()
    };
    let samples = Samples {
        draft: one(curve.draft_ms),
        verify: verify
            .map(|(index, &ms)| VerifySample { rows: index + 1, context: 0, seconds: seconds(ms) })
            .collect(),
        catch_up: one(curve.catch_up_ms),
        ..Samples::default()
    };
    CostModel::from_samples(&samples).map_err(|error| Failure::new(chain(&error), HINT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_and_a_stored_model_are_read_and_nonsense_is_refused() {
        let curve = parse(r#"{"verify_ms": [40, 41, 43], "draft_ms": 14, "catch_up_ms": 4}"#)
            .expect("a curve");
        assert!((curve.verify_seconds(3, 0) - 0.043).abs() < 1e-12);
        assert!((curve.draft_seconds(0) - 0.014).abs() < 1e-12);
        assert!((curve.catch_up_seconds(2) - 0.008).abs() < 1e-12);
        let stored = serde_json::to_string(&curve).expect("JSON");
        assert_eq!(parse(&stored).expect("a model"), curve);
        for wrong in [
            "",
            "{}",
            r#"{"verify_ms": []}"#,
            r#"{"verify_ms": [-1]}"#,
            r#"{"verify_ms": [1], "draft": 2}"#,
        ] {
            assert!(parse(wrong).expect_err(wrong).hint().contains("verify_ms"));
        }
    }
}
