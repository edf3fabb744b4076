//! `'%s' % x` and `'{}'.format(x)`.

mod number;

use std::sync::Arc;

pub(super) use self::number::Specification;
use super::{
    Failure, Outcome,
    arguments::Arguments,
    meter::Meter,
    methods, print,
    text::{Builder, Text},
    value::Value,
};

/// `template % values`
pub(super) fn percent(template: &Text, values: &Value, meter: &Arc<Meter>) -> Outcome<Text> {
    meter.work(template.as_str().len())?;
    let mut built = Builder::new(meter)?;
    let positional: Vec<Value> = match values {
        Value::Tuple(items) => items.items().to_vec(),
        other => vec![other.clone()],
    };
    let mut unused = positional.into_iter();
    let mut uses_names = false;
    let whole = template.as_str();
    let mut rest = whole;
    while let Some(at) = rest.find('%') {
        let start = whole.len() - rest.len();
        built.push_slice(template, start..start + at)?;
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            built.push("%", false)?;
            rest = after;
            continue;
        }
        let mut named = None;
        if let Some(after) = rest.strip_prefix('(') {
            let Some(end) = after.find(')') else {
                return Err(Failure::value_error("incomplete format key"));
            };
            uses_names = true;
            let Value::Dictionary(entries) = values else {
                return Err(Failure::type_error("format requires a mapping"));
            };
            let key = &after[..end];
            named = Some(entries.get_str(key).cloned().ok_or_else(|| {
                Failure::Other(format!("KeyError: '{}'", key.chars().take(80).collect::<String>()))
            })?);
            rest = &after[end + 1..];
        }
        let mut next = || unused.next();
        let (mut specification, kind, after) = Specification::percent(rest, &mut next)?;
        rest = after;
        let value = match named {
            Some(value) => value,
            None => unused
                .next()
                .ok_or_else(|| Failure::type_error("not enough arguments for format string"))?,
        };
        match kind {
            's' | 'r' | 'a' => {
                let text = converted(&value, kind, meter)?;
                specification.write_text(&text, &mut built, meter)?;
            }
            'c' => {
                let text = match (&value, value.as_integer()) {
                    (Value::Text(text), _) if text.as_str().chars().count() == 1 => text.clone(),
                    (_, Some(code)) => {
                        let code = u32::try_from(code).ok().and_then(char::from_u32);
                        let code = code.ok_or_else(|| {
                            Failure::Other("OverflowError: %c arg not in range".into())
                        })?;
                        Text::new(&code.to_string(), meter)?
                    }
                    _ => return Err(Failure::type_error("%c requires an int or a character")),
                };
                specification.write_text(&text, &mut built, meter)?;
            }
            'd' | 'i' | 'u' | 'o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                specification.kind = Some(if matches!(kind, 'i' | 'u') { 'd' } else { kind });
                let value = match (&value, specification.kind) {
                    // `%d` cuts the fraction.
                    (Value::Float(number), Some('d')) if number.is_finite() => {
                        Value::Integer(number.trunc() as i128)
                    }
                    _ => value,
                };
                if value.as_float().is_none() {
                    return Err(Failure::type_error(format!(
                        "%{kind} format: a real number is required, not {}",
                        value.type_name()
                    )));
                }
                specification.write_number(&value, &mut built, meter)?;
            }
            other => {
                return Err(Failure::value_error(format!(
                    "unsupported format character '{other}'"
                )));
            }
        }
    }
    let start = whole.len() - rest.len();
    built.push_slice(template, start..whole.len())?;
    if !uses_names && matches!(values, Value::Tuple(_)) && unused.next().is_some()
        || !uses_names && is_left_over(values) && unused.next().is_some()
    {
        return Err(Failure::type_error("not all arguments converted during string formatting"));
    }
    Ok(built.finish())
}

/// Whether a value that is not a tuple must be used: mappings and lists need not.
fn is_left_over(value: &Value) -> bool {
    !matches!(value, Value::Tuple(_) | Value::Dictionary(_) | Value::List(_) | Value::Range(_))
}

fn converted(value: &Value, how: char, meter: &Arc<Meter>) -> Outcome<Text> {
    if how == 's' {
        return print::text(value, meter);
    }
    let mut built = Builder::new(meter)?;
    print::write_repr(value, &mut built)?;
    let text = built.finish();
    if how == 'r' || text.as_str().is_ascii() {
        return Ok(text);
    }
    let mut built = Builder::new(meter)?;
    for (at, c) in text.as_str().char_indices() {
        match c as u32 {
            0..=0x7f => built.push_slice(&text, at..at + 1)?,
            code @ 0x80..=0xff => built.push(&format!("\\x{code:02x}"), false)?,
            code @ 0x100..=0xffff => built.push(&format!("\\u{code:04x}"), false)?,
            code => built.push(&format!("\\U{code:08x}"), false)?,
        }
    }
    Ok(built.finish())
}

