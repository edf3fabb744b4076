//! The published numbers, as far as the folder has them.

use std::path::Path;

use serde::Deserialize;

use super::{
    data::{self, Compression, GAMMAS, Task},
    policies::Policy,
};
use crate::{
    sheet::{self, Sheet, SheetError},
    statistics::Interval,
};

/// Published figures. Every part may be missing; tables then have nothing beside them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Published {
    /// `paper_numbers.json`.
    pub numbers: Option<Numbers>,
    /// `paper_table1_policy_comparison.csv`: tokens per step by compression (none: overall) and
    /// policy.
    pub table1: Vec<(Option<Compression>, [f64; 5])>,
    /// `paper_table2_detailed_breakdown.csv`: Fixed-4, SpecKV and improvement in percent, by
    /// compression and task.
    pub table2: Vec<(Compression, Task, [f64; 3])>,
    /// `paper_confidence_intervals.csv`, by policy.
    pub intervals: Vec<(Policy, Interval)>,
    /// `phase2_optimal_gamma.csv`.
    pub optimal_gamma: Vec<(Compression, Task, usize)>,
}

/// The parts of `paper_numbers.json` that are compared.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Numbers {
    /// Of the predictors.
    pub predictor: PredictorNumbers,
    /// Of the policies.
    pub results: ResultNumbers,
    /// Of the paired test.
    pub statistical_test: TestNumbers,
    /// By the names of the features.
    pub feature_importance: std::collections::BTreeMap<String, f64>,
}

/// Of the predictors.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PredictorNumbers {
    /// Correlation of MLP-16 on the test rows.
    pub fast_test_corr: f64,
    /// Mean squared error of MLP-16 on the test rows.
    pub fast_test_mse: f64,
    /// Milliseconds of a decision with MLP-16.
    pub fast_overhead_ms: f64,
    /// Correlation of RF-100 on the test rows.
    pub reference_corr: f64,
    /// Milliseconds of a decision with RF-100.
    pub reference_overhead_ms: f64,
}

/// Of the policies.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ResultNumbers {
    /// SpecKV-fast above Fixed-4, in percent.
    pub overall_improvement_pct: f64,
}

/// Of the paired test.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TestNumbers {
    /// p.
    pub p_value: f64,
    /// Mean difference in tokens per step.
    pub mean_diff: f64,
}

impl Published {
    /// Reads what is there.
    ///
    /// # Errors
    /// [`SheetError`] for a file that is there and not what it should be.
    pub fn read(folder: &Path) -> Result<Self, SheetError> {
        let sheet = |name: &str, columns: &[&str]| {
            let path = folder.join(name);
            path.exists().then(|| Sheet::read(&path, columns)).transpose()
        };
        let policies = Policy::ALL.map(Policy::name);
        let table1 = sheet(
            "paper_table1_policy_comparison.csv",
            &[&["compression"], &policies[..]].concat(),
        )?;
        let table2 = sheet(
            "paper_table2_detailed_breakdown.csv",
            &["compression", "task", "Fixed-4", "SpecKV", "improvement_pct"],
        )?;
        let intervals =
            sheet("paper_confidence_intervals.csv", &["policy", "mean", "ci_lower", "ci_upper"])?;
        let optimal = sheet(
            "phase2_optimal_gamma.csv",
            &["compression", "task", "optimal_gamma", "best_tps"],
        )?;
        let mut published = Published {
            numbers: numbers(&folder.join("paper_numbers.json"))?,
            ..Published::default()
        };
        for row in table1.iter().flat_map(Sheet::rows) {
            let compression = if row.text("compression") == "Overall" {
                None
            } else {
                Some(data::compression(&row)?)
            };
            let mut values = [0.0; 5];
            for (value, policy) in values.iter_mut().zip(policies) {
                *value = row.number(policy, 1.0, 9.0)?;
            }
            published.table1.push((compression, values));
        }
        for row in table2.iter().flat_map(Sheet::rows) {
            let values = [
                row.number("Fixed-4", 1.0, 9.0)?,
                row.number("SpecKV", 1.0, 9.0)?,
                row.number("improvement_pct", -100.0, 800.0)?,
            ];
            published.table2.push((data::compression(&row)?, data::task(&row)?, values));
        }
        for row in intervals.iter().flat_map(Sheet::rows) {
            let policy = Policy::ALL.into_iter().find(|policy| policy.name() == row.text("policy"));
            let policy = policy.ok_or_else(|| row.wrong("policy", "a policy of table 1"))?;
            let [value, low, high] = [
                row.number("mean", 1.0, 9.0)?,
                row.number("ci_lower", 1.0, 9.0)?,
                row.number("ci_upper", 1.0, 9.0)?,
            ];
            published.intervals.push((policy, Interval { value, low, high }));
        }
        for row in optimal.iter().flat_map(Sheet::rows) {
            let gamma =
                row.value("optimal_gamma", "2, 4, 6 or 8", |gamma| GAMMAS.contains(gamma))?;
            published.optimal_gamma.push((data::compression(&row)?, data::task(&row)?, gamma));
        }
        Ok(published)
    }
}

fn numbers(path: &Path) -> Result<Option<Numbers>, SheetError> {
    if !path.exists() {
        return Ok(None);
    }
    serde_json::from_slice(&sheet::bytes(path)?).map(Some).map_err(|error| SheetError::Row {
        path: path.to_owned(),
        line: error.line() as u64,
        expected: "the paper's numbers as JSON".into(),
        got: error.to_string(),
    })
}
