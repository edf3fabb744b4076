//! Methods of strings that look for other strings.

use std::sync::Arc;

use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    meter::Meter,
    text::Text,
    value::Value,
};

pub(super) fn call(
    text: &Text,
    name: &str,
    arguments: Arguments,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    if let "removeprefix" | "removesuffix" = name {
        let [part] = arguments.bind(name, ["part"])?;
        let part = part.text("part")?;
        let whole = text.as_str();
        let rest = match name {
            "removeprefix" => whole.strip_prefix(part.as_str()),
            _ => whole.strip_suffix(part.as_str()),
        };
        return Ok(Value::Text(text.part(rest.unwrap_or(whole), meter)?));
    }
    let [wanted, start, end] = arguments.bind(name, ["sub", "start", "end"])?;
    let (start, end) = (start.optional_integer("start")?, end.optional_integer("end")?);
    let length = text.chars(meter)? as i128;
    let place = |bound: Option<i128>, otherwise: i128| match bound {
        None => otherwise,
        Some(bound) if bound < 0 => (bound.saturating_add(length)).max(0),
        Some(bound) => bound.min(length + 1),
    };
    let (start, end) = (place(start, 0), place(end, length).min(length));
    let wanted = wanted.required("sub")?;
    // A start behind the end finds nothing, not even the empty string.
    let part = (start <= end).then(|| bytes(text.as_str(), start as usize, end as usize));
    match name {
        "startswith" | "endswith" => {
            let holds = |wanted: &Value| match wanted {
                Value::Text(wanted) => Ok(part.is_some_and(|part| match name {
                    "startswith" => part.starts_with(wanted.as_str()),
                    _ => part.ends_with(wanted.as_str()),
                })),
                Value::Undefined(message) => Err(Failure::Other(message.to_string())),
                other => Err(Failure::type_error(format!(
                    "{name} first arg must be str or a tuple of str, not {}",
                    other.type_name()
                ))),
            };
            if let Value::Tuple(several) = &wanted {
                for one in several.items() {
                    meter.steps(1)?;
                    if holds(one)? {
                        return Ok(Value::Bool(true));
                    }
                }
                return Ok(Value::Bool(false));
            }
            holds(&wanted).map(Value::Bool)
        }
        "count" => {
            let wanted = Some(wanted).text("sub")?;
            let Some(part) = part else { return Ok(Value::Integer(0)) };
            meter.work(part.len())?;
            Ok(Value::Integer(match wanted.as_str() {
                "" => part.chars().count() as i128 + 1,
                wanted => part.matches(wanted).count() as i128,
            }))
        }
        _ => {
            let wanted = Some(wanted).text("sub")?;
            let found = part.and_then(|part| {
                let at = match name.strip_prefix('r') {
                    Some(_) => part.rfind(wanted.as_str()),
                    None => part.find(wanted.as_str()),
                };
                at.map(|at| part[..at].chars().count() as i128 + start)
            });
            match (found, name) {
                (Some(found), _) => Ok(Value::Integer(found)),
                (None, "find" | "rfind") => Ok(Value::Integer(-1)),
                _ => Err(Failure::value_error("substring not found")),
            }
        }
    }
}

/// The characters from number `start` to `end`.
fn bytes(text: &str, start: usize, end: usize) -> &str {
    let at = |place: usize| text.char_indices().nth(place).map_or(text.len(), |(at, _)| at);
    let from = at(start);
    &text[from..at(end).max(from)]
}
