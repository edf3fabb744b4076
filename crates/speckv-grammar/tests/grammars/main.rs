//! Grammars over a small vocabulary: what they allow, what they force, what they refuse.

mod begins;
mod refused;

use serde_json::{Value, json};
use speckv::{
    conformance::check_constraint,
    sampling::{Constraint, Randomness, TokenSet},
    token::Token,
};
use speckv_grammar::{GrammarSource, Grammars, Words};

/// Tokens of several bytes, after the 256 single bytes. Byte 0 ends an answer.
const LONGER: [&str; 24] = [
    "{\"", "\": ", "\", \"", "\": \"", "\"}", "}, {", "tr", "true", "fal", "false", "null", "na",
    "name", "age", "city", "12", "123", "0.", "[{\"", "]}", "an", "ab", "<tool", "call>",
];
const END: Token = 0;
const THINK: Token = 256 + 24;
const DONE: Token = THINK + 1;

fn words() -> Words {
    let bytes = (0..=255_u8).map(|byte| vec![byte]);
    let longer = LONGER.iter().map(|text| text.as_bytes().to_vec());
    let mut words = Words::new(bytes.chain(longer).chain([vec![], vec![]]).collect(), vec![END]);
    words.set_control(THINK, "<think>");
    words.set_control(DONE, "</think>");
    words
}

/// The longest token first.
fn encode(text: &str) -> Vec<Token> {
    let (mut bytes, mut tokens) = (text.as_bytes(), Vec::new());
    while let Some(&first) = bytes.first() {
        let fits = |(_, word): &(usize, &&str)| bytes.starts_with(word.as_bytes());
        match LONGER.iter().enumerate().filter(fits).max_by_key(|(_, word)| word.len()) {
            Some((number, word)) => {
                tokens.push(256 + number as Token);
                bytes = &bytes[word.len()..];
            }
            None => {
                tokens.push(Token::from(first));
                bytes = &bytes[1..];
            }
        }
    }
    tokens
}

fn grammars() -> Grammars {
    Grammars::new(words(), Box::new(encode)).expect("a vocabulary")
}

fn text(tokens: &[Token]) -> String {
    let mut bytes = Vec::new();
    for &token in tokens {
        match token {
            THINK => bytes.extend_from_slice(b"<think>"),
            DONE => bytes.extend_from_slice(b"</think>"),
            0..256 => bytes.push(token as u8),
            longer => bytes.extend_from_slice(LONGER[longer as usize - 256].as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn schemas() -> Vec<Value> {
    vec![
        json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 150}},
            "required": ["name", "age"], "additionalProperties": false}),
        json!({"type": "array", "items": {"enum": ["ab", "an", 12, null]}, "maxItems": 4}),
        json!({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "^[a-c]{2,4}$"}]}),
        json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties":
            {"name": {"const": "an"}, "next": {"anyOf": [{"$ref": "#/$defs/node"},
            {"type": "null"}]}}, "required": ["name", "next"], "additionalProperties": false}}}),
        json!({"type": "object", "additionalProperties": false}),
        json!({"type": "string", "enum": ["ü", "日本", "\"quoted\""]}),
    ]
}

/// A random answer that the constraint allows; `None` if it is not complete after `most` tokens.
fn walk(constraint: &mut dyn Constraint, seed: u64, most: usize) -> Option<Vec<Token>> {
    let (mut randomness, mut tokens) = (Randomness::new(seed), Vec::new());
    let mut set = TokenSet::default();
    for _ in 0..most {
        let mut choices: Vec<Token> = (0..THINK + 2).collect();
        if constraint.allowed(&mut set).expect("a set") {
            choices.retain(|&token| set.contains(token));
        }
        let end = choices.contains(&END) && randomness.uniform() < 0.5;
        let token = match end {
            true => END,
            false => choices[(randomness.uniform() * choices.len() as f64) as usize],
        };
        if token == END {
            return Some(tokens);
        }
        constraint.advance(token).expect("an allowed token");
        tokens.push(token);
    }
    None
}

fn check(make: impl Fn() -> Box<dyn Constraint>, what: &str) {
    for seed in 0..12 {
        check_constraint(&make, THINK as usize + 2, &[END], seed, 60)
            .unwrap_or_else(|error| panic!("{what}, seed {seed}: {error}"));
    }
}

#[test]
fn every_grammar_is_a_constraint() {
    let grammars = grammars();
    let sources = schemas().into_iter().map(GrammarSource::JsonSchema).chain([
        GrammarSource::json_object(),
        GrammarSource::Regex("(ab|an){1,3}[0-9]?".into()),
        GrammarSource::Choices(vec!["true".into(), "tr".into(), "false!".into()]),
        GrammarSource::grammar("root ::= \"(\" root \")\" | [a-z]+"),
        GrammarSource::grammar("start: \"a\" start \"b\" | \"ab\""),
    ]);
    for source in sources {
        let grammar =
            grammars.compile(&source).unwrap_or_else(|error| panic!("{source:?}: {error}"));
        check(|| grammar.constraint(), &format!("{source:?}"));
    }
}

#[test]
fn complete_answers_are_json_of_the_one_layout() {
    let grammars = grammars();
    for schema in schemas() {
        let grammar = grammars.compile(&GrammarSource::JsonSchema(schema.clone())).expect("valid");
        let mut complete = 0;
        for seed in 0..60 {
            let Some(tokens) = walk(&mut *grammar.constraint(), seed, 400) else { continue };
            complete += 1;
            let text = text(&tokens);
            let value: Value = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{schema}: {text:?}: {error}"));
            if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
                assert!(choices.contains(&value), "{schema}: {value}");
            }
            if schema["properties"]["age"].is_object() {
                assert!((0..=150).contains(&value["age"].as_i64().expect("an integer")));
                assert!(value["name"].as_str().expect("a string").chars().count() <= 8);
                assert!(
                    text.starts_with("{\"name\": \"") && text.contains(", \"age\": "),
                    "{text}"
                );
            }
        }
        assert!(complete >= 20, "{schema}: {complete} complete answers of 60");
    }
}

#[test]
fn choices_are_all_that_is_said() {
    let choices = ["true", "tr", "false!", "日本"].map(str::to_owned);
    let grammar = grammars().compile(&GrammarSource::Choices(choices.to_vec())).expect("choices");
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..80 {
        seen.insert(text(&walk(&mut *grammar.constraint(), seed, 50).expect("an end")));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), {
        let mut sorted = choices.to_vec();
        sorted.sort();
        sorted
    });
}

#[test]
fn what_a_grammar_forces_is_cut_as_the_tokenizer_cuts_it() {
    let schema = json!({"type": "object", "properties": {"name": {"const": "age"},
        "city": {"type": "boolean"}}, "required": ["name", "city"],
        "additionalProperties": false});
    let grammar = grammars().compile(&GrammarSource::JsonSchema(schema)).expect("valid");
    let mut constraint = grammar.constraint();
    let mut tokens = Vec::new();
    while let Some(token) = constraint.forced().expect("no fault") {
        constraint.advance(token).expect("forced");
        tokens.push(token);
    }
    assert_eq!(text(&tokens), "{\"name\": \"age\", \"city\": ");
    assert!(tokens.len() < 10, "{tokens:?}");
    constraint.advance(encode("true")[0]).expect("allowed");
    let rest: Vec<Token> = std::iter::from_fn(|| {
        let token = constraint.forced().expect("no fault")?;
        constraint.advance(token).expect("forced");
        (token != END).then_some(token)
    })
    .collect();
    assert_eq!(text(&rest), "}", "and then the end");
}
