use super::{offer::UNPROVEN_GAMMA, *};
use crate::controller::{
    Lookup,
    testing::{cost, record, signals, situation},
};

fn controller(cost: CostModel) -> Speckv {
    Speckv::new(
        cost,
        Arc::new(Predictor::prior()),
        SessionFacts::default(),
        SpeckvOptions::default(),
    )
}

/// Plans and then judges positions of the given confidence until the controller stops: (verified,
/// last verdict).
fn drafted(controller: &mut Speckv, situation: &Situation, confidence: f32) -> (usize, Verdict) {
    let plan = controller.plan(situation);
    let all = vec![signals(confidence); plan.gamma];
    for count in 1..=plan.gamma {
        match controller.judge(&all[..count]) {
            Verdict::Continue => {}
            Verdict::Verify => return (count, Verdict::Verify),
            Verdict::Drop => return (count - 1, Verdict::Drop),
        }
    }
    (plan.gamma, Verdict::Continue)
}

#[test]
fn a_draft_as_slow_as_the_target_is_not_used() {
    let mut controller = controller(cost(1.0, 1.0, 0.3));
    assert_eq!(controller.plan(&situation(16)), Plan::OFF);
}

#[test]
fn sure_tokens_are_drafted_on_and_unsure_ones_end_the_draft() {
    let prices = || cost(0.2, 1.0, 0.05);
    let (sure, _) = drafted(&mut controller(prices()), &situation(16), 0.99);
    let (unsure, _) = drafted(&mut controller(prices()), &situation(16), 0.25);
    assert_eq!(sure, UNPROVEN_GAMMA, "as far as an unproven draft may go");
    assert!(unsure <= 1, "{unsure}");
    let (hopeless, verdict) = drafted(&mut controller(cost(0.2, 1.0, 0.3)), &situation(16), 0.02);
    assert_eq!((hopeless, verdict), (0, Verdict::Drop), "not worth its verification");
}

#[test]
fn the_same_signals_draft_further_where_drafting_is_cheaper() {
    let length = |draft: f64| {
        let mut controller = controller(cost(draft, 1.0, 0.03));
        for _ in 0..8 {
            let _ = controller.plan(&situation(16));
            controller.observe(&record(&[0.7; 3], 2));
        }
        drafted(&mut controller, &situation(16), 0.8).0
    };
    assert!(
        length(0.02) > length(0.15) && length(0.15) > length(0.45),
        "{} {} {}",
        length(0.02),
        length(0.15),
        length(0.45)
    );
}

#[test]
fn gamma_falls_as_the_batch_grows() {
    let length = |sequences| {
        let pass = SharedPass::crowd(sequences, 0);
        drafted(&mut controller(cost(0.1, 1.0, 0.04)), &Situation { pass, ..situation(16) }, 0.9).0
    };
    assert!(length(1) > length(16), "{} {}", length(1), length(16));
}

#[test]
fn look_up_drafts_where_it_is_worth_more_than_the_model() {
    let found = |match_length: u16, confidence: f32| {
        let mut first = signals(confidence);
        first.match_length = match_length;
        Some(Lookup { match_length: match_length.into(), available: 12, signals: first })
    };
    // A slow model: long matches are taken, a hopeless one is not.
    let mut slow = controller(cost(0.9, 1.0, 0.05));
    assert_eq!(
        slow.plan(&Situation { lookup: found(9, 1.0), ..situation(16) }).source,
        Source::NGRAM
    );
    assert!(slow.plan(&Situation { lookup: found(9, 1.0), ..situation(16) }).gamma > 0);
    let mut steep = controller(cost(0.9, 1.0, 0.9));
    assert_eq!(steep.plan(&Situation { lookup: found(1, 0.2), ..situation(16) }), Plan::OFF);
    // A good model that takes nearly no time is preferred to short matches.
    let mut cheap = controller(cost(0.01, 1.0, 0.1));
    assert_eq!(
        cheap.plan(&Situation { lookup: found(1, 0.3), ..situation(16) }).source,
        Source::MODEL
    );
}

