//! `speckv tokenize`: text to token ids, and back.

use serde_json::json;
use speckv::token::Token;
use speckv_formats::tokenizer::Tokenizer;
use speckv_local::{
    failure::{Failure, Outcome},
    model_source::ModelSource,
    pair, text,
};

use crate::{args::TokenizeArgs, interrupt, printer::Printer, prompt};

pub(super) fn run(args: &TokenizeArgs, printer: &Printer) -> Outcome<()> {
    let path = ModelSource::from_environment().file(&args.model, &interrupt::install(), printer)?;
    let file = pair::open(&path)?;
    let tokenizer = text::tokenizer(&file)?;
    match (&args.ids, &args.text) {
        (Some(ids), _) => detokenize(&tokenizer, &ids.0, args.json, printer),
        (None, Some(text)) => {
            tokenize(&tokenizer, &prompt::text_or_stdin(text)?, args.json, printer)
        }
        (None, None) => {
            Err(Failure::usage("expected a text or --ids", "speckv tokenize MODEL \"some text\""))
        }
    }
}

fn tokenize(tokenizer: &Tokenizer, text: &str, json: bool, printer: &Printer) -> Outcome<()> {
    let ids = tokenizer.encode(text, true, false).map_err(|error| {
        Failure::from_error(
            &error,
            error.hint(),
            "change the text to what the vocabulary can spell",
        )
    })?;
    if json {
        let pieces: Vec<String> = ids.iter().map(|&id| piece(tokenizer, id)).collect();
        return printer.json(&json!({ "ids": ids, "pieces": pieces }));
    }
    let ids: Vec<String> = ids.iter().map(Token::to_string).collect();
    printer.data(&format!("{}\n", ids.join(",")))
}

fn detokenize(tokenizer: &Tokenizer, ids: &[Token], json: bool, printer: &Printer) -> Outcome<()> {
    check(tokenizer, ids)?;
    let text = tokenizer.decode(ids, false);
    if json {
        let pieces: Vec<String> = ids.iter().map(|&id| piece(tokenizer, id)).collect();
        printer.json(&json!({ "ids": ids, "pieces": pieces, "text": text }))
    } else {
        printer.data(&format!("{text}\n"))
    }
}

/// Refuses ids outside the vocabulary.
pub(super) fn check(tokenizer: &Tokenizer, ids: &[Token]) -> Outcome<()> {
    let size = tokenizer.vocab_size();
    match ids.iter().find(|&&id| id as usize >= size) {
        Some(id) => Err(Failure::new(
            format!("token {id} is outside the vocabulary of {size} tokens"),
            format!("give ids from 0 to {}", size - 1),
        )),
        None => Ok(()),
    }
}

/// A token's bytes as text; what is no UTF-8 of its own shows as U+FFFD.
pub(super) fn piece(tokenizer: &Tokenizer, id: Token) -> String {
    String::from_utf8_lossy(tokenizer.piece(id).unwrap_or_default()).into_owned()
}
