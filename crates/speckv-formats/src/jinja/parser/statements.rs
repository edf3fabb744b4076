//! Blocks: `for`, `if`, `set`, `macro`, `call`, `filter`, `with` and the like.

use std::sync::Arc;

use super::{Implicit, Parser, SyntaxError, Token};
use crate::jinja::{
    syntax::{Body, Expression, For, Kind, Macro, Statement, Target},
    text::Text,
};

/// Names with defaults.
type Parameters = Vec<(Arc<str>, Option<Expression>)>;

impl Parser {
    /// Statements up to a block with one of these names, which is taken; or, without names, to the
    /// end of the template.
    pub(super) fn body(&mut self, ends: &[&str]) -> Result<(Body, String), SyntaxError> {
        let mut body = Vec::new();
        loop {
            match self.next() {
                None if ends.is_empty() => return Ok((body, String::new())),
                None => return self.fail(format!("missing {{% {} %}}", ends.join(" or "))),
                Some(Token::Data(text)) => {
                    let kind = Kind::Text(Text::constant(text));
                    body.push(Statement { line: self.line, kind });
                }
                Some(Token::VariableBegin) => {
                    let line = self.line;
                    let value = self.tuple(true, false)?;
                    self.expect(&Token::VariableEnd, "'}}'")?;
                    body.push(Statement { line, kind: Kind::Output(value) });
                }
                Some(Token::BlockBegin) => {
                    let line = self.line;
                    let name = self.expect_name()?;
                    if ends.contains(&&*name) {
                        return Ok((body, name.to_string()));
                    }
                    let kind = self.nested(|parser| parser.block(&name))?;
                    body.push(Statement { line, kind });
                }
                Some(_) => return self.fail("unexpected token"),
            }
        }
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        self.expect(&Token::BlockEnd, "'%}'")
    }

    /// `%}`, the body and the closing tag.
    fn closed_body(&mut self, end: &str) -> Result<Body, SyntaxError> {
        self.end()?;
        let (body, _) = self.body(&[end])?;
        self.end()?;
        Ok(body)
    }

