//! Grammars over a small vocabulary: what they allow, what they force, what they refuse.

use std::{sync::Arc, time::Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use speckv::{
    conformance::check_constraint,
    sampling::{Constraint, Randomness, TokenSet},
    token::Token,
};
use speckv_grammar::{
    Begins, ChannelBudget, ChannelMarks, Grammar, GrammarError, GrammarSource, Grammars, Reasoning,
    ReasoningMarks, Then, Trigger, Triggered, Words,
};

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

fn refusal(schema: Value) -> (String, String) {
    match grammars().compile(&GrammarSource::JsonSchema(schema.clone())) {
        Err(GrammarError::Schema { path, message }) => (path, message),
        other => panic!("{schema}: {other:?}"),
    }
}

#[test]
fn a_wrong_schema_is_refused_with_its_path() {
    for (schema, path) in [
        (json!(3), "#"),
        (json!({"type": "strin"}), "#"),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 3, "maximum": 1}},
            "required": ["a"]}),
            "#/properties/a",
        ),
        (json!({"properties": {"a/b": {"items": {"type": "nope"}}}}), "#/properties/a~1b/items"),
        (json!({"anyOf": [{"type": "string"}, {"pattern": "(", "type": "string"}]}), "#/anyOf/1"),
        (json!({"properties": {"a": 3}}), "#/properties/a"),
        (json!({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"c": {}}}), "#/properties/a"),
        (json!({"x-guidance": {"whitespace_flexible": true}}), "#/x-guidance"),
        (json!(false), "#"),
    ] {
        assert_eq!(refusal(schema.clone()).0, path, "{schema}");
    }
    let (_, message) = refusal(json!({"type": "object", "properties": {"a": false},
        "required": ["a"], "additionalProperties": false}));
    assert!(message.contains("no JSON fits"), "{message}");
}

#[test]
fn hostile_grammars_end_soon_in_an_answer_or_an_error() {
    let deep = (0..500).fold(json!({}), |inner, _| json!({"items": inner}));
    let wide: serde_json::Map<String, Value> =
        (0..3_000).map(|number| (format!("p{number}"), json!({"type": "string"}))).collect();
    let names: Vec<String> = (0..20_000).map(|number| format!("choice {number}")).collect();
    let sources = [
        GrammarSource::JsonSchema(deep),
        GrammarSource::JsonSchema(json!({"type": "object", "properties": wide})),
        GrammarSource::JsonSchema(json!({"$ref": "#"})),
        GrammarSource::JsonSchema(json!({"allOf": [{"$ref": "#"}]})),
        GrammarSource::JsonSchema(
            json!({"type": "string", "pattern": "^(a|b|ab)*(.{1,500}c){20}$"}),
        ),
        GrammarSource::JsonSchema(json!({"type": "array", "minItems": 100_000_000})),
        GrammarSource::JsonSchema(json!({"type": "string", "minLength": 1_000_000})),
        GrammarSource::Regex("((a{1,1000}){1,1000}){1,1000}".into()),
        GrammarSource::Regex("(".into()),
        GrammarSource::Lark("start: start".into()),
        GrammarSource::Lark("start: start start | \"\"".into()),
        GrammarSource::Gbnf(format!("root ::= {}\"a\"{}", "(".repeat(5_000), ")".repeat(5_000))),
        GrammarSource::Choices(names),
        GrammarSource::Lark("x".repeat(1_000_000)),
        GrammarSource::Lark("start: %json {\"type\": 3}".into()),
    ];
    for source in sources {
        let what = format!("{source:?}").chars().take(90).collect::<String>();
        let start = Instant::now();
        if let Ok(grammar) = grammars().compile(&source) {
            let mut constraint = grammar.constraint();
            let mut set = TokenSet::default();
            for _ in 0..20 {
                let Ok(true) = constraint.allowed(&mut set) else { break };
                let Some(token) = (1..THINK).find(|&token| set.contains(token)) else { break };
                if constraint.advance(token).is_err() {
                    break;
                }
            }
        }
        assert!(start.elapsed().as_secs() < 20, "{what}: {:?}", start.elapsed());
    }
}

