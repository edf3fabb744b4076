//! Format specifications: width, precision and the letters for numbers.

use std::sync::Arc;

use crate::jinja::{
    Failure, Outcome,
    meter::Meter,
    print,
    text::{Builder, Text},
    value::Value,
};

/// Most digits after the point.
const MOST_PRECISION: usize = 1000;

/// `[[fill]align][sign][#][0][width][,][.precision][kind]`
#[derive(Debug)]
pub(in crate::jinja) struct Specification {
    fill: char,
    align: Option<char>,
    sign: char,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    pub kind: Option<char>,
    /// Text without an alignment is at the right, as after `%`.
    right: bool,
}

impl Specification {
    /// Of `str.format`.
    pub(crate) fn braces(text: &str) -> Outcome<Self> {
        let mut made = Self::empty(false);
        let mut rest = text.chars().peekable();
        let mut ahead = text.chars();
        let (first, second) = (ahead.next(), ahead.next());
        let is_align = |c: Option<char>| c.filter(|c| matches!(c, '<' | '>' | '=' | '^'));
        if let (Some(fill), Some(align)) = (first, is_align(second)) {
            (made.fill, made.align) = (fill, Some(align));
            rest.nth(1);
        } else if let Some(align) = is_align(first) {
            made.align = Some(align);
            rest.next();
        }
        if let Some(sign) = rest.next_if(|c| matches!(c, '+' | '-' | ' ')) {
            made.sign = sign;
        }
        made.alternate = rest.next_if_eq(&'#').is_some();
        if rest.next_if_eq(&'0').is_some() {
            made.zero = true;
        }
        made.width = digits(&mut rest)?.unwrap_or(0);
        made.grouping = rest.next_if(|c| matches!(c, ',' | '_'));
        if rest.next_if_eq(&'.').is_some() {
            made.precision = Some(
                digits(&mut rest)?
                    .ok_or_else(|| Failure::value_error("Format specifier missing precision"))?,
            );
        }
        made.kind = rest.next();
        if rest.next().is_some() {
            return Err(Failure::value_error("Invalid format specifier"));
        }
        Ok(made)
    }

