//! How users name a repository: `hf:USER/REPO`, `hf:USER/REPO:QUANT`, `USER/REPO:QUANT`.

use std::fmt;

/// A repository on the Hub, and which of its quantizations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `owner/name`.
    pub repo: String,
    /// What comes after the colon, such as `Q4_K_M`.
    pub quant: Option<String>,
}

/// What the names of owners and repositories consist of.
fn is_part(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 96 && text.chars().all(plain) && !text.starts_with('.')
}

impl HubName {
    /// Reads a name; `None` for what is none. Without `hf:` there must be a quantization, since
    /// `a/b` is a path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("hf:");
        let (repo, quant) = match rest.unwrap_or(text).split_once(':') {
            Some((repo, quant)) => (repo, Some(quant)),
            None if rest.is_some() => (text.strip_prefix("hf:")?, None),
            None => return None,
        };
        let (owner, name) = repo.split_once('/')?;
        let whole = is_part(owner) && is_part(name) && quant.is_none_or(is_part);
        whole.then(|| HubName { repo: repo.to_owned(), quant: quant.map(str::to_owned) })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf:{}", self.repo)?;
        self.quant.as_ref().map_or(Ok(()), |quant| write!(f, ":{quant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories_are_told_from_paths() {
        let named = |repo: &str, quant: Option<&str>| {
            Some(HubName { repo: repo.to_owned(), quant: quant.map(str::to_owned) })
        };
        assert_eq!(HubName::parse("hf:a/b-GGUF"), named("a/b-GGUF", None));
        assert_eq!(HubName::parse("hf:a/b:Q8_0"), named("a/b", Some("Q8_0")));
        assert_eq!(HubName::parse("a/b.c:q4_k_m"), named("a/b.c", Some("q4_k_m")));
        let paths = [
            "a/b",
            "a/b.gguf",
            "hf:a",
            "hf:a/b/c",
            "C:/x",
            "C:\\x:y",
            "a/b:",
            "hf:a/b:",
            "/a/b:Q8_0",
            "../b:Q8_0",
            "hf:../b",
            "hf:a/..",
            "",
            "hf:",
        ];
        for path in paths {
            assert_eq!(HubName::parse(path), None, "{path}");
        }
        assert_eq!(HubName::parse("hf:a/b:Q8_0").expect("a name").to_string(), "hf:a/b:Q8_0");
    }
}
