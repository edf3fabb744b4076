//! Expressions, from the weakest operator to the strongest.

use super::{Parser, SyntaxError, Token};
use crate::jinja::{
    syntax::{Comparison, Constant, Expression, Operator},
    text::Text,
};

pub(super) type Parsed = Result<Expression, SyntaxError>;

impl Parser {
    pub(super) fn expression(&mut self) -> Parsed {
        self.nested(|parser| parser.conditional(true))
    }

    fn conditional(&mut self, with_condition: bool) -> Parsed {
        let mut value = self.or()?;
        let depth = self.depth;
        while with_condition && self.skip_name("if") {
            self.deeper(1)?;
            let condition = self.or()?;
            let otherwise = match self.skip_name("else") {
                true => Some(Box::new(self.expression()?)),
                false => None,
            };
            value = Expression::Conditional(value.into(), condition.into(), otherwise);
        }
        self.depth = depth;
        Ok(value)
    }

    /// A chain of binary operators of one strength, joined from the left.
    fn chain(
        &mut self,
        part: fn(&mut Self) -> Parsed,
        operator: impl Fn(&mut Self) -> Option<Joint>,
    ) -> Parsed {
        let mut left = part(self)?;
        let depth = self.depth;
        while let Some(joint) = operator(self) {
            self.deeper(1)?;
            let right = part(self)?.into();
            left = joint(left.into(), right);
        }
        self.depth = depth;
        Ok(left)
    }

    fn or(&mut self) -> Parsed {
        self.chain(Self::and, |parser| parser.skip_name("or").then_some(Expression::Or as Joint))
    }

    fn and(&mut self) -> Parsed {
        self.chain(Self::not, |parser| parser.skip_name("and").then_some(Expression::And as Joint))
    }

