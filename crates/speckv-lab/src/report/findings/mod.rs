//! Findings in words, with intervals. Every judgement follows from an interval: a report claims
//! nothing that its data could not have refuted.

mod controllers;
mod gammas;
mod signals;

use super::{Inputs, figures::cells::Grid, plot::number};
use crate::statistics::{Estimate, FEWEST_UNITS, throughput::Ratio};

/// One question with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The question.
    pub heading: &'static str,
    /// The answer, the most important first.
    pub sentences: Vec<String>,
    /// The numbers of the answer.
    pub table: Table,
}

/// Numbers in rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What the columns hold.
    pub head: Vec<&'static str>,
    /// As many cells in each as columns.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// The table without columns that hold nothing in any row.
    #[must_use]
    pub fn without_empty_columns(&self) -> Self {
        let filled =
            |column: usize| self.rows.iter().any(|row| !matches!(row[column].as_str(), "" | "-"));
        let kept: Vec<usize> = (0..self.head.len()).filter(|&column| filled(column)).collect();
        Table {
            head: kept.iter().map(|&column| self.head[column]).collect(),
            rows: self
                .rows
                .iter()
                .map(|row| kept.iter().map(|&column| row[column].clone()).collect())
                .collect(),
        }
    }
}

/// The most important sentence of all findings: the controller's gain if that was measured, else
/// the first answer. `None` without findings.
#[must_use]
pub fn summary(parts: &[Part]) -> Option<&str> {
    let part = parts.iter().find(|part| part.heading == controllers::HEADING).or(parts.first())?;
    let too_few = |sentence: &&String| sentence.contains("too few for intervals");
    let telling = part.sentences.iter().find(|sentence| !too_few(sentence));
    telling.or(part.sentences.first()).map(String::as_str)
}

/// Questions that the inputs answer: which gamma is best, what the signals predict, what the
/// controller gains.
#[must_use]
pub fn findings(inputs: &Inputs) -> Vec<Part> {
    let steps = inputs.grid.as_ref().map(|(_, steps)| steps.as_slice()).unwrap_or_default();
    [gammas::part(&Grid::of(steps)), signals::part(steps), controllers::part(&inputs.contests)]
        .into_iter()
        .flatten()
        .collect()
}

/// `1.52 [1.44, 1.60]`; of too few prompts `1.52`.
fn ratio(ratio: &Ratio) -> String {
    let ends =
        ratio.ends().map_or_else(String::new, |(low, high)| format!(" [{low:.2}, {high:.2}]"));
    format!("{:.2}{ends}", ratio.value)
}

/// `42.3 [40.1, 44.0]`
fn amount(estimate: &Estimate) -> String {
    let ends = estimate
        .ends()
        .map_or_else(String::new, |(low, high)| format!(" [{}, {}]", number(low), number(high)));
    number(estimate.value) + &ends
}

/// `97 % [96, 98]`
fn percent(estimate: &Estimate) -> String {
    let ends = estimate.ends().map_or_else(String::new, |(low, high)| {
        format!(" [{:.0}, {:.0}]", 100.0 * low, 100.0 * high)
    });
    format!("{:.0} %{ends}", 100.0 * estimate.value)
}

/// The finding where there are too few prompts for an interval.
fn too_few(prompts: usize) -> Option<String> {
    (prompts < FEWEST_UNITS).then(|| {
        let of = super::figures::counted(prompts, "prompt");
        format!(
            "{of}: too few for intervals, so nothing here is known to be faster or slower; \
            {FEWEST_UNITS} are the least."
        )
    })
}

/// `a`, `a and b`, `a, b and c`.
fn listed<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            format!(
                "{} and {}",
                first.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", "),
                last.as_ref()
            )
        }
    }
}

/// What an interval lets one say about a ratio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Faster,
    Unknown,
    Slower,
}

impl Verdict {
    /// By the ends as they are shown, with two decimals: an end that reads 1.00 decides nothing,
    /// and neither does a ratio without ends.
    fn of(ratio: &Ratio) -> Self {
        match ratio.ends() {
            Some((low, _)) if low >= 1.005 => Verdict::Faster,
            Some((_, high)) if high < 0.995 => Verdict::Slower,
            _ => Verdict::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_a_value_are_left_out() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let table = Table {
            head: vec!["a", "b", "c"],
            rows: vec![row(["1", "-", "-"]), row(["2", "", "3"])],
        };
        let trimmed = table.without_empty_columns();
        assert_eq!(trimmed.head, ["a", "c"]);
        assert_eq!(trimmed.rows, [["1", "-"], ["2", "3"]]);
    }

    #[test]
    fn the_summary_is_the_controllers_gain_or_the_first_answer() {
        let part = |heading, sentences: &[&str]| Part {
            heading,
            sentences: sentences.iter().map(|&text| text.to_owned()).collect(),
            table: Table::default(),
        };
        let few = "3 prompts: too few for intervals, so nothing is known.";
        let gammas = part("Which gamma is best, and where?", &[few, "Gamma 4 is."]);
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(std::slice::from_ref(&gammas)), Some("Gamma 4 is."));
        let gain = part(controllers::HEADING, &["It is faster."]);
        assert_eq!(summary(&[gammas, gain]), Some("It is faster."));
        assert_eq!(summary(&[part("Which?", &[few])]), Some(few));
    }

    #[test]
    fn words_follow_from_intervals() {
        let verdict =
            |low, high| Verdict::of(&Ratio { value: 1.0, low: Some(low), high: Some(high) });
        assert_eq!(verdict(1.01, 1.2), Verdict::Faster);
        assert_eq!(verdict(1.004, 1.2), Verdict::Unknown, "shown as 1.00");
        assert_eq!(verdict(0.99, 1.2), Verdict::Unknown);
        assert_eq!(verdict(0.7, 0.99), Verdict::Slower);
        assert_eq!(Verdict::of(&Ratio::alone(3.0)), Verdict::Unknown, "too few prompts");
        assert_eq!(
            (ratio(&Ratio::alone(1.5)), percent(&Ratio::alone(0.97))),
            ("1.50".into(), "97 %".into())
        );
        assert!(
            too_few(5).is_some_and(|text| text.starts_with("5 prompts: too few"))
                && too_few(6).is_none()
        );
        assert_eq!(
            [listed(&["a"]), listed(&["a", "b"]), listed(&["a", "b", "c"])],
            ["a", "a and b", "a, b and c"]
        );
    }
}
