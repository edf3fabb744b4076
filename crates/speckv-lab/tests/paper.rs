//! The paper's reproduction on its public data, which is not part of this project.
//!
//! The data is looked for in the folder that `SPECKV_PAPER` names, else in `../shared/paper` beside
//! the workspace. Without it these tests say so and pass.

use std::path::PathBuf;

use speckv_lab::paper::{
    PAPER_SEED,
    audit::{self, Audit},
    data::{Compression, PaperData},
    models::Kind,
    policies::Policy,
    published::Published,
    tables::{self, Reproduction},
};

fn folder() -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/paper");
    let folder = std::env::var_os("SPECKV_PAPER").map_or(beside, PathBuf::from);
    let there = folder.join("phase2_step_results.csv").exists();
    if !there {
        eprintln!(
            "SKIPPED: the paper's data is not here; name its folder in SPECKV_PAPER to test the \
             reproduction"
        );
    }
    there.then_some(folder)
}

fn made() -> Option<(PaperData, Reproduction, Audit)> {
    let folder = folder()?;
    let data = PaperData::read(&folder).expect("the published files are well formed");
    let published = Published::read(&folder).expect("the published numbers are well formed");
    let (split, facts) = tables::split(&data, PAPER_SEED);
    let fitted = tables::fit(&data, &split, PAPER_SEED).expect("weights");
    let reproduction = tables::reproduce(&data, &published, &fitted, (&split, facts), PAPER_SEED);
    let audit = audit::audit(&data, &split, &fitted, PAPER_SEED).expect("weights");
    Some((data, reproduction, audit))
}

fn near(what: &str, ours: f64, expected: f64, tolerance: f64) {
    assert!((ours - expected).abs() <= tolerance, "{what}: {ours} for {expected} +- {tolerance}");
}

/// Oracles: the paper's published numbers, and what scikit-learn 1.9 makes of its data by its
/// recipe (correlations of MLP-32 and RF-10, Ridge).
#[test]
fn the_paper_comes_back_and_is_audited() {
    let Some((data, tables, audit)) = made() else { return };
    assert_eq!((data.steps.len(), data.runs.len()), (5112, 240));
    assert!(
        tables.split.published && tables.split.drawn_by_seed,
        "seed 42 draws the published rows"
    );
    assert_eq!((tables.split.train, tables.split.test), (4089, 1023));

    let row =
        |kind: Kind| tables.predictors.iter().find(|row| row.kind == kind).expect("every kind");
    near("Ridge correlation", row(Kind::Ridge).correlation.ours, 0.6809, 5e-5);
    near("Ridge MSE", row(Kind::Ridge).mse.ours, 0.0909, 5e-5);
    near("MLP-16 correlation", row(Kind::Mlp16).correlation.ours, 0.6853, 5e-4);
    near("MLP-16 MSE", row(Kind::Mlp16).mse.ours, 0.0896, 1e-4);
    near("MLP-32 correlation", row(Kind::Mlp32).correlation.ours, 0.678, 0.005);
    near("RF-10 correlation", row(Kind::Forest10).correlation.ours, 0.7666, 0.01);
    near("RF-100 correlation", row(Kind::Forest100).correlation.ours, 0.834, 0.01);

    let overall = tables.policies.last().expect("the overall row");
    for (policy, expected) in Policy::ALL.into_iter().zip([3.73, 5.81, 4.07, 5.82, 6.39]) {
        let beside = overall.tokens_per_step[policy as usize];
        assert_eq!(beside.published, Some(expected));
        near(
            policy.name(),
            beside.ours,
            expected,
            if policy == Policy::Accurate { 0.05 } else { 0.006 },
        );
    }
    for row in tables.policies.iter().flat_map(|row| &row.tokens_per_step) {
        near("table 1", row.ours, row.published.expect("published"), 0.1);
    }
    for row in &tables.tasks {
        near("table 2", row.speckv.ours, row.speckv.published.expect("published"), 0.006);
        near(
            "table 2",
            row.improvement_percent.ours,
            row.improvement_percent.published.expect("published"),
            0.2,
        );
    }
    near("improvement", tables.improvement_percent.ours, 56.0, 0.2);
    for row in &tables.intervals {
        let published = row.published.expect("published");
        near("lower end", row.ours.low, published.low, 0.05);
        near("upper end", row.ours.high, published.high, 0.05);
    }
    assert_eq!(tables.paired_test.p_value, 0.0);
    near("mean difference", tables.paired_test.difference.value, 2.091, 0.005);
    assert_eq!(tables.optimal_gammas_that_differ, 0);

    near("share of gamma 8", audit.choices[3] as f64 / 1023.0, 0.93, 0.005);
    near("SpecKV-fast above Fixed-8", audit.above_fixed_8_percent, 0.2, 0.05);
    let eight = audit.by_gamma.last().expect("gamma 8");
    near("forecast at gamma 8", eight.forecast, 6.10, 0.05);
    near("observed at gamma 8", eight.observed, 5.18, 0.005);
    near("optimism", audit.optimism_percent, 18.0, 1.0);
    let cost = |compression, gamma| {
        *audit
            .costs
            .iter()
            .find(|row| (row.compression, row.gamma) == (compression, gamma))
            .expect("every cell")
    };
    for (compression, fastest, fixed) in [
        (Compression::Fp16, 64.4, 20.0),
        (Compression::Int8, 31.5, 90.0),
        (Compression::Nf4, 48.8, 36.0),
    ] {
        let best = [2, 4, 6, 8]
            .map(|gamma| cost(compression, gamma).tokens_per_second)
            .into_iter()
            .fold(0.0, f64::max);
        near("best speed", best, fastest, 0.05);
        near("fixed part", cost(compression, 2).fixed_ms, fixed, 2.0);
        near("per token", cost(compression, 2).token_ms, 10.5, 0.3);
    }
    // Observed speeds of fixed gammas are the measured ones: all tokens by all seconds.
    for row in audit.speeds.iter().filter(|row| row.policy.starts_with("Fixed-")) {
        let gamma = row.policy["Fixed-".len()..].parse().expect("a gamma");
        let runs =
            data.runs.iter().filter(|run| (run.compression, run.gamma) == (row.compression, gamma));
        let (tokens, seconds) =
            runs.fold((0.0, 0.0), |(t, s), run| (t + run.tokens as f64, s + run.seconds));
        near(&row.policy, row.observed, tokens / seconds, 1e-9);
    }
    // Oracle: scikit-learn 1.9, folds by prompt.
    let prompts: Vec<f64> = audit.generalisation.iter().map(|row| row.held_out_prompts).collect();
    near("Ridge by prompt", prompts[0], 0.647, 0.001);
    near("MLP-16 by prompt", prompts[1], 0.647, 0.01);
    near("RF-100 by prompt", prompts[2], 0.597, 0.02);
    assert!(prompts[2] < prompts[0], "on prompts outside the training set the forest is the worst");
}
