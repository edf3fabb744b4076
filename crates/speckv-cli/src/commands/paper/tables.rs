//! The reproduction in words.

use std::fmt::Write;

use speckv_lab::paper::{
    policies::Policy,
    published::PredictorNumbers,
    tables::{Beside, INTERVAL_RESAMPLES, Reproduction},
};

use super::Decision;
use crate::table::Table;

/// `5.82 (5.82)`: ours, and in brackets what was published.
fn beside(value: Beside, decimals: usize) -> String {
    match value.published {
        Some(published) => format!("{:.decimals$} ({published:.decimals$})", value.ours),
        // As wide as with a published value, so that ours stand under each other.
        None => format!("{:.decimals$}{}", value.ours, " ".repeat(decimals + 5)),
    }
}

/// Tables 1 to 3, intervals, test, importance, decision time.
pub(super) fn text(
    made: &Reproduction,
    decision: &Decision,
    numbers: Option<&PredictorNumbers>,
) -> String {
    let mut text = format!("The paper again, seed {}. In brackets: as published.\n\n", made.seed);
    let split = made.split;
    let origin = match (split.published, split.drawn_by_seed) {
        (true, true) => "the published test rows, which this seed draws by itself",
        (true, false) => "the published test rows; this seed would draw others",
        (false, _) => "drawn by the seed, stratified by compression and task",
    };
    let _ = writeln!(
        text,
        "Split: {} rows to fit, {} to judge by: {origin}.\n",
        split.train, split.test
    );

    text.push_str(
        "Table 3: predicting the acceptance rate of rows that a model was not fitted to\n",
    );
    let mut table = Table::new(&["predictor", "correlation", "MSE"]);
    for row in &made.predictors {
        table.row(vec![row.kind.name().into(), beside(row.correlation, 4), beside(row.mse, 4)]);
    }
    let _ = writeln!(text, "{table}");

    text.push_str(
        "Table 1: forecast tokens per step, models refitted to all rows, asked on the test rows\n",
    );
    let mut head = vec!["target"];
    head.extend(Policy::ALL.map(Policy::name));
    let mut table = Table::new(&head);
    for row in &made.policies {
        let mut cells =
            vec![row.compression.map_or("overall", |compression| compression.name()).to_owned()];
        cells.extend(row.tokens_per_step.iter().map(|value| beside(*value, 2)));
        table.row(cells);
    }
    let _ = writeln!(text, "{table}");

    text.push_str("Table 2: by task, forecast tokens per step\n");
    let mut table = Table::new(&["target", "task", "Fixed-4", "SpecKV-fast", "improvement, %"]);
    for row in &made.tasks {
        table.row(vec![
            row.compression.name().into(),
            row.task.name().into(),
            beside(row.fixed_4, 2),
            beside(row.speckv, 2),
            beside(row.improvement_percent, 1),
        ]);
    }
    let _ = writeln!(text, "{table}");

    let _ = writeln!(
        text,
        "95% intervals of table 1's last row, {INTERVAL_RESAMPLES} resamples of rows"
    );
    let mut table = Table::new(&["policy", "tokens per step", "interval", "published"]);
    for row in &made.intervals {
        let interval = |low: f64, high: f64| format!("[{low:.2}, {high:.2}]");
        table.row(vec![
            row.policy.name().into(),
            format!("{:.3}", row.ours.value),
            interval(row.ours.low, row.ours.high),
            row.published
                .map_or_else(String::new, |published| interval(published.low, published.high)),
        ]);
    }
    let _ = writeln!(text, "{table}");

    let test = &made.paired_test;
    let published =
        made.published_test.map_or_else(String::new, |[mean, p]| format!(" ({mean:.3}, p = {p})"));
    let _ = writeln!(
        text,
        "SpecKV-fast above Fixed-4: {} %. Paired difference {:.3} [{:.3}, {:.3}], p \
         {}{published}.\n",
        beside(made.improvement_percent, 1),
        test.difference.value,
        test.difference.low,
        test.difference.high,
        if test.p_value > 0.0 {
            format!("= {}", test.p_value)
        } else {
            format!("< 1/{}", test.resamples)
        },
    );

    text.push_str("Importance of features in RF-100 (removed squared error)\n");
    let mut table = Table::new(&["feature", "share"]);
    for (name, value) in &made.importance {
        table.row(vec![(*name).into(), beside(*value, 3)]);
    }
    let _ = writeln!(text, "{table}");

    let shown =
        |published: Option<f64>| published.map_or_else(String::new, |ms| format!(" ({ms} ms)"));
    let _ = writeln!(
        text,
        "One decision among four gammas, on this machine, signals not counted: MLP-16 {:.5} ms{}, \
         RF-100 {:.4} ms{}.",
        decision.fast_ms,
        shown(numbers.map(|numbers| numbers.fast_overhead_ms)),
        decision.accurate_ms,
        shown(numbers.map(|numbers| numbers.reference_overhead_ms)),
    );
    if made.optimal_gammas_that_differ > 0 {
        let _ = writeln!(
            text,
            "{} of the task oracle's gammas differ from the published ones.",
            made.optimal_gammas_that_differ
        );
    }
    text
}
