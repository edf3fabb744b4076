//! Compiled grammars of the model that is served.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use speckv::token::Token;
use speckv_grammar::{Grammar, GrammarError, GrammarSource, Grammars, Words};

use crate::{error::ApiError, language::Language};

/// Most grammars that are kept, and most bytes of their sources. A compiled grammar that has read
/// nothing takes some times the bytes of its source.
const MOST_KEPT: usize = 256;
const MOST_KEPT_BYTES: usize = 2 << 20;

/// Compiles grammars and keeps those that were used last. What the compiler needs of the vocabulary
/// is made when the first grammar is asked for.
pub struct GrammarStore {
    language: Arc<dyn Language>,
    compiler: OnceLock<Result<Compiler, GrammarError>>,
    kept: Mutex<VecDeque<Kept>>, // the one that was used last at the end
}

struct Kept {
    source: GrammarSource,
    bytes: usize, // of the source
    grammar: Arc<Grammar>,
}

struct Compiler {
    grammars: Grammars,
    words: Arc<Words>,
}

impl std::fmt::Debug for GrammarStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrammarStore").finish_non_exhaustive()
    }
}

impl GrammarStore {
    /// For a model.
    #[must_use]
    pub fn new(language: Arc<dyn Language>) -> Self {
        GrammarStore { language, compiler: OnceLock::new(), kept: Mutex::default() }
    }

    /// The compiled grammar. `field`: where the request has it, for errors.
    ///
    /// # Errors
    /// A grammar that is wrong, not supported, too large, or that no answer fits.
    pub fn compile(&self, field: &str, source: &GrammarSource) -> Result<Arc<Grammar>, ApiError> {
        if let Some(known) = self.known(source) {
            return Ok(known);
        }
        let compiler = self.compiler().map_err(|error| refused(field, error))?;
        let made = compiler.grammars.compile(source).map_err(|error| refused(field, &error))?;
        let made = Arc::new(made);
        let new =
            Kept { source: source.clone(), bytes: source.bytes(), grammar: Arc::clone(&made) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = new.bytes + kept.iter().map(|kept| kept.bytes).sum::<usize>();
        while kept.len() >= MOST_KEPT || bytes > MOST_KEPT_BYTES {
            let Some(oldest) = kept.pop_front() else { break };
            bytes -= oldest.bytes;
        }
        kept.push_back(new);
        Ok(made)
    }

    /// Whether the grammar is kept.
    #[must_use]
    pub fn knows(&self, source: &GrammarSource) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().any(|kept| kept.source == *source)
    }

    /// Compiles a grammar that is a part of another, for its errors; it is not kept.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn check(&self, field: &str, source: &GrammarSource) -> Result<(), ApiError> {
        let compiler = self.compiler().map_err(|error| refused(field, error))?;
        compiler.grammars.compile(source).map_err(|error| refused(field, &error))?;
        Ok(())
    }

    /// The bytes of the model's tokens.
    ///
    /// # Errors
    /// A vocabulary that cannot be used.
    pub fn words(&self, field: &str) -> Result<Arc<Words>, ApiError> {
        let compiler = self.compiler().map_err(|error| refused(field, error))?;
        Ok(Arc::clone(&compiler.words))
    }

    fn known(&self, source: &GrammarSource) -> Option<Arc<Grammar>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|kept| kept.source == *source)?;
        let found = kept.remove(place)?;
        let grammar = Arc::clone(&found.grammar);
        kept.push_back(found);
        Some(grammar)
    }

    fn compiler(&self) -> Result<&Compiler, &GrammarError> {
        self.compiler
            .get_or_init(|| {
                let words = words(&*self.language);
                let language = Arc::clone(&self.language);
                let encode =
                    move |text: &str| language.encode(text, false, false).unwrap_or_default();
                let grammars = Grammars::new(words.clone(), Box::new(encode))?;
                Ok(Compiler { grammars, words: Arc::new(words) })
            })
            .as_ref()
    }
}

/// The vocabulary as grammars see it.
fn words(language: &dyn Language) -> Words {
    let tokens = 0..u32::try_from(language.vocab_size()).unwrap_or(u32::MAX);
    let ends = language.end_tokens().to_vec();
    let bytes = tokens.clone().map(|token| match ends.contains(&token) {
        true => Vec::new(),
        false => language.bytes(token),
    });
    let mut words = Words::new(bytes.collect(), ends.clone());
    for token in tokens.filter(|token| language.is_control(*token) || ends.contains(token)) {
        words.set_control(token, &String::from_utf8_lossy(&language.bytes(token)));
    }
    words
}

fn refused(field: &str, error: &GrammarError) -> ApiError {
    match error {
        GrammarError::Schema { path, message } => ApiError::field(
            format!("{field}{}", path.trim_start_matches('#').replace('/', ".")),
            format!("The schema at {path} cannot be used: {message}."),
        ),
        GrammarError::Vocabulary(_) => ApiError::unsupported(field, format!("{error}.")),
        error => ApiError::field(field, format!("The grammar cannot be used: {error}.")),
    }
}

/// The token that is spelled so, if it is one.
#[must_use]
pub fn token_of(language: &dyn Language, spelling: &str) -> Option<Token> {
    match language.encode(spelling, true, false).ok()?[..] {
        [token] if language.bytes(token) == spelling.as_bytes() => Some(token),
        _ => None,
    }
}
