use super::{classes::class_of, *};
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
        assert!(
            last == first || (last - first) as f64 <= first as f64 / 8.0,
            "class {class}: {first} to {last}"
        );
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
    // The prior's t(n) is proportional to 1 + 0.12 (n - 1): t(1) = 0.020 / 1.12, t(200) = 0.1 (1 +
    // 0.12 * 199) / (1 + 0.12 * 99)
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
fn a_size_is_not_given_up_for_its_first_slow_pass() {
    let plain = || std::iter::repeat_n((1, 0.010), 20);
    let mut learned = curve(plain());
    let by_shape = learned.seconds(3);
    learned.observe(3, 0.050);
    assert_eq!((learned.seconds(3), learned.points()[1].sure), (by_shape, false));
    learned.observe(3, 0.011);
    learned.observe(3, 0.012);
    assert_eq!((learned.seconds(3), learned.points()[1].sure), (0.012, true));
    // A fast pass counts at once, and so does a slow size that is slow three times; what is
    // beyond it is no faster.
    let mut learned = curve(plain().chain([(3, 0.0102)]));
    assert_eq!(learned.seconds(3), 0.0102);
    learned = curve(plain().chain([(3, 0.050), (3, 0.051), (3, 0.052), (4, 0.2)]));
    assert_eq!(learned.seconds(3), 0.051);
    assert!((learned.seconds(4) - 0.051 * 1.36 / 1.24).abs() < 1e-9);
}

#[test]
fn a_slow_pass_of_a_small_size_says_nothing_of_larger_ones() {
    let learned = curve([(1, 5.0)].into_iter().chain((0..20).map(|_| (9, 0.010))));
    assert_eq!((learned.seconds(1), learned.seconds(9)), (0.010, 0.010));
}

#[test]
fn a_size_is_not_given_up_for_good() {
    let mut learned = curve((0..20).map(|_| (1, 0.010)));
    let by_shape = learned.seconds(3);
    (0..15).for_each(|_| learned.observe(3, 0.050));
    (0..=PassCurve::STALE).for_each(|_| learned.observe(1, 0.010));
    assert_eq!(learned.seconds(3), by_shape);
    learned.observe(3, 0.011);
    assert_eq!((learned.seconds(3), learned.points()[1].passes), (0.011, 1));
    assert_eq!(learned.seconds(1), 0.010);
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
    let wrong = [("0.75", "-1"), ("[40,", "[0,"), ("\"passes\":3", "\"passes\":2"), (&text, "{}")];
    for wrong in wrong.map(|(from, to)| text.replace(from, to)) {
        assert!(serde_json::from_str::<PassCurve>(&wrong).is_err(), "{wrong}");
    }
}
