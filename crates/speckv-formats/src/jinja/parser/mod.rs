//! Tokens to statements: the grammar of Jinja2 3.1 with loop controls and `{% generation %}`.

mod expressions;
mod postfix;
mod statements;

use std::{collections::VecDeque, sync::Arc};

use super::{
    SyntaxError,
    lexer::{self, Spanned, Token},
    syntax::Body,
};

/// How deep blocks and expressions may nest: parsing, rendering and freeing recurse so deep.
const DEEPEST: usize = 300;

pub(super) fn parse(source: &str) -> Result<Body, SyntaxError> {
    let mut parser = Parser {
        tokens: lexer::tokens(source)?.into(),
        line: 1,
        depth: 0,
        loops: 0,
        macros: Vec::new(),
    };
    let (body, _) = parser.body(&[])?;
    Ok(body)
}

struct Parser {
    tokens: VecDeque<Spanned>,
    line: usize,
    depth: usize,
    /// Loops around the statement, in the same macro.
    loops: usize,
    /// Of each macro around the statement, which implicit names it uses.
    macros: Vec<Implicit>,
}

/// Which implicit arguments a macro's body names.
#[derive(Default)]
struct Implicit {
    varargs: bool,
    kwargs: bool,
    caller: bool,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.front().map(|spanned| &spanned.token)
    }

    fn peek_second(&self) -> Option<&Token> {
        self.tokens.get(1).map(|spanned| &spanned.token)
    }

    fn next(&mut self) -> Option<Token> {
        let Spanned { token, line } = self.tokens.pop_front()?;
        self.line = line;
        Some(token)
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, SyntaxError> {
        let line = self.tokens.front().map_or(self.line, |next| next.line);
        Err(SyntaxError { line, message: message.into() })
    }

    fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(Token::Operator(next)) if *next == operator)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(next)) if next == name)
    }

    /// Takes the operator if it is next.
    fn skip_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        if found {
            self.next();
        }
        found
    }

    /// Takes the name if it is next.
    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    fn expect_operator(&mut self, operator: &str) -> Result<(), SyntaxError> {
        match self.skip_operator(operator) {
            true => Ok(()),
            false => self.fail(format!("expected '{operator}', got {}", self.seen())),
        }
    }

    fn expect(&mut self, token: &Token, name: &str) -> Result<(), SyntaxError> {
        if self.peek() == Some(token) {
            self.next();
            return Ok(());
        }
        self.fail(format!("expected {name}, got {}", self.seen()))
    }

    fn expect_name(&mut self) -> Result<Arc<str>, SyntaxError> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.as_str().into();
                self.next();
                Ok(name)
            }
            _ => self.fail(format!("expected a name, got {}", self.seen())),
        }
    }

    /// The next token in words.
    fn seen(&self) -> String {
        match self.peek() {
            None => "the end of the template".into(),
            Some(Token::Data(_)) => "text".into(),
            Some(Token::BlockBegin) => "'{%'".into(),
            Some(Token::BlockEnd) => "'%}'".into(),
            Some(Token::VariableBegin) => "'{{'".into(),
            Some(Token::VariableEnd) => "'}}'".into(),
            Some(Token::Name(name)) => format!("'{}'", name.chars().take(40).collect::<String>()),
            Some(Token::Text(_)) => "a string".into(),
            Some(Token::Integer(_) | Token::Float(_)) => "a number".into(),
            Some(Token::Operator(operator)) => format!("'{operator}'"),
        }
    }

    /// Counts one level of nesting while `parse` runs.
    fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        self.deeper(1)?;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn deeper(&mut self, levels: usize) -> Result<(), SyntaxError> {
        self.depth += levels;
        if self.depth > DEEPEST {
            return self.fail(format!("expected at most {DEEPEST} levels of nesting, got more"));
        }
        Ok(())
    }
}
