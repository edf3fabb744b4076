//! Where drafted tokens come from.

use std::{
    ops::{Index, IndexMut},
    sync::{PoisonError, RwLock},
};

/// A source of drafts, known by a name: the draft model, look-up, or one that a program adds.
///
/// Records, traces and metrics store the name. Within a process a source is a small number, given
/// in the order in which names are first used, so that tables per source are arrays
/// ([`PerSource`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(u8);

/// Names of sources, in the order of their numbers.
static NAMES: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

/// Names that every process knows.
const KNOWN: [&str; 3] = ["model", "ngram", "parallel"];

impl Source {
    /// A draft model.
    pub const MODEL: Source = Source(0);
    /// N-gram look-up of earlier text in prompt and output.
    pub const NGRAM: Source = Source(1);
    /// A draft model that proposes several tokens in one pass.
    pub const PARALLEL: Source = Source(2);
    /// Most sources that a process can have, those three included.
    pub const MOST: usize = 8;

    /// The source of this name, which is new if it was not named before.
    ///
    /// # Errors
    /// [`SourceError`]: a name that is not 1 to 32 of the characters `a` to `z`, `0` to `9` and
    /// `_`, or more sources than [`MOST`](Self::MOST).
    pub fn named(name: &str) -> Result<Source, SourceError> {
        let known = |names: &[&str]| names.iter().position(|&known| known == name);
        if let Some(number) = known(&KNOWN) {
            return Ok(Source(number as u8));
        }
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) {
            return Err(SourceError::Name { got: name.chars().take(40).collect() });
        }
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        let number = match known(&names) {
            Some(number) => number,
            None if KNOWN.len() + names.len() == Source::MOST => {
                return Err(SourceError::TooMany { name: name.into(), most: Source::MOST });
            }
            None => {
                names.push(String::leak(name.into())); // at most MOST names of 32 bytes
                names.len() - 1
            }
        };
        Ok(Source((KNOWN.len() + number) as u8))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let number = self.index();
        KNOWN.get(number).copied().unwrap_or_else(|| {
            NAMES.read().unwrap_or_else(PoisonError::into_inner)[number - KNOWN.len()]
        })
    }

    /// Its number in this process, below [`MOST`](Self::MOST).
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Whether a draft model proposes, which has to have read the text.
    #[must_use]
    pub fn is_of_model(self) -> bool {
        self == Source::MODEL || self == Source::PARALLEL
    }

    /// All numbers that a source may have, used or not.
    pub(crate) fn every() -> impl Iterator<Item = Source> {
        (0..Source::MOST as u8).map(Source)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Source {
    type Err = SourceError;

    fn from_str(name: &str) -> Result<Self, SourceError> {
        Source::named(name)
    }
}

impl serde::Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Source {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Source::named(&name).map_err(serde::de::Error::custom)
    }
}

/// Why a name is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The name has other characters or another length.
    #[error("expected a source name of 1 to 32 characters a-z, 0-9 and _, got {got:?}")]
    Name {
        /// The name, cut after 40 characters.
        got: String,
    },
    /// There are too many sources.
    #[error("expected at most {most} sources of drafts in a process, got one more: {name}")]
    TooMany {
        /// The name.
        name: String,
        /// Most sources.
        most: usize,
    },
}

/// A value for every source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerSource<T>([T; Source::MOST]);

impl<T> PerSource<T> {
    /// The values that `make` gives.
    pub fn from_fn(mut make: impl FnMut(Source) -> T) -> Self {
        PerSource(std::array::from_fn(|number| make(Source(number as u8))))
    }

    /// All values, those of sources that nothing has named included.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Source, &mut T)> {
        Source::every().zip(&mut self.0)
    }
}

impl<T> Index<Source> for PerSource<T> {
    type Output = T;

    fn index(&self, source: Source) -> &T {
        &self.0[source.index()]
    }
}

impl<T> IndexMut<Source> for PerSource<T> {
    fn index_mut(&mut self, source: Source) -> &mut T {
        &mut self.0[source.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_stored_by_their_names_and_new_names_are_new_sources() {
        for (source, name) in
            [(Source::MODEL, "model"), (Source::NGRAM, "ngram"), (Source::PARALLEL, "parallel")]
        {
            assert_eq!((source.name(), Source::named(name)), (name, Ok(source)));
            assert_eq!(serde_json::to_string(&source).expect("JSON"), format!("{name:?}"));
        }
        let suffix = Source::named("suffix_1").expect("a name");
        assert!(suffix.index() >= 3 && suffix != Source::MODEL && suffix != Source::NGRAM);
        assert_eq!(serde_json::from_str::<Source>("\"suffix_1\"").expect("a name"), suffix);
        assert_eq!((suffix.name(), Source::named("suffix_1")), ("suffix_1", Ok(suffix)));
        let mut counts = PerSource::<usize>::default();
        counts[suffix] += 3;
        assert_eq!((counts[suffix], counts[Source::MODEL]), (3, 0));
    }

    #[test]
    fn names_that_are_no_names_are_refused() {
        for name in ["", "Model", "a b", "ä", "a-b", &"x".repeat(33)] {
            assert!(matches!(Source::named(name), Err(SourceError::Name { .. })), "{name:?}");
        }
        assert!(serde_json::from_str::<Source>("\"No\"").is_err());
    }
}
