//! Filters about lines: `indent`, `truncate`, `wordwrap`.

use std::sync::Arc;

use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    meter::Meter,
    methods::lines,
    text::{Builder, Text},
    value::Value,
};

pub(super) fn indented(text: &Text, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Text> {
    let [width, first, blank] = arguments.bind("indent", ["width", "first", "blank"])?;
    let indent = match width {
        Some(Value::Text(text)) => text,
        width => {
            let width = width.integer("width", 4)?.max(0);
            let mut built = Builder::new(meter)?;
            for _ in 0..width {
                built.push(" ", false)?;
            }
            built.finish()
        }
    };
    let (first, blank) = (first.truth(false), blank.truth(false));
    let lines = all_lines(text, meter)?;
    let mut built = Builder::new(meter)?;
    for (place, line) in lines.iter().enumerate() {
        if place > 0 {
            built.push("\n", false)?;
        }
        if (place > 0 || first) && (blank || !line.as_str().is_empty()) {
            built.push_text(&indent)?;
        }
        built.push_text(line)?;
    }
    Ok(built.finish())
}

/// The lines as Python sees them; a line end at the end begins one more.
fn all_lines(text: &Text, meter: &Arc<Meter>) -> Outcome<Vec<Text>> {
    let mut ended = Builder::new(meter)?;
    ended.push_text(text)?;
    ended.push("\n", false)?;
    let items = lines(&ended.finish(), false, meter)?.iterate(meter)?;
    let text = |item: Value| match item {
        Value::Text(text) => Some(text),
        _ => None,
    };
    Ok(items.into_iter().filter_map(text).collect())
}

pub(super) fn truncated(text: &Text, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Text> {
    let [length, kill, end, leeway] =
        arguments.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let length = length.integer("length", 255)?;
    let end = end.optional_text("end")?.unwrap_or_else(|| Text::constant("..."));
    let leeway = leeway.integer("leeway", 5)?;
    let end_length = end.chars(meter)? as i128;
    if length < end_length || leeway < 0 {
        return Err(Failure::Other(format!(
            "expected length >= {end_length} and leeway >= 0, got {length} and {leeway}"
        )));
    }
    if text.chars(meter)? as i128 <= length.saturating_add(leeway) {
        return Ok(text.clone());
    }
    let kept = (length - end_length) as usize;
    let at = text.as_str().char_indices().nth(kept).map_or(text.as_str().len(), |(at, _)| at);
    let mut cut = &text.as_str()[..at];
    if !kill.truth(false) {
        cut = cut.rfind(' ').map_or(cut, |space| &cut[..space]);
    }
    let mut built = Builder::new(meter)?;
    built.push_text(&text.part(cut, meter)?)?;
    built.push_text(&end)?;
    Ok(built.finish())
}

/// Lines of at most `width` characters, cut at spaces; longer words are cut too.
pub(super) fn wrapped(text: &Text, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Text> {
    let [width, break_words, end] =
        arguments.bind("wordwrap", ["width", "break_long_words", "wrapstring"])?;
    let width = usize::try_from(width.integer("width", 79)?).unwrap_or(0);
    let break_words = break_words.truth(true);
    let end = end.optional_text("wrapstring")?.unwrap_or_else(|| Text::constant("\n"));
    if width == 0 {
        return Err(Failure::value_error("invalid width 0 (must be > 0)"));
    }
    let mut built = Builder::new(meter)?;
    for (place, line) in lines(text, false, meter)?.iterate(meter)?.iter().enumerate() {
        let Value::Text(line) = line else { continue };
        if place > 0 {
            built.push_text(&end)?;
        }
        wrap_line(line, width, break_words, &end, &mut built, meter)?;
    }
    Ok(built.finish())
}

/// Adds a line cut into lines. White space at a cut is dropped, as Python's `textwrap` does.
fn wrap_line(
    line: &Text,
    width: usize,
    break_words: bool,
    end: &Text,
    to: &mut Builder,
    meter: &Arc<Meter>,
) -> Outcome<()> {
    let (mut used, mut space) = (0, &line.as_str()[..0]);
    for chunk in chunks(line.as_str()) {
        meter.steps(1)?;
        let mut chunk = chunk;
        if chunk.trim().is_empty() {
            space = chunk;
            continue;
        }
        let mut length = chunk.chars().count();
        loop {
            meter.steps(1)?;
            let gap = space.chars().count();
            if used + gap + length <= width || used + gap == 0 && !break_words {
                break;
            }
            if used == 0 && break_words || length > width && break_words && used + gap < width {
                // The part of a long word that fits.
                let fits = (width - used).saturating_sub(gap).max(1);
                let at = chunk.char_indices().nth(fits).map_or(chunk.len(), |(at, _)| at);
                to.push_text(&line.part(space, meter)?)?;
                to.push_text(&line.part(&chunk[..at], meter)?)?;
                (chunk, length) = (&chunk[at..], length - fits.min(length));
            } else if used == 0 {
                break;
            }
            to.push_text(end)?;
            (used, space) = (0, &line.as_str()[..0]);
        }
        to.push_text(&line.part(space, meter)?)?;
        to.push_text(&line.part(chunk, meter)?)?;
        used += space.chars().count() + length;
        space = &line.as_str()[..0];
    }
    Ok(())
}

/// Words, which end after a hyphen between letters, and the white space between them.
fn chunks(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let mut before = None;
        let end = rest.char_indices().find(|&(at, c)| {
            let cut = c.is_whitespace() != first.is_whitespace()
                || before == Some('-')
                    && c.is_alphabetic()
                    && rest[..at - 1].ends_with(char::is_alphabetic);
            before = Some(c);
            at > 0 && cut
        });
        let (chunk, more) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        rest = more;
        Some(chunk)
    })
}
