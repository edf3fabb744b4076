//! Expressions.

use std::{cmp::Ordering, rc::Rc};

use super::Run;
use crate::jinja::{
    Failure, Outcome, compare,
    dictionary::Dictionary,
    functions, methods, operators, print,
    syntax::{Comparison, Constant, Expression},
    text::Builder,
    value::Value,
};

impl Run<'_> {
    pub(super) fn value(&mut self, expression: &Expression) -> Outcome<Value> {
        self.nested(|run| run.evaluate(expression))
    }

    fn values(&mut self, expressions: &[Expression]) -> Outcome<Vec<Value>> {
        expressions.iter().map(|expression| self.value(expression)).collect()
    }

    fn evaluate(&mut self, expression: &Expression) -> Outcome<Value> {
        match expression {
            Expression::Constant(constant) => Ok(match constant {
                Constant::None => Value::None,
                Constant::Bool(value) => Value::Bool(*value),
                Constant::Integer(value) => Value::Integer(*value),
                Constant::Float(value) => Value::Float(*value),
                Constant::Text(text) => Value::Text(text.clone()),
            }),
            Expression::Name(name) => self.name(name),
            Expression::List(items) => Value::list(self.values(items)?, &self.meter),
            Expression::Tuple(items) => Value::tuple(self.values(items)?, &self.meter),
            Expression::Dictionary(entries) => {
                let mut dictionary = Dictionary::new(&self.meter)?;
                for (key, value) in entries {
                    let key = self.value(key)?;
                    dictionary.insert(key, self.value(value)?)?;
                }
                Ok(Value::Dictionary(Rc::new(dictionary)))
            }
            Expression::Attribute(object, name) => {
                let object = self.value(object)?;
                methods::attribute(&object, name)
            }
            Expression::Item(object, index) => {
                let object = self.value(object)?;
                let index = self.value(index)?;
                methods::item(&object, &index, &self.meter)
            }
            Expression::Slice(object, bounds) => self.slice(object, bounds),
            Expression::Call(callee, given, line) => {
                let callee = self.value(callee)?;
                let arguments = self.arguments(given)?;
                self.line = *line;
                self.call(&callee, arguments)
            }
            Expression::Filter(value, filter) => {
                let value = self.value(value)?;
                self.filter_named(value, filter)
            }
            Expression::Test(value, test, negated) => {
                let value = self.value(value)?;
                let arguments = self.arguments(&test.arguments)?;
                self.line = test.line;
                Ok(Value::Bool(self.test(&test.name, &value, arguments)? != *negated))
            }
            Expression::Not(value) => Ok(Value::Bool(!self.value(value)?.is_true())),
            Expression::Negative(value) => operators::negative(&self.value(value)?),
            Expression::Positive(value) => {
                let value = self.value(value)?;
                match value.as_integer() {
                    Some(integer) => Ok(Value::Integer(integer)),
                    None if matches!(value, Value::Float(_)) => Ok(value),
                    None => operators::negative(&value),
                }
            }
            Expression::Binary(operator, a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                operators::binary(*operator, &a, &b, &self.meter)
            }
            Expression::Concatenation(parts) => {
                let mut built = Builder::new(&self.meter)?;
                for part in parts {
                    let value = self.value(part)?;
                    print::write(&value, &mut built)?;
                }
                Ok(Value::Text(built.finish()))
            }
            Expression::Comparison(first, rest) => self.comparison(first, rest),
            Expression::And(a, b) => {
                let a = self.value(a)?;
                if a.is_true() { self.value(b) } else { Ok(a) }
            }
            Expression::Or(a, b) => {
                let a = self.value(a)?;
                if a.is_true() { Ok(a) } else { self.value(b) }
            }
            Expression::Conditional(value, condition, otherwise) => {
                if self.value(condition)?.is_true() {
                    return self.value(value);
                }
                match otherwise {
                    Some(otherwise) => self.value(otherwise),
                    None => Ok(Value::undefined(
                        "the condition of an inline if is false and there is no else",
                    )),
                }
            }
        }
    }

    fn name(&mut self, name: &std::sync::Arc<str>) -> Outcome<Value> {
        if let Some(value) = self.frame.get(name, &self.meter)? {
            return Ok(value);
        }
        match functions::named(name) {
            Some(function) => Ok(Value::Function(function)),
            None => Ok(Value::undefined(format!("'{name}' is undefined"))),
        }
    }

    fn slice(&mut self, object: &Expression, bounds: &[Option<Expression>; 3]) -> Outcome<Value> {
        let object = self.value(object)?;
        let mut numbers = [None; 3];
        for (number, bound) in numbers.iter_mut().zip(bounds) {
            let Some(bound) = bound else { continue };
            let value = self.value(bound)?;
            if matches!(value, Value::None) {
                continue;
            }
            let Some(integer) = value.as_integer() else {
                // Jinja takes a slice that fails for one that is not there.
                return Ok(Value::undefined("slice indices must be integers or None"));
            };
            *number = Some(integer);
        }
        if let Value::Undefined(message) = &object {
            return Err(Failure::Other(message.to_string()));
        }
        let sliced = operators::slice(&object, numbers, &self.meter)?;
        Ok(sliced.unwrap_or_else(|| {
            Value::undefined(format!("'{}' object is not subscriptable", object.type_name()))
        }))
    }

    fn comparison(
        &mut self,
        first: &Expression,
        rest: &[(Comparison, Expression)],
    ) -> Outcome<Value> {
        let mut left = self.value(first)?;
        for (operator, right) in rest {
            let right = self.value(right)?;
            if !self.compare(*operator, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn compare(&self, operator: Comparison, a: &Value, b: &Value) -> Outcome<bool> {
        let meter = &self.meter;
        let order = |symbol: &str| compare::order(a, b, symbol, meter);
        Ok(match operator {
            Comparison::Equal => compare::equal(a, b, meter)?,
            Comparison::NotEqual => !compare::equal(a, b, meter)?,
            Comparison::Less => order("<")? == Some(Ordering::Less),
            Comparison::LessEqual => order("<=")?.is_some_and(Ordering::is_le),
            Comparison::Greater => order(">")? == Some(Ordering::Greater),
            Comparison::GreaterEqual => order(">=")?.is_some_and(Ordering::is_ge),
            Comparison::In => compare::contains(b, a, meter)?,
            Comparison::NotIn => !compare::contains(b, a, meter)?,
        })
    }
}