#[test]
fn limits_are_kept_and_nothing_to_draft_with_is_off() {
    let mut controller = controller(cost(0.1, 1.0, 0.01));
    assert!(controller.plan(&situation(2)).gamma <= 2);
    assert_eq!(controller.plan(&situation(0)), Plan::OFF);
    assert_eq!(controller.plan(&Situation { has_model: false, ..situation(9) }), Plan::OFF);
}

#[test]
fn a_long_absence_has_its_price() {
    let value = |behind| {
        let mut controller = controller(cost(0.2, 1.0, 0.05));
        let _ = controller.plan(&situation(99)); // the first step: nothing to read
        controller.observe(&record(&[], 0));
        let situation = Situation { draft_behind: behind, ..situation(99) };
        let [_, model, _] = controller.offers(&situation, 1.2);
        model.expect("there is a model").value
    };
    assert!(
        value(0) > value(50) && value(50) > value(500),
        "{} {} {}",
        value(0),
        value(50),
        value(500)
    );
}

#[test]
fn a_prompt_is_read_where_the_answer_is_long_enough_to_pay_for_it() {
    let costs = || crate::controller::testing::cost(20.0, 100.0, 5.0); // catching up: 0.002 plain steps per token
    let plan = |prompt_weight, prompt, remaining| {
        let options = SpeckvOptions { prompt_weight, ..SpeckvOptions::default() };
        let mut controller =
            Speckv::new(costs(), Arc::new(Predictor::prior()), SessionFacts::default(), options);
        let gamma_limit = 30.min(remaining - 1);
        let situation = Situation {
            draft_behind: prompt,
            context: prompt + 1,
            gamma_limit,
            remaining,
            ..situation(0)
        };
        let first = controller.plan(&situation);
        assert!(
            first.gamma == 0 || prompt_weight == 0.0,
            "the first token does not wait for the draft"
        );
        controller.observe(&record(&[], 0));
        controller.plan(&Situation { remaining: remaining - 1, ..situation })
    };
    assert!(plan(1.0, 1_000, 256).gamma > 0, "2 plain steps for 256 tokens");
    assert_eq!(plan(1.0, 10_000, 16), Plan::OFF, "20 plain steps for 16 tokens");
    assert!(plan(1.0, 10_000, 256).gamma > 0, "20 plain steps for 256 tokens");
    assert_eq!(plan(1.0, 200_000, 1 << 20), Plan::OFF, "400 plain steps for a usual answer");
    assert!(
        plan(0.0, 200_000, 1 << 20).gamma > 0,
        "where the prompt's reading is not the draft's price"
    );
}

#[test]
fn a_chunk_of_anothers_prompt_does_not_make_reading_look_cheap() {
    let costs = crate::controller::testing::cost(20.0, 100.0, 5.0);
    let plan = |rows| {
        let options = SpeckvOptions::default();
        let mut controller = Speckv::new(
            costs.clone(),
            Arc::new(Predictor::prior()),
            SessionFacts::default(),
            options,
        );
        let pass = SharedPass { sequences: 4, rows, drafted_beside: 0, drafting_beside: 0 };
        let situation = Situation {
            draft_behind: 10_000,
            context: 10_001,
            remaining: 64,
            pass,
            ..situation(16)
        };
        let _ = controller.plan(&situation);
        controller.observe(&record(&[], 0));
        controller.plan(&situation)
    };
    assert_eq!(
        (plan(4), plan(260)),
        (Plan::OFF, Plan::OFF),
        "20 plain steps of all for 64 tokens of one"
    );
}

