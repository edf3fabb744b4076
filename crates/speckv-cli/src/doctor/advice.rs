//! What to change so that speculation helps more.

use speckv_local::{
    draft_choice::DraftChoice,
    drafting::{DraftOrigin, Drafting},
};

/// A draft token that costs more than this share of a target pass rarely pays.
const EXPENSIVE_DRAFT: f64 = 0.4;
/// A pass over 5 tokens that costs so many passes over one leaves little to gain.
const EXPENSIVE_ROWS: f64 = 2.0;

/// What is known of the machine and the pair.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// What drafts, and where it comes from.
    pub drafting: &'a Drafting,
    /// Threads that compute.
    pub threads: usize,
    /// Threads that would compute by default.
    pub default_threads: usize,
    /// Seconds of a pass over 5 tokens by those of a pass over one.
    pub five_to_one: f64,
    /// Seconds of a draft token by those of a target pass over one token.
    pub draft_to_one: Option<f64>,
}

/// What to change, most useful first; empty where nothing is known to be better.
#[must_use]
pub fn changes(facts: &Facts<'_>) -> Vec<String> {
    let mut changes = Vec::new();
    match (&facts.drafting.choice, facts.drafting.origin) {
        (DraftChoice::Ngram, DraftOrigin::NothingFound) => changes.push(
            "put a smaller model with the same vocabulary into the model's folder, or name one \
             with --draft MODEL: it drafts where the text repeats nothing"
                .to_owned(),
        ),
        (_, DraftOrigin::DoesNotFit) => changes.push(
            "make room for the draft model that is at hand: a smaller --ctx or --kv q8_0 takes \
             less memory"
                .to_owned(),
        ),
        _ => {}
    }
    if facts.threads < facts.default_threads {
        changes.push(format!(
            "omit --threads {}: {} cores can compute",
            facts.threads, facts.default_threads
        ));
    }
    if let Some(share) = facts.draft_to_one.filter(|&share| share > EXPENSIVE_DRAFT) {
        changes.push(format!(
            "take a smaller draft, or --draft ngram: a draft token costs {:.0} % of a pass of the \
             target",
            100.0 * share
        ));
    }
    if facts.five_to_one > EXPENSIVE_ROWS {
        changes.push(format!(
            "expect small gains: a pass over 5 tokens costs {:.1} passes over one here; a \
             processor with more arithmetic, or a GPU, verifies them for less",
            facts.five_to_one
        ));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafting(choice: DraftChoice, origin: DraftOrigin) -> Drafting {
        Drafting { choice, origin }
    }

    fn advice(drafting: &Drafting, change: impl FnOnce(&mut Facts<'_>)) -> Vec<String> {
        let mut facts = Facts {
            drafting,
            threads: 4,
            default_threads: 4,
            five_to_one: 1.2,
            draft_to_one: None,
        };
        change(&mut facts);
        changes(&facts)
    }

    #[test]
    fn a_pair_that_lacks_nothing_gets_no_advice() {
        let both = drafting("d.gguf+ngram".parse().expect("a draft"), DraftOrigin::Found);
        assert!(advice(&both, |facts| facts.draft_to_one = Some(0.2)).is_empty());
    }

    #[test]
    fn each_shortcoming_is_named_with_an_action() {
        let alone = drafting(DraftChoice::Ngram, DraftOrigin::NothingFound);
        let of = advice(&alone, |_| {});
        assert!(of.len() == 1 && of[0].contains("--draft MODEL"), "{of:?}");
        let large = drafting(DraftChoice::Ngram, DraftOrigin::DoesNotFit);
        assert!(advice(&large, |_| {})[0].contains("--kv q8_0"));
        let asked = drafting(DraftChoice::Ngram, DraftOrigin::Asked);
        let all = advice(&asked, |facts| {
            facts.threads = 1;
            facts.draft_to_one = Some(0.61);
            facts.five_to_one = 2.34;
        });
        assert!(all[0].contains("--threads 1") && all[0].contains("4 cores"), "{all:?}");
        assert!(all[1].contains("61 %") && all[1].contains("--draft ngram"), "{all:?}");
        assert!(all[2].contains("2.3 passes"), "{all:?}");
    }
}
