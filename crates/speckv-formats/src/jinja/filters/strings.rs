//! Filters of strings. A value that is not a string is printed first.

use std::sync::Arc;

use super::wrapping;
use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    format,
    meter::Meter,
    methods::{cased, padded, replaced, stripped},
    print,
    text::{Builder, Text},
    value::Value,
};

pub(super) fn apply(
    name: &str,
    value: Value,
    arguments: Arguments,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    let text = print::text(&value, meter)?;
    meter.work(text.as_str().len())?;
    let done = match name {
        "upper" | "lower" | "capitalize" => {
            let [] = arguments.bind(name, [])?;
            cased(&text, name, meter)?
        }
        "safe" | "string" => {
            let [] = arguments.bind(name, [])?;
            text
        }
        "title" => {
            let [] = arguments.bind(name, [])?;
            titled(&text, meter)?
        }
        "trim" => {
            let [characters] = arguments.bind(name, ["chars"])?;
            let characters = characters.optional_text("chars")?;
            stripped(&text, "strip", characters.as_ref(), meter)?
        }
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
            let old = print::text(&old.required("old")?, meter)?;
            let new = print::text(&new.required("new")?, meter)?;
            replaced(&text, &old, &new, count.integer("count", -1)?, meter)?
        }
        "center" => {
            let [width] = arguments.bind(name, ["width"])?;
            let width = width.integer("width", 80)?;
            padded(&text, "center", width, &Text::constant(" "), meter)?
        }
        "e" | "escape" | "forceescape" => {
            let [] = arguments.bind(name, [])?;
            escaped(&text, meter)?
        }
        "format" => {
            if !arguments.named.is_empty() && !arguments.positional.is_empty() {
                return Err(Failure::Other(
                    "can't handle positional and keyword arguments at the same time".into(),
                ));
            }
            let values = if arguments.named.is_empty() {
                Value::tuple(arguments.positional, meter)?
            } else {
                let mut entries = crate::jinja::dictionary::Dictionary::new(meter)?;
                for (name, value) in arguments.named {
                    entries.insert(Value::text(&name, meter)?, value)?;
                }
                Value::Dictionary(std::rc::Rc::new(entries))
            };
            format::percent(&text, &values, meter)?
        }
        "indent" => wrapping::indented(&text, arguments, meter)?,
        "truncate" => wrapping::truncated(&text, arguments, meter)?,
        "wordwrap" => wrapping::wrapped(&text, arguments, meter)?,
        "wordcount" => {
            let [] = arguments.bind(name, [])?;
            let word = |c: char| c.is_alphanumeric() || c == '_';
            let words = text.as_str().split(|c| !word(c)).filter(|word| !word.is_empty());
            return Ok(Value::Integer(words.count() as i128));
        }
        "striptags" => {
            let [] = arguments.bind(name, [])?;
            without_tags(&text, meter)?
        }
        _ => {
            let [] = arguments.bind(name, [])?;
            return url_encoded(&value, meter);
        }
    };
    Ok(Value::Text(done))
}

/// Words begin after white space, hyphens and opening brackets, as in Jinja.
fn titled(text: &Text, meter: &Arc<Meter>) -> Outcome<Text> {
    let mut begins = true;
    text.map_chars(meter, |_, c| {
        let mapped: Vec<char> =
            if begins { c.to_uppercase().collect() } else { c.to_lowercase().collect() };
        begins = c.is_whitespace() || matches!(c, '-' | '(' | '{' | '[' | '<');
        mapped
    })
}

fn escaped(text: &Text, meter: &Arc<Meter>) -> Outcome<Text> {
    let mut built = Builder::new(meter)?;
    let mut from = 0;
    for (at, character) in text.as_str().char_indices() {
        let replacement = match character {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\'' => "&#39;",
            '"' => "&#34;",
            _ => continue,
        };
        built.push_slice(text, from..at)?;
        built.push(replacement, false)?;
        from = at + 1;
    }
    built.push_slice(text, from..text.as_str().len())?;
    Ok(built.finish())
}

/// Without `<..>`, and with single spaces between words.
fn without_tags(text: &Text, meter: &Arc<Meter>) -> Outcome<Text> {
    let whole = text.as_str();
    let mut kept = Builder::new(meter)?;
    let mut from = 0;
    while let Some(open) = whole[from..].find('<') {
        let Some(close) = whole[from + open..].find('>') else { break };
        kept.push_slice(text, from..from + open)?;
        from += open + close + 1;
    }
    kept.push_slice(text, from..whole.len())?;
    let kept = kept.finish();
    let mut built = Builder::new(meter)?;
    for (place, word) in kept.as_str().split_whitespace().enumerate() {
        if place > 0 {
            built.push(" ", false)?;
        }
        built.push_text(&kept.part(word, meter)?)?;
    }
    Ok(built.finish())
}

fn url_encoded(value: &Value, meter: &Arc<Meter>) -> Outcome<Value> {
    let quoted = |text: &Text, keep_slash: bool, built: &mut Builder| -> Outcome<()> {
        for byte in text.as_str().bytes() {
            let plain = byte.is_ascii_alphanumeric()
                || b"_.-~".contains(&byte)
                || keep_slash && byte == b'/';
            match plain {
                true => built.push(&char::from(byte).to_string(), false)?,
                // As in the query of an address.
                false if byte == b' ' && !keep_slash => built.push("+", false)?,
                false => built.push(&format!("%{byte:02X}"), false)?,
            }
        }
        Ok(())
    };
    let mut built = Builder::new(meter)?;
    let marked;
    match value {
        Value::Dictionary(entries) => {
            marked = true;
            for (place, (key, value)) in entries.entries().enumerate() {
                built.push(if place == 0 { "" } else { "&" }, false)?;
                quoted(&print::text(key, meter)?, false, &mut built)?;
                built.push("=", false)?;
                quoted(&print::text(value, meter)?, false, &mut built)?;
            }
        }
        other => {
            let text = print::text(other, meter)?;
            marked = text.has_data();
            quoted(&text, true, &mut built)?;
        }
    }
    if marked {
        built.mark_all();
    }
    Ok(Value::Text(built.finish()))
}
