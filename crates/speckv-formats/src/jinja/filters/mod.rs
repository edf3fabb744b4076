//! Filters: `x | upper`. Those of Jinja2, but for the ones about HTML pages and chance.

mod grouping;
mod numbers;
mod selecting;
mod sequences;
mod strings;
mod wrapping;

use super::{Failure, Outcome, arguments::Arguments, run::Run, value::Value};

const STRINGS: &[&str] = &[
    "capitalize",
    "center",
    "e",
    "escape",
    "forceescape",
    "format",
    "indent",
    "lower",
    "replace",
    "safe",
    "string",
    "striptags",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
    "wordcount",
    "wordwrap",
];
const SEQUENCES: &[&str] = &[
    "batch", "count", "dictsort", "first", "groupby", "items", "join", "last", "length", "list",
    "max", "min", "reverse", "slice", "sort", "unique",
];
const SELECTING: &[&str] = &["map", "select", "reject", "selectattr", "rejectattr"];
const NUMBERS: &[&str] = &["abs", "float", "int", "round", "sum"];
const OTHERS: &[&str] = &["attr", "d", "default", "pprint", "tojson"];

pub(super) fn is_known(name: &str) -> bool {
    [STRINGS, SEQUENCES, SELECTING, NUMBERS, OTHERS].iter().any(|names| names.contains(&name))
}

pub(super) fn apply(
    run: &mut Run<'_>,
    name: &str,
    value: Value,
    arguments: Arguments,
) -> Outcome<Value> {
    let meter = run.meter.clone();
    if STRINGS.contains(&name) {
        return strings::apply(name, value, arguments, &meter);
    }
    if SEQUENCES.contains(&name) {
        return sequences::apply(run, name, value, arguments);
    }
    if SELECTING.contains(&name) {
        return selecting::apply(run, name, &value, arguments);
    }
    if NUMBERS.contains(&name) {
        return numbers::apply(name, value, arguments, &meter);
    }
    match name {
        "tojson" => super::json::dumps(&value, arguments, &meter).map(Value::Text),
        "pprint" => {
            let mut built = super::text::Builder::new(&meter)?;
            super::print::write_repr(&value, &mut built)?;
            Ok(Value::Text(built.finish()))
        }
        "default" | "d" => {
            let [otherwise, boolean] = arguments.bind(name, ["default_value", "boolean"])?;
            let missing = matches!(value, Value::Undefined(_))
                || boolean.is_some_and(|boolean| boolean.is_true()) && !value.is_true();
            match (missing, otherwise) {
                (true, Some(otherwise)) => Ok(otherwise),
                (true, None) => Value::text("", &meter),
                _ => Ok(value),
            }
        }
        "attr" => {
            let [attribute] = arguments.bind(name, ["name"])?;
            let attribute = super::arguments::Bound::text(attribute, "name")?;
            meter.work(attribute.as_str().len())?;
            // Only attributes, not items.
            let attribute: std::sync::Arc<str> = attribute.as_str().into();
            match &value {
                Value::Dictionary(entries) if entries.get_str(&attribute).is_some() => {
                    Ok(Value::undefined(format!("'dict object' has no attribute '{attribute}'")))
                }
                _ => super::methods::attribute(&value, &attribute),
            }
        }
        _ => Err(Failure::Other(format!("no filter named '{name}'"))),
    }
}
