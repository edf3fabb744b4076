//! Arithmetic, slices and items.

use std::sync::Arc;

use super::{
    Failure, Outcome, format,
    meter::Meter,
    syntax::Operator,
    text::{Builder, Text},
    value::{Range, Value},
};

pub(super) fn binary(
    operator: Operator,
    a: &Value,
    b: &Value,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    // A format takes what is undefined for an empty text.
    let empty = Value::Text(Text::constant(""));
    let b = match (operator, a, b) {
        (Operator::Remainder, Value::Text(_), Value::Undefined(_)) => &empty,
        _ => b,
    };
    if let (Value::Undefined(message), _) | (_, Value::Undefined(message)) = (a, b) {
        return Err(Failure::Other(message.to_string()));
    }
    match (operator, a, b) {
        (Operator::Add, Value::Text(a), Value::Text(b)) => {
            let mut built = Builder::new(meter)?;
            built.push_text(a)?;
            built.push_text(b)?;
            Ok(Value::Text(built.finish()))
        }
        (Operator::Add, Value::List(a), Value::List(b)) => {
            Value::list(joined(a.items(), b.items(), meter)?, meter)
        }
        (Operator::Add, Value::Tuple(a), Value::Tuple(b)) => {
            Value::tuple(joined(a.items(), b.items(), meter)?, meter)
        }
        (Operator::Multiply, Value::Text(text), times)
        | (Operator::Multiply, times, Value::Text(text))
            if times.as_integer().is_some() =>
        {
            let mut built = Builder::new(meter)?;
            for _ in 0..times.as_integer().unwrap_or(0) {
                if text.as_str().is_empty() {
                    break;
                }
                built.push_text(text)?;
            }
            Ok(Value::Text(built.finish()))
        }
        (Operator::Multiply, Value::List(items), times)
        | (Operator::Multiply, times, Value::List(items))
            if times.as_integer().is_some() =>
        {
            Value::list(repeated(items.items(), times, meter)?, meter)
        }
        (Operator::Multiply, Value::Tuple(items), times)
        | (Operator::Multiply, times, Value::Tuple(items))
            if times.as_integer().is_some() =>
        {
            Value::tuple(repeated(items.items(), times, meter)?, meter)
        }
        (Operator::Remainder, Value::Text(template), values) => {
            Ok(Value::Text(format::percent(template, values, meter)?))
        }
        _ => numeric(operator, a, b),
    }
}

/// The greatest step of a range that was cut again and again: it has one item then.
const MOST_STEP: i128 = 1 << 100;

fn joined(a: &[Value], b: &[Value], meter: &Arc<Meter>) -> Outcome<Vec<Value>> {
    meter.elements((a.len() + b.len()) / 8)?;
    let _charge = meter.hold((a.len() + b.len()) * size_of::<Value>())?;
    Ok([a, b].concat())
}

fn repeated(items: &[Value], times: &Value, meter: &Arc<Meter>) -> Outcome<Vec<Value>> {
    let times = usize::try_from(times.as_integer().unwrap_or(0).max(0)).unwrap_or(usize::MAX);
    let count = items.len().saturating_mul(times);
    meter.elements(count / 8)?;
    // Counted before the memory is taken.
    let _charge = meter.hold(count.saturating_mul(size_of::<Value>()))?;
    Ok(std::iter::repeat_n(items, if items.is_empty() { 0 } else { times })
        .flatten()
        .cloned()
        .collect())
}

fn symbol(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::FloorDivide => "//",
        Operator::Remainder => "%",
        Operator::Power => "** or pow()",
    }
}

fn numeric(operator: Operator, a: &Value, b: &Value) -> Outcome<Value> {
    let too_large = || Failure::Other("OverflowError: the number is too large".to_owned());
    let by_zero = || Failure::Other("ZeroDivisionError: division by zero".to_owned());
    if let (Some(x), Some(y)) = (a.as_integer(), b.as_integer()) {
        let result = match operator {
            Operator::Add => x.checked_add(y),
            Operator::Subtract => x.checked_sub(y),
            Operator::Multiply => x.checked_mul(y),
            Operator::FloorDivide | Operator::Remainder if y == 0 => return Err(by_zero()),
            Operator::FloorDivide => x.checked_div_euclid(y).and_then(|quotient| {
                // Python rounds down; the euclidean quotient rounds up for negative divisors.
                let exact = x.checked_rem_euclid(y)? == 0;
                if y < 0 && !exact { quotient.checked_sub(1) } else { Some(quotient) }
            }),
            Operator::Remainder => x
                .checked_rem_euclid(y)
                .map(|remainder| if y < 0 && remainder != 0 { remainder + y } else { remainder }),
            Operator::Power if y >= 0 => {
                u32::try_from(y).ok().and_then(|y| x.checked_pow(y)).or(match x {
                    0 | 1 => Some(x),
                    -1 => Some(if y % 2 == 0 { 1 } else { -1 }),
                    _ => None,
                })
            }
            Operator::Divide | Operator::Power => return floating(operator, x as f64, y as f64),
        };
        return result.map(Value::Integer).ok_or_else(too_large);
    }
    match (a.as_float(), b.as_float()) {
        (Some(x), Some(y)) => floating(operator, x, y),
        _ => Err(Failure::type_error(match (operator, a) {
            (Operator::Add, Value::Text(_)) => {
                format!("can only concatenate str (not \"{}\") to str", b.type_name())
            }
            _ => format!(
                "unsupported operand type(s) for {}: '{}' and '{}'",
                symbol(operator),
                a.type_name(),
                b.type_name()
            ),
        })),
    }
}

