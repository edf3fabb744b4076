//! A backend of one's own: a bigram model that is counted from a text, with its cache and output.
//!
//! `cargo run -p speckv --example custom_model`

use std::{error::Error, sync::Arc};

use speckv::{
    conformance::check_model,
    controller::Fixed,
    draft::ModelDrafter,
    engine::{Engine, SequenceSettings},
    model::{Best, Cache, Feed, LanguageModel, LastFeed, ModelError, PassOutput},
    sampling::SamplingSettings,
    signals,
    token::Token,
};

/// Tokens are bytes.
const VOCAB: usize = 256;

/// Log probabilities of the next byte after each byte, `[byte, next byte]`: the weights.
struct Bigrams {
    rows: Vec<[f32; VOCAB]>,
}

impl Bigrams {
    /// Counts `text`; `unseen` is what a pair that does not occur counts as.
    fn count(text: &str, unseen: f32) -> Self {
        let mut rows = vec![[unseen; VOCAB]; VOCAB];
        for pair in text.as_bytes().windows(2) {
            rows[usize::from(pair[0])][usize::from(pair[1])] += 1.0;
        }
        for row in &mut rows {
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|count| *count = (*count / sum).ln());
        }
        Bigrams { rows }
    }
}

/// State of one sequence: the bytes that were read. A transformer has keys and values here.
struct TextCache {
    read: Vec<Token>,
    last: LastFeed, // what `keep` may shorten
}

impl Cache for TextCache {
    fn len(&self) -> usize {
        self.read.len()
    }

    fn truncate(&mut self, len: usize) {
        self.last.forget();
        self.read.truncate(len);
    }

    fn keep(&mut self, path: &[usize]) -> Result<(), ModelError> {
        // This backend takes no branches, so a path is the beginning of the feed.
        self.last.check(path)?;
        self.read.truncate(self.last.start() + path.len());
        self.last.forget();
        Ok(())
    }
}

/// What a pass leaves behind: rows of logits. A GPU backend keeps them on the device and answers
/// [`best`](PassOutput::best) there.
struct Rows(Vec<[f32; VOCAB]>);

impl PassOutput for Rows {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn best(&mut self, row: usize, vocab: usize) -> Result<Best, ModelError> {
        let logits = &self.logits(row)?[..vocab];
        signals::read(logits).map_err(|source| ModelError::Logits { row, source })
    }

    fn logits(&mut self, row: usize) -> Result<&[f32], ModelError> {
        let rows = self.0.len();
        self.0.get(row).map(|logits| &logits[..]).ok_or(ModelError::Row { row, rows })
    }
}

impl LanguageModel for Bigrams {
    type Cache = TextCache;
    type Output = Rows;

    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn context_length(&self) -> usize {
        1024
    }

    fn new_cache(&self) -> Result<TextCache, ModelError> {
        Ok(TextCache { read: Vec::new(), last: LastFeed::default() })
    }

    fn new_output(&self) -> Rows {
        Rows(Vec::new())
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, TextCache>],
        output: &mut Rows,
    ) -> Result<(), ModelError> {
        for feed in feeds.iter() {
            feed.check(self)?; // before anything is changed
        }
        output.0.clear();
        for feed in feeds {
            let first = feed.tokens.len() - feed.rows; // the last `rows` tokens have logits
            output.0.extend(feed.tokens[first..].iter().map(|&token| self.rows[token as usize]));
            let TextCache { read, last } = &mut *feed.cache;
            last.note(read.len(), feed.tokens.len(), feed.parents);
            read.extend_from_slice(feed.tokens);
        }
        Ok(())
    }
}

const TEXT: &str = "the cat sat on the mat and the rat sat on the hat and that was that";

fn main() -> Result<(), Box<dyn Error>> {
    let target = Arc::new(Bigrams::count(TEXT, 1e-3));
    // The suite tests caches, batches, errors and bits.
    check_model(&*target)?;
    // A draft that was counted from a part of the text.
    let draft = Arc::new(Bigrams::count(&TEXT[..40], 1e-3));
    let drafter = ModelDrafter::new(draft, VOCAB);
    let mut engine = Engine::new(target, Box::new(drafter));
    let mut sequence = engine.sequence(SequenceSettings {
        prompt: b"the ".iter().map(|&byte| Token::from(byte)).collect(),
        sampling: SamplingSettings { temperature: 0.7, seed: 3, ..SamplingSettings::default() },
        end_tokens: vec![],
        max_tokens: 60,
        controller: Box::new(Fixed::new(4)),
    })?;
    let bytes: Vec<u8> = engine
        .generate(&mut sequence)
        .map(|token| token.map(|token| token as u8))
        .collect::<Result<_, _>>()?;
    println!("the {}", String::from_utf8_lossy(&bytes));
    let totals = sequence.totals();
    println!("{} tokens in {} steps", totals.produced, totals.steps);
    Ok(())
}
