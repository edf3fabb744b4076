//! Filters of sequences.

use super::grouping;
use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    methods, operators, print,
    run::Run,
    text::Builder,
    value::{Value, View},
};

pub(super) fn apply(
    run: &mut Run<'_>,
    name: &str,
    value: Value,
    arguments: Arguments,
) -> Outcome<Value> {
    let meter = run.meter.clone();
    match name {
        "sort" => return grouping::sort(&value, arguments, &meter),
        "dictsort" => return grouping::dictsort(&value, arguments, &meter),
        "unique" => return grouping::unique(&value, arguments, &meter),
        "groupby" => return grouping::groupby(&value, arguments, &meter),
        "min" | "max" => return grouping::extreme(name, &value, arguments, &meter),
        "join" => return join(run, &value, arguments),
        "batch" | "slice" => return parts(run, name, &value, arguments),
        _ => {}
    }
    let [] = arguments.bind(name, [])?;
    match name {
        "length" | "count" => match value.length(&meter)? {
            Some(length) => Ok(Value::Integer(length as i128)),
            None => Err(Failure::type_error(format!(
                "object of type '{}' has no len()",
                value.type_name()
            ))),
        },
        "list" => Value::list(value.iterate(&meter)?, &meter),
        "first" => {
            let found = match &value {
                Value::List(_) | Value::Tuple(_) | Value::Text(_) | Value::Range(_) => {
                    operators::item(&value, 0, &meter)?
                }
                other => other.iterate(&meter)?.into_iter().next(),
            };
            let none = || Value::undefined("No first item, sequence was empty.");
            Ok(found.unwrap_or_else(none))
        }
        "last" => {
            let found = match &value {
                Value::List(_) | Value::Tuple(_) | Value::Text(_) | Value::Range(_) => {
                    operators::item(&value, -1, &meter)?
                }
                Value::Dictionary(_) | Value::View(..) | Value::Undefined(_) => {
                    value.iterate(&meter)?.into_iter().next_back()
                }
                other => {
                    return Err(Failure::type_error(format!(
                        "'{}' object is not reversible",
                        other.type_name()
                    )));
                }
            };
            let none = || Value::undefined("No last item, sequence was empty.");
            Ok(found.unwrap_or_else(none))
        }
        "reverse" => {
            if let Value::Text(_) = &value {
                let reversed = operators::slice(&value, [None, None, Some(-1)], &meter)?;
                return Ok(reversed.unwrap_or(value));
            }
            let mut items = value.iterate(&meter)?;
            items.reverse();
            match value {
                // Python's `reversed` gives an iterator.
                Value::Generator(_) => Value::list(items, &meter),
                _ => Value::generator(items, &meter),
            }
        }
        _ => match &value {
            Value::Undefined(_) => Value::generator(Vec::new(), &meter),
            Value::Dictionary(entries) => {
                let items = Value::View(entries.clone(), View::Items).iterate(&meter)?;
                Value::generator(items, &meter)
            }
            _ => Err(Failure::type_error("Can only get item pairs from a mapping.")),
        },
    }
}

fn join(run: &mut Run<'_>, value: &Value, arguments: Arguments) -> Outcome<Value> {
    let meter = run.meter.clone();
    let [separator, attribute] = arguments.bind("join", ["d", "attribute"])?;
    let separator = match &separator {
        Some(separator) => Some(print::text(separator, &meter)?),
        None => None,
    };
    let mut built = Builder::new(&meter)?;
    for (place, item) in value.iterate(&meter)?.iter().enumerate() {
        if let Some(separator) = separator.as_ref().filter(|_| place > 0) {
            built.push_text(separator)?;
        }
        match &attribute {
            None | Some(Value::None) => print::write(item, &mut built)?,
            Some(attribute) => {
                print::write(&methods::path(item, attribute, &meter)?, &mut built)?;
            }
        }
    }
    Ok(Value::Text(built.finish()))
}

/// `batch(n)`: lists of `n` items; `slice(n)`: `n` lists.
fn parts(run: &Run<'_>, name: &str, value: &Value, arguments: Arguments) -> Outcome<Value> {
    let meter = &run.meter;
    let [count, fill] = arguments.bind(name, ["count", "fill_with"])?;
    let count = Some(count.required("count")?).integer("count", 0)?;
    let count = usize::try_from(count).ok().filter(|&count| count > 0);
    let count = count.ok_or_else(|| Failure::value_error("expected a count of at least 1"))?;
    meter.elements(count)?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    let items = value.iterate(meter)?;
    let mut lists = Vec::new();
    if name == "batch" {
        for chunk in items.chunks(count) {
            let mut chunk = chunk.to_vec();
            if let Some(fill) = &fill {
                let _charge = meter.hold((count - chunk.len()) * size_of::<Value>())?;
                chunk.resize(count, fill.clone());
            }
            lists.push(Value::list(chunk, meter)?);
        }
        return Value::generator(lists, meter);
    }
    let (each, more) = (items.len() / count, items.len() % count);
    let mut from = 0;
    for place in 0..count {
        let to = from + each + usize::from(place < more);
        let mut part = items[from..to].to_vec();
        if let Some(fill) = fill.as_ref().filter(|_| place >= more) {
            part.push(fill.clone());
        }
        lists.push(Value::list(part, meter)?);
        from = to;
    }
    Value::generator(lists, meter)
}
