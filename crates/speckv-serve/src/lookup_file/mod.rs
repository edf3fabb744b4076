//! A file of the answers that look-up remembers, so that they survive a restart.
//!
//! The file has the tokens of answers, and of API keys a salted digest only. What belongs to a key
//! that the server no longer takes is not read.

mod format;

use std::{
    fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use speckv::draft::TextMemory;
use speckv_local::failure::{Failure, Outcome};

pub use format::{Contents, Digest, FormatError, Salt, ScopeTexts, Vocabulary};

use crate::http::{Limits, random, scope_of};

/// A look-up file and what its texts belong to.
#[derive(Debug)]
pub struct LookupFile {
    path: PathBuf,
    vocabulary: Vocabulary,
    owners: Vec<Owner>,
    most_tokens: usize, // that look-up remembers
}

/// A scope and the key that it belongs to; `None` where keys are not told apart.
#[derive(Debug)]
struct Owner {
    scope: u64,
    key: Option<String>,
}

/// Most bytes of a file for each token that look-up remembers: a scope of its own for two tokens.
const BYTES_PER_TOKEN: u64 = 16;
/// Bytes that a file may have beyond that, so that a server with a smaller memory reads it too.
const MOST_MORE: u64 = 1 << 24;

impl LookupFile {
    /// The file at `path` for a model and the keys that a server takes, for a memory of at most
    /// `most_tokens` tokens.
    #[must_use]
    pub fn new(path: PathBuf, vocabulary: Vocabulary, limits: &Limits, most_tokens: usize) -> Self {
        let keys = limits.api_keys.iter().map(|key| Some(key.clone()));
        let keys = keys.filter(|_| !limits.share_across_keys);
        let mut owners: Vec<Option<String>> = keys.collect();
        if owners.is_empty() {
            owners.push(None);
        }
        let owner = |key: Option<String>| Owner { scope: scope_of(key.as_deref()), key };
        let owners = owners.into_iter().map(owner).collect();
        LookupFile { path, vocabulary, owners, most_tokens }
    }

    /// Has look-up remember what the file holds; how many texts that were. A file that is not there
    /// holds none.
    ///
    /// # Errors
    /// A file that cannot be read or is of another model, or a folder that is not there: it would
    /// be missed when the server stops.
    pub fn read(&self, memory: &mut TextMemory) -> Outcome<usize> {
        let bytes = match fs::File::open(&self.path) {
            Ok(file) => self.bytes(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.check_folder(),
            Err(error) => return Err(Failure::io("read", &self.path, &error)),
        };
        let read = Contents::from_bytes(&bytes, &self.vocabulary);
        let contents =
            read.map_err(|error| Failure::new(&error, error.hint()).about(self.path.display()))?;
        let mut texts = 0;
        for scope in &contents.scopes {
            let is_its = |owner: &&Owner| owner.digest(&contents.salt) == scope.digest;
            let Some(owner) = self.owners.iter().find(is_its) else { continue };
            scope.texts.iter().for_each(|text| memory.remember(owner.scope, text));
            texts += scope.texts.len();
        }
        Ok(texts)
    }

    /// The bytes of the file, if they are no more than a file for this memory can have.
    fn bytes(&self, file: fs::File) -> Outcome<Vec<u8>> {
        let most = BYTES_PER_TOKEN * self.most_tokens as u64 + MOST_MORE;
        let mut bytes = Vec::new();
        let read = file.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|error| Failure::io("read", &self.path, &error))?;
        if bytes.len() as u64 > most {
            return Err(Failure::new(
                format!("{}: expected at most {most} bytes, got more", self.path.display()),
                "give the --lookup-memory that it was written with, or remove the file",
            ));
        }
        Ok(bytes)
    }

    fn check_folder(&self) -> Outcome<usize> {
        let folder = self.folder();
        if folder.is_dir() {
            return Ok(0);
        }
        Err(Failure::new(
            format!("{}: there is no folder {}", self.path.display(), folder.display()),
            "make the folder, or give another --lookup-file",
        ))
    }

    fn folder(&self) -> &Path {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }

    /// Writes what look-up remembers; how many texts that are. A temporary file is renamed, so that
    /// a reader sees the old file or the new one. Only its owner may read it.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn write(&self, memory: &TextMemory) -> Outcome<usize> {
        let mut contents = Contents { salt: salt(), scopes: Vec::new() };
        memory.visit(&mut |scope, text| {
            // A model's head may have more rows than the vocabulary has tokens.
            if text.iter().any(|&token| token >= self.vocabulary.size) {
                return;
            }
            let Some(owner) = self.owners.iter().find(|owner| owner.scope == scope) else { return };
            let digest = owner.digest(&contents.salt);
            if contents.scopes.last().is_none_or(|last| last.digest != digest) {
                contents.scopes.push(ScopeTexts { digest, texts: Vec::new() });
            }
            if let Some(last) = contents.scopes.last_mut() {
                last.texts.push(text.to_vec());
            }
        });
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = self.folder().join(name);
        let bytes = contents.to_bytes(&self.vocabulary);
        let written = write_private(&part, &bytes).and_then(|()| fs::rename(&part, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(&part);
            Failure::io("write", &self.path, &error)
        })?;
        Ok(contents.scopes.iter().map(|scope| scope.texts.len()).sum())
    }
}

