//! Which target and draft run, and how they are loaded.

use std::num::NonZeroUsize;

use speckv_formats::compression::Compression;

use crate::{
    backend::CacheType,
    catalogue::Catalogue,
    device_choice::DeviceChoices,
    draft_choice::{DraftChoice, DraftHead, DraftModel},
    failure::{Failure, Outcome},
    model_name::ModelName,
};

/// Whether a draft is looked for on this machine, and how it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DraftSearch {
    /// No: the draft is the one that the settings name.
    #[default]
    Off,
    /// A model that is found drafts alone.
    Alone,
    /// A model that is found drafts beside look-up.
    BesideLookup,
}

/// Which models run, and how.
#[derive(Debug, Clone)]
pub struct PairSettings {
    /// Target: catalogue name or path.
    pub target: ModelName,
    /// What drafts.
    pub draft: DraftChoice,
    /// Whether a model that is on this machine already and has the target's vocabulary drafts too.
    pub search: DraftSearch,
    /// Devices that the models run on.
    pub devices: DeviceChoices,
    /// Threads that compute.
    pub threads: NonZeroUsize,
    /// Most tokens of prompt and answer; `None` is a default that fits the model.
    pub context: Option<usize>,
    /// What the target's weights become.
    pub compression: Compression,
    /// What the draft's weights become, if the user says so; a draft that is the target itself says
    /// its own.
    pub draft_compression: Option<Compression>,
    /// Tokens that the draft's output head covers.
    pub draft_head: DraftHead,
    /// How keys and values are stored.
    pub cache_type: CacheType,
}

impl PairSettings {
    /// What the draft's weights become.
    ///
    /// # Errors
    /// If two options say it.
    pub fn draft_compression(&self) -> Outcome<Compression> {
        match (self.draft.model(), self.draft_compression) {
            (Some(DraftModel::Itself(own)), Some(other)) => Err(Failure::usage(
                format!("--draft-compression {other} contradicts --draft self:{own}"),
                format!("give --draft self:{other}, or omit --draft-compression"),
            )),
            (Some(&DraftModel::Itself(own)), None) => Ok(own),
            (_, asked) => Ok(asked.unwrap_or(Compression::Compact)),
        }
    }

    /// Target and draft by the options; the default draft comes only with the default target.
    #[must_use]
    pub fn models(
        model: Option<&ModelName>,
        draft: Option<&DraftChoice>,
        fallback: DraftChoice,
        catalogue: &Catalogue,
    ) -> (ModelName, DraftChoice) {
        let [default_target, default_draft] = catalogue.default_pair();
        let target = model.cloned().unwrap_or_else(|| default_target.as_str().into());
        let draft = draft.cloned().unwrap_or_else(|| {
            if target == **default_target {
                DraftChoice::Model(DraftModel::Named(default_draft.as_str().into()))
            } else {
                fallback
            }
        });
        (target, draft)
    }
}
