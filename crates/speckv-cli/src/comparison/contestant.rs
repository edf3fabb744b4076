//! Contestants by the names that users type.

use speckv::controller::Drafting;
use speckv_lab::contestant::Contestant;
use speckv_local::controllers;
use speckv_local::controllers::{ControllerKind, ControllerSpec};

/// Reads `NAME`, or `NAME@SOURCES` with one of `DRAFTINGS`.
///
/// # Errors
/// No such controller, or no such source of drafts.
pub fn parse(text: &str, has_model: bool) -> Result<Contestant, String> {
    let (name, drafting) =
        text.rsplit_once('@').map_or((text, None), |(name, drafting)| (name, Some(drafting)));
    let spec = controllers::parse(name)?;
    let drafting = match drafting {
        None => spec.natural_drafting(has_model),
        Some(name) => {
            let named = DRAFTINGS.into_iter().find(|drafting| drafting.name() == name);
            named.ok_or_else(|| {
                let names = DRAFTINGS.map(|drafting| format!("@{}", drafting.name())).join(", ");
                format!("expected one of {names}, got {name:?}\nhint: for example speckv@model")
            })?
        }
    };
    if drafting != Drafting::Ngram && !has_model {
        return Err(format!(
            "{text:?} needs a draft model\nhint: give --draft MODEL, or leave {text} away"
        ));
    }
    if matches!(drafting, Drafting::Both | Drafting::ParallelNgram) && !spec.may_look_up() {
        return Err(format!("{name} drafts with one source\nhint: chain+{name} looks up first"));
    }
    Ok(Contestant::new(spec, drafting, has_model))
}

/// What may stand behind the `@` of a contestant.
const DRAFTINGS: [Drafting; 7] = [
    Drafting::Model,
    Drafting::Beside,
    Drafting::Parallel,
    Drafting::ParallelNgram,
    Drafting::ParallelBeside,
    Drafting::Ngram,
    Drafting::Both,
];

/// The names that are measured too where the draft model proposes several tokens in one pass, so
/// that every rule is compared with the same source.
#[must_use]
pub fn parallel_names() -> [&'static str; 11] {
    [
        "fixed:2@parallel",
        "fixed:3@parallel",
        "fixed:4@parallel",
        "fixed:6@parallel",
        "confidence@parallel",
        "entropy:adaedl@parallel",
        "adaptive-verification@parallel",
        "chain+fixed:3@parallel+ngram",
        "fixed:3@parallel+beside",
        "confidence@parallel+beside",
        "speckv@parallel",
    ]
}

/// Refuses contestants that draft several tokens in one pass where the draft model cannot.
///
/// # Errors
/// The first one that cannot draft.
pub fn check_parallel(contestants: &[Contestant], is_parallel: bool) -> Result<(), String> {
    use Drafting::{Parallel, ParallelBeside, ParallelNgram};
    let needs = |contestant: &&Contestant| {
        matches!(contestant.drafting, Parallel | ParallelNgram | ParallelBeside)
    };
    match contestants.iter().find(needs) {
        Some(contestant) if !is_parallel => Err(format!(
            "{} needs a draft model that proposes several tokens in one pass\n\
             hint: `speckv inspect` shows whether a model has mask tokens",
            contestant.name
        )),
        _ => Ok(()),
    }
}

/// All contestants, for a pair with or without a draft model: `off`, the fixed gammas, and `names`
/// in their order, each once.
///
/// # Errors
/// As [`parse`].
pub fn list(
    gammas: &[usize],
    names: &[impl AsRef<str>],
    has_model: bool,
) -> Result<Vec<Contestant>, String> {
    let natural = |spec| Contestant::natural(spec, has_model);
    let fixed =
        |gamma: &usize| ControllerSpec { chain: false, kind: ControllerKind::Fixed(Some(*gamma)) };
    let mut all = vec![natural(controllers::OFF)];
    all.extend(gammas.iter().map(fixed).map(natural));
    for name in names {
        all.push(parse(name.as_ref(), has_model)?);
    }
    let mut seen = Vec::new();
    all.retain(|contestant| {
        let new = !seen.contains(&contestant.name);
        seen.push(contestant.name.clone());
        new
    });
    Ok(all)
}

/// The names that are measured where the user gives none.
#[must_use]
pub fn default_names(has_model: bool) -> &'static [&'static str] {
    if has_model {
        &[
            "confidence",
            "heuristic",
            "entropy",
            "entropy:adaedl",
            "ema",
            "expected-value",
            "adaptive-verification",
            "paper",
            "chain+fixed:4",
            "fixed:3@beside",
            "entropy:adaedl@beside",
            "fixed:4@ngram",
            "speckv@ngram",
            "speckv@model",
            "speckv",
        ]
    } else {
        &[
            "confidence",
            "heuristic",
            "entropy",
            "ema",
            "expected-value",
            "adaptive-verification",
            "speckv",
        ]
    }
}

#[cfg(test)]
mod tests {
    use speckv::{
        controller::{Lookup, Plan, Situation},
        cost::SharedPass,
        record::Source,
        signals::Signals,
    };
    use speckv_local::controllers::ControllerParts;

    use super::*;

    #[test]
    fn names_say_who_drafts_only_where_it_is_not_natural() {
        let name = |text, has_model| parse(text, has_model).expect(text).name;
        assert_eq!(name("speckv", true), "speckv");
        assert_eq!(name("speckv@both", true), "speckv");
        assert_eq!(name("speckv@model", true), "speckv@model");
        assert_eq!(name("fixed-4@ngram", true), "fixed:4@ngram");
        assert_eq!(name("ema@model", true), "ema");
        assert_eq!(name("speckv@ngram", false), "speckv");
        for (text, has_model) in
            [("speckv@model", false), ("ema@both", true), ("ema@unknown", true), ("fast", true)]
        {
            assert!(parse(text, has_model).expect_err(text).contains("\nhint: "), "{text}");
        }
    }

    #[test]
    fn the_list_begins_with_off_and_has_nobody_twice() {
        let all =
            list(&[1, 4], &["fixed:4", "off", "speckv", "speckv@both"], true).expect("known names");
        let names: Vec<&str> = all.iter().map(|contestant| contestant.name.as_str()).collect();
        assert_eq!(names, ["off", "fixed:1", "fixed:4", "speckv"]);
        for has_model in [true, false] {
            assert!(list(&[], default_names(has_model), has_model).is_ok());
        }
    }

    #[test]
    fn a_source_that_is_not_allowed_is_not_seen() {
        let found = Lookup {
            match_length: 9,
            available: 9,
            signals: Signals { confidence: 1.0, ..Signals::default() },
        };
        let situation = Situation {
            context: 9,
            gamma_limit: 9,
            remaining: 99,
            draft_behind: 0,
            has_model: true,
            parallel: 8,
            lookup: Some(found),
            pass: SharedPass::ALONE,
        };
        let plan = |text| {
            let contestant = parse(text, true).expect(text);
            contestant.build(&ControllerParts::default()).plan(&situation)
        };
        assert_eq!(plan("chain+fixed:3").source, Source::NGRAM);
        assert_eq!(plan("chain+fixed:3@model"), Plan::model(3));
        assert_eq!(plan("fixed:3@ngram"), Plan::ngram(3));
        assert_eq!(plan("fixed:3"), Plan::model(3));
        assert_eq!(plan("fixed:3@parallel"), Plan::parallel(3));
        assert_eq!(plan("chain+fixed:3@parallel+ngram").source, Source::NGRAM);
    }
}