#[test]
fn a_long_prompt_is_read_late_rather_than_never() {
    let costs = crate::controller::testing::cost(20.0, 100.0, 5.0);
    let facts = SessionFacts::default();
    let mut controller =
        Speckv::new(costs, Arc::new(Predictor::prior()), facts, SpeckvOptions::default());
    let prompt = 200_000;
    let begins = (0..20_000).find(|&produced| {
        let context = prompt + produced;
        let plan =
            controller.plan(&Situation { draft_behind: context - 1, context, ..situation(30) });
        controller.observe(&record(&[], 0));
        plan.gamma > 0
    });
    let begins = begins.expect("it pays in the end");
    assert!((400..5_000).contains(&begins), "{begins} tokens: 400 plain steps have to be earned");
}

#[test]
fn another_text_keeps_the_costs_and_forgets_the_text() {
    let mut controller = controller(cost(0.2, 1.0, 0.05));
    for _ in 0..40 {
        let _ = controller.plan(&situation(16));
        let mut slow = record(&[0.9; 4], 4);
        slow.times.draft = std::time::Duration::from_secs_f64(4.0 * 0.3);
        slow.times.verify = std::time::Duration::from_secs_f64(1.2);
        slow.times.total = slow.times.draft + slow.times.verify;
        controller.observe(&slow);
    }
    let learned = controller.cost().clone();
    assert!(learned.draft_seconds(0) > 0.25);
    assert!(drafted(&mut controller, &situation(16), 0.99).0 > UNPROVEN_GAMMA);
    controller.next_text();
    assert_eq!(controller.cost(), &learned);
    assert_eq!(
        drafted(&mut controller, &situation(16), 0.99).0,
        UNPROVEN_GAMMA,
        "unproven in this text"
    );
    let turn = Situation { draft_behind: 100_000, context: 100_001, ..situation(999) };
    let _ = controller.plan(&turn);
    let reading = controller.catch_up(&turn);
    assert_eq!(reading.text, 0.0, "a new turn is a prompt");
    assert!(reading.prompt > 100.0);
}

#[test]
fn a_plan_changes_nothing_but_the_step_and_the_intervals_of_probes() {
    // Offers are values: what is asked of them any number of times does not show in the next one.
    let mut controller = controller(cost(0.2, 1.0, 0.05));
    let lookup = Lookup { match_length: 4, available: 12, signals: signals(0.9) };
    for accepted in [3, 0, 2, 3] {
        let _ = controller.plan(&situation(16));
        controller.observe(&record(&[0.9; 3], accepted));
    }
    let here = Situation { lookup: Some(lookup), draft_behind: 3, ..situation(16) };
    let values = |controller: &Speckv| {
        controller.offers(&here, 1.3).map(|offer| offer.map(|offer| (offer.value, offer.risk)))
    };
    let once = values(&controller);
    assert_eq!(once, values(&controller));
    let online = format!("{:?}", controller.online);
    let _ = controller.offers(&here, 1.3);
    assert_eq!(online, format!("{:?}", controller.online));
}

#[test]
fn a_second_choice_is_verified_where_the_draft_is_unsure_and_a_row_takes_little() {
    let sibling = |row: f64, siblings, beside: f64| {
        let options = SpeckvOptions { siblings, ..SpeckvOptions::default() };
        let (prior, facts) = (Arc::new(Predictor::prior()), SessionFacts::default());
        let mut controller = Speckv::new(cost(0.1, 1.0, row), prior, facts, options);
        let plan = controller.plan(&situation(16));
        assert!(plan.gamma >= 3);
        let all = [signals(0.95), signals(0.5), signals(0.9)];
        let all = all.map(|signals| Signals { margin: 0.5 * signals.confidence, ..signals });
        for count in 1..=all.len() {
            let _ = controller.judge(&all[..count]);
        }
        controller.step.as_mut().expect("a step that drafts").set_beside(beside);
        controller.sibling(&all)
    };
    assert_eq!(sibling(0.001, true, 0.0), Some(1), "the unsure token");
    assert_eq!(sibling(0.3, true, 0.0), None, "not worth its row");
    assert_eq!(sibling(0.001, false, 0.0), None, "not wanted");
    assert_eq!(sibling(0.001, true, 0.9), None, "look-up knows better");
}
