//! Plain decoding.

use crate::controller::{Controller, Plan, Situation};

/// Never drafts: plain decoding through the same step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Off;

impl Controller for Off {
    fn name(&self) -> String {
        "off".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan::OFF
    }

    fn takes_forced(&self) -> bool {
        false
    }
}
