//! A constant gamma, as most engines have it.

use super::default_source;
use crate::{
    controller::{Controller, Plan, Situation},
    record::Source,
};

/// Drafts the same number of tokens in every step.
#[derive(Debug, Clone, Copy)]
pub struct Fixed {
    gamma: usize,
    source: Option<Source>,
}

impl Fixed {
    /// Always `gamma` tokens: from the draft model where there is one, else from n-gram look-up.
    #[must_use]
    pub fn new(gamma: usize) -> Self {
        Fixed { gamma, source: None }
    }

    /// Always `gamma` tokens from one source.
    #[must_use]
    pub fn from_source(gamma: usize, source: Source) -> Self {
        Fixed { gamma, source: Some(source) }
    }
}

impl Controller for Fixed {
    fn name(&self) -> String {
        format!("fixed-{}", self.gamma)
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        let source = self.source.unwrap_or_else(|| default_source(situation));
        Plan { gamma: self.gamma, source }
    }

    fn ahead(&self) -> usize {
        usize::MAX
    }
}