    fn not(&mut self) -> Parsed {
        match self.skip_name("not") {
            true => Ok(Expression::Not(self.nested(Self::not)?.into())),
            false => self.comparison(),
        }
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let operator = match self.peek() {
                Some(Token::Operator("==")) => Comparison::Equal,
                Some(Token::Operator("!=")) => Comparison::NotEqual,
                Some(Token::Operator("<")) => Comparison::Less,
                Some(Token::Operator("<=")) => Comparison::LessEqual,
                Some(Token::Operator(">")) => Comparison::Greater,
                Some(Token::Operator(">=")) => Comparison::GreaterEqual,
                Some(Token::Name(name)) if name == "in" => Comparison::In,
                Some(Token::Name(name)) if name == "not" => match self.peek_second() {
                    Some(Token::Name(second)) if second == "in" => {
                        self.next();
                        Comparison::NotIn
                    }
                    _ => break,
                },
                _ => break,
            };
            self.next();
            rest.push((operator, self.sum()?));
        }
        Ok(match rest.is_empty() {
            true => left,
            false => Expression::Comparison(left.into(), rest),
        })
    }

    fn sum(&mut self) -> Parsed {
        self.chain(Self::concatenation, |parser| {
            parser.joint(&[
                ("+", |a, b| Expression::Binary(Operator::Add, a, b)),
                ("-", |a, b| Expression::Binary(Operator::Subtract, a, b)),
            ])
        })
    }

    fn concatenation(&mut self) -> Parsed {
        let mut parts = vec![self.product()?];
        while self.skip_operator("~") {
            parts.push(self.product()?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::Concatenation(parts),
        })
    }

    fn product(&mut self) -> Parsed {
        self.chain(Self::power, |parser| {
            parser.joint(&[
                ("*", |a, b| Expression::Binary(Operator::Multiply, a, b)),
                ("/", |a, b| Expression::Binary(Operator::Divide, a, b)),
                ("//", |a, b| Expression::Binary(Operator::FloorDivide, a, b)),
                ("%", |a, b| Expression::Binary(Operator::Remainder, a, b)),
            ])
        })
    }

    fn power(&mut self) -> Parsed {
        self.chain(
            |parser| parser.unary(true),
            |parser| parser.joint(&[("**", |a, b| Expression::Binary(Operator::Power, a, b))]),
        )
    }

    fn joint(&mut self, joints: &[(&str, Joint)]) -> Option<Joint> {
        let &(_, joint) = joints.iter().find(|(operator, _)| self.is_operator(operator))?;
        self.next();
        Some(joint)
    }

    fn unary(&mut self, with_filter: bool) -> Parsed {
        let depth = self.depth;
        self.deeper(1)?;
        let mut value = if self.skip_operator("-") {
            Expression::Negative(self.unary(false)?.into())
        } else if self.skip_operator("+") {
            Expression::Positive(self.unary(false)?.into())
        } else {
            self.primary()?
        };
        value = self.postfix(value)?;
        if with_filter {
            value = self.filters_and_tests(value)?;
        }
        self.depth = depth;
        Ok(value)
    }

    pub(super) fn primary(&mut self) -> Parsed {
        let constant = |value| Ok(Expression::Constant(value));
        match self.peek() {
            Some(Token::Name(_)) => {
                let name = self.expect_name()?;
                match &*name {
                    "true" | "True" => constant(Constant::Bool(true)),
                    "false" | "False" => constant(Constant::Bool(false)),
                    "none" | "None" => constant(Constant::None),
                    _ => {
                        self.note(&name);
                        Ok(Expression::Name(name))
                    }
                }
            }
            Some(Token::Text(_)) => {
                let mut text = String::new();
                while let Some(Token::Text(part)) = self.peek() {
                    text.push_str(part);
                    self.next();
                }
                constant(Constant::Text(Text::constant(text)))
            }
            Some(&Token::Integer(value)) => {
                self.next();
                constant(Constant::Integer(value))
            }
            Some(&Token::Float(value)) => {
                self.next();
                constant(Constant::Float(value))
            }
            Some(Token::Operator("(")) => {
                self.next();
                let value = self.nested(|parser| parser.tuple(true, true))?;
                self.expect_operator(")")?;
                Ok(value)
            }
            Some(Token::Operator("[")) => {
                self.next();
                Ok(Expression::List(self.items("]")?))
            }
            Some(Token::Operator("{")) => {
                self.next();
                self.dictionary()
            }
            _ => self.fail(format!("expected an expression, got {}", self.seen())),
        }
    }

    /// Remembers that a macro's body names an implicit argument.
    fn note(&mut self, name: &str) {
        if let Some(implicit) = self.macros.last_mut() {
            implicit.varargs |= name == "varargs";
            implicit.kwargs |= name == "kwargs";
            implicit.caller |= name == "caller";
        }
    }

    /// One expression, or several with commas between, which are a tuple.
    pub(super) fn tuple(&mut self, with_condition: bool, empty: bool) -> Parsed {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if !items.is_empty() && !is_tuple {
                break;
            }
            let ends = matches!(
                self.peek(),
                None | Some(Token::BlockEnd | Token::VariableEnd | Token::Operator(")"))
            );
            if ends {
                break;
            }
            let item = self.nested(|parser| parser.conditional(with_condition))?;
            items.push(item);
            is_tuple = self.skip_operator(",");
            if !is_tuple {
                break;
            }
        }
        if items.len() == 1 && !is_tuple {
            return Ok(items.remove(0));
        }
        if items.is_empty() && !empty {
            return self.fail(format!("expected an expression, got {}", self.seen()));
        }
        Ok(Expression::Tuple(items))
    }

    fn items(&mut self, end: &str) -> Result<Vec<Expression>, SyntaxError> {
        let mut items = Vec::new();
        while !self.skip_operator(end) {
            if !items.is_empty() {
                self.expect_operator(",")?;
                if self.skip_operator(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn dictionary(&mut self) -> Parsed {
        let mut entries = Vec::new();
        while !self.skip_operator("}") {
            if !entries.is_empty() {
                self.expect_operator(",")?;
                if self.skip_operator("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_operator(":")?;
            entries.push((key, self.expression()?));
        }
        Ok(Expression::Dictionary(entries))
    }
}

type Joint = fn(Box<Expression>, Box<Expression>) -> Expression;