    /// Of `%`: the specification, its letter, and what follows. `next` gives the value of a `*`.
    pub(crate) fn percent<'t>(
        text: &'t str,
        next: &mut dyn FnMut() -> Option<Value>,
    ) -> Outcome<(Self, char, &'t str)> {
        let mut made = Self::empty(true);
        let mut rest = text.chars().peekable();
        while let Some(flag) = rest.next_if(|c| matches!(c, '-' | '+' | ' ' | '#' | '0')) {
            match flag {
                '-' => made.align = Some('<'),
                '+' => made.sign = '+',
                ' ' if made.sign != '+' => made.sign = ' ',
                '#' => made.alternate = true,
                '0' => made.zero = true,
                _ => {}
            }
        }
        let mut star = || -> Outcome<i128> {
            next()
                .and_then(|value| value.as_integer())
                .ok_or_else(|| Failure::type_error("* wants int"))
        };
        if rest.next_if_eq(&'*').is_some() {
            let width = star()?;
            if width < 0 {
                made.align = Some('<');
            }
            made.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        } else {
            made.width = digits(&mut rest)?.unwrap_or(0);
        }
        if rest.next_if_eq(&'.').is_some() {
            made.precision = Some(match rest.next_if_eq(&'*').is_some() {
                true => usize::try_from(star()?.max(0)).unwrap_or(usize::MAX),
                false => digits(&mut rest)?.unwrap_or(0),
            });
        }
        while rest.next_if(|c| matches!(c, 'h' | 'l' | 'L')).is_some() {}
        let kind = rest.next().ok_or_else(|| Failure::value_error("incomplete format"))?;
        if made.align == Some('<') {
            made.zero = false;
        }
        let after: usize = rest.map(char::len_utf8).sum();
        Ok((made, kind, &text[text.len() - after..]))
    }

    fn empty(right: bool) -> Self {
        Self {
            fill: ' ',
            align: None,
            sign: '-',
            alternate: false,
            zero: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: None,
            right,
        }
    }

    /// Writes a string: cut to the precision, padded to the width.
    pub(crate) fn write_text(
        &self,
        text: &Text,
        to: &mut Builder,
        meter: &Arc<Meter>,
    ) -> Outcome<()> {
        if self.kind.is_some_and(|kind| kind != 's') && !self.right || self.align == Some('=') {
            return Err(Failure::value_error("Unknown format code for object of type 'str'"));
        }
        let mut text = text.clone();
        if let Some(precision) = self.precision {
            let end = text.as_str().char_indices().nth(precision);
            text = text.slice(0..end.map_or(text.as_str().len(), |(at, _)| at), meter)?;
        }
        let missing = self.width.saturating_sub(text.chars(meter)?);
        let (left, right) = match self.align {
            Some('>') => (missing, 0),
            Some('^') => (missing / 2, missing - missing / 2),
            Some(_) => (0, missing),
            None if self.right => (missing, 0),
            None => (0, missing),
        };
        let fill = if self.zero && !self.right && self.align.is_none() { '0' } else { self.fill };
        repeat(fill, left, to)?;
        to.push_text(&text)?;
        repeat(fill, right, to)
    }

    /// Writes a number.
    pub(crate) fn write_number(
        &self,
        value: &Value,
        to: &mut Builder,
        meter: &Arc<Meter>,
    ) -> Outcome<()> {
        if self.precision.is_some_and(|precision| precision > MOST_PRECISION) {
            return Err(Failure::value_error(format!("precision is over {MOST_PRECISION}")));
        }
        meter.work(self.precision.unwrap_or(0))?;
        let unknown = |kind: char| {
            let name = value.type_name();
            Failure::value_error(format!(
                "Unknown format code '{kind}' for object of type '{name}'"
            ))
        };
        let (negative, prefix, mut digits) = match (value.as_integer(), self.kind) {
            (Some(integer), None | Some('d' | 'n')) => {
                (integer < 0, "", integer.unsigned_abs().to_string())
            }
            (Some(integer), Some(kind @ ('x' | 'X' | 'o' | 'b'))) => {
                let magnitude = integer.unsigned_abs();
                let (prefix, digits) = match kind {
                    'x' => ("0x", format!("{magnitude:x}")),
                    'X' => ("0X", format!("{magnitude:X}")),
                    'o' => ("0o", format!("{magnitude:o}")),
                    _ => ("0b", format!("{magnitude:b}")),
                };
                (integer < 0, if self.alternate { prefix } else { "" }, digits)
            }
            (Some(integer), Some('c')) if !self.right => {
                let code = u32::try_from(integer).ok().and_then(char::from_u32);
                (false, "", code.ok_or_else(|| unknown('c'))?.to_string())
            }
            (integer, kind) => {
                let number = value.as_float().unwrap_or(f64::NAN);
                let kind = kind.or(integer.map(|_| 'd'));
                let negative = number.is_sign_negative() && !number.is_nan();
                (
                    negative,
                    "",
                    self.floating(number.abs(), kind)
                        .ok_or_else(|| unknown(kind.unwrap_or(' ')))?,
                )
            }
        };
        if let Some(separator) = self.grouping {
            digits = grouped(&digits, separator);
        }
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, '+') => "+",
            (false, ' ') => " ",
            _ => "",
        };
        let length = sign.len() + prefix.len() + digits.chars().count();
        let missing = self.width.saturating_sub(length);
        let zero = self.zero && self.align.is_none();
        let fill = if self.zero && self.fill == ' ' { '0' } else { self.fill };
        let (left, inner, right) = match self.align {
            _ if zero => (0, missing, 0),
            Some('<') => (0, 0, missing),
            Some('^') => (missing / 2, 0, missing - missing / 2),
            Some('=') => (0, missing, 0),
            _ => (missing, 0, 0),
        };
        repeat(fill, left, to)?;
        to.push(sign, false)?;
        to.push(prefix, false)?;
        repeat(fill, inner, to)?;
        to.push(&digits, false)?;
        repeat(fill, right, to)
    }

    /// A number that is not negative.
    fn floating(&self, number: f64, kind: Option<char>) -> Option<String> {
        let precision = self.precision.unwrap_or(6);
        if !number.is_finite() {
            let text = if number.is_nan() { "nan" } else { "inf" };
            let upper = kind.is_some_and(|kind| kind.is_ascii_uppercase());
            return Some(if upper { text.to_uppercase() } else { text.to_owned() });
        }
        Some(match kind {
            None if self.precision.is_none() => print::float(number),
            None => {
                let text = general(number, precision, false);
                if text.contains(['.', 'e']) { text } else { text + ".0" }
            }
            Some('f' | 'F') => format!("{number:.precision$}"),
            Some('e') => exponent(number, precision),
            Some('E') => exponent(number, precision).to_uppercase(),
            Some('g') => general(number, precision, self.alternate),
            Some('G') => general(number, precision, self.alternate).to_uppercase(),
            Some('%') => format!("{:.precision$}%", number * 100.0),
            _ => return None,
        })
    }
}

fn repeat(fill: char, count: usize, to: &mut Builder) -> Outcome<()> {
    let mut buffer = [0; 4];
    let fill = fill.encode_utf8(&mut buffer);
    (0..count).try_for_each(|_| to.push(fill, false))
}

fn digits(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Outcome<Option<usize>> {
    let mut value: Option<usize> = None;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        rest.next();
        let before = value.unwrap_or(0);
        let more = before.checked_mul(10).and_then(|value| value.checked_add(digit as usize));
        value = Some(
            more.ok_or_else(|| Failure::value_error("Too many decimal digits in format string"))?,
        );
    }
    Ok(value)
}

/// `d.ddde+xx`
fn exponent(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// As C's `%g`.
fn general(number: f64, precision: usize, keep_zeros: bool) -> String {
    let precision = precision.max(1);
    let scientific = exponent(number, precision - 1);
    let power: i32 =
        scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') && !keep_zeros {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..precision as i32).contains(&power) {
        let decimals = (precision as i32 - 1 - power).max(0) as usize;
        return trimmed(&format!("{number:.decimals$}"));
    }
    let (digits, power) = scientific.split_once('e').unwrap_or((&scientific, "+00"));
    format!("{}e{power}", trimmed(digits))
}

/// Digits before the point in groups of three.
fn grouped(digits: &str, separator: char) -> String {
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let mut text = String::new();
    for (place, digit) in digits[..whole].chars().enumerate() {
        if place > 0 && (whole - place) % 3 == 0 {
            text.push(separator);
        }
        text.push(digit);
    }
    text + &digits[whole..]
}