    fn block(&mut self, name: &str) -> Result<Kind, SyntaxError> {
        match name {
            "for" => self.for_loop(),
            "if" => self.condition(),
            "set" => self.set(),
            "macro" => self.named_macro(),
            "call" => self.call_block(),
            "filter" => {
                let filters = self.filter_chain()?;
                Ok(Kind::Filter(filters, self.closed_body("endfilter")?))
            }
            "with" => self.with(),
            "generation" => Ok(Kind::Scope(self.closed_body("endgeneration")?)),
            "block" => {
                self.expect_name()?;
                self.end()?;
                let (body, _) = self.body(&["endblock"])?;
                // The name may be said again.
                if matches!(self.peek(), Some(Token::Name(_))) {
                    self.next();
                }
                self.end()?;
                Ok(Kind::Scope(body))
            }
            "print" => {
                let value = self.tuple(true, false)?;
                self.end()?;
                Ok(Kind::Output(value))
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return self.fail(format!("'{name}' is outside of a loop"));
                }
                self.end()?;
                Ok(if name == "break" { Kind::Break } else { Kind::Continue })
            }
            _ => self.fail(format!("unknown tag '{name}'")),
        }
    }

    fn for_loop(&mut self) -> Result<Kind, SyntaxError> {
        let target = self.target(true)?;
        if !self.skip_name("in") {
            return self.fail(format!("expected 'in', got {}", self.seen()));
        }
        let over = self.tuple(false, false)?;
        let condition = match self.skip_name("if") {
            true => Some(self.expression()?),
            false => None,
        };
        let recursive = self.skip_name("recursive");
        self.end()?;
        self.loops += 1;
        let inside = self.body(&["endfor", "else"]);
        self.loops -= 1;
        let (body, end) = inside?;
        let mut otherwise = Vec::new();
        if end == "else" {
            self.end()?;
            (otherwise, _) = self.body(&["endfor"])?;
        }
        self.end()?;
        Ok(Kind::For(Arc::new(For { target, over, condition, body, otherwise, recursive })))
    }

    fn condition(&mut self) -> Result<Kind, SyntaxError> {
        let mut branches = Vec::new();
        loop {
            let condition = self.tuple(false, false)?;
            self.end()?;
            let (body, end) = self.body(&["elif", "else", "endif"])?;
            branches.push((condition, body));
            let mut otherwise = Vec::new();
            match end.as_str() {
                "elif" => continue,
                "else" => {
                    self.end()?;
                    (otherwise, _) = self.body(&["endif"])?;
                }
                _ => {}
            }
            self.end()?;
            return Ok(Kind::If(branches, otherwise));
        }
    }

    fn set(&mut self) -> Result<Kind, SyntaxError> {
        let target = self.target(false)?;
        if self.skip_operator("=") {
            let value = self.tuple(true, false)?;
            self.end()?;
            return Ok(Kind::Set(target, value));
        }
        let filters = match self.skip_operator("|") {
            true => self.filter_chain()?,
            false => Vec::new(),
        };
        Ok(Kind::SetBlock(target, filters, self.closed_body("endset")?))
    }

    fn filter_chain(&mut self) -> Result<Vec<crate::jinja::syntax::Named>, SyntaxError> {
        let mut filters = vec![self.filter()?];
        while self.skip_operator("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }

    /// A name, `namespace.attribute`, or several with commas between.
    fn target(&mut self, in_for: bool) -> Result<Target, SyntaxError> {
        let (mut targets, mut is_tuple) = (Vec::new(), false);
        loop {
            let ends = self.is_operator("=") || self.is_operator(")") || self.is_name("in");
            if ends && is_tuple {
                break;
            }
            targets.push(self.nested(|parser| parser.one_target(in_for))?);
            if !self.skip_operator(",") {
                break;
            }
            is_tuple = true;
        }
        Ok(match is_tuple {
            true => Target::Tuple(targets),
            false => targets.remove(0),
        })
    }

    fn one_target(&mut self, in_for: bool) -> Result<Target, SyntaxError> {
        if self.skip_operator("(") {
            let target = self.target(in_for)?;
            self.expect_operator(")")?;
            return Ok(target);
        }
        let name = self.expect_name()?;
        if matches!(&*name, "true" | "false" | "none" | "True" | "False" | "None") {
            return self.fail(format!("cannot assign to '{name}'"));
        }
        if !in_for && self.skip_operator(".") {
            return Ok(Target::Attribute(name, self.expect_name()?));
        }
        Ok(Target::Name(name))
    }

    fn named_macro(&mut self) -> Result<Kind, SyntaxError> {
        let name = self.expect_name()?;
        let parameters = self.parameters()?;
        Ok(Kind::Macro(self.macro_body(name, parameters, "endmacro")?))
    }

    fn call_block(&mut self) -> Result<Kind, SyntaxError> {
        let parameters = match self.is_operator("(") {
            true => self.parameters()?,
            false => Vec::new(),
        };
        let call = self.expression()?;
        if !matches!(call, Expression::Call(..)) {
            return self.fail("expected a call");
        }
        Ok(Kind::Call(call, self.macro_body("caller".into(), parameters, "endcall")?))
    }

    fn parameters(&mut self) -> Result<Parameters, SyntaxError> {
        self.expect_operator("(")?;
        let mut parameters = Parameters::new();
        while !self.skip_operator(")") {
            if !parameters.is_empty() {
                self.expect_operator(",")?;
            }
            let name = self.expect_name()?;
            let default = match self.skip_operator("=") {
                true => Some(self.expression()?),
                false if parameters.last().is_some_and(|(_, default)| default.is_some()) => {
                    return self.fail("a parameter without a default follows one with a default");
                }
                false => None,
            };
            parameters.push((name, default));
        }
        Ok(parameters)
    }

    fn macro_body(
        &mut self,
        name: Arc<str>,
        parameters: Parameters,
        end: &str,
    ) -> Result<Arc<Macro>, SyntaxError> {
        self.macros.push(Implicit::default());
        let loops = std::mem::take(&mut self.loops);
        let body = self.closed_body(end);
        self.loops = loops;
        let Implicit { varargs, kwargs, caller } = self.macros.pop().unwrap_or_default();
        Ok(Arc::new(Macro { name, parameters, body: body?, varargs, kwargs, caller }))
    }

    fn with(&mut self) -> Result<Kind, SyntaxError> {
        let mut values = Vec::new();
        while self.peek() != Some(&Token::BlockEnd) {
            if !values.is_empty() {
                self.expect_operator(",")?;
            }
            let target = self.one_target(false)?;
            self.expect_operator("=")?;
            values.push((target, self.expression()?));
        }
        Ok(Kind::With(values, self.closed_body("endwith")?))
    }
}
