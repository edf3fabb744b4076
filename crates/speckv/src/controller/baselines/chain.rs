//! Look-up first, and another controller where it finds nothing.

use crate::{
    controller::{Controller, Plan, Situation, Verdict},
    cost::CostModel,
    record::{Source, StepRecord},
    signals::Signals,
};

/// Drafts from look-up where it matched at least `least_match` tokens, as far as it goes (at most
/// `gamma`); elsewhere the inner controller decides. Steps from look-up are hidden from the inner
/// controller.
pub struct Chain {
    inner: Box<dyn Controller>,
    gamma: usize,
    least_match: usize,
    inner_steps: bool,
}

impl Chain {
    /// Tokens per look-up step.
    pub const GAMMA: usize = 10;
    /// Tokens that must match.
    pub const LEAST_MATCH: usize = 2;

    /// A chain with the defaults.
    #[must_use]
    pub fn new(inner: Box<dyn Controller>) -> Self {
        Chain { inner, gamma: Self::GAMMA, least_match: Self::LEAST_MATCH, inner_steps: true }
    }
}

impl Controller for Chain {
    fn name(&self) -> String {
        format!("chain+{}", self.inner.name())
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        let found = situation
            .lookup
            .filter(|lookup| lookup.match_length >= self.least_match && lookup.available > 0);
        self.inner_steps = found.is_none();
        match found {
            Some(lookup) => Plan::ngram(self.gamma.min(lookup.available)),
            None if situation.has_model || situation.parallel > 0 => {
                self.inner.plan(&Situation { lookup: None, ..*situation })
            }
            None => Plan::OFF,
        }
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        if self.inner_steps { self.inner.judge(signals) } else { Verdict::Continue }
    }

    fn ahead(&self) -> usize {
        if self.inner_steps { self.inner.ahead() } else { usize::MAX }
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        if self.inner_steps { self.inner.sibling(signals) } else { None }
    }

    fn observe(&mut self, record: &StepRecord) {
        if record.before.plan.source != Source::NGRAM {
            self.inner.observe(record);
        }
    }

    fn next_text(&mut self) {
        self.inner.next_text();
    }

    fn set_cost(&mut self, cost: &CostModel) {
        self.inner.set_cost(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{Lookup, baselines::Fixed, testing::situation};

    #[test]
    fn look_up_comes_first_and_the_inner_controller_takes_the_rest() {
        let mut controller = Chain::new(Box::new(Fixed::new(3)));
        assert_eq!(controller.name(), "chain+fixed-3");
        assert_eq!(controller.plan(&situation(9)), Plan::model(3));
        let lookup =
            |match_length| Some(Lookup { match_length, available: 6, signals: Signals::default() });
        assert_eq!(
            controller.plan(&Situation { lookup: lookup(4), ..situation(9) }),
            Plan::ngram(6)
        );
        assert_eq!(
            controller.plan(&Situation { lookup: lookup(1), ..situation(9) }),
            Plan::model(3)
        );
    }
}
