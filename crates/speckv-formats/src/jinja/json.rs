//! `tojson`, as `transformers` defines it: Python's `json.dumps`, with `ensure_ascii=False`.

use std::sync::Arc;

use super::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    meter::Meter,
    print,
    text::{Builder, Text},
    value::Value,
};

/// Deepest indentation, in characters of one level.
const MOST_INDENT: i128 = 64;

struct Style {
    ascii: bool,
    sort_keys: bool,
    indent: Option<Text>,
    item: Text,
    key: Text,
}

pub(super) fn dumps(value: &Value, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Text> {
    let [ascii, indent, separators, sort_keys] =
        arguments.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Text(text)) if text.as_str().len() as i128 <= MOST_INDENT => Some(text),
        Some(number) => {
            let width = Some(number).integer("indent", 0)?;
            if width > MOST_INDENT {
                return Err(Failure::value_error(format!("indent is {width}, over {MOST_INDENT}")));
            }
            Some(Text::constant(" ".repeat(width.max(0) as usize)))
        }
    };
    let mut style = Style {
        ascii: ascii.truth(false),
        sort_keys: sort_keys.truth(false),
        item: Text::constant(if indent.is_some() { "," } else { ", " }),
        key: Text::constant(": "),
        indent,
    };
    if let Some(separators) = separators.filter(|separators| !matches!(separators, Value::None)) {
        let mut pair = separators.iterate(meter)?.into_iter();
        style.item = pair.next().text("separators")?;
        style.key = pair.next().text("separators")?;
    }
    let mut built = Builder::new(meter)?;
    write(value, &style, 0, &mut built)?;
    Ok(built.finish())
}

fn write(value: &Value, style: &Style, level: usize, to: &mut Builder) -> Outcome<()> {
    match value {
        Value::None => to.push("null", false),
        Value::Bool(true) => to.push("true", false),
        Value::Bool(false) => to.push("false", false),
        Value::Integer(value) => to.push(&value.to_string(), false),
        Value::Float(value) => to.push(&float(*value), false),
        Value::Text(text) => quoted(text, style.ascii, to),
        Value::List(items) | Value::Tuple(items) => {
            if items.items().is_empty() {
                return to.push("[]", false);
            }
            to.push("[", false)?;
            for (place, item) in items.items().iter().enumerate() {
                separate(place, style, level + 1, to)?;
                write(item, style, level + 1, to)?;
            }
            line(style, level, to)?;
            to.push("]", false)
        }
        Value::Dictionary(entries) => {
            if entries.is_empty() {
                return to.push("{}", false);
            }
            let mut sorted: Vec<&(Value, Value)> = entries.entries().collect();
            if style.sort_keys {
                sort_by_key(&mut sorted)?;
            }
            to.push("{", false)?;
            for (place, (key, value)) in sorted.into_iter().enumerate() {
                separate(place, style, level + 1, to)?;
                match key {
                    Value::Text(key) => quoted(key, style.ascii, to)?,
                    Value::None | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {
                        to.push("\"", false)?;
                        write(key, style, level, to)?;
                        to.push("\"", false)?;
                    }
                    other => {
                        return Err(Failure::type_error(format!(
                            "keys must be str, int, float, bool or None, not {}",
                            other.type_name()
                        )));
                    }
                }
                to.push_text(&style.key)?;
                write(value, style, level + 1, to)?;
            }
            line(style, level, to)?;
            to.push("}", false)
        }
        other => Err(Failure::type_error(format!(
            "Object of type {} is not JSON serializable",
            other.type_name()
        ))),
    }
}

/// Sorts as Python does: keys of different kinds have no order.
fn sort_by_key(entries: &mut [&(Value, Value)]) -> Outcome<()> {
    let texts = entries.iter().all(|(key, _)| matches!(key, Value::Text(_)));
    let numbers = entries.iter().all(|(key, _)| key.as_float().is_some());
    if !texts && !numbers {
        return Err(Failure::type_error("'<' not supported between keys of different types"));
    }
    entries.sort_by(|(a, _), (b, _)| match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.as_str().cmp(b.as_str()),
        _ => a.as_float().partial_cmp(&b.as_float()).unwrap_or(std::cmp::Ordering::Equal),
    });
    Ok(())
}

fn separate(place: usize, style: &Style, level: usize, to: &mut Builder) -> Outcome<()> {
    if place > 0 {
        to.push_text(&style.item)?;
    }
    line(style, level, to)
}

/// With indentation: a line end, and the indentation of the level.
fn line(style: &Style, level: usize, to: &mut Builder) -> Outcome<()> {
    let Some(indent) = &style.indent else { return Ok(()) };
    to.push("\n", false)?;
    (0..level).try_for_each(|_| to.push_text(indent))
}

fn float(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => print::float(value),
    }
}

fn quoted(text: &Text, ascii: bool, to: &mut Builder) -> Outcome<()> {
    to.push("\"", false)?;
    let mut from = 0;
    for (at, character) in text.as_str().char_indices() {
        let escaped = match character {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\0'..='\u{1f}' => format!("\\u{:04x}", character as u32),
            _ if ascii && !character.is_ascii() => {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units).iter();
                units.map(|unit| format!("\\u{unit:04x}")).collect()
            }
            _ => continue,
        };
        to.push_slice(text, from..at)?;
        to.push(&escaped, false)?;
        from = at + character.len_utf8();
    }
    to.push_slice(text, from..text.as_str().len())?;
    to.push("\"", false)
}
