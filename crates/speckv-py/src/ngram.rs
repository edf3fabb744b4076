//! Look-up in one text, for engines that draft themselves.

use std::sync::Mutex;

use pyo3::prelude::*;
use speckv::{
    draft::{Ask, Drafter, NgramDrafter, NgramSettings, Slot},
    record::Source,
    sampling::{Chain, Distribution, SamplingSettings},
    token::Token,
};

use crate::{
    error::{Fault, Outcome},
    lock,
    signals::Signals,
    step::Lookup,
    tokens,
};

struct Text {
    drafter: NgramDrafter,
    slot: Slot,
    tokens: Vec<Token>,
    chain: Chain,
    distribution: Distribution,
}

/// Knobs of look-up within their ranges.
///
/// # Errors
/// One outside its range.
pub(crate) fn settings(min_match: usize, max_match: usize) -> Outcome<NgramSettings> {
    if (1..=max_match).contains(&min_match) && max_match <= 64 {
        return Ok(NgramSettings { min_match, max_match });
    }
    let got = format!("min_match {min_match}, max_match {max_match}");
    let message = format!("expected 1 <= min_match <= max_match <= 64, got {got}");
    Err(Fault::argument(message, "2 and 8 are the defaults"))
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct NgramText(Mutex<Text>);

#[pymethods]
impl NgramText {
    #[new]
    #[pyo3(signature = (tokens = None, *, min_match = 2, max_match = 8))]
    fn new(
        tokens: Option<&Bound<'_, PyAny>>,
        min_match: usize,
        max_match: usize,
    ) -> PyResult<Self> {
        let mut drafter = NgramDrafter::new(settings(min_match, max_match)?);
        let slot = drafter.open().map_err(Fault::from)?;
        let greedy = Chain::new(SamplingSettings::default());
        let chain = greedy
            .map_err(|error| Fault::argument(error, "this is a bug in speckv; please report it"))?;
        let tokens = tokens.map_or(Ok(Vec::new()), tokens::read)?;
        Ok(NgramText(Mutex::new(Text {
            drafter,
            slot,
            tokens,
            chain,
            distribution: Distribution::new(),
        })))
    }

    fn __len__(&self) -> usize {
        lock(&self.0).tokens.len()
    }

    fn extend(&self, tokens: &Bound<'_, PyAny>) -> PyResult<()> {
        let tokens = tokens::read(tokens)?;
        lock(&self.0).tokens.extend(tokens);
        Ok(())
    }

    fn truncate(&self, py: Python<'_>, length: usize) {
        py.detach(|| {
            let text = &mut *lock(&self.0);
            text.tokens.truncate(length);
            text.drafter.truncate(text.slot, length);
        });
    }

    fn lookup(&self, py: Python<'_>) -> Option<Lookup> {
        py.detach(|| {
            let text = &mut *lock(&self.0);
            text.drafter.lookup(text.slot, &text.tokens).map(Lookup)
        })
    }

    #[pyo3(signature = (drafted = None))]
    fn propose(
        &self,
        py: Python<'_>,
        drafted: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<(Token, Signals)>> {
        let drafted = drafted.map_or(Ok(Vec::new()), tokens::read)?;
        Ok(py.detach(|| {
            let Text { drafter, slot, tokens, chain, distribution } = &mut *lock(&self.0);
            if tokens.is_empty() {
                return Ok(None);
            }
            tokens.extend_from_slice(&drafted);
            let ask = Ask {
                slot: *slot,
                source: Source::NGRAM,
                tokens,
                drafted: drafted.len(),
                more: 1,
                ahead: 1,
                chain,
                uniform: 0.0,
                distribution,
                proposal: None,
            };
            let mut asks = [ask];
            let outcome = drafter.propose(&mut asks);
            let proposal = asks[0].proposal;
            tokens.truncate(tokens.len() - drafted.len());
            outcome?;
            Ok::<_, Fault>(proposal.map(|proposal| (proposal.token, Signals(proposal.signals))))
        })?)
    }
}