/// `template.format(values)`
pub(super) fn braces(template: &Text, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Text> {
    meter.work(template.as_str().len())?;
    let mut built = Builder::new(meter)?;
    let mut automatic = 0;
    braces_into(template.as_str(), Some(template), &arguments, &mut automatic, &mut built, meter)?;
    Ok(built.finish())
}

fn braces_into(
    whole: &str,
    marked: Option<&Text>,
    arguments: &Arguments,
    automatic: &mut usize,
    built: &mut Builder,
    meter: &Arc<Meter>,
) -> Outcome<()> {
    let mut rest = whole;
    while let Some(at) = rest.find(['{', '}']) {
        let start = whole.len() - rest.len();
        match marked {
            Some(text) => built.push_slice(text, start..start + at)?,
            None => built.push(&rest[..at], false)?,
        }
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            built.push(brace, false)?;
            rest = &rest[1..];
            continue;
        }
        if brace == "}" {
            return Err(Failure::value_error("Single '}' encountered in format string"));
        }
        let (field, after) = field(rest)?;
        rest = after;
        let (field, specification) = match field.find(':') {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, ""),
        };
        let (path, conversion) = match field.find('!') {
            Some(at) => (&field[..at], field[at + 1..].chars().next()),
            None => (field, None),
        };
        let mut value = lookup(path, arguments, automatic, meter)?;
        if let Some(conversion) = conversion {
            value = Value::Text(converted(&value, conversion, meter)?);
        }
        // A specification may itself contain fields: `{:{width}}`.
        let filled;
        let specification = if specification.contains('{') {
            if marked.is_none() {
                return Err(Failure::value_error("Max string recursion exceeded"));
            }
            let mut inner = Builder::new(meter)?;
            braces_into(specification, None, arguments, automatic, &mut inner, meter)?;
            filled = inner.finish();
            filled.as_str()
        } else {
            specification
        };
        let specification = Specification::braces(specification)?;
        match &value {
            Value::Integer(_) | Value::Float(_) => {
                specification.write_number(&value, built, meter)?;
            }
            Value::Bool(_) if specification.kind.is_some() => {
                specification.write_number(&value, built, meter)?;
            }
            other => {
                let text = print::text(other, meter)?;
                specification.write_text(&text, built, meter)?;
            }
        }
    }
    let start = whole.len() - rest.len();
    match marked {
        Some(text) => built.push_slice(text, start..whole.len()),
        None => built.push(rest, false),
    }
}

/// The text of a replacement field, and what follows it.
fn field(rest: &str) -> Outcome<(&str, &str)> {
    let mut depth = 1;
    for (at, character) in rest.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok((&rest[..at], &rest[at + 1..]));
        }
    }
    Err(Failure::value_error("expected '}' before end of string"))
}

fn lookup(
    path: &str,
    arguments: &Arguments,
    automatic: &mut usize,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (first, mut rest) = path.split_at(end);
    let positional = |place: usize| {
        arguments.positional.get(place).cloned().ok_or_else(|| {
            Failure::Other(format!("IndexError: no positional argument {place} to format"))
        })
    };
    let mut value = if first.is_empty() {
        *automatic += 1;
        positional(*automatic - 1)?
    } else if let Ok(place) = first.parse() {
        positional(place)?
    } else {
        let found = arguments.named.iter().find(|(name, _)| **name == *first);
        let missing = || Failure::Other(format!("KeyError: '{first}'"));
        found.map(|(_, value)| value.clone()).ok_or_else(missing)?
    };
    while !rest.is_empty() {
        meter.steps(1)?;
        value = if let Some(after) = rest.strip_prefix('[') {
            let Some(end) = after.find(']') else {
                return Err(Failure::value_error("Missing ']' in format string"));
            };
            let key = match after[..end].parse() {
                Ok(place) => Value::Integer(place),
                Err(_) => Value::text(&after[..end], meter)?,
            };
            rest = &after[end + 1..];
            methods::item(&value, &key, meter)?
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let name = after[..end].into();
            rest = &after[end..];
            methods::attribute(&value, &name)?
        };
    }
    Ok(value)
}
