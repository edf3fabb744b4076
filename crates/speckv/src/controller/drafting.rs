//! Which sources a controller may draft with, where an engine has more than one.

use super::{Beside, Controller, Plan, Situation, Verdict};
use crate::{cost::CostModel, record::StepRecord, signals::Signals};

/// The sources that a controller may draft with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drafting {
    /// The draft model alone: one token per pass, and all in one where rule and model can do that.
    Model,
    /// The draft model, and what look-up says beside it in a branch of the same pass.
    Beside,
    /// The draft model alone, all tokens of a step from one pass.
    Parallel,
    /// The same, and look-up.
    ParallelNgram,
    /// The same, and what look-up says beside it in a branch of the same pass.
    ParallelBeside,
    /// Look-up alone.
    Ngram,
    /// All sources that there are; the controller chooses.
    Both,
}

impl Drafting {
    /// Its name: `model`, `beside`, `parallel`, `parallel+ngram`, `parallel+beside`, `ngram`, `both`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Drafting::Model => "model",
            Drafting::Beside => "beside",
            Drafting::Parallel => "parallel",
            Drafting::ParallelNgram => "parallel+ngram",
            Drafting::ParallelBeside => "parallel+beside",
            Drafting::Ngram => "ngram",
            Drafting::Both => "both",
        }
    }

    /// A controller that is shown these sources only, so that one engine with both serves every
    /// choice.
    #[must_use]
    pub fn restrict(self, inner: Box<dyn Controller>) -> Box<dyn Controller> {
        match self {
            Drafting::Both => inner,
            drafting => Box::new(Restricted { inner, drafting }),
        }
    }
}

/// Tokens of a branch for rules that know none: as many as a fixed gamma that does well.
const BRANCH: usize = 4;

struct Restricted {
    inner: Box<dyn Controller>,
    drafting: Drafting,
}

impl Controller for Restricted {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        self.inner.plan(&match self.drafting {
            Drafting::Both => *situation,
            Drafting::Model | Drafting::Beside => Situation { lookup: None, ..*situation },
            Drafting::Parallel | Drafting::ParallelBeside => {
                Situation { lookup: None, has_model: false, ..*situation }
            }
            Drafting::ParallelNgram => Situation { has_model: false, ..*situation },
            Drafting::Ngram => {
                Situation { has_model: false, parallel: 0, draft_behind: 0, ..*situation }
            }
        })
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        self.inner.judge(signals)
    }

    fn ahead(&self) -> usize {
        self.inner.ahead()
    }

    fn beside(&mut self) -> usize {
        match self.drafting {
            Drafting::Beside | Drafting::ParallelBeside => BRANCH,
            Drafting::ParallelNgram | Drafting::Both => self.inner.beside(),
            Drafting::Model | Drafting::Parallel | Drafting::Ngram => 0,
        }
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        match self.drafting {
            Drafting::Beside | Drafting::ParallelBeside => beside.available,
            _ => self.inner.branch(beside),
        }
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        match self.drafting {
            Drafting::Beside | Drafting::ParallelBeside => None,
            _ => self.inner.sibling(signals),
        }
    }

    fn observe(&mut self, record: &StepRecord) {
        self.inner.observe(record);
    }

    fn next_text(&mut self) {
        self.inner.next_text();
    }

    fn takes_forced(&self) -> bool {
        self.inner.takes_forced()
    }

    fn set_cost(&mut self, cost: &CostModel) {
        self.inner.set_cost(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Fixed, testing::situation},
        *,
    };
    use crate::record::Source;

    #[test]
    fn a_source_that_is_not_allowed_is_not_seen() {
        let here = Situation { parallel: 8, ..situation(9) };
        let source =
            |drafting: Drafting| drafting.restrict(Box::new(Fixed::new(3))).plan(&here).source;
        assert_eq!(source(Drafting::Parallel), Source::PARALLEL);
        assert_eq!(source(Drafting::Ngram), Source::NGRAM);
        assert_eq!(source(Drafting::Model), Source::MODEL);
        assert_eq!(source(Drafting::Both), Source::MODEL);
    }
}
