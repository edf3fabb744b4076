//! Grammars for a model's vocabulary.

use std::sync::Arc;

use speckv::token::Token;
use speckv_formats::tokenizer::Tokenizer;
use speckv_grammar::{GrammarError, Grammars, Words};

use super::ModelText;

impl ModelText {
    /// What compiles grammars for this vocabulary.
    ///
    /// # Errors
    /// A vocabulary without a token that ends an answer.
    pub fn grammars(&self) -> Result<Grammars, GrammarError> {
        let tokenizer = Arc::clone(self.tokenizer());
        let encode = move |text: &str| tokenizer.encode(text, false, false).unwrap_or_default();
        Grammars::new(words(self.tokenizer()), Box::new(encode))
    }
}

/// The bytes of the tokens. Tokens that end an answer and control tokens are no text.
fn words(tokenizer: &Tokenizer) -> Words {
    let ends = tokenizer.end_tokens();
    let is_control = |token: Token| tokenizer.is_special(token) || ends.contains(&token);
    let tokens = 0..u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
    let text = |token| if is_control(token) { None } else { tokenizer.piece(token) };
    let bytes = tokens.clone().map(|token| text(token).unwrap_or_default().to_vec());
    let mut words = Words::new(bytes.collect(), ends.to_vec());
    for token in tokens.filter(|&token| is_control(token)) {
        let spelling = tokenizer.piece(token).unwrap_or_default();
        words.set_control(token, &String::from_utf8_lossy(spelling));
    }
    words
}

#[cfg(test)]
mod tests {
    use speckv::conformance::check_constraint;
    use speckv_formats::{chat_template::ChatTemplate, gguf::Gguf, tiny::Tiny};
    use speckv_grammar::GrammarSource;

    use super::*;

    #[test]
    fn a_models_vocabulary_spells_what_a_grammar_forces() {
        let file =
            Gguf::from_bytes(Tiny::default().to_bytes().expect("a tiny model")).expect("a file");
        let tokenizer = Tokenizer::from_gguf(file.metadata()).expect("a tokenizer");
        let template = ChatTemplate::from_gguf(file.metadata(), &tokenizer).expect("a template");
        let text = ModelText::new(tokenizer, template);
        let grammars = text.grammars().expect("a vocabulary");
        let source = GrammarSource::Choices(vec!["the cat – naïve".into()]);
        let grammar = grammars.compile(&source).expect("choices");
        let mut constraint = grammar.constraint();
        let mut tokens = Vec::new();
        while let Some(token) = constraint.forced().expect("no fault") {
            if text.end_tokens().contains(&token) {
                break;
            }
            constraint.advance(token).expect("forced");
            tokens.push(token);
        }
        assert_eq!(text.tokenizer().decode(&tokens, false), "the cat – naïve");
        assert_eq!(tokens, text.tokenizer().encode("the cat – naïve", false, false).expect("it"));
        let object = grammars.compile(&GrammarSource::json_object()).expect("a schema");
        let vocab = text.tokenizer().vocab_size();
        for seed in 0..6 {
            let make = || object.constraint();
            check_constraint(&make, vocab, text.end_tokens(), seed, 40).expect("a constraint");
        }
    }
}
