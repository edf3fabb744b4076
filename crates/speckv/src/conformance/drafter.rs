//! What a drafter must hold.

use super::{ensure, text};
use crate::{
    draft::{Ask, Drafter, Proposal, READ_ALONG, Reading, Slot},
    record::Source,
    sampling::{Chain, Distribution, SamplingSettings},
    token::Token,
};

/// Checks that a drafter keeps sequences apart, follows the token list through truncation, drafts
/// the same tokens ahead as one by one, and reports the distribution that it draws from.
/// `vocab_size` is the target's.
///
/// # Errors
/// The first truth that does not hold.
pub fn check_drafter(drafter: &mut dyn Drafter, vocab_size: usize) -> Result<(), String> {
    // Few different tokens, so that look-up finds something.
    let some = text(vocab_size.min(3), 24, 1);
    let others = text(vocab_size.min(3), 17, 2);
    for sampling in [
        SamplingSettings::default(),
        SamplingSettings { repetition_penalty: 1.3, ..Default::default() },
        SamplingSettings { temperature: 0.8, ..Default::default() },
        SamplingSettings { temperature: 1.3, top_k: 3, top_p: 0.9, ..Default::default() },
    ] {
        for source in [Source::MODEL, Source::NGRAM, Source::PARALLEL] {
            let mut check = Check {
                drafter,
                source,
                chain: Chain::new(sampling.clone()).map_err(|e| e.to_string())?,
                vocab_size,
                ahead: false,
            };
            let words = |error| format!("{source:?}, {sampling:?}: {error}");
            check.a_fresh_slot_is_the_measure(&some, &others).map_err(words)?;
        }
    }
    closed_slots_are_errors(drafter)
}

struct Check<'a> {
    drafter: &'a mut dyn Drafter,
    source: Source,
    chain: Chain,
    vocab_size: usize,
    ahead: bool, // asks say that more tokens may be made before the first is judged
}

