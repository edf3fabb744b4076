//! Methods of strings: those that change letters or test them. Others are in the modules beside.

use std::sync::Arc;

use super::{searching, splitting};
use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    format,
    meter::Meter,
    print,
    text::{Builder, Text},
    value::Value,
};

pub(super) const METHODS: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

pub(super) fn call(
    text: &Text,
    name: &str,
    arguments: Arguments,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    meter.work(text.as_str().len())?;
    match name {
        "count" | "find" | "index" | "rfind" | "rindex" | "startswith" | "endswith"
        | "removeprefix" | "removesuffix" => searching::call(text, name, arguments, meter),
        "split" | "rsplit" | "splitlines" | "partition" | "rpartition" | "join" | "strip"
        | "lstrip" | "rstrip" | "replace" => splitting::call(text, name, arguments, meter),
        "format" => format::braces(text, arguments, meter).map(Value::Text),
        "center" | "ljust" | "rjust" | "zfill" => {
            let [width, fill] = arguments.bind(name, ["width", "fillchar"])?;
            let width = width.required("width")?;
            let width = Some(width).integer("width", 0)?;
            let fill = match fill {
                Some(fill) => Some(fill).text("fillchar")?,
                None => Text::constant(" "),
            };
            padded(text, name, width, &fill, meter).map(Value::Text)
        }
        "expandtabs" => {
            let [size] = arguments.bind(name, ["tabsize"])?;
            expanded(text, size.integer("tabsize", 8)?, meter).map(Value::Text)
        }
        _ => {
            let [] = arguments.bind(name, [])?;
            match name.strip_prefix("is") {
                Some(kind) => Ok(Value::Bool(is(text.as_str(), kind))),
                None => cased(text, name, meter).map(Value::Text),
            }
        }
    }
}

/// Upper and lower case.
pub(in crate::jinja) fn cased(text: &Text, name: &str, meter: &Arc<Meter>) -> Outcome<Text> {
    let lower = |c: char| c.to_lowercase().collect::<Vec<_>>();
    let upper = |c: char| c.to_uppercase().collect::<Vec<_>>();
    // Title case differs from upper case for a few ligatures only, which stay as they are.
    let mut in_word = false;
    text.map_chars(meter, |place, c| match name {
        "upper" => upper(c),
        "lower" | "casefold" if c == 'ß' && name == "casefold" => vec!['s', 's'],
        "lower" | "casefold" => lower(c),
        "capitalize" => {
            if place == 0 {
                upper(c)
            } else {
                lower(c)
            }
        }
        "swapcase" => {
            if c.is_uppercase() {
                lower(c)
            } else {
                upper(c)
            }
        }
        _ => {
            let begins = !in_word;
            in_word = c.is_alphabetic();
            if begins { upper(c) } else { lower(c) }
        }
    })
}

pub(in crate::jinja) fn padded(
    text: &Text,
    how: &str,
    width: i128,
    fill: &Text,
    meter: &Arc<Meter>,
) -> Outcome<Text> {
    if fill.as_str().chars().count() != 1 {
        return Err(Failure::type_error("the fill character must be exactly one character long"));
    }
    let length = text.chars(meter)? as i128;
    let missing = width.saturating_sub(length).max(0);
    let (left, right) = match how {
        "ljust" => (0, missing),
        "center" => {
            // As CPython splits an odd number.
            let left = missing / 2 + (missing & width & 1);
            (left, missing - left)
        }
        _ => (missing, 0),
    };
    let mut built = Builder::new(meter)?;
    let mut from = 0;
    if how == "zfill" && missing > 0 && text.as_str().starts_with(['+', '-']) {
        from = 1;
        built.push_slice(text, 0..1)?;
    }
    for _ in 0..left {
        if how == "zfill" {
            built.push("0", false)?;
        } else {
            built.push_text(fill)?;
        }
    }
    built.push_slice(text, from..text.as_str().len())?;
    for _ in 0..right {
        built.push_text(fill)?;
    }
    Ok(built.finish())
}

fn expanded(text: &Text, size: i128, meter: &Arc<Meter>) -> Outcome<Text> {
    let mut built = Builder::new(meter)?;
    let mut column = 0;
    for (at, character) in text.as_str().char_indices() {
        if character == '\t' {
            let spaces = if size > 0 { size - column % size } else { 0 };
            for _ in 0..spaces {
                built.push(" ", false)?;
            }
            column += spaces;
        } else {
            built.push_slice(text, at..at + character.len_utf8())?;
            column = if matches!(character, '\n' | '\r') { 0 } else { column + 1 };
        }
    }
    Ok(built.finish())
}

/// `str.isalpha` and the like.
fn is(text: &str, kind: &str) -> bool {
    let all = |holds: fn(char) -> bool| !text.is_empty() && text.chars().all(holds);
    let has_case = |c: char| c.is_uppercase() || c.is_lowercase();
    match kind {
        "alpha" => all(char::is_alphabetic),
        "alnum" => all(char::is_alphanumeric),
        "ascii" => text.is_ascii(),
        "decimal" => all(|c| c.is_ascii_digit() || is_other_digit(c)),
        "digit" => all(|c| c.is_ascii_digit() || is_other_digit(c) || "²³¹".contains(c)),
        "numeric" => all(char::is_numeric),
        "identifier" => {
            let mut rest = text.chars();
            rest.next().is_some_and(|c| c == '_' || c.is_alphabetic())
                && rest.all(|c| c == '_' || c.is_alphanumeric())
        }
        "lower" => text.chars().any(has_case) && !text.chars().any(char::is_uppercase),
        "upper" => text.chars().any(has_case) && !text.chars().any(char::is_lowercase),
        "printable" => text.chars().all(print::is_printable),
        "space" => all(is_space),
        _ => is_title(text),
    }
}

/// Decimal digits of other scripts, of which each block of ten begins at a known place.
fn is_other_digit(character: char) -> bool {
    const ZEROS: [u32; 14] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50,
        0xff10,
    ];
    ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&(character as u32)))
}

fn is_title(text: &str) -> bool {
    let (mut cased, mut seen) = (false, false);
    for character in text.chars() {
        if character.is_uppercase() {
            if cased {
                return false;
            }
            (cased, seen) = (true, true);
        } else if character.is_lowercase() {
            if !cased {
                return false;
            }
            seen = true;
        } else {
            cased = false;
        }
    }
    seen
}

/// White space as Python's `str` sees it, which has four control characters more.
pub(in crate::jinja) fn is_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}')
}
