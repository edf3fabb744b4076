//! The sentence that ends a measurement: whether speculation helps, and by how much.

use serde::Serialize;
use speckv_lab::statistics::Estimate;

/// Without an interval, a ratio this near to 1 is taken for no difference.
const MARGIN: f64 = 0.05;

/// What a ratio of speeds says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Speculation is faster.
    Gain,
    /// The interval holds 1, or without an interval the ratio is near 1.
    NoDifference,
    /// Speculation is slower.
    Loss,
    /// Nothing drafts, so there is nothing to compare.
    NoDraft,
}

impl Verdict {
    /// The verdict on speculation's speed by that of plain decoding.
    #[must_use]
    pub fn of(ratio: &Estimate) -> Self {
        let (low, high) =
            ratio.ends().unwrap_or((ratio.value * (1.0 - MARGIN), ratio.value * (1.0 + MARGIN)));
        if low > 1.0 {
            Verdict::Gain
        } else if high < 1.0 {
            Verdict::Loss
        } else {
            Verdict::NoDifference
        }
    }
}

/// One sentence on `ratio`, the speed of `what` by that of plain decoding, measured on so many
/// prompts; `scope` says what the time includes.
#[must_use]
pub fn sentence(what: &str, ratio: &Estimate, scope: &str, prompts: usize) -> String {
    let certain = ratio.ends().is_some();
    let effect = match (Verdict::of(ratio), certain) {
        (Verdict::Gain, true) => "helps",
        (Verdict::Gain, false) => "probably helps",
        (Verdict::Loss, true) => "costs time",
        (Verdict::Loss, false) => "probably costs time",
        (Verdict::NoDifference | Verdict::NoDraft, _) => "makes no measurable difference",
    };
    let interval = ratio
        .ends()
        .map_or(String::new(), |(low, high)| format!(" (95 % interval {low:.2} to {high:.2})"));
    let few = if certain { "" } else { ", too few for an interval" };
    let plural = if prompts == 1 { "" } else { "s" };
    let way_out = match Verdict::of(ratio) {
        Verdict::Loss => "; --controller off decodes plainly",
        _ => "",
    };
    format!(
        "{what} {effect} on this machine with this model: {:.2} x plain decoding{interval} \
         {scope}, on {prompts} prompt{plural}{few}{way_out}.",
        ratio.value
    )
}

/// The sentence where nothing drafts.
#[must_use]
pub fn no_draft(tokens_per_second: Option<f64>) -> String {
    let speed = tokens_per_second
        .map_or(String::new(), |speed| format!(": {speed:.1} tokens per second end to end"));
    format!(
        "Nothing drafts for this model, so it decodes plainly{speed}; --draft ngram turns look-up \
         of earlier text on."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "end to end, prompt reading counted";

    fn ratio(value: f64, low: f64, high: f64) -> Estimate {
        Estimate { value, low: Some(low), high: Some(high) }
    }

    fn said(ratio: &Estimate, prompts: usize) -> String {
        sentence("Speculation", ratio, SCOPE, prompts)
    }

    #[test]
    fn an_interval_above_one_is_a_gain() {
        let gain = ratio(1.424, 1.21, 1.66);
        assert_eq!(Verdict::of(&gain), Verdict::Gain);
        assert_eq!(
            said(&gain, 10),
            "Speculation helps on this machine with this model: 1.42 x plain decoding (95 % \
             interval 1.21 to 1.66) end to end, prompt reading counted, on 10 prompts."
        );
    }

    #[test]
    fn an_interval_that_holds_one_is_no_difference() {
        let none = ratio(1.2, 0.95, 1.4);
        assert_eq!(Verdict::of(&none), Verdict::NoDifference);
        assert!(said(&none, 8).starts_with("Speculation makes no measurable difference on this "));
        assert_eq!(Verdict::of(&ratio(1.0, 1.0, 1.0)), Verdict::NoDifference);
    }

    #[test]
    fn an_interval_below_one_is_a_loss_and_names_the_way_out() {
        let loss = ratio(0.9, 0.85, 0.96);
        assert_eq!(Verdict::of(&loss), Verdict::Loss);
        let text = said(&loss, 8);
        assert!(text.starts_with("Speculation costs time on this machine"), "{text}");
        assert!(text.ends_with("on 8 prompts; --controller off decodes plainly."), "{text}");
    }

    #[test]
    fn a_handful_of_prompts_has_no_interval_and_says_so() {
        for (value, verdict, words) in [
            (1.3, Verdict::Gain, "Speculation probably helps"),
            (1.04, Verdict::NoDifference, "Speculation makes no measurable difference"),
            (0.7, Verdict::Loss, "Speculation probably costs time"),
        ] {
            let alone = Estimate::alone(value);
            assert_eq!(Verdict::of(&alone), verdict);
            let text = said(&alone, 3);
            assert!(text.starts_with(words), "{text}");
            assert!(text.contains("on 3 prompts, too few for an interval"), "{text}");
            assert!(!text.contains("95 %"), "{text}");
        }
        assert!(said(&Estimate::alone(1.3), 1).contains("on 1 prompt, too few"));
    }

    #[test]
    fn without_a_draft_the_sentence_says_what_would_draft() {
        let text = no_draft(Some(31.24));
        assert!(text.starts_with("Nothing drafts for this model"), "{text}");
        assert!(text.contains("31.2 tokens per second") && text.contains("--draft ngram"));
        assert!(no_draft(None).contains("decodes plainly; --draft ngram"));
    }
}
