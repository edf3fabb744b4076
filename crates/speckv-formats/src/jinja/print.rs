//! Values as Python prints them: `str` and `repr`.

use std::sync::Arc;

use super::{
    Outcome,
    meter::Meter,
    text::{Builder, Text},
    value::{Value, View},
};

/// `str(value)`
pub(super) fn text(value: &Value, meter: &Arc<Meter>) -> Outcome<Text> {
    if let Value::Text(text) = value {
        return Ok(text.clone());
    }
    let mut built = Builder::new(meter)?;
    write(value, &mut built)?;
    Ok(built.finish())
}

/// Adds `str(value)`.
pub(super) fn write(value: &Value, to: &mut Builder) -> Outcome<()> {
    match value {
        Value::Text(text) => to.push_text(text),
        Value::Undefined(_) => Ok(()),
        Value::Joiner(_) | Value::Cycler(_) => to.push(&format!("<{}>", value.type_name()), false),
        other => write_repr(other, to),
    }
}

/// Adds `repr(value)`.
pub(super) fn write_repr(value: &Value, to: &mut Builder) -> Outcome<()> {
    match value {
        Value::Undefined(_) => to.push("Undefined", false),
        Value::None => to.push("None", false),
        Value::Bool(true) => to.push("True", false),
        Value::Bool(false) => to.push("False", false),
        Value::Integer(value) => to.push(&value.to_string(), false),
        Value::Float(value) => to.push(&float(*value), false),
        Value::Text(text) => quoted(text, to),
        Value::List(items) => {
            to.push("[", false)?;
            write_items(items.items(), to)?;
            to.push("]", false)
        }
        Value::Tuple(items) => {
            to.push("(", false)?;
            write_items(items.items(), to)?;
            to.push(if items.items().len() == 1 { ",)" } else { ")" }, false)
        }
        Value::Dictionary(entries) => {
            to.push("{", false)?;
            for (place, (key, value)) in entries.entries().enumerate() {
                to.push(if place == 0 { "" } else { ", " }, false)?;
                write_repr(key, to)?;
                to.push(": ", false)?;
                write_repr(value, to)?;
            }
            to.push("}", false)
        }
        Value::View(entries, view) => {
            to.push(&format!("{}([", value.type_name()), false)?;
            for (place, (key, value)) in entries.entries().enumerate() {
                to.push(if place == 0 { "" } else { ", " }, false)?;
                match view {
                    View::Keys => write_repr(key, to)?,
                    View::Values => write_repr(value, to)?,
                    View::Items => {
                        to.push("(", false)?;
                        write_items(&[key.clone(), value.clone()], to)?;
                        to.push(")", false)?;
                    }
                }
            }
            to.push("])", false)
        }
        Value::Range(range) => {
            let (start, stop) = (range.start, range.stop);
            match range.step {
                1 => to.push(&format!("range({start}, {stop})"), false),
                step => to.push(&format!("range({start}, {stop}, {step})"), false),
            }
        }
        Value::Macro(value) => to.push(&format!("<Macro {}>", quote_plain(value.name())), false),
        // Python prints an address, which differs from run to run.
        other => to.push(&format!("<{} object>", other.type_name()), false),
    }
}

fn write_items(items: &[Value], to: &mut Builder) -> Outcome<()> {
    for (place, item) in items.iter().enumerate() {
        to.push(if place == 0 { "" } else { ", " }, false)?;
        write_repr(item, to)?;
    }
    Ok(())
}

fn quote_plain(name: &str) -> String {
    format!("'{name}'")
}

/// A string in quotes: single ones, unless it has such and no double ones.
fn quoted(text: &Text, to: &mut Builder) -> Outcome<()> {
    let plain = text.as_str();
    let quote = if plain.contains('\'') && !plain.contains('"') { '"' } else { '\'' };
    let mark = if quote == '"' { "\"" } else { "'" };
    to.push(mark, false)?;
    let mut from = 0;
    for (at, character) in plain.char_indices() {
        let escaped = match character {
            '\\' => "\\\\".to_owned(),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            _ if character == quote => format!("\\{quote}"),
            _ if is_printable(character) => continue,
            _ => match character as u32 {
                code @ 0..=0xff => format!("\\x{code:02x}"),
                code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            },
        };
        to.push_slice(text, from..at)?;
        to.push(&escaped, false)?;
        from = at + character.len_utf8();
    }
    to.push_slice(text, from..plain.len())?;
    to.push(mark, false)
}

/// Whether Python prints the character as it is.
pub(super) fn is_printable(character: char) -> bool {
    if character == ' ' {
        return true;
    }
    if character.is_control() || character.is_whitespace() {
        return false;
    }
    // Format characters, surrogates, private use and what is not assigned are escaped.
    !matches!(character,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}'
        | '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{10ffff}')
}

/// The shortest text that reads back as the number, as Python prints it.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_printed_as_python_does() {
        // python3 -c "print(repr(x))"
        for (value, expected) in [
            (0.1, "0.1"),
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (f64::INFINITY, "inf"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
        ] {
            assert_eq!(float(value), expected);
        }
    }
}
