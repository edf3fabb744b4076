//! Filters of numbers.

use std::sync::Arc;

use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    meter::Meter,
    methods, operators,
    syntax::Operator,
    value::Value,
};

pub(super) fn apply(
    name: &str,
    value: Value,
    arguments: Arguments,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    match name {
        "abs" => {
            let [] = arguments.bind(name, [])?;
            match (&value, value.as_integer()) {
                (_, Some(integer)) => Ok(Value::Integer(integer.saturating_abs())),
                (Value::Float(number), _) => Ok(Value::Float(number.abs())),
                (Value::Undefined(message), _) => Err(Failure::Other(message.to_string())),
                _ => Err(Failure::type_error(format!(
                    "bad operand type for abs(): '{}'",
                    value.type_name()
                ))),
            }
        }
        "int" => {
            let [otherwise, base] = arguments.bind(name, ["default", "base"])?;
            let base = base.integer("base", 10)?;
            Ok(integer(&value, base, meter)?
                .map_or_else(|| otherwise.unwrap_or(Value::Integer(0)), Value::Integer))
        }
        "float" => {
            let [otherwise] = arguments.bind(name, ["default"])?;
            let number = match &value {
                Value::Text(text) => {
                    meter.work(text.as_str().len())?;
                    parsed(text.as_str())
                }
                other => other.as_float(),
            };
            Ok(number.map_or_else(|| otherwise.unwrap_or(Value::Float(0.0)), Value::Float))
        }
        "round" => {
            let [precision, method] = arguments.bind(name, ["precision", "method"])?;
            let precision = precision.integer("precision", 0)?;
            let method = method.optional_text("method")?;
            round(&value, precision, method.as_ref().map_or("common", |text| text.as_str()))
        }
        _ => {
            let [attribute, start] = arguments.bind(name, ["attribute", "start"])?;
            let mut sum = start.unwrap_or(Value::Integer(0));
            for item in value.iterate(meter)? {
                let item = match &attribute {
                    None | Some(Value::None) => item,
                    Some(attribute) => methods::path(&item, attribute, meter)?,
                };
                if matches!(sum, Value::Text(_)) {
                    return Err(Failure::type_error("sum() can't sum strings"));
                }
                sum = operators::binary(Operator::Add, &sum, &item, meter)?;
            }
            Ok(sum)
        }
    }
}

/// Python's `int(text)` or, failing that, `int(float(text))`.
fn integer(value: &Value, base: i128, meter: &Arc<Meter>) -> Outcome<Option<i128>> {
    let cut = |number: f64| number.is_finite().then_some(number as i128);
    Ok(match value {
        Value::Text(text) => {
            meter.work(text.as_str().len())?;
            let trimmed = text.as_str().trim().replace('_', "");
            let (sign, digits) = match trimmed.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, trimmed.strip_prefix('+').unwrap_or(&trimmed)),
            };
            let lower = digits.to_lowercase();
            let digits = match base {
                16 => lower.strip_prefix("0x").unwrap_or(&lower),
                8 => lower.strip_prefix("0o").unwrap_or(&lower),
                2 => lower.strip_prefix("0b").unwrap_or(&lower),
                _ => &lower,
            };
            let radix = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
            let whole = radix.filter(|_| !digits.starts_with(['+', '-']));
            let whole = whole.and_then(|radix| i128::from_str_radix(digits, radix).ok());
            whole.map(|whole| sign * whole).or_else(|| parsed(text.as_str()).and_then(cut))
        }
        Value::Float(number) => cut(*number),
        other => other.as_integer(),
    })
}

/// Python's `float(text)`.
fn parsed(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.replace('_', "");
    // Rust reads the same words, but for a sign or a dot alone.
    plain.parse().ok()
}

fn round(value: &Value, precision: i128, method: &str) -> Outcome<Value> {
    let Some(number) = value.as_float() else {
        return Err(match value {
            Value::Undefined(message) => Failure::Other(message.to_string()),
            other => Failure::type_error(format!(
                "type {} doesn't define __round__ method",
                other.type_name()
            )),
        });
    };
    if precision.unsigned_abs() > 300 {
        return Err(Failure::value_error(format!("precision is {precision}, over 300")));
    }
    let scale = 10f64.powi(precision as i32);
    let rounded = match method {
        "common" => {
            if let Some(integer) = value.as_integer() {
                // Integers stay integers, half to even.
                if precision >= 0 {
                    return Ok(Value::Integer(integer));
                }
                let rounded = (integer as f64 * scale).round_ties_even() / scale;
                return Ok(Value::Integer(rounded as i128));
            }
            match usize::try_from(precision) {
                // Decimal digits of the exact value, half to even, as in Python.
                Ok(digits) => format!("{number:.digits$}").parse().unwrap_or(number),
                Err(_) => (number * scale).round_ties_even() / scale,
            }
        }
        "ceil" => (number * scale).ceil() / scale,
        "floor" => (number * scale).floor() / scale,
        other => {
            return Err(Failure::Other(format!(
                "method must be common, ceil or floor, got {}",
                other.chars().take(40).collect::<String>()
            )));
        }
    };
    Ok(Value::Float(rounded))
}
