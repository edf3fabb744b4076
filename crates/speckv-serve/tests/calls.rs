//! Calls that a model begins by itself: from where they begin, their arguments fit.

use std::sync::Arc;

use serde_json::json;
use speckv::{
    sampling::{Constraint, TokenSet},
    token::Token,
};
use speckv_grammar::{Trigger, Triggered};
use speckv_serve::{
    grammars::GrammarStore,
    language::{Conversation, Decoder, Language, LanguageError},
    tools::{AnswerParser, ChannelStart, Part, Tool, ToolFormat},
};

/// Bytes are tokens, 0 ends an answer, and control tokens follow.
struct Bytes {
    reads: &'static [&'static str],
    controls: &'static [&'static str],
}

impl Language for Bytes {
    fn vocab_size(&self) -> usize {
        256 + self.controls.len()
    }

    fn longest_token(&self) -> usize {
        16
    }

    fn encode(&self, text: &str, special: bool, _: bool) -> Result<Vec<Token>, LanguageError> {
        let (mut rest, mut tokens) = (text, Vec::new());
        while let Some(&byte) = rest.as_bytes().first() {
            let control = |spelling: &&&str| special && rest.starts_with(**spelling);
            let found = self.controls.iter().enumerate().find(|(_, it)| control(it));
            let (token, len) = match found {
                Some((place, spelling)) => (256 + place as Token, spelling.len()),
                None => (Token::from(byte), 1),
            };
            tokens.push(token);
            rest = &rest[len..];
        }
        Ok(tokens)
    }

    fn decode(&self, tokens: &[Token]) -> String {
        tokens.iter().map(|&token| String::from_utf8(self.bytes(token)).expect("ASCII")).collect()
    }

    fn bytes(&self, token: Token) -> Vec<u8> {
        match (token as usize).checked_sub(256) {
            Some(control) => self.controls[control].as_bytes().to_vec(),
            None => vec![token as u8],
        }
    }

    fn is_control(&self, token: Token) -> bool {
        token >= 256
    }

    fn prompt(&self, _: &Conversation, _: usize) -> Result<Vec<Token>, LanguageError> {
        Err(LanguageError::Template("not needed".into()))
    }

    fn template_reads(&self, name: &str) -> bool {
        self.reads.contains(&name)
    }

    fn end_tokens(&self) -> &[Token] {
        &[0]
    }

    fn stop_strings(&self) -> Vec<String> {
        Vec::new()
    }

    fn decoder(&self, _: bool, _: Vec<String>) -> Box<dyn Decoder> {
        panic!("not needed")
    }
}

fn tools() -> Vec<Tool> {
    let schema = json!({"type": "object", "properties": {"n": {"enum": [1, 2]}},
        "required": ["n"], "additionalProperties": false});
    ["f", "go"]
        .map(|name| {
            Tool::of(&json!({"name": name, "parameters": schema}), "tools").expect("a tool")
        })
        .to_vec()
}

/// Free text in which calls of [`tools`] are constrained.
fn constraint(language: &Arc<dyn Language>, parallel: bool) -> Triggered {
    let store = GrammarStore::new(Arc::clone(language));
    let tools = tools();
    let tools: Vec<&Tool> = tools.iter().collect();
    let format = ToolFormat::of(&**language);
    let mut triggers = Vec::new();
    for start in format.starts(&**language, &tools, parallel) {
        let grammar = store.compile("tools", &start.grammar).expect("a grammar");
        triggers.extend(start.texts.into_iter().map(|text| Trigger {
            text,
            begins: start.begins,
            grammar: Arc::clone(&grammar),
        }));
    }
    let words = store.words("tools").expect("a vocabulary");
    Triggered::new(triggers, words).ending_after_one(format.ends_with_calls(parallel))
}

/// What an answer that begins with `begin` may be, with each choice taken as `prefer` says.
fn answers(language: &Arc<dyn Language>, begin: &str, parallel: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![language.encode(begin, true, false).expect("tokens")];
    while let Some(tokens) = open.pop() {
        let mut constraint = constraint(language, parallel);
        for &token in &tokens {
            constraint.advance(token).unwrap_or_else(|error| panic!("{begin}: {error}"));
        }
        let mut set = TokenSet::default();
        let limited = constraint.allowed(&mut set).expect("a set");
        if !limited || found.len() + open.len() > 40 || tokens.len() > 120 {
            found.push(language.decode(&tokens) + "…");
            continue;
        }
        for token in 0..language.vocab_size() as Token {
            if set.contains(token) && token == 0 {
                found.push(language.decode(&tokens));
            } else if set.contains(token) {
                open.push([tokens.as_slice(), &[token]].concat());
            }
        }
    }
    found.sort();
    found
}

