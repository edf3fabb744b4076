//! What is refused, and what hostile grammars come to.

use std::time::Instant;

use proptest::prelude::*;
use serde_json::{Value, json};
use speckv_grammar::{GrammarError, GrammarSource, Grammars, Words};

use super::*;

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

#[test]
fn a_vocabulary_without_an_end_is_refused() {
    let words = Words::new(vec![b"a".to_vec()], vec![]);
    assert!(matches!(Grammars::new(words, Box::new(|_| vec![])), Err(GrammarError::Vocabulary(_))));
}
