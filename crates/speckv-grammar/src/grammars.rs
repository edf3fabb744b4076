//! Compiling grammars for a vocabulary.

use std::sync::{Arc, Mutex, PoisonError};

use llguidance::{
    Matcher, ParserFactory,
    api::{ParserLimits, TopLevelGrammar},
    earley::SlicedBiasComputer,
};
use speckv::{sampling::Constraint, token::Token};
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::{
    GrammarError, GrammarSource, Words,
    constraint::GrammarConstraint,
    error::one_line,
    gbnf_to_lark, schema,
    source::{MOST_BYTES, MOST_NESTING, choices_to_lark},
    words::Vocabulary,
};

/// Cuts a text into tokens, none added and no control token found.
pub(crate) type Encode = Box<dyn Fn(&str) -> Vec<Token> + Send + Sync>;

/// Compiles grammars for the vocabulary of one model.
pub struct Grammars {
    factory: ParserFactory,
    vocabulary: Arc<Vocabulary>,
}

/// A compiled grammar.
pub struct Grammar {
    start: Mutex<Matcher>, // never advanced; a parser may be used by one thread at a time
    vocabulary: Arc<Vocabulary>,
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").finish_non_exhaustive()
    }
}

/// Bounds on the work and the memory of a grammar: about a second to compile, about 100 MB of lexer
/// states, and some ten milliseconds for a set of tokens. What is beyond is an error.
fn limits() -> ParserLimits {
    ParserLimits {
        initial_lexer_fuel: 1_000_000,
        max_lexer_states: 50_000,
        max_grammar_size: 200_000,
        verbose_errors: false,
        precompute_large_lexemes: false,
        ..ParserLimits::default()
    }
}

impl Grammars {
    /// For these tokens. `encode` is the model's own tokenizer: text that a grammar forces is cut
    /// by it.
    ///
    /// # Errors
    /// A vocabulary without tokens or without end tokens.
    pub fn new(words: Words, encode: Encode) -> Result<Self, GrammarError> {
        let vocabulary = |what: &str| GrammarError::Vocabulary(what.to_owned());
        let Some(&first_end) = words.end_tokens.first() else {
            return Err(vocabulary("it has no token that ends an answer"));
        };
        let size = words.bytes.len();
        if let Some(end) = words.end_tokens.iter().find(|&&end| end as usize >= size) {
            return Err(vocabulary(&format!("end token {end} is outside its {size} tokens")));
        }
        let usable = words.usable();
        let info = TokRxInfo::new(size as u32, first_end);
        let trie = TokTrie::from(&info, &words.bytes).with_eos_tokens(&words.end_tokens);
        let env: TokEnv = Arc::new(Env { trie, encode });
        let mut factory = ParserFactory::new(
            &env,
            InferenceCapabilities::default(),
            &SlicedBiasComputer::general_slices(),
        )
        .map_err(|error| vocabulary(&error.to_string()))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        let vocabulary = Arc::new(Vocabulary { usable, end_tokens: words.end_tokens });
        Ok(Grammars { factory, vocabulary })
    }

    /// Compiles a grammar.
    ///
    /// # Errors
    /// A source that is too large, wrong, not supported, or that no answer fits.
    pub fn compile(&self, source: &GrammarSource) -> Result<Grammar, GrammarError> {
        let got = source.bytes();
        if got > MOST_BYTES {
            return Err(GrammarError::TooLarge { got, most: MOST_BYTES });
        }
        let wrong = |message: String| GrammarError::Grammar { message };
        if source.nesting() > MOST_NESTING {
            let message = format!("expected at most {MOST_NESTING} brackets within each other");
            return Err(wrong(message));
        }
        match source {
            GrammarSource::JsonSchema(schema) => {
                schema::compile(&|grammar| self.parse(grammar), schema)
            }
            GrammarSource::Lark(text) => {
                self.parse(TopLevelGrammar::from_lark(text.clone())).map_err(wrong)
            }
            GrammarSource::Gbnf(text) => {
                let lark = gbnf_to_lark(text).map_err(wrong)?;
                self.parse(TopLevelGrammar::from_lark(lark)).map_err(wrong)
            }
            GrammarSource::Regex(text) => {
                self.parse(TopLevelGrammar::from_regex(text)).map_err(wrong)
            }
            GrammarSource::Choices(choices) if choices.is_empty() => {
                Err(wrong("expected at least one choice, got none".to_owned()))
            }
            GrammarSource::Choices(choices) => {
                self.parse(TopLevelGrammar::from_lark(choices_to_lark(choices))).map_err(wrong)
            }
        }
    }

    /// A grammar at its start, where at least one token must be allowed.
    fn parse(&self, grammar: TopLevelGrammar) -> Result<Grammar, String> {
        let parser = std::panic::AssertUnwindSafe(|| self.factory.create_parser(grammar));
        let parser = std::panic::catch_unwind(parser)
            .unwrap_or_else(|_| Err(anyhow::anyhow!("the grammar cannot be compiled")));
        let mut start = Matcher::new(parser);
        if let Some(error) = start.get_error() {
            return Err(one_line(&error));
        }
        // Lexers and sets are made when they are first needed: errors of the first set are errors
        // of the grammar.
        if !start.is_stopped() {
            start.compute_mask().map_err(|error| one_line(&error.to_string()))?;
        }
        Ok(Grammar { start: Mutex::new(start), vocabulary: Arc::clone(&self.vocabulary) })
    }
}

impl Grammar {
    /// A constraint at the start of an answer.
    #[must_use]
    pub fn constraint(&self) -> Box<dyn Constraint> {
        Box::new(self.start())
    }

    pub(crate) fn start(&self) -> GrammarConstraint {
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner).clone();
        GrammarConstraint::new(start, Arc::clone(&self.vocabulary))
    }
}

/// The vocabulary as `toktrie` takes it.
struct Env {
    trie: TokTrie,
    encode: Encode,
}

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<Token> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let tokens = (self.encode)(text);
            // Some vocabularies put a space before a text, or spell parts of it otherwise.
            match self.trie.decode_raw(&tokens) == text.as_bytes() {
                true => tokens,
                false => self.trie.greedy_tokenize(text.as_bytes()),
            }
        })
    }
}
