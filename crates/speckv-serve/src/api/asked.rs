//! What a request asks of its answers.

use super::structured::Structured;
use crate::tools::{Tool, ToolChoice};

/// What a request asks of its answers.
#[derive(Debug, Clone)]
pub struct Asked {
    /// A grammar or schema.
    pub structured: Option<Structured>,
    /// The tools.
    pub tools: Vec<Tool>,
    /// Which of them are called.
    pub choice: ToolChoice,
    /// Several calls in one answer are allowed.
    pub parallel: bool,
    /// The older form of tools.
    pub legacy: bool,
    /// Most tokens of reasoning.
    pub thinking_budget: Option<usize>,
}

impl Asked {
    /// The tools that may be called.
    #[must_use]
    pub fn callable(&self) -> Vec<&Tool> {
        match &self.choice {
            ToolChoice::None => Vec::new(),
            ToolChoice::Named(name) => {
                self.tools.iter().filter(|tool| tool.name == *name).collect()
            }
            ToolChoice::Auto | ToolChoice::Required => self.tools.iter().collect(),
        }
    }

    /// The tools that the model is told of.
    #[must_use]
    pub fn shown(&self) -> &[Tool] {
        if self.choice == ToolChoice::None { &[] } else { &self.tools }
    }
}
