//! What the numbers say, in plain words and with intervals. Every word of judgement follows from an interval: nothing is said that the data at hand could not deny.

mod controllers;
mod gammas;
mod signals;

use super::{Inputs, figures::cells::Grid, plot::number};
use crate::statistics::{Interval, throughput::Ratio};

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

/// Questions that the inputs answer: which gamma is best, what the signals predict, what the controller gains.
#[must_use]
pub fn findings(inputs: &Inputs) -> Vec<Part> {
    let steps = inputs.grid.as_ref().map(|(_, steps)| steps.as_slice()).unwrap_or_default();
    [gammas::part(&Grid::of(steps)), signals::part(steps), controllers::part(&inputs.contests)]
        .into_iter()
        .flatten()
        .collect()
}

/// `1.52 [1.44, 1.60]`
fn ratio(ratio: &Ratio) -> String {
    format!("{:.2} [{:.2}, {:.2}]", ratio.value, ratio.low, ratio.high)
}

/// `42.3 [40.1, 44.0]`
fn amount(interval: &Interval) -> String {
    format!("{} [{}, {}]", number(interval.value), number(interval.low), number(interval.high))
}

/// `97 % [96, 98]`
fn percent(interval: &Interval) -> String {
    let [value, low, high] = [interval.value, interval.low, interval.high].map(|share| 100.0 * share);
    format!("{value:.0} % [{low:.0}, {high:.0}]")
}

/// `a`, `a and b`, `a, b and c`.
fn listed<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            format!("{} and {}", first.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", "), last.as_ref())
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
    /// By the ends as they are shown, with two decimals: an end that reads 1.00 decides nothing.
    fn of(ratio: &Ratio) -> Self {
        match ratio {
            Ratio { low, .. } if *low >= 1.005 => Verdict::Faster,
            Ratio { high, .. } if *high < 0.995 => Verdict::Slower,
            _ => Verdict::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_from_intervals() {
        let verdict = |low, high| Verdict::of(&Ratio { value: 1.0, low, high });
        assert_eq!(verdict(1.01, 1.2), Verdict::Faster);
        assert_eq!(verdict(1.004, 1.2), Verdict::Unknown, "shown as 1.00");
        assert_eq!(verdict(0.99, 1.2), Verdict::Unknown);
        assert_eq!(verdict(0.7, 0.99), Verdict::Slower);
        assert_eq!([listed(&["a"]), listed(&["a", "b"]), listed(&["a", "b", "c"])], ["a", "a and b", "a, b and c"]);
    }
}