impl Owner {
    /// What stands in a file for the owner: SHA-256 of the salt and the key.
    fn digest(&self, salt: &Salt) -> Digest {
        let mut hasher = Sha256::new();
        hasher.update(salt);
        hasher.update([u8::from(self.key.is_some())]);
        hasher.update(self.key.as_deref().unwrap_or_default());
        hasher.finalize().into()
    }
}

fn salt() -> Salt {
    let mut salt = Salt::default();
    salt[..8].copy_from_slice(&random().to_le_bytes());
    salt[8..].copy_from_slice(&random().to_le_bytes());
    salt
}

/// Writes a new file that only its owner may read.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use speckv::token::Token;

    use super::*;

    const VOCABULARY: Vocabulary = Vocabulary { size: 100, digest: [1; 32] };

    fn file(path: &Path, keys: &[&str]) -> LookupFile {
        let api_keys = keys.iter().map(|&key| key.to_owned()).collect();
        let limits = Limits { api_keys, ..Limits::default() };
        LookupFile::new(path.to_owned(), VOCABULARY, &limits, 1000)
    }

    fn texts(memory: &TextMemory) -> Vec<(u64, Vec<Token>)> {
        let mut texts = Vec::new();
        memory.visit(&mut |scope, text| texts.push((scope, text.to_vec())));
        texts
    }

    #[test]
    fn texts_come_back_for_the_keys_that_are_still_taken_and_no_key_is_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("texts");
        let mut memory = TextMemory::new(1000);
        let (first, second) = (scope_of(Some("first-key")), scope_of(Some("second-key")));
        memory.remember(first, &[1, 2, 3]);
        memory.remember(second, &[4, 5]);
        memory.remember(first, &[6, 7]);
        memory.remember(second, &[99, 100]); // which no text of this vocabulary has
        let both = file(&path, &["first-key", "second-key"]);
        assert_eq!(both.write(&memory).expect("written"), 3);
        let mut again = TextMemory::new(1000);
        assert_eq!(both.read(&mut again).expect("read"), 3);
        let expected = [(first, vec![1, 2, 3]), (first, vec![6, 7]), (second, vec![4, 5])];
        assert_eq!(texts(&again), expected);
        let mut one = TextMemory::new(1000);
        assert_eq!(file(&path, &["first-key"]).read(&mut one).expect("read"), 2);
        assert_eq!(texts(&one), [(first, vec![1, 2, 3]), (first, vec![6, 7])]);
        assert_eq!(
            file(&path, &[]).read(&mut one).expect("read"),
            0,
            "without keys: another scope"
        );
        let bytes = std::fs::read(&path).expect("a file");
        assert!(!bytes.windows(9).any(|window| window == b"first-key"));
        let before = bytes;
        both.write(&memory).expect("written again");
        assert_ne!(std::fs::read(&path).expect("a file"), before, "another salt");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("texts");
        file(&path, &[]).write(&TextMemory::new(10)).expect("written");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_hint_and_what_is_not_there_holds_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("texts");
        let mut memory = TextMemory::new(1000);
        assert_eq!(file(&path, &[]).read(&mut memory).expect("nothing"), 0);
        let absent = file(&folder.path().join("no/texts"), &[]).read(&mut memory);
        assert!(absent.expect_err("no folder").hint().contains("make the folder"));
        std::fs::write(&path, b"something else").expect("a file");
        let failure = file(&path, &[]).read(&mut memory).expect_err("no look-up file");
        assert!(failure.message().contains("texts") && !failure.hint().is_empty(), "{failure:?}");
        std::fs::write(&path, vec![0; 17 << 20]).expect("a large file");
        let failure = file(&path, &[]).read(&mut memory).expect_err("too large");
        assert!(failure.hint().contains("--lookup-memory"), "{failure:?}");
        assert_eq!(memory.usage().tokens, 0);
    }
}