impl Check<'_> {
    fn open(&mut self) -> Result<Slot, String> {
        self.drafter.open().map_err(|error| error.to_string())
    }

    /// Drafts three tokens for each text in common rounds; the texts come back unchanged.
    fn draft(
        &mut self,
        slots: &[Slot],
        texts: &mut [Vec<Token>],
    ) -> Result<Vec<Vec<Proposal>>, String> {
        let mut proposals = vec![Vec::new(); texts.len()];
        let mut distributions = vec![Distribution::new(); texts.len()];
        let chain = || Chain::new(self.chain.settings().clone()).map_err(|e| e.to_string());
        let mut chains: Vec<Chain> = texts.iter().map(|_| chain()).collect::<Result<_, _>>()?;
        for drafted in 0..3 {
            let mut asks: Vec<Ask<'_>> = Vec::new();
            let parts = slots
                .iter()
                .zip(texts.iter())
                .zip(&mut chains)
                .zip(&mut distributions)
                .zip(&proposals);
            for ((((&slot, tokens), chain), distribution), before) in parts {
                if before.len() == drafted {
                    let uniform = 0.1 + 0.3 * drafted as f64;
                    asks.push(Ask {
                        slot,
                        source: self.source,
                        tokens,
                        drafted,
                        more: 3 - drafted,
                        ahead: if self.ahead { 3 - drafted } else { 1 },
                        chain,
                        uniform,
                        distribution,
                        proposal: None,
                    });
                }
            }
            self.drafter.propose(&mut asks).map_err(|error| error.to_string())?;
            let answers: Vec<_> = asks.iter().map(|ask| ask.proposal).collect();
            for ask in asks.iter().filter(|ask| ask.proposal.is_some()) {
                self.is_valid(ask)?;
            }
            drop(asks);
            let asked = proposals
                .iter_mut()
                .zip(texts.iter_mut())
                .filter(|(before, _)| before.len() == drafted);
            for ((before, tokens), proposal) in asked.zip(answers) {
                if let Some(proposal) = proposal {
                    before.push(proposal);
                    tokens.push(proposal.token);
                }
            }
        }
        for (tokens, drafted) in texts.iter_mut().zip(&proposals) {
            tokens.truncate(tokens.len() - drafted.len());
        }
        Ok(proposals)
    }

    fn is_valid(&self, ask: &Ask<'_>) -> Result<(), String> {
        let Some(Proposal { token, second, signals }) = ask.proposal else { return Ok(()) };
        ensure((token as usize) < self.vocab_size, || {
            format!("token {token} is outside the target's vocabulary")
        })?;
        ensure(
            second.is_none_or(|second| second != token && (second as usize) < self.vocab_size),
            || format!("the second choice beside token {token} is {second:?}"),
        )?;
        let valid = signals.entropy_bits >= 0.0
            && signals.confidence > 0.0
            && signals.confidence <= 1.0 + 1e-6;
        ensure(
            valid && signals.margin >= 0.0 && signals.margin <= signals.confidence + 1e-6,
            || format!("{signals:?}"),
        )?;
        ensure((signals.match_length > 0) == (ask.source == Source::NGRAM), || {
            format!("{:?} has {signals:?}", ask.source)
        })?;
        if !ask.chain.is_greedy() {
            let mass: f64 = ask.distribution.iter().map(|(_, p)| f64::from(p)).sum();
            ensure((mass - 1.0).abs() < 1e-4, || {
                format!("the reported distribution has mass {mass}")
            })?;
            let q = ask.distribution.probability(token);
            ensure(q > 0.0, || {
                format!("token {token} was drawn from a distribution that gives it {q}")
            })?;
        }
        Ok(())
    }

    fn a_fresh_slot_is_the_measure(
        &mut self,
        some: &[Token],
        others: &[Token],
    ) -> Result<(), String> {
        let mut texts = [some.to_vec(), others.to_vec()];
        let slots = [self.open()?, self.open()?];
        let fresh = [
            self.draft(&slots[..1], &mut texts[..1])?.remove(0),
            self.draft(&slots[1..], &mut texts[1..])?.remove(0),
        ];

        // Rejected: what was drafted is cut away. Then both in one round, in which each may be
        // drafted ahead.
        self.ahead = true;
        for (slot, tokens) in slots.iter().zip(&texts) {
            self.drafter.truncate(*slot, tokens.len() - 1);
        }
        let together = self.draft(&slots, &mut texts)?;
        ensure(together == fresh, || {
            "after truncation, in one round, the proposals are not those of a fresh slot".into()
        })?;

        // Both read at once what they have missed.
        let behind = [self.open()?, self.open()?];
        let reading = |(&slot, tokens)| Reading { slot, tokens };
        let mut readings: Vec<_> =
            behind.iter().zip(texts.iter().map(Vec::as_slice)).map(reading).collect();
        self.drafter.catch_up_all(&mut readings).map_err(|error| error.to_string())?;
        for (slot, tokens) in behind.iter().zip(&texts) {
            ensure(self.drafter.behind(*slot, tokens.len()) <= READ_ALONG, || {
                "still behind after catching up with others".into()
            })?;
        }
        let caught_up = self.draft(&behind, &mut texts)?;
        ensure(caught_up == fresh, || {
            "after catching up with others, the proposals are not those of a fresh slot".into()
        })?;
        behind.into_iter().for_each(|slot| self.drafter.close(slot));

        // Another text with a common beginning, then back.
        let common = some.len() / 2;
        let mut detour = [[&some[..common], others].concat()];
        self.drafter.truncate(slots[0], common);
        let after_detour = self.draft(&slots[..1], &mut detour)?.remove(0);
        let clean = self.open()?;
        self.drafter.catch_up(clean, &detour[0]).map_err(|error| error.to_string())?;
        ensure(self.drafter.behind(clean, detour[0].len()) <= READ_ALONG, || {
            "still behind after catching up".into()
        })?;
        let expected = self.draft(&[clean], &mut detour)?.remove(0);
        ensure(after_detour == expected, || {
            "reading on after truncation is not reading afresh".into()
        })?;
        self.drafter.truncate(slots[0], common);
        let back = self.draft(&slots[..1], &mut texts[..1])?.remove(0);
        ensure(back == fresh[0], || "coming back to a text gives other proposals".into())?;

        self.drafter.close(clean);
        slots.into_iter().for_each(|slot| self.drafter.close(slot));
        let again = self.open()?;
        let reused = self.draft(&[again], &mut texts[1..])?.remove(0);
        self.drafter.close(again);
        ensure(reused == fresh[1], || "a slot that was used before gives other proposals".into())
    }
}

fn closed_slots_are_errors(drafter: &mut dyn Drafter) -> Result<(), String> {
    let slot = drafter.open().map_err(|error| error.to_string())?;
    drafter.close(slot);
    drafter.close(slot);
    drafter.truncate(slot, 0);
    ensure(drafter.lookup(slot, &[0, 0, 0]).is_none(), || "a closed slot finds something".into())?;
    let mut chain = Chain::new(SamplingSettings::default()).map_err(|error| error.to_string())?;
    let mut distribution = Distribution::new();
    let source = if drafter.has_model() { Source::MODEL } else { Source::NGRAM };
    let ask = Ask {
        slot,
        source,
        tokens: &[0, 0, 0],
        drafted: 0,
        more: 1,
        ahead: 1,
        chain: &mut chain,
        uniform: 0.5,
        distribution: &mut distribution,
        proposal: None,
    };
    let mut asks = [ask];
    let proposed = drafter.propose(&mut asks);
    ensure(proposed.is_err() || asks[0].proposal.is_none(), || "a closed slot proposes".into())
}
