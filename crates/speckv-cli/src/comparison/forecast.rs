//! How long a race takes, said before it begins.

use std::time::Duration;

use speckv::controller::Drafting;
use speckv_local::units;

use super::{Field, Rules};
use crate::pace::Pace;

/// Seconds of the race if every answer has its full length and is made at the speed of plain
/// decoding: per round and prompt, both models read it once, and every contestant answers.
#[must_use]
pub fn seconds(field: &Field<'_>, rules: &Rules, pace: Pace, has_model: bool) -> f64 {
    let contestants = field.contestants.len() as f64;
    let readers = if !has_model {
        0.0
    } else if rules.cold_draft {
        let reads = field.contestants.iter().skip(1).filter(|who| who.drafting != Drafting::Ngram);
        reads.count() as f64
    } else {
        1.0
    };
    let prompts = field.texts.iter().map(|text| {
        let read = (pace.read + readers * pace.draft_read) * text.tokens.len() as f64;
        read + contestants * pace.decode * rules.max_tokens as f64
    });
    rules.rounds as f64 * prompts.sum::<f64>()
}

/// One line: how much is measured, how long that takes, and how to end it.
#[must_use]
pub fn line(field: &Field<'_>, rules: &Rules, seconds: f64) -> String {
    let many =
        |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}: about {} at the speed of plain decoding; Ctrl-C ends it and keeps what is \
         measured",
        many(field.texts.len(), "prompt"),
        many(field.contestants.len(), "setting"),
        many(rules.rounds, "round"),
        units::duration(Duration::from_secs_f64(seconds.clamp(1.0, 1e9)))
    )
}

#[cfg(test)]
mod tests {
    use speckv_local::controllers::ControllerParts;

    use super::*;
    use crate::comparison::{Text, contestant};

    #[test]
    fn every_answer_of_every_round_counts() {
        let text = |id: &str, tokens: usize| Text {
            id: id.into(),
            task: "t".into(),
            tokens: vec![1; tokens],
        };
        let texts = [text("a", 100), text("b", 300)];
        let contestants =
            contestant::list(&[2], &["speckv", "fixed:4@ngram"], true).expect("known");
        let field =
            Field { texts: &texts, contestants: &contestants, parts: &ControllerParts::default() };
        let mut rules =
            Rules { max_tokens: 50, rounds: 3, seed: 0, end_tokens: vec![], cold_draft: false };
        let pace = Pace { read: 0.01, draft_read: 0.001, decode: 0.1 };
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        // 400 tokens are read once a round, 4 contestants make 50 tokens on 2 prompts.
        let decoding = 3.0 * 8.0 * 50.0 * 0.1;
        assert!(near(seconds(&field, &rules, pace, true), 3.0 * 400.0 * 0.011 + decoding));
        assert!(near(seconds(&field, &rules, pace, false), 3.0 * 400.0 * 0.01 + decoding));
        rules.cold_draft = true;
        // The draft reads for fixed:2 and speckv.
        assert!(near(seconds(&field, &rules, pace, true), 3.0 * 400.0 * 0.012 + decoding));
        assert_eq!(
            line(&field, &rules, 134.4),
            "2 prompts, 4 settings, 3 rounds: about 2 min 14 s at the speed of plain decoding; \
             Ctrl-C ends it and keeps what is measured"
        );
    }
}
