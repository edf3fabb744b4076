//! `{% for %}`, and the `loop` that its body sees.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{Flow, Frame, Run};
use crate::jinja::{
    Failure, Outcome,
    arguments::Arguments,
    compare,
    meter::Charge,
    syntax::For,
    value::{Value, depth_of},
};

/// The state of a loop.
#[derive(Debug)]
pub(in crate::jinja) struct Loop {
    items: Vec<Value>,
    place: Cell<usize>,
    /// Loops around it that are the same by recursion.
    level: usize,
    changed: RefCell<Option<Value>>,
    /// For `recursive` loops: the loop, and the scope around it.
    again: Option<(Arc<For>, Rc<Frame>)>,
    depth: usize,
    _charge: Charge,
}

impl Loop {
    pub(crate) fn length(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<Value> {
        let (place, length) = (self.place.get(), self.items.len());
        let number = |value: usize| Some(Value::Integer(value as i128));
        let item = |place: Option<usize>, what: &str| {
            let item = place.and_then(|place| self.items.get(place)).cloned();
            Some(item.unwrap_or_else(|| Value::undefined(format!("there is no {what} item"))))
        };
        match name {
            "index" => number(place + 1),
            "index0" => number(place),
            "revindex" => number(length - place),
            "revindex0" => number(length - place - 1),
            "first" => Some(Value::Bool(place == 0)),
            "last" => Some(Value::Bool(place + 1 == length)),
            "length" => number(length),
            "depth" => number(self.level + 1),
            "depth0" => number(self.level),
            "previtem" => item(place.checked_sub(1), "previous"),
            "nextitem" => item(place.checked_add(1), "next"),
            _ => None,
        }
    }
}

impl Run<'_> {
    pub(super) fn for_loop(&mut self, definition: &Arc<For>) -> Outcome<Flow> {
        let over = self.value(&definition.over)?;
        self.iterate(definition, &over, 0)
    }

    fn iterate(&mut self, definition: &Arc<For>, over: &Value, level: usize) -> Outcome<Flow> {
        let mut items = over.iterate(&self.meter)?;
        if let Some(condition) = &definition.condition {
            let mut kept = Vec::new();
            for item in items {
                let frame = self.inner_frame()?;
                let keep = self.in_frame(frame, |run| {
                    run.assign(&definition.target, item.clone())?;
                    Ok(run.value(condition)?.is_true())
                })?;
                if keep {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            let frame = self.inner_frame()?;
            return self.in_frame(frame, |run| run.body(&definition.otherwise));
        }
        let state = Rc::new(Loop {
            depth: 1 + depth_of(items.iter())?,
            _charge: self.meter.hold(128 + items.capacity() * size_of::<Value>())?,
            items,
            place: Cell::new(0),
            level,
            changed: RefCell::new(None),
            again: definition.recursive.then(|| (Arc::clone(definition), Rc::clone(&self.frame))),
        });
        for (place, item) in state.items.iter().enumerate() {
            state.place.set(place);
            let frame = self.inner_frame()?;
            let flow = self.in_frame(frame, |run| {
                run.frame.set(&"loop".into(), Value::Loop(Rc::clone(&state)))?;
                run.assign(&definition.target, item.clone())?;
                run.body(&definition.body)
            })?;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// `loop(items)`: the body of a recursive loop for other items, as a string.
    pub(super) fn loop_again(&mut self, state: &Loop, arguments: Arguments) -> Outcome<Value> {
        let [items] = arguments.bind("loop", ["iterable"])?;
        let Some((definition, frame)) = &state.again else {
            return Err(Failure::type_error("the loop must have the 'recursive' marker"));
        };
        let items = items.unwrap_or(Value::None);
        let text = self.captured(|run| {
            run.in_frame(Rc::clone(frame), |run| {
                run.nested(|run| run.iterate(definition, &items, state.level + 1))
            })
        })?;
        Ok(Value::Text(text))
    }

    /// `loop.cycle(..)` and `loop.changed(..)`.
    pub(super) fn loop_method(
        &mut self,
        state: &Loop,
        name: &str,
        arguments: Arguments,
    ) -> Outcome<Value> {
        let values = arguments.positional;
        if name == "cycle" {
            if values.is_empty() {
                return Err(Failure::type_error("no items for cycling given"));
            }
            return Ok(values[state.place.get() % values.len()].clone());
        }
        let now = Value::tuple(values, &self.meter)?;
        let same = match &*state.changed.borrow() {
            Some(before) => compare::equal(before, &now, &self.meter)?,
            None => false,
        };
        if !same {
            state.changed.replace(Some(now));
        }
        Ok(Value::Bool(!same))
    }
}
