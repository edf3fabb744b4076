//! Schemas, grammars, regular expressions and choices: an answer or an error, in bounded memory.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use speckv::sampling::TokenSet;
use speckv_grammar::{GrammarSource, Grammars, Words};

/// Single bytes, of which 0 ends an answer.
fn grammars() -> &'static Grammars {
    static GRAMMARS: OnceLock<Grammars> = OnceLock::new();
    GRAMMARS.get_or_init(|| {
        let words = Words::new((0..=255_u8).map(|byte| vec![byte]).collect(), vec![0]);
        let encode = |text: &str| text.bytes().map(u32::from).collect();
        Grammars::new(words, Box::new(encode)).expect("a vocabulary")
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let source = match kind % 5 {
        0 => match serde_json::from_str(text) {
            Ok(schema) => GrammarSource::JsonSchema(schema),
            Err(_) => return,
        },
        1 => GrammarSource::Lark(text.to_owned()),
        2 => GrammarSource::Gbnf(text.to_owned()),
        3 => GrammarSource::Regex(text.to_owned()),
        _ => GrammarSource::Choices(text.split(',').map(str::to_owned).collect()),
    };
    let Ok(grammar) = grammars().compile(&source) else { return };
    let (mut constraint, mut set) = (grammar.constraint(), TokenSet::default());
    for step in 0..24 {
        let Ok(true) = constraint.allowed(&mut set) else { return };
        let choices: Vec<u32> = (0..256).filter(|&token| set.contains(token)).collect();
        let Some(&token) = choices.get(step * 7 % choices.len().max(1)) else { return };
        if token == 0 || constraint.advance(token).is_err() {
            return;
        }
    }
    constraint.rollback(1).expect("what was read can be forgotten");
});
