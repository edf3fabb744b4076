//! The bytes of a look-up file.
//!
//! All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SPECKVLU` |
//! | 4 | version, 1 |
//! | 4 | tokens of the vocabulary |
//! | 32 | SHA-256 of the vocabulary |
//! | 16 | salt of the scopes' digests |
//! | 4 | scopes |
//! | 32 for each scope | its digest |
//! | 4 | its texts |
//! | 4 for each text | its tokens, at least 1 |
//! | 4 for each token | its number |
//! | 32 | SHA-256 of all bytes before |

use sha2::{Digest as _, Sha256};
use speckv::token::Token;

use crate::language::Language;

/// A SHA-256.
pub type Digest = [u8; 32];
/// Random bytes that the scopes' digests begin with.
pub type Salt = [u8; 16];

const MAGIC: &[u8; 8] = b"SPECKVLU";
const VERSION: u32 = 1;

/// Which tokens there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// How many.
    pub size: u32,
    /// SHA-256 of the length and the bytes of each token.
    pub digest: Digest,
}

impl Vocabulary {
    /// That of a model.
    #[must_use]
    pub fn of(language: &dyn Language) -> Self {
        let size = u32::try_from(language.vocab_size()).unwrap_or(u32::MAX);
        let mut hasher = Sha256::new();
        for token in 0..size {
            let bytes = language.bytes(token);
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(&bytes);
        }
        Vocabulary { size, digest: hasher.finalize().into() }
    }
}

/// The texts of a scope, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeTexts {
    /// The scope's digest.
    pub digest: Digest,
    /// Its texts.
    pub texts: Vec<Vec<Token>>,
}

/// What a file holds besides its vocabulary: scopes, the one that was unused for the longest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Salt of the digests.
    pub salt: Salt,
    /// The scopes.
    pub scopes: Vec<ScopeTexts>,
}

/// Why bytes are no look-up file of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// They begin otherwise.
    #[error("expected a file that `speckv serve --lookup-file` wrote, got {bytes} other bytes")]
    Other {
        /// Length of the file.
        bytes: usize,
    },
    /// Another version of the format.
    #[error("expected version {VERSION} of the format, got {got}")]
    Version {
        /// The file's.
        got: u32,
    },
    /// The texts have tokens of another vocabulary.
    #[error(
        "expected texts of this model's {expected} tokens, got those of another vocabulary \
        with {got}"
    )]
    Vocabulary {
        /// Tokens of the model.
        expected: u32,
        /// Tokens of the file's vocabulary.
        got: u32,
    },
    /// Cut off, or changed after it was written.
    #[error("the file is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
}

impl FormatError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            FormatError::Other { .. } => "give the path of a look-up file, or one that is free",
            FormatError::Vocabulary { .. } => {
                "give each model a --lookup-file of its own, or remove the file"
            }
            FormatError::Version { .. } | FormatError::Damaged { .. } => {
                "remove the file; the server then begins a new one"
            }
        }
    }
}

impl Contents {
    /// The bytes of a file.
    #[must_use]
    pub fn to_bytes(&self, vocabulary: &Vocabulary) -> Vec<u8> {
        let mut bytes = Vec::new();
        let number = |bytes: &mut Vec<u8>, number: usize| {
            bytes.extend((number as u32).to_le_bytes());
        };
        bytes.extend(MAGIC);
        number(&mut bytes, VERSION as usize);
        number(&mut bytes, vocabulary.size as usize);
        bytes.extend(vocabulary.digest);
        bytes.extend(self.salt);
        number(&mut bytes, self.scopes.len());
        for ScopeTexts { digest, texts } in &self.scopes {
            bytes.extend(digest);
            number(&mut bytes, texts.len());
            for text in texts {
                number(&mut bytes, text.len());
                text.iter().for_each(|&token| number(&mut bytes, token as usize));
            }
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        bytes
    }

    /// Reads the bytes of a file. Takes at most ten times their length of memory.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn from_bytes(bytes: &[u8], vocabulary: &Vocabulary) -> Result<Self, FormatError> {
        Rest(bytes).head()?;
        let damaged = FormatError::Damaged { what: "its checksum is another one" };
        let (body, sum) = bytes.split_last_chunk::<32>().ok_or(damaged.clone())?;
        if Sha256::digest(body).as_slice() != sum {
            return Err(damaged);
        }
        Self::from_body(body, vocabulary)
    }

    /// Reads the bytes before the checksum.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn from_body(body: &[u8], vocabulary: &Vocabulary) -> Result<Self, FormatError> {
        let mut rest = Rest(body);
        rest.head()?;
        let (size, digest) = (rest.number()?, rest.take::<32>()?);
        if (Vocabulary { size, digest }) != *vocabulary {
            return Err(FormatError::Vocabulary { expected: vocabulary.size, got: size });
        }
        let mut contents = Contents { salt: rest.take()?, scopes: Vec::new() };
        for _ in 0..rest.number()? {
            let digest = rest.take()?;
            let mut texts = Vec::new();
            for _ in 0..rest.number()? {
                texts.push(rest.text(size)?);
            }
            contents.scopes.push(ScopeTexts { digest, texts });
        }
        if !rest.0.is_empty() {
            return Err(FormatError::Damaged { what: "something follows its last text" });
        }
        Ok(contents)
    }
}