/// Texts of the characters that grammars are made of, and schemas of the keywords that they have.
fn hostile() -> impl Strategy<Value = GrammarSource> {
    let text = || "[-a-c(){}|*+?.^$,:=\"/ \\\\0-9\n\\[\\]]{0,40}";
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        Just(json!(7)),
        Just(json!("integer")),
        Just(json!({"$ref": "#"})),
        Just(json!({"type": "string", "pattern": "^(a|b)*$"})),
        (-9..9_i64).prop_map(|number| json!({"type": "integer", "minimum": number})),
    ];
    let keyword = prop::sample::select(vec![
        "type",
        "properties",
        "items",
        "anyOf",
        "allOf",
        "not",
        "enum",
        "const",
        "required",
        "maxItems",
        "minLength",
        "additionalProperties",
        "prefixItems",
        "$defs",
        "oneOf",
        "pattern",
    ]);
    let schema = leaf.prop_recursive(4, 24, 3, move |inner| {
        prop_oneof![
            prop::collection::vec((keyword.clone(), inner.clone()), 0..4).prop_map(|fields| {
                let named = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(named.collect())
            }),
            prop::collection::vec(inner, 0..3).prop_map(Value::Array),
        ]
    });
    prop_oneof![
        schema.prop_map(GrammarSource::JsonSchema),
        text().prop_map(GrammarSource::Regex),
        text().prop_map(|text| GrammarSource::Lark(format!("start: {text}"))),
        text().prop_map(|text| GrammarSource::Gbnf(format!("root ::= {text}"))),
        prop::collection::vec(".{0,8}", 0..5).prop_map(GrammarSource::Choices),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_source_is_a_constraint_or_an_error(source in hostile(), seed in 0_u64..99) {
        if let Ok(grammar) = grammars().compile(&source) {
            let make = || grammar.constraint();
            let checked = check_constraint(&make, THINK as usize + 2, &[END], seed, 12);
            // Limits on the work of a step are errors in words.
            if let Err(error) = checked {
                prop_assert!(!error.starts_with("step"), "{source:?}: {error}");
            }
        }
    }
}

fn tool(grammars: &Grammars) -> Arc<Grammar> {
    let schema = json!({"type": "object", "properties": {"age": {"type": "integer"}},
        "required": ["age"], "additionalProperties": false});
    let lark = format!("start: %json {schema} \"</tool>\"");
    Arc::new(grammars.compile(&GrammarSource::Lark(lark)).expect("valid"))
}

