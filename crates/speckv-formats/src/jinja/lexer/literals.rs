//! Numbers and strings of the source.

use super::{Lexer, SyntaxError, Token};

impl Lexer<'_> {
    pub(super) fn number(&mut self) -> Result<(), SyntaxError> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize, digit: fn(u8) -> bool| {
            let more = bytes[from..].iter().take_while(|&&b| digit(b) || b == b'_').count();
            from + more
        };
        if bytes[0] == b'0' && bytes.len() > 2 {
            let radix = match bytes[1].to_ascii_lowercase() {
                b'x' => 16,
                b'o' => 8,
                b'b' => 2,
                _ => 0,
            };
            let end = digits(2, |b| b.is_ascii_alphanumeric());
            if radix != 0 && end > 2 {
                let text = rest[2..end].replace('_', "");
                let Ok(value) = i128::from_str_radix(&text, radix) else {
                    return self.fail(format!("expected a number, got {}", &rest[..end]));
                };
                self.push(Token::Integer(value));
                self.at += end;
                return Ok(());
            }
        }
        let whole = digits(0, |b| b.is_ascii_digit());
        let mut end = whole;
        // A number after a dot is a subscript: `a.0.1`.
        let after_dot = self.source[..self.at].ends_with('.');
        if !after_dot && bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1, |b| b.is_ascii_digit());
            if fraction > end + 1 {
                end = fraction;
            }
        }
        if !after_dot && matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign, |b| b.is_ascii_digit());
            if exponent > end + 1 + sign {
                end = exponent;
            }
        }
        let text = rest[..end].replace('_', "");
        let token = if end == whole {
            text.parse().ok().map(Token::Integer)
        } else {
            text.parse().ok().map(Token::Float)
        };
        let Some(token) = token else {
            return self.fail(format!("expected a number, got {}", &rest[..end]));
        };
        self.push(token);
        self.at += end;
        Ok(())
    }

    pub(super) fn string(&mut self, quote: char) -> Result<(), SyntaxError> {
        let rest = self.rest();
        let (mut escaped, mut end) = (false, None);
        for (at, character) in rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if character == '\\' {
                escaped = true;
            } else if character == quote {
                end = Some(at);
                break;
            }
        }
        let Some(end) = end else { return self.fail("unexpected end of a string") };
        match unescaped(&rest[1..end]) {
            Ok(text) => self.push(Token::Text(text)),
            Err(message) => return self.fail(message),
        }
        self.at += end + 1;
        Ok(())
    }
}

/// A string literal's text, with the escapes of Python.
fn unescaped(literal: &str) -> Result<String, String> {
    let mut text = String::with_capacity(literal.len());
    let mut rest = literal.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        let Some(kind) = rest.next() else { break };
        let digits = |rest: &mut std::str::Chars, count: usize, radix: u32, first: u32| {
            let (mut value, mut seen) = (first, 0);
            let mut ahead = rest.clone();
            while seen < count {
                let Some(digit) = ahead.next().and_then(|c| c.to_digit(radix)) else { break };
                value = value * radix + digit;
                seen += 1;
                rest.next();
            }
            (value, seen)
        };
        let code = match kind {
            '\n' => continue,
            '\\' | '\'' | '"' => kind as u32,
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'x' | 'u' | 'U' => {
                let count = match kind {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let (value, seen) = digits(&mut rest, count, 16, 0);
                if seen < count {
                    return Err(format!("expected {count} hexadecimal digits after \\{kind}"));
                }
                value
            }
            '0'..='7' => digits(&mut rest, 2, 8, kind as u32 - '0' as u32).0,
            other => {
                text.push('\\');
                other as u32
            }
        };
        match char::from_u32(code) {
            Some(character) => text.push(character),
            None => return Err(format!("U+{code:04X} is no character")),
        }
    }
    Ok(text)
}
