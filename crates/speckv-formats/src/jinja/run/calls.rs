//! Calls: arguments, macros, methods, functions, filters and tests.

use std::{rc::Rc, sync::Arc};

use super::{Frame, Run};
use crate::jinja::{
    Failure, Outcome,
    arguments::Arguments,
    dictionary::Dictionary,
    filters, functions, methods, predicates,
    syntax::{Given, Macro, Named},
    value::Value,
};

/// A macro with the variables of the scope in which it stands.
#[derive(Debug)]
pub(in crate::jinja) struct MacroValue {
    definition: Arc<Macro>,
    frame: Rc<Frame>,
}

impl MacroValue {
    pub(crate) fn new(definition: &Arc<Macro>, frame: &Rc<Frame>) -> Self {
        Self { definition: Arc::clone(definition), frame: Rc::clone(frame) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.definition.name
    }
}

impl Run<'_> {
    pub(super) fn arguments(&mut self, given: &Given) -> Outcome<Arguments> {
        let mut arguments = Arguments::default();
        for expression in &given.positional {
            let value = self.value(expression)?;
            arguments.positional.push(value);
        }
        if let Some(list) = &given.list {
            arguments.positional.extend(self.value(list)?.iterate(&self.meter)?);
        }
        for (name, expression) in &given.named {
            let value = self.value(expression)?;
            arguments.named.push((Arc::clone(name), value));
        }
        if let Some(dictionary) = &given.dictionary {
            let Value::Dictionary(entries) = self.value(dictionary)? else {
                return Err(Failure::type_error("argument after ** must be a mapping"));
            };
            for (key, value) in entries.entries() {
                let Value::Text(name) = key else {
                    return Err(Failure::type_error("keywords must be strings"));
                };
                self.meter.work(name.as_str().len())?;
                arguments.named.push((name.as_str().into(), value.clone()));
            }
        }
        self.meter.elements(arguments.positional.len() + arguments.named.len())?;
        Ok(arguments)
    }

    pub(in crate::jinja) fn call(
        &mut self,
        callee: &Value,
        arguments: Arguments,
    ) -> Outcome<Value> {
        self.nested(|run| match callee {
            Value::Macro(called) => run.call_macro(called, arguments),
            Value::Function(name) => functions::call(run, name, arguments),
            Value::Loop(state) => run.loop_again(state, arguments),
            Value::Joiner(joiner) => {
                let (separator, used) = &**joiner;
                let first = !used.replace(true);
                Ok(if first {
                    Value::text("", &run.meter)?
                } else {
                    Value::Text(separator.clone())
                })
            }
            Value::Method(method) => match &**method {
                (Value::Loop(state), name) => run.loop_method(state, name, arguments),
                (object, name) => methods::call(run, object, name, arguments),
            },
            Value::Undefined(message) => Err(Failure::Other(message.to_string())),
            other => {
                Err(Failure::type_error(format!("'{}' object is not callable", other.type_name())))
            }
        })
    }

    fn call_macro(&mut self, called: &MacroValue, arguments: Arguments) -> Outcome<Value> {
        let Macro { name, parameters, body, varargs, kwargs, caller } = &*called.definition;
        let Arguments { positional, mut named } = arguments;
        let frame = Frame::new(Some(Rc::clone(&called.frame)), &self.meter)?;
        self.meter.elements(parameters.len().saturating_mul(1 + named.len() / 8))?;
        let mut positional = positional.into_iter();
        let mut missing = Vec::new();
        for (parameter, default) in parameters {
            let value = match positional.next() {
                Some(value) => Some(value),
                None => named
                    .iter()
                    .position(|(known, _)| known == parameter)
                    .map(|place| named.remove(place).1),
            };
            match value {
                Some(value) => frame.set(parameter, value)?,
                None => missing.push((parameter, default)),
            }
        }
        if let Some(place) = named.iter().position(|(known, _)| &**known == "caller") {
            let (known, value) = named.remove(place);
            if !caller && !parameters.iter().any(|(parameter, _)| *parameter == known) {
                return Err(Failure::type_error(format!(
                    "macro '{name}' takes no keyword argument 'caller'"
                )));
            }
            frame.set(&known, value)?;
        } else if *caller && !parameters.iter().any(|(parameter, _)| &**parameter == "caller") {
            frame.set(&"caller".into(), Value::undefined("No caller defined"))?;
        }
        if *kwargs {
            let mut rest = Dictionary::new(&self.meter)?;
            for (key, value) in named.drain(..) {
                rest.insert(Value::text(&key, &self.meter)?, value)?;
            }
            frame.set(&"kwargs".into(), Value::Dictionary(Rc::new(rest)))?;
        } else if let Some((unknown, _)) = named.first() {
            return Err(Failure::type_error(format!(
                "macro '{name}' takes no keyword argument '{unknown}'"
            )));
        }
        if *varargs {
            frame.set(&"varargs".into(), Value::tuple(positional.collect(), &self.meter)?)?;
        } else if positional.next().is_some() {
            return Err(Failure::type_error(format!(
                "macro '{name}' takes not more than {} argument(s)",
                parameters.len()
            )));
        }
        let text = self.in_frame(frame, |run| {
            for (parameter, default) in missing {
                let value = match default {
                    Some(default) => run.value(default)?,
                    None => Value::undefined(format!("parameter '{parameter}' was not provided")),
                };
                run.frame.set(parameter, value)?;
            }
            run.captured(|run| run.body(body))
        })?;
        Ok(Value::Text(text))
    }

    pub(super) fn filter_named(&mut self, value: Value, filter: &Named) -> Outcome<Value> {
        let arguments = self.arguments(&filter.arguments)?;
        self.line = filter.line;
        self.filter(&filter.name, value, arguments)
    }

    pub(in crate::jinja) fn filter(
        &mut self,
        name: &str,
        value: Value,
        arguments: Arguments,
    ) -> Outcome<Value> {
        self.nested(|run| filters::apply(run, name, value, arguments))
    }

    pub(in crate::jinja) fn test(
        &mut self,
        name: &str,
        value: &Value,
        arguments: Arguments,
    ) -> Outcome<bool> {
        self.nested(|run| predicates::holds(run, name, value, arguments))
    }
}
