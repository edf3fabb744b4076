//! Methods of lists, tuples, ranges and dictionaries. Those that change one are refused, as in
//! Jinja's immutable sandbox.

use std::{rc::Rc, sync::Arc};

use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    compare,
    dictionary::Dictionary,
    meter::Meter,
    value::{Value, View},
};

pub(super) const DICTIONARY: &[&str] =
    &["get", "items", "keys", "values", "copy", "clear", "pop", "popitem", "setdefault", "update"];

pub(super) const LIST: &[&str] = &[
    "count", "index", "copy", "append", "clear", "extend", "insert", "pop", "remove", "reverse",
    "sort",
];

fn changes(name: &str, kind: &str) -> Failure {
    Failure::Other(format!(
        "SecurityError: '{name}' of a {kind} is refused: templates cannot change values"
    ))
}

pub(super) fn dictionary(
    entries: &Rc<Dictionary>,
    name: &str,
    arguments: Arguments,
    _meter: &Arc<Meter>,
) -> Outcome<Value> {
    match name {
        "get" => {
            let [key, otherwise] = arguments.bind(name, ["key", "default"])?;
            let found = entries.get(&key.required("key")?)?.cloned();
            Ok(found.or(otherwise).unwrap_or(Value::None))
        }
        "items" | "keys" | "values" | "copy" => {
            let [] = arguments.bind(name, [])?;
            let entries = Rc::clone(entries);
            Ok(match name {
                "items" => Value::View(entries, View::Items),
                "keys" => Value::View(entries, View::Keys),
                "values" => Value::View(entries, View::Values),
                _ => Value::Dictionary(entries),
            })
        }
        _ => Err(changes(name, "dictionary")),
    }
}

pub(super) fn sequence(
    value: &Value,
    name: &str,
    arguments: Arguments,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    match name {
        "copy" => {
            let [] = arguments.bind(name, [])?;
            Ok(value.clone())
        }
        "count" | "index" => {
            let [wanted] = arguments.bind(name, ["value"])?;
            let wanted = wanted.required("value")?;
            let mut count = 0;
            for (place, item) in value.iterate(meter)?.iter().enumerate() {
                if compare::equal(item, &wanted, meter)? {
                    if name == "index" {
                        return Ok(Value::Integer(place as i128));
                    }
                    count += 1;
                }
            }
            match name {
                "count" => Ok(Value::Integer(count)),
                _ => Err(Failure::value_error("the value is not in the list")),
            }
        }
        _ => Err(changes(name, "list")),
    }
}
