//! JSON schemas.

use llguidance::api::TopLevelGrammar;
use serde_json::{Map, Value, json};

use crate::error::GrammarError;

/// Compiles a grammar, or says why not.
type Parse<'a, T> = &'a dyn Fn(TopLevelGrammar) -> Result<T, String>;

/// Most schemas within a schema that are tried to find the one that is wrong.
const MOST_TRIALS: usize = 200;

/// Keywords that hold a schema each, by name.
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];
/// Keywords that hold a list of schemas.
const LISTS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// Keywords that hold a schema.
const SINGLE: [&str; 5] = ["items", "additionalProperties", "not", "contains", "propertyNames"];

/// Compiles a schema. JSON has one space after commas and colons and no other white space outside
/// of strings, so that a model cannot go on with white space without end, and so that most of what
/// is between values is forced.
pub(crate) fn compile<T>(parse: Parse<'_, T>, schema: &Value) -> Result<T, GrammarError> {
    if let Some((path, message)) = malformed(schema, "#", 0) {
        return Err(GrammarError::Schema { path, message });
    }
    attempt(parse, schema).map_err(|message| {
        let mut trials = MOST_TRIALS;
        let (path, message) = deepest(parse, schema, "#", &Definitions::of(schema), &mut trials)
            .unwrap_or_else(|| ("#".to_owned(), message));
        GrammarError::Schema { path, message: plain(&message) }
    })
}

fn attempt<T>(parse: Parse<'_, T>, schema: &Value) -> Result<T, String> {
    parse(TopLevelGrammar::from_json_schema(with_layout(schema)))
}

/// The schema with the layout of its JSON.
fn with_layout(schema: &Value) -> Value {
    let mut schema = match schema {
        Value::Object(fields) => fields.clone(),
        Value::Bool(false) => Map::from_iter([("not".to_owned(), json!({}))]),
        _ => Map::new(),
    };
    let layout = json!({
        "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false,
        "coerce_one_of": true,
    });
    schema.insert("x-guidance".to_owned(), layout);
    Value::Object(schema)
}

/// Nesting beyond which a schema is refused: the compiler is recursive.
const MOST_DEPTH: usize = 64;

/// A place where something that is no schema stands, or where nesting is too deep.
fn malformed(schema: &Value, path: &str, depth: usize) -> Option<(String, String)> {
    if depth > MOST_DEPTH {
        return Some((path.to_owned(), format!("it is nested more than {MOST_DEPTH} deep")));
    }
    let Value::Object(fields) = schema else {
        let is_schema = schema.is_boolean();
        let got = || format!("expected an object or a boolean, got {}", kind(schema));
        return (!is_schema).then(|| (path.to_owned(), got()));
    };
    if fields.contains_key("x-guidance") && depth == 0 {
        let message = "x-guidance is not supported: the layout of JSON is fixed".to_owned();
        return Some((format!("{path}/x-guidance"), message));
    }
    children(fields)
        .find_map(|(name, child)| malformed(child, &format!("{path}/{name}"), depth + 1))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The schemas within a schema, with their places.
fn children(fields: &Map<String, Value>) -> impl Iterator<Item = (String, &Value)> {
    let named = NAMED.into_iter().flat_map(move |keyword| {
        let schemas = fields.get(keyword).and_then(Value::as_object).into_iter().flatten();
        schemas
            .filter(move |(_, schema)| keyword != "dependencies" || !schema.is_array())
            .map(move |(name, schema)| (format!("{keyword}/{}", escaped(name)), schema))
    });
    let lists = LISTS.into_iter().flat_map(move |keyword| {
        let schemas = fields.get(keyword).and_then(Value::as_array).into_iter().flatten();
        schemas.enumerate().map(move |(index, schema)| (format!("{keyword}/{index}"), schema))
    });
    let single = SINGLE.into_iter().filter_map(move |keyword| {
        let schema = fields.get(keyword)?;
        // In older drafts `items` may be a list.
        (keyword != "items" || !schema.is_array()).then(|| (keyword.to_owned(), schema))
    });
    named.chain(lists).chain(single)
}

/// A name as a part of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What references within a schema refer to.
struct Definitions(Map<String, Value>);

impl Definitions {
    fn of(schema: &Value) -> Self {
        let found = ["$defs", "definitions", "$schema"]
            .into_iter()
            .filter_map(|keyword| Some((keyword.to_owned(), schema.get(keyword)?.clone())));
        Definitions(found.collect())
    }

    fn with(&self, schema: &Value) -> Value {
        let Value::Object(fields) = schema else { return schema.clone() };
        let mut fields = fields.clone();
        for (keyword, definitions) in &self.0 {
            fields.entry(keyword).or_insert_with(|| definitions.clone());
        }
        Value::Object(fields)
    }
}

/// The innermost schema that does not compile by itself, and why.
fn deepest<T>(
    parse: Parse<'_, T>,
    schema: &Value,
    path: &str,
    definitions: &Definitions,
    trials: &mut usize,
) -> Option<(String, String)> {
    let Value::Object(fields) = schema else { return None };
    for (name, child) in children(fields) {
        // What is under `not` need not be satisfiable.
        if name == "not" || child.as_bool() == Some(false) {
            continue;
        }
        *trials = trials.checked_sub(1)?;
        if let Err(message) = attempt(parse, &definitions.with(child)) {
            let path = format!("{path}/{name}");
            let inner = deepest(parse, child, &path, definitions, trials);
            return Some(inner.unwrap_or((path, message)));
        }
    }
    None
}

/// An error of the compiler without its own names for places.
fn plain(message: &str) -> String {
    let message = match message.split_once("Unsatisfiable schema: ") {
        Some((_, reason)) => format!("no JSON fits it: {}", first_lower(reason)),
        None => message.to_owned(),
    };
    message.trim_end_matches('.').to_owned()
}

fn first_lower(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}
