//! What follows a value: attributes, items, calls, filters and tests.

use std::sync::Arc;

use super::{Parser, SyntaxError, Token, expressions::Parsed};
use crate::jinja::syntax::{Constant, Expression, Given, Named};

impl Parser {
    pub(super) fn postfix(&mut self, mut value: Expression) -> Parsed {
        loop {
            value = match self.peek() {
                Some(Token::Operator(".")) => {
                    self.next();
                    match self.peek() {
                        Some(&Token::Integer(index)) => {
                            self.next();
                            let index = Expression::Constant(Constant::Integer(index));
                            Expression::Item(value.into(), index.into())
                        }
                        _ => Expression::Attribute(value.into(), self.expect_name()?),
                    }
                }
                Some(Token::Operator("[")) => {
                    self.next();
                    self.subscript(value)?
                }
                Some(Token::Operator("(")) => self.call(value)?,
                _ => return Ok(value),
            };
            self.deeper(1)?;
        }
    }

    pub(super) fn call(&mut self, callee: Expression) -> Parsed {
        let line = self.tokens.front().map_or(self.line, |next| next.line);
        let given = self.arguments()?;
        Ok(Expression::Call(callee.into(), given.into(), line))
    }

    fn subscript(&mut self, value: Expression) -> Parsed {
        let mut parts = [None, None, None];
        let (mut place, mut is_slice) = (0, false);
        loop {
            if self.skip_operator(":") {
                is_slice = true;
                place += 1;
                if place > 2 {
                    return self.fail("expected at most two ':' in a slice");
                }
            } else if self.skip_operator("]") {
                break;
            } else if parts[place].is_none() {
                parts[place] = Some(self.expression()?);
            } else {
                return self.fail(format!("expected ']', got {}", self.seen()));
            }
        }
        if is_slice {
            return Ok(Expression::Slice(value.into(), parts.into()));
        }
        match parts {
            [Some(index), ..] => Ok(Expression::Item(value.into(), index.into())),
            _ => self.fail("expected an expression in []"),
        }
    }

    pub(super) fn filters_and_tests(&mut self, mut value: Expression) -> Parsed {
        loop {
            value = match self.peek() {
                Some(Token::Operator("|")) => {
                    self.next();
                    let named = self.filter()?;
                    Expression::Filter(value.into(), named.into())
                }
                Some(Token::Name(name)) if name == "is" => {
                    self.next();
                    self.test(value)?
                }
                Some(Token::Operator("(")) => self.call(value)?,
                _ => return Ok(value),
            };
            self.deeper(1)?;
        }
    }

    /// A filter's name and arguments.
    pub(super) fn filter(&mut self) -> Result<Named, SyntaxError> {
        let name = self.dotted_name()?;
        let line = self.line;
        let arguments = match self.is_operator("(") {
            true => self.arguments()?,
            false => Given::default(),
        };
        Ok(Named { name, arguments, line })
    }

    fn dotted_name(&mut self) -> Result<Arc<str>, SyntaxError> {
        let mut name = self.expect_name()?.to_string();
        while self.skip_operator(".") {
            name.push('.');
            name.push_str(&self.expect_name()?);
        }
        Ok(name.into())
    }

    fn test(&mut self, value: Expression) -> Parsed {
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let line = self.line;
        let mut arguments = Given::default();
        match self.peek() {
            Some(Token::Operator("(")) => arguments = self.arguments()?,
            Some(Token::Name(word)) if word == "is" => {
                return self.fail("a test cannot follow a test");
            }
            Some(Token::Name(word)) if matches!(word.as_str(), "else" | "or" | "and") => {}
            // `x is defined in y` and `x is y if z` are no arguments of the test.
            Some(Token::Name(word)) if matches!(word.as_str(), "if" | "in" | "not") => {}
            Some(
                Token::Name(_)
                | Token::Text(_)
                | Token::Integer(_)
                | Token::Float(_)
                | Token::Operator("[" | "{"),
            ) => {
                let argument = self.primary()?;
                arguments.positional.push(self.postfix(argument)?);
            }
            _ => {}
        }
        let named = Named { name, arguments, line };
        Ok(Expression::Test(value.into(), named.into(), negated))
    }

    pub(super) fn arguments(&mut self) -> Result<Given, SyntaxError> {
        self.expect_operator("(")?;
        let (mut given, mut first) = (Given::default(), true);
        while !self.skip_operator(")") {
            if !first {
                self.expect_operator(",")?;
                if self.skip_operator(")") {
                    break;
                }
            }
            first = false;
            let is_named = matches!(self.peek(), Some(Token::Name(_)))
                && self.peek_second() == Some(&Token::Operator("="));
            if self.skip_operator("*") {
                given.list = Some(self.expression()?);
            } else if self.skip_operator("**") {
                given.dictionary = Some(self.expression()?);
            } else if is_named {
                let name = self.expect_name()?;
                self.expect_operator("=")?;
                given.named.push((name, self.expression()?));
            } else if given.named.is_empty() && given.list.is_none() {
                given.positional.push(self.expression()?);
            } else {
                return self.fail("a positional argument cannot follow a named one");
            }
        }
        Ok(given)
    }
}
