//! One file per figure: inputs in, panels out.

mod calibration;
pub mod cells;
mod cost;
mod gallery;
mod gammas;
mod heat;
mod policies;
mod shift;
pub mod signals;

use super::{Figure, Inputs, Missing};

const GRID: &str =
    "speckv profile --grid DIR --compressions fp16,int8,nf4, then speckv report --grid DIR";
const TRACE: &str = "speckv profile --trace DIR --draft MODEL, then speckv report --trace DIR";
const CONTEST: &str =
    "speckv evaluate --output DIR, then speckv report --evaluation DIR/evaluation.json";
const CURVE: &str =
    "speckv bench --curve MODEL --json > curve.json, then speckv report --curve curve.json";

/// All figures that the inputs allow, in their order, and those that they do not.
#[must_use]
pub fn all(inputs: &Inputs) -> (Vec<Figure>, Vec<Missing>) {
    let steps = inputs
        .grid
        .as_ref()
        .map(|(_, steps)| cells::Grid::of(steps))
        .filter(|grid| !grid.cells.is_empty());
    let raw = inputs.grid.as_ref().map(|(_, steps)| steps.as_slice());
    let contests = (!inputs.contests.is_empty()).then_some(inputs.contests.as_slice());
    let attempts: [(Option<Figure>, &'static str, &'static str); 9] = [
        (steps.as_ref().map(gammas::figure), gammas::TITLE, GRID),
        (steps.as_ref().map(heat::figure), heat::TITLE, GRID),
        (steps.as_ref().and_then(shift::figure), shift::TITLE, GRID),
        (raw.and_then(signals::figure), signals::TITLE, GRID),
        (inputs.trace.as_ref().and_then(calibration::figure), calibration::TITLE, TRACE),
        (contests.map(policies::bars), policies::BARS, CONTEST),
        (contests.map(policies::histograms), policies::HISTOGRAMS, CONTEST),
        (cost::figure(&inputs.curves), cost::TITLE, CURVE),
        (raw.and_then(gallery::figure), gallery::TITLE, GRID),
    ];
    let (mut figures, mut missing) = (Vec::new(), Vec::new());
    for (figure, title, command) in attempts {
        match figure {
            Some(figure) => figures.push(figure),
            None => missing.push(Missing { title, command }),
        }
    }
    (figures, missing)
}

/// `1 prompt`, `12 prompts`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(count)) }
}

/// `12,345`.
pub(in crate::report) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1_000, 1_117_320_768].map(grouped),
            ["0", "999", "1,000", "1,117,320,768"]
        );
        assert_eq!([counted(1, "prompt"), counted(2000, "prompt")], ["1 prompt", "2,000 prompts"]);
    }
}
