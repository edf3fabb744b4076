//! What drafts: look-up, a model, both or nothing, as text and as types.

use std::{
    ffi::{OsStr, OsString},
    fmt::Display,
    str::FromStr,
};

use speckv_formats::compression::Compression;

use crate::model_name::ModelName;

/// What drafts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftChoice {
    /// Nothing: plain decoding.
    None,
    /// Look-up of earlier text; no second model.
    Ngram,
    /// A model.
    Model(DraftModel),
    /// A model and look-up; the controller chooses.
    Both(DraftModel),
}

/// The model that drafts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftModel {
    /// One of its own, by catalogue name or path.
    Named(ModelName),
    /// The target's own weights, compressed further.
    Itself(Compression),
}

impl Display for DraftModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DraftModel::Named(name) => name.fmt(f),
            DraftModel::Itself(compression) => write!(f, "self:{compression}"),
        }
    }
}

impl DraftModel {
    fn parse(text: &OsStr) -> Result<Self, String> {
        let Some(compression) = text.to_str().and_then(|text| text.strip_prefix("self:")) else {
            return Ok(DraftModel::Named(text.to_owned().into()));
        };
        let compression = compression.parse();
        compression
            .map(DraftModel::Itself)
            .map_err(|error| format!("{error}\nhint: `--draft self:nf4` is the usual one"))
    }
}

impl DraftChoice {
    /// The model, if there is one.
    #[must_use]
    pub fn model(&self) -> Option<&DraftModel> {
        match self {
            DraftChoice::Model(model) | DraftChoice::Both(model) => Some(model),
            DraftChoice::None | DraftChoice::Ngram => None,
        }
    }
}

impl TryFrom<&OsStr> for DraftChoice {
    type Error = String;

    fn try_from(text: &OsStr) -> Result<Self, String> {
        match text.to_str() {
            Some("") => Err("expected a model, `none` or `ngram`, got nothing\n\
                             hint: `--draft none` decodes plainly"
                .into()),
            Some("none") => Ok(DraftChoice::None),
            Some("ngram") => Ok(DraftChoice::Ngram),
            _ => match without_ngram(text) {
                None => Ok(DraftChoice::Model(DraftModel::parse(text)?)),
                Some(model) if ["", "none", "ngram"].iter().any(|word| model == *word) => {
                    Err(format!(
                        "expected a model before +ngram, got {:?}\n\
                         hint: `--draft ngram` drafts by look-up alone",
                        text.display().to_string()
                    ))
                }
                Some(model) => Ok(DraftChoice::Both(DraftModel::parse(&model)?)),
            },
        }
    }
}

impl FromStr for DraftChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        OsStr::new(text).try_into()
    }
}

/// A text without the ending `+ngram`; `None` if it has another. Paths need not be UTF-8.
#[cfg(unix)]
fn without_ngram(text: &OsStr) -> Option<OsString> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};

    let model = text.as_bytes().strip_suffix(b"+ngram")?;
    Some(OsString::from_vec(model.to_vec()))
}

/// A text without the ending `+ngram`; `None` if it has another.
#[cfg(not(unix))]
fn without_ngram(text: &OsStr) -> Option<OsString> {
    Some(text.to_str()?.strip_suffix("+ngram")?.into())
}

/// How many tokens the draft's output head covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftHead {
    /// All of the vocabulary.
    Whole,
    /// The first ones and the special ones, until the text has others.
    First(usize),
}

impl Display for DraftHead {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DraftHead::Whole => out.write_str("whole"),
            DraftHead::First(tokens) => write!(out, "{tokens}"),
        }
    }
}

/// Most tokens that a draft's output head can be limited to.
const MOST_HEAD: usize = 16_777_216;

impl FromStr for DraftHead {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "whole" {
            return Ok(DraftHead::Whole);
        }
        let tokens = text.parse().ok().filter(|tokens| (1..=MOST_HEAD).contains(tokens));
        tokens.map(DraftHead::First).ok_or_else(|| {
            format!(
                "expected a whole number from 1 to {MOST_HEAD}, got {text:?}\n\
                 hint: 65536 and 100352 are sizes to try, `whole` covers all tokens"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_none_ngram_a_model_or_both() {
        assert_eq!("none".parse(), Ok(DraftChoice::None));
        assert_eq!("ngram".parse(), Ok(DraftChoice::Ngram));
        let named = DraftModel::Named("a/b.gguf".into());
        assert_eq!("a/b.gguf".parse(), Ok(DraftChoice::Model(named.clone())));
        assert_eq!("a/b.gguf+ngram".parse(), Ok(DraftChoice::Both(named)));
        assert_eq!(
            "self:nf4".parse(),
            Ok(DraftChoice::Model(DraftModel::Itself(Compression::Nf4)))
        );
        assert_eq!(
            "self:int8+ngram".parse(),
            Ok(DraftChoice::Both(DraftModel::Itself(Compression::Int8)))
        );
        for wrong in ["", "self:", "self:q5", "+ngram", "ngram+ngram", "none+ngram"] {
            assert!(wrong.parse::<DraftChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_head_is_whole_or_a_number_of_tokens() {
        assert_eq!("whole".parse(), Ok(DraftHead::Whole));
        assert_eq!("65536".parse(), Ok(DraftHead::First(65_536)));
        for wrong in ["0", "-1", "half", "16777217"] {
            let message = wrong.parse::<DraftHead>().expect_err(wrong);
            assert!(message.contains(wrong) && message.contains("\nhint: "), "{message}");
        }
    }
}