fn floating(operator: Operator, x: f64, y: f64) -> Outcome<Value> {
    let divides =
        matches!(operator, Operator::Divide | Operator::FloorDivide | Operator::Remainder);
    if y == 0.0 && divides || operator == Operator::Power && x == 0.0 && y < 0.0 {
        return Err(Failure::Other("ZeroDivisionError: division by zero".to_owned()));
    }
    Ok(Value::Float(match operator {
        Operator::Add => x + y,
        Operator::Subtract => x - y,
        Operator::Multiply => x * y,
        Operator::Divide => x / y,
        Operator::FloorDivide => match ((x - floored_remainder(x, y)) / y).round() {
            0.0 => 0f64.copysign(x / y),
            quotient => quotient,
        },
        Operator::Remainder => floored_remainder(x, y),
        Operator::Power => x.powf(y),
    }))
}

fn floored_remainder(x: f64, y: f64) -> f64 {
    let remainder = x % y;
    match remainder {
        0.0 => 0f64.copysign(y),
        _ if (remainder < 0.0) != (y < 0.0) => remainder + y,
        _ => remainder,
    }
}

pub(super) fn negative(value: &Value) -> Outcome<Value> {
    match (value, value.as_integer()) {
        (_, Some(integer)) => integer
            .checked_neg()
            .map(Value::Integer)
            .ok_or_else(|| Failure::Other("OverflowError: the number is too large".to_owned())),
        (Value::Float(number), _) => Ok(Value::Float(-number)),
        (Value::Undefined(message), _) => Err(Failure::Other(message.to_string())),
        _ => Err(Failure::type_error(format!(
            "bad operand type for unary -: '{}'",
            value.type_name()
        ))),
    }
}

/// The item at a place, which counts from the end if it is negative; none outside.
pub(super) fn item(value: &Value, index: i128, meter: &Arc<Meter>) -> Outcome<Option<Value>> {
    let Some(length) = value.length(meter)? else { return Ok(None) };
    let place = if index < 0 { index + length as i128 } else { index };
    let Some(place) = usize::try_from(place).ok().filter(|&place| place < length) else {
        return Ok(None);
    };
    Ok(match value {
        Value::List(items) | Value::Tuple(items) => items.items().get(place).cloned(),
        Value::Range(range) => Some(range.get(place)),
        Value::Text(text) => Some(Value::Text(character(text, place, meter)?)),
        _ => None,
    })
}

fn character(text: &Text, place: usize, meter: &Arc<Meter>) -> Outcome<Text> {
    meter.work(place)?;
    let mut rest = text.as_str().char_indices().skip(place);
    let (at, character) = rest.next().unwrap_or((0, ' '));
    text.slice(at..(at + character.len_utf8()).min(text.as_str().len()), meter)
}

/// `value[start:stop:step]`; none if the value has no slices.
pub(super) fn slice(
    value: &Value,
    [start, stop, step]: [Option<i128>; 3],
    meter: &Arc<Meter>,
) -> Outcome<Option<Value>> {
    let sliced =
        matches!(value, Value::Text(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_));
    let (true, Some(length)) = (sliced, value.length(meter)?) else { return Ok(None) };
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Failure::value_error("slice step cannot be zero"));
    }
    let length = length as i128;
    let (least, most) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let bound = |place: Option<i128>, otherwise: i128| match place {
        None => otherwise,
        Some(place) if place < 0 => place.saturating_add(length).clamp(least, most),
        Some(place) => place.clamp(least, most),
    };
    let (start, stop) = match step > 0 {
        true => (bound(start, least), bound(stop, most)),
        false => (bound(start, most), bound(stop, least)),
    };
    let places = Range { start, stop, step: step.clamp(-length - 1, length + 1) };
    let count = places.len();
    meter.elements(count / 8)?;
    let _charge = meter.hold(count.saturating_mul(size_of::<Value>()))?;
    let place = |number: usize| (places.start + places.step * number as i128) as usize;
    Ok(Some(match value {
        Value::Text(text) if step == 1 => {
            let text_length = text.as_str().len();
            let at = |place: i128| {
                let mut rest = text.as_str().char_indices().skip(place as usize);
                rest.next().map_or(text_length, |(at, _)| at)
            };
            let (from, to) = (at(start), at(stop.max(start)));
            Value::Text(text.slice(from..to, meter)?)
        }
        Value::Text(text) => {
            let _charge = meter.hold(text.as_str().len() * 16)?;
            let characters: Vec<(usize, char)> = text.as_str().char_indices().collect();
            let mut built = Builder::new(meter)?;
            for number in 0..count {
                let (at, character) = characters[place(number)];
                built.push_slice(text, at..at + character.len_utf8())?;
            }
            Value::Text(built.finish())
        }
        Value::Range(range) => Value::Range(Range {
            start: range.start + range.step * places.start,
            stop: range.start + range.step * places.stop,
            step: range.step.saturating_mul(places.step).clamp(-MOST_STEP, MOST_STEP),
        }),
        Value::List(items) | Value::Tuple(items) => {
            let part = (0..count).map(|number| items.items()[place(number)].clone()).collect();
            match value {
                Value::List(_) => Value::list(part, meter)?,
                _ => Value::tuple(part, meter)?,
            }
        }
        _ => return Ok(None),
    }))
}
