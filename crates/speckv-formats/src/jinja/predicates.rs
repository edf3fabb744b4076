//! Tests: `x is defined`.

use std::cmp::Ordering;

use super::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    compare, filters, print,
    run::Run,
    value::Value,
};

const TESTS: [&str; 39] = [
    "odd",
    "even",
    "divisibleby",
    "defined",
    "undefined",
    "filter",
    "test",
    "none",
    "boolean",
    "false",
    "true",
    "integer",
    "float",
    "lower",
    "upper",
    "string",
    "mapping",
    "number",
    "sequence",
    "iterable",
    "callable",
    "sameas",
    "escaped",
    "in",
    "==",
    "eq",
    "equalto",
    "!=",
    "ne",
    ">",
    "gt",
    "greaterthan",
    "ge",
    ">=",
    "<",
    "lt",
    "lessthan",
    "<=",
    "le",
];

pub(super) fn holds(
    run: &mut Run<'_>,
    name: &str,
    value: &Value,
    arguments: Arguments,
) -> Outcome<bool> {
    let meter = run.meter.clone();
    if let "defined" | "undefined" | "none" | "boolean" | "true" | "false" | "integer" | "float"
    | "string" | "mapping" | "number" | "sequence" | "iterable" | "callable" | "escaped"
    | "odd" | "even" | "lower" | "upper" | "filter" | "test" = name
    {
        let [] = arguments.bind(name, [])?;
        return Ok(match name {
            "defined" => !matches!(value, Value::Undefined(_)),
            "undefined" => matches!(value, Value::Undefined(_)),
            "none" => matches!(value, Value::None),
            "boolean" => matches!(value, Value::Bool(_)),
            "true" => matches!(value, Value::Bool(true)),
            "false" => matches!(value, Value::Bool(false)),
            "integer" => matches!(value, Value::Integer(_)),
            "float" => matches!(value, Value::Float(_)),
            "string" => matches!(value, Value::Text(_)),
            "mapping" => matches!(value, Value::Dictionary(_)),
            "number" => matches!(value, Value::Bool(_) | Value::Integer(_) | Value::Float(_)),
            "sequence" => matches!(
                value,
                Value::Undefined(_)
                    | Value::Text(_)
                    | Value::List(_)
                    | Value::Tuple(_)
                    | Value::Dictionary(_)
                    | Value::Range(_)
            ),
            "iterable" => !matches!(
                value,
                Value::None
                    | Value::Bool(_)
                    | Value::Integer(_)
                    | Value::Float(_)
                    | Value::Namespace(_)
                    | Value::Macro(_)
                    | Value::Function(_)
                    | Value::Method(_)
                    | Value::Joiner(_)
            ),
            "callable" => matches!(
                value,
                Value::Undefined(_)
                    | Value::Macro(_)
                    | Value::Function(_)
                    | Value::Method(_)
                    | Value::Joiner(_)
                    | Value::Loop(_)
            ),
            "escaped" => false,
            "odd" | "even" => {
                let two = Value::Integer(2);
                let operator = super::syntax::Operator::Remainder;
                let rest = super::operators::binary(operator, value, &two, &meter)?;
                compare::equal(&rest, &Value::Integer((name == "odd").into()), &meter)?
            }
            "lower" | "upper" => {
                let text = print::text(value, &meter)?;
                meter.work(text.as_str().len())?;
                let wrong = |c: char| {
                    if name == "lower" { c.is_uppercase() } else { c.is_lowercase() }
                };
                let has_case = |c: char| c.is_uppercase() || c.is_lowercase();
                text.as_str().chars().any(has_case) && !text.as_str().chars().any(wrong)
            }
            "filter" => matches!(value, Value::Text(text) if filters::is_known(text.as_str())),
            _ => matches!(value, Value::Text(text) if is_known(text.as_str())),
        });
    }
    if !is_known(name) {
        return Err(Failure::Other(format!("no test named '{name}'")));
    }
    let [other] = arguments.bind(name, ["other"])?;
    let other = other.required("other")?;
    let order = |symbol: &str| compare::order(value, &other, symbol, &meter);
    Ok(match name {
        "eq" | "==" | "equalto" => compare::equal(value, &other, &meter)?,
        "ne" | "!=" => !compare::equal(value, &other, &meter)?,
        "gt" | ">" | "greaterthan" => order(">")? == Some(Ordering::Greater),
        "ge" | ">=" => order(">=")?.is_some_and(Ordering::is_ge),
        "lt" | "<" | "lessthan" => order("<")? == Some(Ordering::Less),
        "le" | "<=" => order("<=")?.is_some_and(Ordering::is_le),
        "in" => compare::contains(&other, value, &meter)?,
        "sameas" => {
            value.type_name() == other.type_name() && compare::equal(value, &other, &meter)?
        }
        _ => {
            let operator = super::syntax::Operator::Remainder;
            let rest = super::operators::binary(operator, value, &other, &meter)?;
            compare::equal(&rest, &Value::Integer(0), &meter)?
        }
    })
}

fn is_known(name: &str) -> bool {
    TESTS.contains(&name)
}
