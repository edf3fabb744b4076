//! Template source to tokens, with the trimming of `trim_blocks` and `lstrip_blocks`.

use super::SyntaxError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Text between blocks, trimmed.
    Data(String),
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name(String),
    Text(String),
    Integer(i128),
    Float(f64),
    Operator(&'static str),
}

#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub token: Token,
    /// From 1.
    pub line: usize,
}

/// Most bytes of a name: looking a name up is one step.
const MOST_NAME: usize = 256;

/// The longest first.
const OPERATORS: [&str; 24] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|",
];

pub(super) fn tokens(source: &str) -> Result<Vec<Spanned>, SyntaxError> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    // One line end at the end of a template is not part of it.
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { source, at: 0, counted: (0, 1), tokens: Vec::new() };
    lexer.all()?;
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    /// A place and its line.
    counted: (usize, usize),
    tokens: Vec<Spanned>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn line(&mut self) -> usize {
        let (from, line) = self.counted;
        let passed = self.source[from..self.at].bytes().filter(|&byte| byte == b'\n').count();
        self.counted = (self.at, line + passed);
        line + passed
    }

    fn push(&mut self, token: Token) {
        let line = self.line();
        self.tokens.push(Spanned { token, line });
    }

    fn fail<T>(&mut self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { line: self.line(), message: message.into() })
    }

    fn all(&mut self) -> Result<(), SyntaxError> {
        while !self.rest().is_empty() {
            let Some(length) = next_opening(self.rest()) else {
                self.push(Token::Data(self.rest().to_owned()));
                return Ok(());
            };
            let line_starting = self.at == 0 || self.source[..self.at].ends_with('\n');
            let data = &self.rest()[..length];
            let opening = &self.rest()[length..length + 2];
            let sign = self.rest()[length + 2..].chars().next();
            let sign = sign.filter(|sign| matches!(sign, '-' | '+'));
            let data = trimmed(data, opening, sign, line_starting);
            if !data.is_empty() {
                self.push(Token::Data(data.to_owned()));
            }
            self.at += length + 2 + usize::from(sign.is_some());
            match opening {
                "{#" => self.comment()?,
                "{%" => match raw_tag(self.rest(), "raw") {
                    Some((length, sign)) => {
                        self.at += length;
                        if sign == Some('-') {
                            self.skip_space();
                        }
                        self.raw()?;
                    }
                    None => {
                        self.push(Token::BlockBegin);
                        self.expression("%}", Token::BlockEnd)?;
                    }
                },
                _ => {
                    self.push(Token::VariableBegin);
                    self.expression("}}", Token::VariableEnd)?;
                }
            }
        }
        Ok(())
    }

    fn skip_space(&mut self) {
        self.at = self.source.len() - self.rest().trim_start().len();
    }

    fn skip_line_end(&mut self) {
        if self.rest().starts_with('\n') {
            self.at += 1;
        }
    }

    fn comment(&mut self) -> Result<(), SyntaxError> {
        let Some(length) = self.rest().find("#}") else {
            return self.fail("missing end of comment tag");
        };
        let sign = self.rest()[..length].chars().next_back();
        self.at += length + 2;
        match sign {
            Some('-') => self.skip_space(),
            Some('+') => {}
            _ => self.skip_line_end(),
        }
        Ok(())
    }

    /// Text up to `{% endraw %}`.
    fn raw(&mut self) -> Result<(), SyntaxError> {
        let (rest, mut from) = (self.rest(), 0);
        loop {
            let Some(found) = rest[from..].find("{%") else {
                return self.fail("missing end of raw directive");
            };
            let start = from + found;
            let after = &rest[start + 2..];
            let sign = after.chars().next().filter(|sign| matches!(sign, '-' | '+'));
            let after = &after[usize::from(sign.is_some())..];
            if let Some((length, end)) = raw_tag(after, "endraw") {
                let line_starting = self.source[..self.at].ends_with('\n');
                let data = trimmed(&rest[..start], "{%", sign, line_starting);
                if !data.is_empty() {
                    self.push(Token::Data(data.to_owned()));
                }
                self.at += start + 2 + usize::from(sign.is_some()) + length;
                match end {
                    Some('-') => self.skip_space(),
                    Some(_) => {}
                    None => self.skip_line_end(),
                }
                return Ok(());
            }
            from = start + 2;
        }
    }

    fn expression(&mut self, end: &str, token: Token) -> Result<(), SyntaxError> {
        let mut open: Vec<char> = Vec::new();
        loop {
            self.skip_space();
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return self.fail(format!("unexpected end of template, expected {end}"));
            };
            let sign = matches!(first, '-' | '+').then_some(first);
            let unsigned = if sign.is_some() { &rest[1..] } else { rest };
            // "{{ a + }}" is no end with a sign of a variable.
            let ends =
                open.is_empty() && unsigned.starts_with(end) && (sign != Some('+') || end == "%}");
            if ends {
                self.push(token);
                self.at += end.len() + usize::from(sign.is_some());
                match sign {
                    Some('-') => self.skip_space(),
                    Some(_) => {}
                    None if end == "%}" => self.skip_line_end(),
                    None => {}
                }
                return Ok(());
            }
            if first.is_ascii_digit() {
                self.number()?;
            } else if first == '_' || first.is_alphanumeric() {
                let word = |c: char| c != '_' && !c.is_alphanumeric();
                let length = rest.find(word).unwrap_or(rest.len());
                if length > MOST_NAME {
                    return self.fail(format!("expected names of at most {MOST_NAME} bytes"));
                }
                self.push(Token::Name(rest[..length].to_owned()));
                self.at += length;
            } else if first == '\'' || first == '"' {
                self.string(first)?;
            } else {
                self.operator(&mut open)?;
            }
        }
    }

    fn operator(&mut self, open: &mut Vec<char>) -> Result<(), SyntaxError> {
        let rest = self.rest();
        if rest.starts_with(',') || rest.starts_with(';') {
            self.push(Token::Operator(if rest.starts_with(',') { "," } else { ";" }));
            self.at += 1;
            return Ok(());
        }
        let Some(&operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) else {
            let got: String = rest.chars().take(1).collect();
            return self.fail(format!("unexpected character {got:?}"));
        };
        match operator {
            "(" => open.push(')'),
            "[" => open.push(']'),
            "{" => open.push('}'),
            ")" | "]" | "}" => {
                if open.pop().is_none_or(|expected| !operator.starts_with(expected)) {
                    return self.fail(format!("unexpected '{operator}'"));
                }
            }
            _ => {}
        }
        self.push(Token::Operator(operator));
        self.at += operator.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), SyntaxError> {
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

    fn string(&mut self, quote: char) -> Result<(), SyntaxError> {
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

/// Where the next block, variable or comment begins.
fn next_opening(text: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find('{')?;
        if matches!(text.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#')) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// Data before an opening tag, without the white space that the tag takes away.
fn trimmed<'d>(data: &'d str, opening: &str, sign: Option<char>, line_starting: bool) -> &'d str {
    if sign == Some('-') {
        return data.trim_end();
    }
    if sign.is_none() && opening != "{{" {
        let line = data.rfind('\n').map_or(0, |at| at + 1);
        if (line > 0 || line_starting) && data[line..].trim_start().is_empty() {
            return &data[..line];
        }
    }
    data
}

/// The rest of a tag with only this name: its length, and the sign at its end.
fn raw_tag(text: &str, name: &str) -> Option<(usize, Option<char>)> {
    let rest = text.trim_start().strip_prefix(name)?.trim_start();
    let sign = rest.chars().next().filter(|sign| matches!(sign, '-' | '+'));
    let rest = &rest[usize::from(sign.is_some())..];
    let rest = rest.strip_prefix("%}")?;
    Some((text.len() - rest.len(), sign))
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