fn read(constraint: &mut Box<dyn Constraint>, text: &str) {
    for token in encode(text) {
        constraint.advance(token).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn a_trigger_begins_a_grammar_and_its_end_frees_the_text() {
    let grammars = grammars();
    let (grammar, words) = (tool(&grammars), Arc::new(words()));
    let make = || {
        let (text, begins) = ("<toolcall>".to_owned(), Begins::After);
        let trigger = Trigger { text, begins, grammar: Arc::clone(&grammar) };
        Box::new(Triggered::new(vec![trigger], Arc::clone(&words))) as Box<dyn Constraint>
    };
    check(make, "triggered");
    let mut constraint = make();
    assert!(!constraint.allowed(&mut TokenSet::default()).expect("free"));
    read(&mut constraint, "I call <toolcall>");
    assert!(
        !constraint.is_allowed(END).expect("inside") && !constraint.is_allowed(97).expect("in")
    );
    read(&mut constraint, "{\"age\": 12}</tool>");
    assert!(
        constraint.is_allowed(END).expect("free again") && constraint.is_allowed(97).expect("a")
    );
    read(&mut constraint, " and <toolcall>{\"age\": 1");
    assert!(!constraint.is_allowed(END).expect("inside"));
    constraint.rollback(encode("{\"age\": 1").len() + 1).expect("back");
    assert!(constraint.is_allowed(END).expect("free"));
}

#[test]
fn a_trigger_at_the_beginning_counts_its_own_text_to_the_grammar() {
    let grammars = grammars();
    let compile = |lark: &str| {
        Arc::new(grammars.compile(&GrammarSource::Lark(lark.to_owned())).expect("valid"))
    };
    let words = Arc::new(words());
    let make_with = |text: &str, grammar: &Arc<Grammar>| {
        let (text, begins) = (text.to_owned(), Begins::With);
        let trigger = Trigger { text, begins, grammar: Arc::clone(grammar) };
        let triggered = Triggered::new(vec![trigger], Arc::clone(&words)).ending_after_one(true);
        Box::new(triggered) as Box<dyn Constraint>
    };
    // The trigger ends within the token `": "`.
    let call = compile("start: \"{\\\"name\\\": \" /[0-9]+/ \"}\"\n");
    let make = || make_with("{\"name\":", &call);
    check(make, "free text that is no call");
    let mut constraint = make();
    read(&mut constraint, "{\"name");
    assert!(!constraint.allowed(&mut TokenSet::default()).expect("free"));
    read(&mut constraint, "\": ");
    assert!(constraint.is_allowed(Token::from(b'1')).expect("a number"));
    assert!(!constraint.is_allowed(Token::from(b'x')).expect("no letter"));
    read(&mut constraint, "12}");
    assert_eq!(constraint.forced(), Ok(Some(END)), "the answer is the call");
    constraint.rollback(encode("\": 12}").len()).expect("back before the trigger");
    assert!(!constraint.allowed(&mut TokenSet::default()).expect("free"));
    for free in [" {\"name\": x", "{\"name\" : 1", "no {\"name\": x"] {
        let mut constraint = make();
        read(&mut constraint, free);
        assert!(constraint.is_allowed(Token::from(b'x')).expect("free"), "{free}");
    }
    // Of the tokens, many begin with one of these.
    let letters = compile("start: /[a-z]+/ \"!\"\n");
    let make = || {
        let begins = Begins::With;
        let trigger = |text: String| Trigger { text, begins, grammar: Arc::clone(&letters) };
        let triggers: Vec<Trigger> =
            ('a'..='z').map(|letter| trigger(letter.to_string())).collect();
        Box::new(Triggered::new(triggers, Arc::clone(&words))) as Box<dyn Constraint>
    };
    check(make, "a trigger of one letter");
}

#[test]
fn messages_between_control_tokens_come_before_the_constraint_of_the_last_one() {
    let grammars = grammars();
    let lark = "start: before* \"tr\" <think>\nbefore: \"na\" <think> text? </think>\n\
                text: /(?s:.+)/\n";
    let header = grammars.compile(&GrammarSource::Lark(lark.into())).expect("valid");
    let answer = grammars.compile(&GrammarSource::json_object()).expect("valid");
    let make = || Box::new(Then::new(&header, answer.constraint())) as Box<dyn Constraint>;
    check(make, "a header, then an object");
    let mut constraint = make();
    let control = |constraint: &mut Box<dyn Constraint>, token: Token| {
        constraint.advance(token).expect("a control token");
    };
    read(&mut constraint, "na");
    assert_eq!(constraint.forced(), Ok(Some(THINK)));
    control(&mut constraint, THINK);
    read(&mut constraint, "anything: {12");
    assert!(constraint.is_allowed(DONE).expect("an end"));
    assert!(!constraint.is_allowed(END).expect("no answer yet"));
    control(&mut constraint, DONE);
    read(&mut constraint, "tr");
    control(&mut constraint, THINK);
    assert!(constraint.is_allowed(Token::from(b'{')).expect("an object"));
    assert!(!constraint.is_allowed(Token::from(b'1')).expect("nothing else"));
    read(&mut constraint, "{}");
    assert!(constraint.is_allowed(END).expect("complete"));
    constraint.rollback(encode("{}").len() + 2).expect("back into the header");
    assert!(!constraint.is_allowed(Token::from(b'{')).expect("no object"));
    read(&mut constraint, "tr");
    control(&mut constraint, THINK);
    assert!(constraint.is_allowed(Token::from(b'{')).expect("an object"));
}

#[test]
fn reasoning_is_free_up_to_its_limit_and_then_the_answer_is_constrained() {
    let grammars = grammars();
    let grammar = grammars.compile(&GrammarSource::Choices(vec!["true".into()])).expect("valid");
    for (is_open, limit, answer) in
        [(false, Some(3), true), (true, Some(3), true), (true, None, true), (true, Some(2), false)]
    {
        let marks = ReasoningMarks { open: THINK, close: DONE, is_open };
        let make = || {
            let answer = answer.then(|| grammar.constraint());
            Box::new(Reasoning::new(marks.clone(), limit, answer)) as Box<dyn Constraint>
        };
        check(make, &format!("open {is_open}, limit {limit:?}, answer {answer}"));
    }
    let marks = ReasoningMarks { open: THINK, close: DONE, is_open: false };
    let mut constraint = Reasoning::new(marks, Some(2), Some(grammar.constraint()));
    assert!(constraint.is_allowed(THINK).expect("it may think"));
    assert!(!constraint.is_allowed(97).expect("or answer"));
    for token in [THINK, 97, 98] {
        constraint.advance(token).expect("free");
    }
    assert_eq!(constraint.forced(), Ok(Some(DONE)));
    constraint.advance(DONE).expect("forced");
    assert_eq!(constraint.forced(), Ok(Some(encode("true")[0])));
}

#[test]
fn reasoning_in_a_channel_is_of_limited_length_and_does_not_begin_again() {
    let grammars = grammars();
    let words = Arc::new(words());
    let newline = Token::from(b'\n');
    // `<think>na` is a channel of reasoning, a line break begins its text, and `</think>` ends it.
    let marks =
        ChannelMarks { channel: THINK, message: newline, end: DONE, name: "na", is_open: false };
    let lark = "start: before* <think> \"tr\" \"\\n\" <think>\n\
                before: <think> \"na\" \"\\n\" text? </think>\ntext: /[a-z]+/\n";
    let lark = GrammarSource::Lark(lark.into());
    let header = grammars.compile(&lark).expect("valid");
    for (limit, is_open, with_answer) in
        [(2, false, true), (0, false, true), (3, true, false), (1, false, false)]
    {
        let make = || {
            let marks = ChannelMarks { is_open, ..marks.clone() };
            let answer = with_answer.then(|| header.constraint());
            let budget = ChannelBudget::new(marks, limit, Arc::clone(&words), answer);
            Box::new(budget) as Box<dyn Constraint>
        };
        check(make, &format!("limit {limit}, open {is_open}, answer {with_answer}"));
    }
    let free = ChannelBudget::new(marks, 2, Arc::clone(&words), None);
    let mut constraint: Box<dyn Constraint> = Box::new(free);
    constraint.advance(THINK).expect("a channel");
    read(&mut constraint, "na\n");
    constraint.advance(97).expect("one token");
    assert_eq!(constraint.forced(), Ok(None));
    constraint.advance(98).expect("two tokens");
    assert_eq!(constraint.forced(), Ok(Some(DONE)));
    assert!(constraint.advance(99).is_err(), "three are too many");
    for token in [DONE, 97, THINK] {
        constraint.advance(token).expect("free");
    }
    let na = encode("na")[0];
    assert!(!constraint.is_allowed(na).expect("reasoning"), "no more of it");
    assert!(!constraint.is_allowed(Token::from(b'n')).expect("its beginning"));
    assert!(constraint.is_allowed(Token::from(b't')).expect("another channel"));
    constraint.rollback(4).expect("back into the reasoning");
    assert_eq!(constraint.forced(), Ok(None), "one token of two");
}

#[test]
fn a_vocabulary_without_an_end_is_refused() {
    let words = Words::new(vec![b"a".to_vec()], vec![]);
    assert!(matches!(Grammars::new(words, Box::new(|_| vec![])), Err(GrammarError::Vocabulary(_))));
}
