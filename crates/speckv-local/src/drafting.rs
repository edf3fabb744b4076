//! What drafts for a target, where that comes from, and how to change it: the one line that users
//! see.

use std::fmt;

use crate::{
    draft_choice::{DraftChoice, DraftModel},
    known_drafts::KnownDraft,
    units,
};

/// Where a draft comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftOrigin {
    /// The user named it, or the default pair does.
    Asked,
    /// It is on this machine and has the target's vocabulary.
    Found,
    /// No model was found: look-up is what remains.
    NothingFound,
    /// No model was found, and this one is known to have the vocabulary.
    Offered(KnownDraft),
    /// A model was found, and it does not fit into memory beside the target.
    DoesNotFit,
}

/// What drafts, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drafting {
    /// What drafts.
    pub choice: DraftChoice,
    /// Where it comes from.
    pub origin: DraftOrigin,
}

impl Drafting {
    /// The draft's short name for records: `ngram`, `MODEL`, `MODEL+ngram`; `None` for nothing.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        match &self.choice {
            DraftChoice::None => None,
            DraftChoice::Ngram => Some("ngram".into()),
            DraftChoice::Model(model) => Some(short(model)),
            DraftChoice::Both(model) => Some(format!("{}+ngram", short(model))),
        }
    }
}

/// One line: what drafts or why nothing does, and how to change it.
impl fmt::Display for Drafting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = match self.origin {
            DraftOrigin::Found => " (found on this machine)",
            _ => "",
        };
        match &self.choice {
            DraftChoice::None => {
                f.write_str("drafting: nothing, plain decoding; --draft ngram turns look-up on")
            }
            DraftChoice::Ngram => {
                f.write_str("drafting: look-up of earlier text")?;
                match self.origin {
                    DraftOrigin::NothingFound => f.write_str(
                        " (no smaller model with this vocabulary is at hand; --draft MODEL names \
                         one)",
                    ),
                    DraftOrigin::Offered(draft) => write!(
                        f,
                        " (no smaller model with this vocabulary is at hand; --draft {} fetches \
                         one of {}, licence {}{})",
                        draft.name,
                        units::bytes(draft.size),
                        draft.licence,
                        if draft.is_certain() { "" } else { ", if its vocabulary is the same" }
                    ),
                    DraftOrigin::DoesNotFit => f.write_str(
                        " (a model with this vocabulary is at hand and does not fit into memory)",
                    ),
                    DraftOrigin::Asked | DraftOrigin::Found => Ok(()),
                }?;
                f.write_str("; --draft none turns it off")
            }
            DraftChoice::Model(model) => {
                write!(f, "drafting: {}{found}; --draft none turns it off", short(model))
            }
            DraftChoice::Both(model) => write!(
                f,
                "drafting: {}{found} and look-up of earlier text; --draft none turns it off",
                short(model)
            ),
        }
    }
}

/// A model's name without its folder.
fn short(model: &DraftModel) -> String {
    match model {
        DraftModel::Named(name) => crate::provenance::shown_name(&name.to_string()),
        itself => itself.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(choice: DraftChoice, origin: DraftOrigin) -> String {
        Drafting { choice, origin }.to_string()
    }

    #[test]
    fn the_line_names_the_draft_and_how_to_change_it() {
        let model = DraftModel::Named("folder/small.gguf".into());
        assert_eq!(
            line(DraftChoice::Both(model), DraftOrigin::Found),
            "drafting: small.gguf (found on this machine) and look-up of earlier text; \
             --draft none turns it off"
        );
        assert!(line(DraftChoice::Ngram, DraftOrigin::NothingFound).contains("--draft MODEL"));
        assert!(line(DraftChoice::Ngram, DraftOrigin::DoesNotFit).contains("memory"));
        assert!(line(DraftChoice::None, DraftOrigin::Asked).contains("--draft ngram"));
    }
}
