//! Methods of strings that take them apart and put them together.

use std::sync::Arc;

use super::strings::is_space;
use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    meter::{Charge, Meter},
    text::{Builder, Text},
    value::Value,
};

pub(super) fn call(
    text: &Text,
    name: &str,
    arguments: Arguments,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    let whole = text.as_str();
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let [characters] = arguments.bind(name, ["chars"])?;
            let characters = characters.optional_text("chars")?;
            stripped(text, name, characters.as_ref(), meter).map(Value::Text)
        }
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
            let (old, new) = (old.text("old")?, new.text("new")?);
            let count = count.integer("count", -1)?;
            replaced(text, &old, &new, count, meter).map(Value::Text)
        }
        "join" => {
            let [items] = arguments.bind(name, ["iterable"])?;
            let mut built = Builder::new(meter)?;
            for (place, item) in items.required("iterable")?.iterate(meter)?.iter().enumerate() {
                let Value::Text(item) = item else {
                    return Err(Failure::type_error(format!(
                        "sequence item {place}: expected str instance, {} found",
                        item.type_name()
                    )));
                };
                if place > 0 {
                    built.push_text(text)?;
                }
                built.push_text(item)?;
            }
            Ok(Value::Text(built.finish()))
        }
        "partition" | "rpartition" => {
            let [separator] = arguments.bind(name, ["sep"])?;
            let separator = separator.text("sep")?;
            if separator.as_str().is_empty() {
                return Err(Failure::value_error("empty separator"));
            }
            let at = match name {
                "partition" => whole.find(separator.as_str()),
                _ => whole.rfind(separator.as_str()),
            };
            let empty = || Value::text("", meter);
            let parts = match at {
                Some(at) => {
                    let after = at + separator.as_str().len();
                    let ranges = [0..at, at..after, after..whole.len()];
                    let parts = ranges.map(|range| text.slice(range, meter).map(Value::Text));
                    parts.into_iter().collect::<Outcome<_>>()?
                }
                None if name == "partition" => vec![Value::Text(text.clone()), empty()?, empty()?],
                None => vec![empty()?, empty()?, Value::Text(text.clone())],
            };
            Value::tuple(parts, meter)
        }
        "splitlines" => {
            let [keep] = arguments.bind(name, ["keepends"])?;
            lines(text, keep.truth(false), meter)
        }
        _ => {
            let [separator, most] = arguments.bind(name, ["sep", "maxsplit"])?;
            let separator = separator.optional_text("sep")?;
            let most = most.integer("maxsplit", -1)?;
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let from_end = name == "rsplit";
            let mut parts = Parts::new(text, meter)?;
            match &separator {
                Some(separator) if separator.as_str().is_empty() => {
                    return Err(Failure::value_error("empty separator"));
                }
                Some(separator) => by_separator(&mut parts, separator.as_str(), most, from_end)?,
                None => by_space(&mut parts, most, from_end)?,
            }
            parts.list(from_end)
        }
    }
}

/// Parts of a string, counted while they are found.
struct Parts<'t> {
    whole: &'t Text,
    found: Vec<&'t str>,
    charge: Charge,
    meter: &'t Arc<Meter>,
}

impl<'t> Parts<'t> {
    fn new(whole: &'t Text, meter: &'t Arc<Meter>) -> Outcome<Self> {
        Ok(Self { whole, found: Vec::new(), charge: meter.hold(0)?, meter })
    }

    fn push(&mut self, part: &'t str) -> Outcome<()> {
        self.charge.grow(2 * size_of::<&str>())?;
        self.found.push(part);
        Ok(())
    }

    fn list(mut self, reversed: bool) -> Outcome<Value> {
        if reversed {
            self.found.reverse();
        }
        let texts = self.found.iter().map(|part| self.whole.part(part, self.meter));
        Value::list(texts.map(|text| text.map(Value::Text)).collect::<Outcome<_>>()?, self.meter)
    }
}

pub(in crate::jinja) fn stripped(
    text: &Text,
    name: &str,
    characters: Option<&Text>,
    meter: &Arc<Meter>,
) -> Outcome<Text> {
    let set: Option<Vec<char>> = characters.map(|set| set.as_str().chars().collect());
    meter.elements(set.as_ref().map_or(0, Vec::len))?;
    let taken = |c: char| match &set {
        Some(set) => set.contains(&c),
        None => is_space(c),
    };
    if let Some(set) = &set {
        // Each character is compared with each of the set.
        meter.work(text.as_str().len().saturating_mul(set.len() / 8))?;
    }
    let mut rest = text.as_str();
    if name != "rstrip" {
        rest = rest.trim_start_matches(taken);
    }
    if name != "lstrip" {
        rest = rest.trim_end_matches(taken);
    }
    text.part(rest, meter)
}

pub(in crate::jinja) fn replaced(
    text: &Text,
    old: &Text,
    new: &Text,
    count: i128,
    meter: &Arc<Meter>,
) -> Outcome<Text> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let mut built = Builder::new(meter)?;
    let mut from = 0;
    // The empty string is found before each character and at the end.
    for (at, found) in text.as_str().match_indices(old.as_str()).take(most) {
        built.push_slice(text, from..at)?;
        built.push_text(new)?;
        from = at + found.len();
    }
    built.push_slice(text, from..text.as_str().len())?;
    Ok(built.finish())
}

/// Parts between separators, from the end if so, at most `most` cuts.
fn by_separator(
    parts: &mut Parts<'_>,
    separator: &str,
    most: usize,
    from_end: bool,
) -> Outcome<()> {
    let (text, pieces) = (parts.whole.as_str(), most.saturating_add(1));
    if from_end {
        return text.rsplitn(pieces, separator).try_for_each(|part| parts.push(part));
    }
    text.splitn(pieces, separator).try_for_each(|part| parts.push(part))
}

/// Parts between white space; there are no empty ones.
fn by_space(parts: &mut Parts<'_>, most: usize, from_end: bool) -> Outcome<()> {
    let mut rest = parts.whole.as_str();
    loop {
        rest = match from_end {
            true => rest.trim_end_matches(is_space),
            false => rest.trim_start_matches(is_space),
        };
        if rest.is_empty() {
            return Ok(());
        }
        if parts.found.len() == most {
            // White space at the other end stays.
            return parts.push(rest);
        }
        let cut = match from_end {
            true => rest.rfind(is_space).map(|at| {
                let width = rest[at..].chars().next().map_or(1, char::len_utf8);
                (&rest[at + width..], &rest[..at])
            }),
            false => rest.find(is_space).map(|at| (&rest[..at], &rest[at..])),
        };
        let (part, more) = cut.unwrap_or((rest, ""));
        parts.push(part)?;
        rest = more;
    }
}

/// Lines as Python sees them, without their ends unless they are kept.
pub(in crate::jinja) fn lines(text: &Text, keep: bool, meter: &Arc<Meter>) -> Outcome<Value> {
    let whole = text.as_str();
    let mut parts = Parts::new(text, meter)?;
    let mut from = 0;
    let mut characters = whole.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let ends = matches!(
            character,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        if !ends {
            continue;
        }
        let mut after = at + character.len_utf8();
        if character == '\r' && characters.next_if(|(_, next)| *next == '\n').is_some() {
            after += 1;
        }
        parts.push(&whole[from..if keep { after } else { at }])?;
        from = after;
    }
    if from < whole.len() {
        parts.push(&whole[from..])?;
    }
    parts.list(false)
}