/// Bytes that were not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// What a file of this version begins with.
    fn head(&mut self) -> Result<(), FormatError> {
        let bytes = self.0.len();
        self.0 = self.0.strip_prefix(MAGIC).ok_or(FormatError::Other { bytes })?;
        match self.number()? {
            VERSION => Ok(()),
            got => Err(FormatError::Version { got }),
        }
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let cut = FormatError::Damaged { what: "it ends too early" };
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(cut)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| FormatError::Damaged { what: "it ends too early" })
    }

    fn number(&mut self) -> Result<u32, FormatError> {
        self.take().map(u32::from_le_bytes)
    }

    /// A text of tokens below `size`.
    fn text(&mut self, size: u32) -> Result<Vec<Token>, FormatError> {
        let tokens = self.number()? as usize;
        if tokens == 0 {
            return Err(FormatError::Damaged { what: "a text has no tokens" });
        }
        let bytes = self.bytes(tokens.saturating_mul(4))?; // before memory is taken
        let (numbers, _) = bytes.as_chunks::<4>();
        let text: Vec<Token> = numbers.iter().map(|number| u32::from_le_bytes(*number)).collect();
        match text.iter().all(|&token| token < size) {
            true => Ok(text),
            false => Err(FormatError::Damaged { what: "a token is outside the vocabulary" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VOCABULARY: Vocabulary = Vocabulary { size: 50, digest: [7; 32] };

    fn contents() -> Contents {
        let scope = |digest, texts: &[&[Token]]| ScopeTexts {
            digest: [digest; 32],
            texts: texts.iter().map(|text| text.to_vec()).collect(),
        };
        let scopes = vec![scope(1, &[&[1, 2, 3], &[49, 0]]), scope(2, &[]), scope(3, &[&[9, 9]])];
        Contents { salt: [5; 16], scopes }
    }

    /// A body with the checksum that belongs to it.
    fn sealed(mut body: Vec<u8>) -> Vec<u8> {
        let digest = Sha256::digest(&body);
        body.extend(digest);
        body
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = contents().to_bytes(&VOCABULARY);
        assert_eq!(Contents::from_bytes(&bytes, &VOCABULARY), Ok(contents()));
        let nothing = Contents::default();
        assert_eq!(Contents::from_bytes(&nothing.to_bytes(&VOCABULARY), &VOCABULARY), Ok(nothing));
    }

    #[test]
    fn another_vocabulary_version_or_file_is_refused() {
        let bytes = contents().to_bytes(&VOCABULARY);
        for other in
            [Vocabulary { size: 51, ..VOCABULARY }, Vocabulary { digest: [8; 32], ..VOCABULARY }]
        {
            let error = Contents::from_bytes(&bytes, &other).expect_err("another vocabulary");
            assert_eq!(error, FormatError::Vocabulary { expected: other.size, got: 50 });
            assert!(error.hint().contains("--lookup-file"));
        }
        let mut newer = bytes[..bytes.len() - 32].to_vec();
        newer[8] = 2;
        let newer = Contents::from_bytes(&sealed(newer), &VOCABULARY);
        assert_eq!(newer, Err(FormatError::Version { got: 2 }));
        let other = Contents::from_bytes(b"GGUF and more", &VOCABULARY);
        assert_eq!(other, Err(FormatError::Other { bytes: 13 }));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_noticed() {
        let bytes = contents().to_bytes(&VOCABULARY);
        for at in 0..bytes.len() {
            assert!(Contents::from_bytes(&bytes[..at], &VOCABULARY).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(Contents::from_bytes(&changed, &VOCABULARY).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn lengths_that_the_file_does_not_have_take_no_memory() {
        let bytes = contents().to_bytes(&VOCABULARY);
        let body = &bytes[..bytes.len() - 32];
        let header = 8 + 4 + 4 + 32 + 16;
        // Scopes, texts of the first scope, tokens of its first text.
        for place in [header, header + 4 + 32, header + 4 + 32 + 4] {
            let mut hostile = body.to_vec();
            hostile[place..place + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            let read = Contents::from_bytes(&sealed(hostile), &VOCABULARY);
            assert!(matches!(read, Err(FormatError::Damaged { .. })), "{read:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_with_a_right_checksum_are_texts_of_the_vocabulary_or_an_error(
            changes in proptest::collection::vec((0_usize..400, any::<u8>()), 0..12),
            more in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = contents().to_bytes(&VOCABULARY);
            let mut body = bytes[..bytes.len() - 32].to_vec();
            body.extend(more);
            for (place, value) in changes {
                let len = body.len();
                body[place % len] = value;
            }
            if let Ok(read) = Contents::from_bytes(&sealed(body.clone()), &VOCABULARY) {
                let mut tokens = read.scopes.iter().flat_map(|scope| scope.texts.iter().flatten());
                prop_assert!(tokens.all(|&token| token < VOCABULARY.size));
                prop_assert_eq!(read.to_bytes(&VOCABULARY), sealed(body));
            }
        }
    }
}
