//! Equality, order and membership, as Python has them.

use std::{cmp::Ordering, rc::Rc, sync::Arc};

use super::{
    Failure, Outcome,
    meter::Meter,
    value::{Sequence, Value, View},
};

pub(super) fn equal(a: &Value, b: &Value, meter: &Arc<Meter>) -> Outcome<bool> {
    meter.steps(1)?;
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Text(a), Value::Text(b)) => {
            meter.work(a.as_str().len().min(b.as_str().len()))?;
            a.as_str() == b.as_str()
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            equal_items(a, b, meter)?
        }
        (Value::Dictionary(a), Value::Dictionary(b)) => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for (key, value) in a.entries() {
                match b.get(key)? {
                    Some(other) if equal(value, other, meter)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Range(a), Value::Range(b)) => {
            a.len() == b.len() && (a.len() == 0 || a.start == b.start && (a.len() == 1 || a == b))
        }
        (Value::Namespace(a), Value::Namespace(b)) => Rc::ptr_eq(a, b),
        (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
        (Value::Function(a), Value::Function(b)) => a == b,
        _ => numbers(a, b) == Some(Some(Ordering::Equal)),
    })
}

fn equal_items(a: &Sequence, b: &Sequence, meter: &Arc<Meter>) -> Outcome<bool> {
    if a.items().len() != b.items().len() {
        return Ok(false);
    }
    for (a, b) in a.items().iter().zip(b.items()) {
        if !equal(a, b, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two numbers: `None` if they are not both numbers, `Some(None)` if one is NaN.
fn numbers(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    match (a.as_integer(), b.as_integer()) {
        (Some(a), Some(b)) => Some(Some(a.cmp(&b))),
        _ => Some(a.as_float()?.partial_cmp(&b.as_float()?)),
    }
}

/// The order of two values, `None` if one is NaN; `symbol` stands in the error.
pub(super) fn order(
    a: &Value,
    b: &Value,
    symbol: &str,
    meter: &Arc<Meter>,
) -> Outcome<Option<Ordering>> {
    meter.steps(1)?;
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => {
            meter.work(a.as_str().len().min(b.as_str().len()))?;
            // Python compares code points; the order of UTF-8 is the same.
            Ok(Some(a.as_str().cmp(b.as_str())))
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            for (a, b) in a.items().iter().zip(b.items()) {
                if !equal(a, b, meter)? {
                    return order(a, b, symbol, meter);
                }
            }
            Ok(Some(a.items().len().cmp(&b.items().len())))
        }
        (Value::Undefined(message), _) | (_, Value::Undefined(message)) => {
            Err(Failure::Other(message.to_string()))
        }
        _ => numbers(a, b).ok_or_else(|| {
            Failure::type_error(format!(
                "'{symbol}' not supported between instances of '{}' and '{}'",
                a.type_name(),
                b.type_name()
            ))
        }),
    }
}

/// `item in container`
pub(super) fn contains(container: &Value, item: &Value, meter: &Arc<Meter>) -> Outcome<bool> {
    match (container, item) {
        (Value::Text(container), Value::Text(item)) => {
            meter.work(container.as_str().len())?;
            Ok(container.as_str().contains(item.as_str()))
        }
        (Value::Text(_), other) => Err(Failure::type_error(format!(
            "'in <string>' requires string as left operand, not {}",
            other.type_name()
        ))),
        (Value::Dictionary(entries) | Value::View(entries, View::Keys), item) => {
            Ok(entries.get(item)?.is_some())
        }
        (Value::List(items) | Value::Tuple(items), item) => {
            for one in items.items() {
                if equal(one, item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Range(range), item) => Ok(item.as_integer().is_some_and(|item| {
            let offset = item.saturating_sub(range.start);
            offset % range.step == 0 && (0..range.len() as i128).contains(&(offset / range.step))
        })),
        (Value::Undefined(_) | Value::View(..) | Value::Generator(_), item) => {
            for one in container.iterate(meter)? {
                if equal(&one, item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (other, _) => Err(Failure::type_error(format!(
            "argument of type '{}' is not iterable",
            other.type_name()
        ))),
    }
}
