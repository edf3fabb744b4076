use std::time::Duration;

use super::*;
use crate::{
    controller::Plan,
    cost::{TimeSample, VerifySample},
    record::{Before, Drafted, Last, Outcome, Times},
};

pub(crate) fn record(gamma: usize, draft: f64, verify: f64) -> StepRecord {
    let seconds = Duration::from_secs_f64;
    StepRecord {
        before: Before {
            step: 0,
            context: 0,
            draft_behind: 0,
            block: 0,
            gamma_limit: 16,
            plan: Plan::model(gamma),
        },
        drafted: vec![Drafted::new(0, Default::default()); gamma],
        branch: Default::default(),
        outcome: Outcome {
            verified: gamma,
            accepted: 0,
            last: Last::Recovered,
            produced: 1,
            ended: false,
        },
        forced: Default::default(),
        times: Times {
            draft: seconds(draft * gamma as f64),
            verify: seconds(verify),
            total: seconds(draft * gamma as f64 + verify),
            ..Times::default()
        },
        tokens: vec![0],
    }
}

fn measured() -> CostModel {
    let verify = (1..=17).map(|rows| VerifySample {
        rows,
        context: 0,
        seconds: 0.040 + 0.005 * (rows - 1) as f64,
    });
    let samples = Samples {
        draft: vec![TimeSample { tokens: 1, context: 0, seconds: 0.012 }],
        verify: verify.collect(),
        catch_up: vec![TimeSample { tokens: 100, context: 0, seconds: 0.4 }],
        ..Samples::default()
    };
    CostModel::from_samples(&samples).expect("good samples")
}

#[test]
fn measured_times_come_back() {
    let cost = measured();
    assert!((cost.draft_seconds(0) - 0.012).abs() < 1e-12);
    assert!((cost.verify_seconds(4, 0) - 0.055).abs() < 1e-12);
    assert!((cost.catch_up_seconds(10) - 0.04).abs() < 1e-12);
    assert_eq!(cost.plain_seconds(0), cost.verify_seconds(1, 0));
    assert!(
        (cost.verify_seconds(20, 0) - (0.040 + 0.005 * 19.0)).abs() < 1e-12,
        "beyond the table the slope goes on"
    );
}

#[test]
fn measured_passes_of_a_crowd_take_the_place_of_the_straight_line() {
    let pass = |rows: usize, context: usize, seconds: f64| VerifySample { rows, context, seconds };
    let entry = |rows: usize, context: usize| 0.038 + 0.002 * rows as f64 + 1e-5 * context as f64;
    let contexts = [64, 1024];
    let mut verify: Vec<VerifySample> = (1..=17)
        .flat_map(|rows| contexts.map(|context| pass(rows, context, entry(rows, context))))
        .collect();
    verify.extend([pass(24, 64, entry(17, 64) + 0.035), pass(48, 64, entry(17, 64) + 0.155)]);
    let cost =
        CostModel::from_samples(&Samples { verify, ..Samples::default() }).expect("good samples");
    for (rows, more) in [(17, 0.0), (24, 0.035), (36, 0.095), (48, 0.155), (96, 0.395)] {
        let (got, expected) = (cost.verify_seconds(rows, 500), entry(17, 500) + more);
        assert!((got - expected).abs() < 1e-9, "{rows} rows: {got} instead of {expected}");
    }
    let text = serde_json::to_string(&cost).expect("serialises");
    let read: CostModel = serde_json::from_str(&text).expect("reads");
    assert!((read.verify_seconds(36, 500) / cost.verify_seconds(36, 500) - 1.0).abs() < 1e-9);
}

#[test]
fn one_stall_moves_nothing_by_more_than_an_eighth() {
    let mut cost = measured();
    let before = cost.clone();
    cost.observe(&record(4, 1.2, 6.0)); // a hundred times too slow
    for rows in 1..=17 {
        let ratio = cost.verify_seconds(rows, 0) / before.verify_seconds(rows, 0);
        assert!((0.875..1.125).contains(&ratio), "{rows} rows: {ratio}");
    }
    let ratio = cost.draft_seconds(0) / before.draft_seconds(0);
    assert!((0.875..1.125).contains(&ratio), "{ratio}");
}

#[test]
fn a_machine_that_slows_down_keeps_its_ratios_even_when_only_one_side_is_seen() {
    let mut cost = measured();
    let ratio = cost.draft_seconds(0) / cost.plain_seconds(0);
    for _ in 0..200 {
        cost.observe(&record(0, 0.0, 0.060)); // plain decoding only, 1.5 times slower
    }
    assert!((cost.plain_seconds(0) - 0.060).abs() < 0.002, "{}", cost.plain_seconds(0));
    let drifted = cost.draft_seconds(0) / cost.plain_seconds(0);
    assert!((drifted / ratio - 1.0).abs() < 0.35, "{ratio} became {drifted}");
}

#[test]
fn a_wrong_ratio_is_corrected_on_both_sides() {
    let mut cost = measured();
    for _ in 0..300 {
        cost.observe(&record(3, 0.024, 0.055)); // the draft is twice as slow as calibrated, the target as calibrated
    }
    assert!((cost.draft_seconds(0) / 0.024 - 1.0).abs() < 0.05, "{}", cost.draft_seconds(0));
    assert!(
        (cost.verify_seconds(4, 0) / 0.055 - 1.0).abs() < 0.05,
        "{}",
        cost.verify_seconds(4, 0)
    );
}

#[test]
fn without_calibration_the_first_steps_set_the_scale() {
    let mut cost = CostModel::uncalibrated();
    for step in 0..30 {
        let gamma = step % 4;
        cost.observe(&record(gamma, 0.001, 0.004 + 0.001 * gamma as f64));
    }
    assert!((cost.plain_seconds(0) / 0.004 - 1.0).abs() < 0.15, "{}", cost.plain_seconds(0));
    assert!((cost.draft_seconds(0) / 0.001 - 1.0).abs() < 0.2, "{}", cost.draft_seconds(0));
    assert!((cost.verify_seconds(4, 0) / 0.007 - 1.0).abs() < 0.2, "{}", cost.verify_seconds(4, 0));
}

#[test]
fn verification_never_gets_cheaper_with_more_rows() {
    let mut cost = measured();
    for step in 0..400 {
        let gamma = step * 7 % 9;
        let noise = if step % 3 == 0 { 2.0 } else { 0.7 };
        cost.observe(&record(gamma, 0.012, noise * 0.04));
        for context in [0, 1000] {
            for rows in 1..30 {
                assert!(
                    cost.verify_seconds(rows, context)
                        <= cost.verify_seconds(rows + 1, context) + 1e-15
                );
            }
        }
    }
}

#[test]
fn a_stored_model_comes_back_and_a_broken_one_is_refused() {
    let mut cost = measured();
    cost.observe(&record(3, 0.02, 0.05));
    let text = serde_json::to_string(&cost).expect("serialises");
    let read: CostModel = serde_json::from_str(&text).expect("reads");
    for rows in 1..=17 {
        assert!(
            (read.verify_seconds(rows, 100) / cost.verify_seconds(rows, 100) - 1.0).abs() < 1e-9
        );
    }
    let broken = text.replacen("\"seconds\":", "\"seconds\":-", 1);
    let error =
        serde_json::from_str::<CostModel>(&broken).expect_err("negative seconds").to_string();
    assert!(error.contains("expected a positive number of seconds"), "{error}");
}
