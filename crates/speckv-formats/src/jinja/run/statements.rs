//! Statements.

use std::{rc::Rc, sync::Arc};

use super::{Flow, MacroValue, Run};
use crate::jinja::{
    Failure, Outcome, print,
    syntax::{Body, Expression, Kind, Named, Statement, Target},
    value::Value,
};

impl Run<'_> {
    pub(super) fn body(&mut self, body: &Body) -> Outcome<Flow> {
        for statement in body {
            let flow = self.nested(|run| run.statement(statement))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn scope(&mut self, body: &Body) -> Outcome<Flow> {
        let frame = self.inner_frame()?;
        self.in_frame(frame, |run| run.body(body))
    }

    fn statement(&mut self, statement: &Statement) -> Outcome<Flow> {
        self.line = statement.line;
        match &statement.kind {
            Kind::Text(text) => self.output()?.push_text(text)?,
            Kind::Output(expression) => {
                let value = self.value(expression)?;
                print::write(&value, self.output()?)?;
                // A text that became too long is refused at once.
                self.output()?;
            }
            Kind::For(definition) => return self.for_loop(definition),
            Kind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.value(condition)?.is_true() {
                        return self.body(body);
                    }
                }
                return self.body(otherwise);
            }
            Kind::Set(target, value) => {
                let value = self.value(value)?;
                self.assign(target, value)?;
            }
            Kind::SetBlock(target, filters, body) => {
                let text = self.captured(|run| run.scope(body))?;
                let value = self.filtered(Value::Text(text), filters)?;
                self.assign(target, value)?;
            }
            Kind::Macro(definition) => {
                let value = self.macro_value(definition);
                self.frame.set(&definition.name, value)?;
            }
            Kind::Call(call, caller) => {
                let caller = self.macro_value(caller);
                let Expression::Call(callee, given, line) = call else {
                    return Err(Failure::type_error("expected a call"));
                };
                let callee = self.value(callee)?;
                let mut arguments = self.arguments(given)?;
                arguments.named.push(("caller".into(), caller));
                self.line = *line;
                let value = self.call(&callee, arguments)?;
                print::write(&value, self.output()?)?;
            }
            Kind::Filter(filters, body) => {
                let text = self.captured(|run| run.scope(body))?;
                let value = self.filtered(Value::Text(text), filters)?;
                print::write(&value, self.output()?)?;
            }
            Kind::With(values, body) => {
                let outer = Rc::clone(&self.frame);
                let frame = self.inner_frame()?;
                return self.in_frame(frame, |run| {
                    for (target, value) in values {
                        // Values do not see each other's names.
                        let value = run.in_frame(Rc::clone(&outer), |run| run.value(value))?;
                        run.assign(target, value)?;
                    }
                    run.body(body)
                });
            }
            Kind::Scope(body) => return self.scope(body),
            Kind::Break => return Ok(Flow::Break),
            Kind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn filtered(&mut self, mut value: Value, filters: &[Named]) -> Outcome<Value> {
        for filter in filters {
            value = self.filter_named(value, filter)?;
        }
        Ok(value)
    }

    /// A macro that keeps the variables around it.
    fn macro_value(&mut self, definition: &Arc<crate::jinja::syntax::Macro>) -> Value {
        self.frames.push(Rc::clone(&self.frame));
        Value::Macro(Rc::new(MacroValue::new(definition, &self.frame)))
    }

    pub(super) fn assign(&mut self, target: &Target, value: Value) -> Outcome<()> {
        match target {
            Target::Name(name) => self.frame.set(name, value),
            Target::Attribute(name, attribute) => {
                let Some(Value::Namespace(namespace)) = self.frame.get(name, &self.meter)? else {
                    return Err(Failure::type_error(format!(
                        "cannot assign attribute on non-namespace object '{name}'"
                    )));
                };
                let mut attributes = namespace.attributes.borrow_mut();
                self.meter.elements(attributes.len() / 8)?;
                match attributes.iter_mut().find(|(known, _)| known == attribute) {
                    Some((_, slot)) => *slot = value,
                    None => attributes.push((Arc::clone(attribute), value)),
                }
                Ok(())
            }
            Target::Tuple(targets) => {
                let items = value.iterate(&self.meter)?;
                if items.len() != targets.len() {
                    return Err(Failure::value_error(format!(
                        "{} values to unpack (expected {}, got {})",
                        if items.len() > targets.len() { "too many" } else { "not enough" },
                        targets.len(),
                        items.len()
                    )));
                }
                targets.iter().zip(items).try_for_each(|(target, item)| self.assign(target, item))
            }
        }
    }
}
