//! Reading the clock around look-up of earlier text.

use speckv::{
    draft::{Ask, Drafter, NgramDrafter, NgramSettings},
    engine::Clock,
    record::Source,
    sampling::{Chain, Distribution, SamplingSettings},
    token::Token,
};

/// A text that repeats itself: each look-up compares some ten places.
const TOKENS: usize = 1024;
const PERIOD: usize = 97;
/// Proposals around which the clock is read: one alone is over before a clock ticks.
const PROPOSALS: usize = 64;
const ROUNDS: usize = 5;

/// Seconds of one token proposed by look-up, the median of a few rounds; `None` where the clock
/// does not see them, as one of simulated passes.
#[must_use]
pub fn seconds_per_token(clock: &Clock) -> Option<f64> {
    let mut drafter = NgramDrafter::new(NgramSettings::default());
    let slot = drafter.open().ok()?;
    let mut chain = Chain::new(SamplingSettings::default()).ok()?;
    let mut distribution = Distribution::default();
    let mut tokens: Vec<Token> = (0..TOKENS).map(|i| (i % PERIOD) as Token).collect();
    drafter.lookup(slot, &tokens)?; // the index is made once per text
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = clock.now();
        for drafted in 0..PROPOSALS {
            let (chain, distribution) = (&mut chain, &mut distribution);
            let ask = Ask {
                slot,
                source: Source::NGRAM,
                tokens: &tokens,
                drafted,
                more: 1,
                ahead: 1,
                chain,
                uniform: 0.0,
                distribution,
                proposal: None,
            };
            let mut asks = [ask];
            drafter.propose(&mut asks).ok()?;
            let [Ask { proposal, .. }] = asks;
            tokens.push(proposal?.token);
        }
        rounds.push((clock.now() - start).as_secs_f64() / PROPOSALS as f64);
        tokens.truncate(TOKENS);
    }
    rounds.sort_by(f64::total_cmp);
    Some(rounds[ROUNDS / 2]).filter(|&seconds| seconds > 0.0)
}

#[cfg(test)]
mod tests {
    use speckv::sim::{SimModel, SimSettings};

    use super::*;

    #[test]
    fn look_up_takes_microseconds_and_a_clock_of_simulated_passes_does_not_see_it() {
        let seconds = seconds_per_token(&Clock::system()).expect("a clock that runs");
        assert!((1e-9..1e-3).contains(&seconds), "{seconds}");
        let model = SimModel::new(SimSettings::default());
        assert_eq!(seconds_per_token(&Clock::Virtual(model.time().clone())), None);
    }
}
