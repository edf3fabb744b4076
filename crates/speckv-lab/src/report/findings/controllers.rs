//! The gains of the controllers.

use super::{
    super::{
        figures::counted,
        inputs::{Contest, ContestRow},
        plot::number,
    },
    Part, Table, Verdict, listed, ratio, too_few,
};
use crate::statistics::throughput::Ratio;

/// The controller in question.
const OURS: &str = "speckv";

/// The question.
pub(super) const HEADING: &str = "What does the controller gain?";

pub(super) fn part(contests: &[Contest]) -> Option<Part> {
    let ours: Vec<(&Contest, &ContestRow)> = contests
        .iter()
        .filter_map(|contest| Some((contest, contest.rows.iter().find(|row| row.name == OURS)?)))
        .filter(|(contest, _)| contest.baseline != OURS)
        .collect();
    if ours.is_empty() {
        return None;
    }
    let names = named(&ours);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let baselines: Vec<&str> = ours.iter().map(|(contest, _)| contest.baseline.as_str()).collect();
    let one = baselines.windows(2).all(|pair| pair[0] == pair[1]);
    let to_baseline: Vec<_> = ours.iter().map(|(_, row)| Some((row.ratio?, row.holm_p))).collect();
    let to_fixed: Vec<_> = ours.iter().map(|(_, row)| Some((row.to_best_fixed?, None))).collect();
    let sentences = [
        too_few(ours.iter().map(|(contest, _)| contest.prompts).min().unwrap_or_default()),
        one.then(|| said(&against(baselines[0]), &names, &to_baseline)).flatten(),
        said("Against the best fixed gamma, which only hindsight knows, it is", &names, &to_fixed),
    ];
    Some(Part {
        heading: HEADING,
        sentences: sentences.into_iter().flatten().collect(),
        table: Table {
            head: vec![
                "target",
                "prompts",
                "baseline, tokens/s",
                "controller, tokens/s",
                "to the baseline",
                "Holm's p",
                "best fixed gamma",
                "to that",
            ],
            rows: ours.iter().map(|(contest, row)| cells(contest, row)).collect(),
        },
    })
}

/// Names of the contests, with their numbers of prompts where those differ: such ratios are not
/// those of the same prompts.
fn named(ours: &[(&Contest, &ContestRow)]) -> Vec<String> {
    let alike = ours.windows(2).all(|pair| pair[0].0.prompts == pair[1].0.prompts);
    let name = |contest: &Contest| match alike {
        true => contest.name.clone(),
        false => format!("{} on {}", contest.name, counted(contest.prompts, "prompt")),
    };
    ours.iter().map(|(contest, _)| name(contest)).collect()
}

fn against(baseline: &str) -> String {
    let name = if baseline == "off" { "plain decoding" } else { baseline };
    format!("Against {name} the controller {OURS} is")
}

/// `... faster with fp16 and int8 (1.5 and 2 times), not to be told from it with nf4.`
fn said(head: &str, names: &[&str], ratios: &[Option<(Ratio, Option<f64>)>]) -> Option<String> {
    let kinds = [
        (Verdict::Faster, "faster"),
        (Verdict::Unknown, "not to be told from it in speed"),
        (Verdict::Slower, "slower"),
    ];
    let parts: Vec<String> = kinds
        .into_iter()
        .filter_map(|(kind, word)| {
            let of_kind: Vec<String> = names
                .iter()
                .zip(ratios)
                .filter_map(|(name, of)| of.map(|of| (name, of)))
                .filter(|(_, (of, p))| judged(of, *p) == kind)
                .map(|(name, (of, _))| format!("{name} ({} times as fast)", ratio(&of)))
                .collect();
            (!of_kind.is_empty()).then(|| format!("{word} with {}", listed(&of_kind)))
        })
        .collect();
    (!parts.is_empty()).then(|| format!("{head} {}.", parts.join("; ")))
}

/// The interval's verdict, unless a test that was made withholds it.
fn judged(ratio: &Ratio, holm_p: Option<f64>) -> Verdict {
    if holm_p.is_some_and(|p| p >= 0.05) { Verdict::Unknown } else { Verdict::of(ratio) }
}

fn cells(contest: &Contest, row: &ContestRow) -> Vec<String> {
    let speed = |name: &str| {
        let row = contest.rows.iter().find(|row| row.name == name);
        row.and_then(|row| row.tokens_per_second).map_or_else(|| "-".into(), number)
    };
    let shown = |of: Option<Ratio>| of.map_or_else(|| "-".into(), |of| ratio(&of));
    vec![
        contest.name.clone(),
        contest.prompts.to_string(),
        format!("{} ({})", speed(&contest.baseline), contest.baseline),
        speed(OURS),
        shown(row.ratio),
        row.holm_p.map_or_else(
            || "-".into(),
            |p| if p < 1e-3 { format!("{p:.0e}") } else { format!("{p:.3}") },
        ),
        contest
            .best_fixed
            .as_ref()
            .map_or_else(|| "-".into(), |best| format!("{best}, {}", speed(best))),
        shown(row.to_best_fixed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faster_is_said_only_where_interval_and_test_agree() {
        let clear = Ratio { value: 1.4, low: Some(1.1), high: Some(1.9) };
        assert_eq!(judged(&clear, None), Verdict::Faster);
        assert_eq!(judged(&clear, Some(0.01)), Verdict::Faster);
        assert_eq!(judged(&clear, Some(0.15)), Verdict::Unknown);
        let text =
            said("It is", &["fp16", "nf4"], &[Some((clear, Some(0.01))), Some((clear, Some(0.2)))]);
        let words = "It is faster with fp16 (1.40 [1.10, 1.90] times as fast); not to be told \
            from it in speed with nf4 (1.40 [1.10, 1.90] times as fast).";
        assert_eq!(text.as_deref(), Some(words));
        assert_eq!(said("It is", &["fp16"], &[None]), None);
        let few = said("It is", &["fp16"], &[Some((Ratio::alone(1.4), None))]);
        assert_eq!(
            few.as_deref(),
            Some("It is not to be told from it in speed with fp16 (1.40 times as fast).")
        );
    }

    #[test]
    fn contests_of_different_numbers_of_prompts_are_told_apart() {
        let row = ContestRow {
            name: OURS.into(),
            tokens_per_second: Some(10.0),
            ratio: Some(Ratio::alone(1.2)),
            to_best_fixed: None,
            holm_p: None,
            gamma_histogram: vec![],
        };
        let contest = |name: &str, prompts| Contest {
            name: name.into(),
            baseline: "off".into(),
            prompts,
            best_fixed: None,
            rows: vec![row.clone()],
            facts: vec![],
            origin: Default::default(),
        };
        let said = |contests: &[Contest]| part(contests).expect("a part").sentences.join(" ");
        let alike = said(&[contest("fp16", 10), contest("nf4", 10)]);
        assert!(alike.contains("with fp16 (1.20"), "{alike}");
        let apart = said(&[contest("fp16", 10), contest("nf4", 42)]);
        assert!(apart.contains("with fp16 on 10 prompts (1.20"), "{apart}");
        assert!(apart.contains("nf4 on 42 prompts (1.20"), "{apart}");
    }
}
