//! Attributes, items and methods of values.

mod containers;
mod searching;
mod splitting;
mod strings;

use std::{rc::Rc, sync::Arc};

pub(super) use self::{
    splitting::{lines, replaced, stripped},
    strings::{cased, padded},
};
use super::{
    Failure, Outcome, arguments::Arguments, meter::Meter, operators, run::Run, value::Value,
};

/// Methods of each type.
fn methods(value: &Value) -> &'static [&'static str] {
    match value {
        Value::Text(_) => strings::METHODS,
        Value::Dictionary(_) => containers::DICTIONARY,
        Value::List(_) => containers::LIST,
        Value::Tuple(_) | Value::Range(_) => &["count", "index"],
        Value::Float(_) => &["is_integer"],
        Value::Loop(_) => &["cycle", "changed"],
        Value::Cycler(_) => &["next", "reset"],
        _ => &[],
    }
}

/// `value.name`: a method or attribute, else the item of that name.
pub(super) fn attribute(value: &Value, name: &Arc<str>) -> Outcome<Value> {
    match own_attribute(value, name)? {
        Some(found) => Ok(found),
        None => Ok(match value {
            Value::Dictionary(entries) => entries.get_str(name).cloned(),
            _ => None,
        }
        .unwrap_or_else(|| missing(value, name))),
    }
}

fn own_attribute(value: &Value, name: &Arc<str>) -> Outcome<Option<Value>> {
    if let Value::Undefined(message) = value {
        return Err(Failure::Other(message.to_string()));
    }
    if methods(value).contains(&&**name) {
        return Ok(Some(Value::Method(Rc::new((value.clone(), Arc::clone(name))))));
    }
    Ok(match value {
        Value::Namespace(namespace) => {
            let attributes = namespace.attributes.borrow();
            attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        }
        Value::Loop(state) => state.attribute(name),
        Value::Cycler(cycler) if &**name == "current" => {
            cycler.items.items().get(cycler.place.get()).cloned()
        }
        Value::Macro(called) if &**name == "name" => {
            Some(Value::Text(super::text::Text::constant(called.name())))
        }
        _ => None,
    })
}

/// `value[index]`: the item, else, if it is a string, the attribute of that name.
pub(super) fn item(value: &Value, index: &Value, meter: &Arc<Meter>) -> Outcome<Value> {
    if let Value::Undefined(message) = value {
        return Err(Failure::Other(message.to_string()));
    }
    let found = match (value, index.as_integer()) {
        // A key that cannot be one is a key that is not there.
        (Value::Dictionary(entries), _) => entries.get(index).ok().flatten().cloned(),
        (_, Some(place)) => operators::item(value, place, meter)?,
        _ => None,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    if let Value::Text(name) = index {
        meter.work(name.as_str().len())?;
        let name: Arc<str> = name.as_str().into();
        return Ok(own_attribute(value, &name)?.unwrap_or_else(|| missing(value, &name)));
    }
    let index = super::print::text(index, meter)?;
    Ok(missing(value, index.as_str()))
}

/// `attribute` of filters: a place, or names and places with dots between, of which each is an item
/// or else an attribute.
pub(super) fn path(value: &Value, attribute: &Value, meter: &Arc<Meter>) -> Outcome<Value> {
    let Value::Text(names) = attribute else { return item(value, attribute, meter) };
    let mut value = value.clone();
    for name in names.as_str().split('.') {
        meter.steps(1)?;
        let key = match name.parse() {
            Ok(place) if name.bytes().all(|byte| byte.is_ascii_digit()) => Value::Integer(place),
            _ => Value::text(name, meter)?,
        };
        value = item(&value, &key, meter)?;
    }
    Ok(value)
}

fn missing(value: &Value, name: &str) -> Value {
    let name: String = name.chars().take(80).collect();
    let of = match value {
        Value::None => "'None'".to_owned(),
        other => format!("'{} object'", other.type_name()),
    };
    Value::undefined(format!("{of} has no attribute '{name}'"))
}

/// Calls a method.
pub(super) fn call(
    run: &mut Run<'_>,
    object: &Value,
    name: &str,
    arguments: Arguments,
) -> Outcome<Value> {
    let meter = Arc::clone(&run.meter);
    match object {
        Value::Text(text) => strings::call(text, name, arguments, &meter),
        Value::Dictionary(entries) => containers::dictionary(entries, name, arguments, &meter),
        Value::Cycler(cycler) => {
            let now = cycler.place.get();
            let next = if name == "reset" { 0 } else { (now + 1) % cycler.items.items().len() };
            cycler.place.set(next);
            match name {
                "reset" => Ok(Value::None),
                _ => Ok(cycler.items.items()[now].clone()),
            }
        }
        Value::Float(number) => Ok(Value::Bool(number.fract() == 0.0)),
        other => containers::sequence(other, name, arguments, &meter),
    }
}
