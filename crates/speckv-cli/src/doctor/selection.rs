//! Picks prompts and a length of answers that fit the time.

use crate::{comparison::Text, pace::Pace};

/// Lengths of answers that are tried, from the best to the least telling, each with the number of
/// prompts that should fit at least.
const LENGTHS: [(usize, usize); 4] = [(128, 10), (64, 10), (32, 6), (16, 1)];
/// Most prompts: more make the interval little narrower.
const MOST_PROMPTS: usize = 20;

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The prompts, tasks in turn.
    pub texts: Vec<Text>,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Seconds that it takes without a gain from speculation.
    pub seconds: f64,
}

/// The longest answers for which enough prompts fit `budget` seconds; each prompt is answered
/// `times` times. Tasks take turns, each from its shortest prompt on. One prompt is picked even if
/// it does not fit; without candidates there is none.
#[must_use]
pub fn select(candidates: &[Text], pace: Pace, budget: f64, times: usize) -> Selection {
    let ordered = in_turn(candidates);
    let mut last = Selection { texts: Vec::new(), max_tokens: 0, seconds: 0.0 };
    for (max_tokens, fewest) in LENGTHS {
        last = fitting(&ordered, pace, budget, (max_tokens, times));
        if last.texts.len() >= fewest.min(candidates.len()) {
            break;
        }
    }
    last
}

/// As many prompts from the first on as fit, one at least.
fn fitting(
    ordered: &[&Text],
    pace: Pace,
    budget: f64,
    (max_tokens, times): (usize, usize),
) -> Selection {
    let mut selection = Selection { texts: Vec::new(), max_tokens, seconds: 0.0 };
    for text in ordered.iter().take(MOST_PROMPTS) {
        let once = pace.read * text.tokens.len() as f64 + pace.decode * max_tokens as f64;
        let seconds = times as f64 * once;
        if !selection.texts.is_empty() && selection.seconds + seconds > budget {
            break;
        }
        selection.seconds += seconds;
        selection.texts.push((*text).clone());
    }
    selection
}

/// One prompt of each task, then the next of each; the shortest of a task come first.
fn in_turn(candidates: &[Text]) -> Vec<&Text> {
    let mut tasks: Vec<&str> = Vec::new();
    for text in candidates {
        if !tasks.contains(&text.task.as_str()) {
            tasks.push(&text.task);
        }
    }
    let mut ranked: Vec<(usize, usize, &Text)> = Vec::new();
    for (place, task) in tasks.iter().enumerate() {
        let mut of_task: Vec<&Text> = candidates.iter().filter(|text| text.task == *task).collect();
        of_task.sort_by_key(|text| text.tokens.len());
        ranked.extend(of_task.into_iter().enumerate().map(|(turn, text)| (turn, place, text)));
    }
    ranked.sort_by_key(|&(turn, place, _)| (turn, place));
    ranked.into_iter().map(|(_, _, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four prompts each of two tasks, of 10 to 40 tokens.
    fn candidates() -> Vec<Text> {
        let text = |task: &str, number: usize| Text {
            id: format!("{task}-{number}"),
            task: task.into(),
            tokens: vec![1; 10 * number],
        };
        [4, 1, 3, 2].into_iter().flat_map(|number| [text("a", number), text("b", number)]).collect()
    }

    fn pace(read: f64, decode: f64) -> Pace {
        Pace { read, draft_read: 0.0, decode }
    }

    fn ids(selection: &Selection) -> Vec<&str> {
        selection.texts.iter().map(|text| text.id.as_str()).collect()
    }

    #[test]
    fn a_fast_model_answers_everything_at_length() {
        let selection = select(&candidates(), pace(1e-4, 1e-3), 30.0, 2);
        assert_eq!(ids(&selection), ["a-1", "b-1", "a-2", "b-2", "a-3", "b-3", "a-4", "b-4"]);
        assert_eq!(selection.max_tokens, 128);
        let expected = 2.0 * (200.0 * 1e-4 + 8.0 * 128.0 * 1e-3);
        assert!((selection.seconds - expected).abs() < 1e-9);
    }

    #[test]
    fn a_slow_model_gives_shorter_answers_to_fewer_and_shorter_prompts() {
        // Two answers of 64 tokens take 12.8 s and more: 2 prompts fit. Of 32 tokens 4 fit, of 16
        // tokens 7.
        let selection = select(&candidates(), pace(0.01, 0.1), 27.0, 2);
        assert_eq!(selection.max_tokens, 16);
        assert_eq!(ids(&selection), ["a-1", "b-1", "a-2", "b-2", "a-3", "b-3", "a-4"]);
        assert!(selection.seconds <= 27.0);
        let longer = select(&candidates(), pace(0.01, 0.1), 70.0, 2);
        assert_eq!(longer.max_tokens, 32, "{longer:?}");
    }

    #[test]
    fn one_prompt_is_answered_in_any_case_and_none_where_there_is_none() {
        assert_eq!(ids(&select(&candidates(), pace(1.0, 10.0), 1.0, 2)), ["a-1"]);
        assert!(select(&[], pace(1.0, 10.0), 100.0, 2).texts.is_empty());
    }
}