fn language(
    reads: &'static [&'static str],
    controls: &'static [&'static str],
) -> Arc<dyn Language> {
    Arc::new(Bytes { reads, controls })
}

const HARMONY: &[&str] = &["<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>"];

#[test]
fn what_a_call_of_each_format_may_be_from_where_it_begins() {
    let hermes = language(&["tools", "tool_call"], &["<tool_call>", "</tool_call>"]);
    let begin = "I look. <tool_call>\n{\"name\": \"f\"";
    let call = |n: u8| format!("{begin}, \"arguments\": {{\"n\": {n}}}}}\n</tool_call>");
    assert_eq!(answers(&hermes, begin, false), [call(1), call(2)]);
    assert_eq!(answers(&hermes, begin, true), [call(1) + "…", call(2) + "…"], "more may follow");

    let llama = language(&["tools", "ipython"], &["<|python_tag|>"]);
    for tag in ["", "<|python_tag|>"] {
        let begin = format!("{tag}{{\"name\": \"go\"");
        let call = |n: u8| format!("{begin}, \"parameters\": {{\"n\": {n}}}}}");
        assert_eq!(answers(&llama, &begin, false), [call(1), call(2)]);
        let first = format!("{begin}, \"parameters\": {{\"n\": 1}}}}; {{\"name\": \"f\"");
        let both = |n: u8| format!("{first}, \"parameters\": {{\"n\": {n}}}}}");
        assert!(answers(&llama, &first, true).contains(&both(2)));
    }
    for free in
        ["{\"name\": \"x\"", " {\"name\": \"go\"", "{\"name\" : \"go\"", "{\"city\": \"go\""]
    {
        assert_eq!(answers(&llama, free, false), [format!("{free}…")], "no call of a tool");
    }

    let mistral = language(&["tools", "TOOL_CALLS"], &["[TOOL_CALLS]", "[ARGS]"]);
    let begin = "[TOOL_CALLS] [{\"name\": \"f\"";
    let call = |n: u8| format!("{begin}, \"arguments\": {{\"n\": {n}}}}}]");
    assert_eq!(answers(&mistral, begin, false), [call(1), call(2)]);
    let named = ["[TOOL_CALLS]go[ARGS]{\"n\": 1}", "[TOOL_CALLS]go[ARGS]{\"n\": 2}"];
    assert_eq!(answers(&mistral, "[TOOL_CALLS]go", false), named);
    let older = language(&["tools", "TOOL_CALLS"], &["[TOOL_CALLS]"]);
    let named = ["[TOOL_CALLS]go{\"n\": 1}", "[TOOL_CALLS]go{\"n\": 2}"];
    assert_eq!(answers(&older, "[TOOL_CALLS]go", false), named);

    let harmony = language(&["tools", "channel", "analysis"], HARMONY);
    for header in [
        "<|channel|>commentary to=functions.f <|constrain|>json",
        "<|channel|>analysis to=functions.f",
        " to=functions.f<|channel|>commentary json",
        " to=functions.f<|channel|>commentary <|constrain|>json",
    ] {
        let begin =
            format!("<|channel|>analysis<|message|>hm<|end|><|start|>assistant{header}<|message|>");
        let call = |n: u8| format!("{begin}{{\"n\": {n}}}");
        for parallel in [false, true] {
            assert_eq!(answers(&harmony, &begin, parallel), [call(1), call(2)], "{header}");
        }
    }
    let unknown = "<|channel|>commentary to=functions.x json<|message|>";
    assert_eq!(answers(&harmony, unknown, true), [format!("{unknown}…")]);
}

#[test]
fn what_is_allowed_is_read_as_a_call() {
    let harmony = language(&["tools", "channel", "analysis"], HARMONY);
    let names = vec!["f".to_owned(), "go".to_owned()];
    let text = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"n\": 1}";
    let start = ChannelStart::Header("assistant".into());
    let mut parser = AnswerParser::channels(names.clone(), &start);
    let called = |name: &str| Part::Call { index: 0, name: name.to_owned() };
    let arguments = Part::Arguments { index: 0, text: "{\"n\": 1}".into() };
    assert_eq!(parser.push(text), [called("f"), arguments.clone()]);
    assert_eq!(ToolFormat::of(&*harmony), ToolFormat::Harmony);
    let mistral = Some(ToolFormat::Mistral);
    for text in ["[TOOL_CALLS]go[ARGS]{\"n\": 1}", "[TOOL_CALLS]go{\"n\": 1}"] {
        let mut parser = AnswerParser::new(mistral, names.clone(), None);
        let mut parts = parser.push(text);
        parts.extend(parser.finish());
        assert_eq!(parts, [called("go"), arguments.clone()], "{text}");
    }
}
