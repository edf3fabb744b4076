//! What users call a model: a catalogue name or a path, which need not be UTF-8.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::Path,
};

/// A catalogue name or the path of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelName(OsString);

impl ModelName {
    /// As a path.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// As text, if it is UTF-8; catalogue names are.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.0.to_str()
    }

    /// As the system has it.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

/// Bytes that are not UTF-8 are shown as replacement characters.
impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl From<OsString> for ModelName {
    fn from(name: OsString) -> Self {
        ModelName(name)
    }
}

impl From<&str> for ModelName {
    fn from(name: &str) -> Self {
        ModelName(name.into())
    }
}

impl From<String> for ModelName {
    fn from(name: String) -> Self {
        ModelName(name.into())
    }
}

impl From<&Path> for ModelName {
    fn from(path: &Path) -> Self {
        ModelName(path.into())
    }
}

impl PartialEq<str> for ModelName {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}
