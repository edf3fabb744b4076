//! Template source to tokens, with the trimming of `trim_blocks` and `lstrip_blocks`.

mod literals;

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
            ")" | "]" | "}"
                if open.pop().is_none_or(|expected| !operator.starts_with(expected)) =>
            {
                return self.fail(format!("unexpected '{operator}'"));
            }
            _ => {}
        }
        self.push(Token::Operator(operator));
        self.at += operator.len();
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
