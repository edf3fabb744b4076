//! A controller with the sources that draft for it.

use speckv::controller::{Controller, Drafting};
use speckv_local::controllers::{ControllerKind, ControllerParts, ControllerSpec};

/// One setting that is measured or replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Contestant {
    /// Which controller.
    pub spec: ControllerSpec,
    /// The sources that draft for it.
    pub drafting: Drafting,
    /// Name in tables: the controller's, and `@model`, `@ngram` and so on where that is not its
    /// natural one.
    pub name: String,
}

impl Contestant {
    /// A controller and the sources that draft for it.
    #[must_use]
    pub fn new(spec: ControllerSpec, drafting: Drafting, has_model: bool) -> Self {
        let is_off = !spec.chain && spec.kind == ControllerKind::Off;
        let natural = spec.natural_drafting(has_model) == drafting || is_off;
        let name = if natural { spec.to_string() } else { format!("{spec}@{}", drafting.name()) };
        Contestant { spec, drafting, name }
    }

    /// A controller with all sources that it may draft with.
    #[must_use]
    pub fn natural(spec: ControllerSpec, has_model: bool) -> Self {
        Contestant::new(spec, spec.natural_drafting(has_model), has_model)
    }

    /// Whether it has a fixed gamma and drafts with the model, or with what there is in its place:
    /// the best of these is the best fixed gamma in hindsight.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        !self.spec.chain
            && matches!(self.spec.kind, ControllerKind::Fixed(_))
            && (self.drafting == Drafting::Parallel || !self.name.contains('@'))
    }

    /// Whether it is the rule of another engine or paper.
    #[must_use]
    pub fn is_rival(&self) -> bool {
        use ControllerKind::{Fixed, Off, Speckv};
        self.spec.chain || !matches!(self.spec.kind, Off | Fixed(_) | Speckv(_))
    }

    /// A fresh controller that is shown what this contestant may see.
    #[must_use]
    pub fn build(&self, parts: &ControllerParts) -> Box<dyn Controller> {
        self.drafting.restrict(self.spec.build(parts))
    }
}
