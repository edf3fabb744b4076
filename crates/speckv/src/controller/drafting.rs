//! Which sources a controller may draft with, where an engine has more than one.

use super::{Beside, Controller, Plan, Situation, Verdict};
use crate::{cost::CostModel, record::StepRecord, signals::Signals};

/// The sources that a controller may draft with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drafting {
    /// The draft model alone: one token per pass, and all in one where rule and model can do that.
    Model,
    /// The draft model, and in a branch of the same pass what look-up says beside it or, where that
    /// says nothing, the second choice at the draft's least sure token.
    Beside,
    /// The draft model alone, all tokens of a step from one pass.
    Parallel,
    /// The same, and look-up.
    ParallelNgram,
    /// The same, and a branch as above.
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
            drafting => Box::new(Restricted { inner, drafting, branches: false }),
        }
    }
}

/// Tokens of a branch for rules that know none: as many as a fixed gamma that does well.
const BRANCH: usize = 4;

struct Restricted {
    inner: Box<dyn Controller>,
    drafting: Drafting,
    branches: bool, // look-up has a branch in the step under way
}

impl Controller for Restricted {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        self.branches = false;
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
            Drafting::Beside | Drafting::ParallelBeside => {
                self.branches = beside.available > 0;
                beside.available
            }
            _ => self.inner.branch(beside),
        }
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        match self.drafting {
            Drafting::Beside | Drafting::ParallelBeside if self.branches => None,
            Drafting::Beside | Drafting::ParallelBeside => {
                let sure = |&at: &usize| signals[at].confidence;
                (0..signals.len()).min_by(|a, b| sure(a).total_cmp(&sure(b)))
            }
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

    #[test]
    fn a_branch_is_what_look_up_says_or_else_the_second_choice_at_the_least_sure_token() {
        let kept = [0.9, 0.4, 0.7].map(|confidence| Signals { confidence, ..Signals::default() });
        for drafting in [Drafting::Beside, Drafting::ParallelBeside] {
            let mut rule = drafting.restrict(Box::new(Fixed::new(3)));
            let here = Situation { parallel: 8, ..situation(9) };
            rule.plan(&here);
            assert_eq!(rule.sibling(&kept), Some(1));
            let said = Beside { kept: 3, at: 0, available: 2, signals: Signals::default() };
            assert_eq!((rule.branch(&said), rule.sibling(&kept)), (2, None));
            rule.plan(&here);
            assert_eq!(rule.sibling(&kept), Some(1), "a new step");
        }
        assert_eq!(Drafting::Model.restrict(Box::new(Fixed::new(3))).sibling(&kept), None);
    }
}
