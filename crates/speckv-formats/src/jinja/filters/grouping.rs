//! Order: `sort`, `dictsort`, `unique`, `groupby`, `min`, `max`.

use std::{cmp::Ordering, sync::Arc};

use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    compare,
    dictionary::Key,
    meter::Meter,
    methods::{self, cased},
    value::Value,
};

/// What a value is compared by: one attribute or several, letters in lower case on demand.
struct By {
    attributes: Vec<Value>,
    lower: bool,
}

impl By {
    fn new(attribute: Option<Value>, lower: bool, meter: &Arc<Meter>) -> Outcome<Self> {
        let attributes = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Text(names)) if names.as_str().contains(',') => {
                let names = names.as_str().split(',').map(|name| Value::text(name, meter));
                names.collect::<Outcome<_>>()?
            }
            Some(other) => vec![other],
        };
        Ok(Self { attributes, lower })
    }

    fn key(&self, item: &Value, meter: &Arc<Meter>) -> Outcome<Value> {
        let lower = |value: Value| match value {
            Value::Text(text) if self.lower => cased(&text, "lower", meter).map(Value::Text),
            other => Ok(other),
        };
        match self.attributes.as_slice() {
            [] => lower(item.clone()),
            [one] => lower(methods::path(item, one, meter)?),
            several => {
                let keys = several.iter().map(|one| lower(methods::path(item, one, meter)?));
                Value::tuple(keys.collect::<Outcome<_>>()?, meter)
            }
        }
    }
}

/// Sorts stably; the first failed comparison is the result.
fn sorted(
    items: Vec<Value>,
    reverse: bool,
    meter: &Arc<Meter>,
    key: impl Fn(&Value) -> Outcome<Value>,
) -> Outcome<Vec<Value>> {
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        keyed.push((key(&item)?, item));
    }
    let mut failed = None;
    keyed.sort_by(|(a, _), (b, _)| {
        if failed.is_some() {
            return Ordering::Equal;
        }
        match compare::order(a, b, "<", meter) {
            Ok(order) if reverse => order.unwrap_or(Ordering::Equal).reverse(),
            Ok(order) => order.unwrap_or(Ordering::Equal),
            Err(failure) => {
                failed = Some(failure);
                Ordering::Equal
            }
        }
    });
    match failed {
        Some(failure) => Err(failure),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

pub(super) fn sort(value: &Value, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Value> {
    let [reverse, case, attribute] =
        arguments.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
    let by = By::new(attribute, !case.truth(false), meter)?;
    let items = value.iterate(meter)?;
    let items = sorted(items, reverse.truth(false), meter, |item| by.key(item, meter))?;
    Value::list(items, meter)
}

pub(super) fn dictsort(value: &Value, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Value> {
    let [case, by, reverse] = arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let by = by.optional_text("by")?;
    let place = match by.as_ref().map_or("key", |by| by.as_str()) {
        "key" => 0,
        "value" => 1,
        _ => {
            return Err(Failure::Other("you can only sort by either \"key\" or \"value\"".into()));
        }
    };
    let Value::Dictionary(entries) = value else {
        return Err(Failure::type_error(format!(
            "'{}' object has no items to sort",
            value.type_name()
        )));
    };
    let pairs = Value::View(entries.clone(), crate::jinja::value::View::Items).iterate(meter)?;
    let by = By::new(Some(Value::Integer(place)), !case.truth(false), meter)?;
    let pairs = sorted(pairs, reverse.truth(false), meter, |pair| by.key(pair, meter))?;
    Value::list(pairs, meter)
}

pub(super) fn unique(value: &Value, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Value> {
    let [case, attribute] = arguments.bind("unique", ["case_sensitive", "attribute"])?;
    let by = By::new(attribute, !case.truth(false), meter)?;
    let (mut seen, mut kept) = (std::collections::HashSet::new(), Vec::new());
    for item in value.iterate(meter)? {
        if seen.insert(Key::of(&by.key(&item, meter)?, meter)?) {
            kept.push(item);
        }
    }
    Value::generator(kept, meter)
}

pub(super) fn extreme(
    name: &str,
    value: &Value,
    arguments: Arguments,
    meter: &Arc<Meter>,
) -> Outcome<Value> {
    let [case, attribute] = arguments.bind(name, ["case_sensitive", "attribute"])?;
    let by = By::new(attribute, !case.truth(false), meter)?;
    let mut best: Option<(Value, Value)> = None;
    for item in value.iterate(meter)? {
        let key = by.key(&item, meter)?;
        let better = match &best {
            None => true,
            Some((best, _)) => {
                let (symbol, wanted) =
                    if name == "max" { (">", Ordering::Greater) } else { ("<", Ordering::Less) };
                compare::order(&key, best, symbol, meter)? == Some(wanted)
            }
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(
        || Value::undefined("No aggregated item, sequence was empty."),
        |(_, item)| item,
    ))
}

pub(super) fn groupby(value: &Value, arguments: Arguments, meter: &Arc<Meter>) -> Outcome<Value> {
    let [attribute, otherwise, case] =
        arguments.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let attribute = attribute.required("attribute")?;
    let lower = !case.truth(false);
    let name = |item: &Value| -> Outcome<Value> {
        let found = methods::path(item, &attribute, meter)?;
        Ok(match (&found, &otherwise) {
            (Value::Undefined(_), Some(otherwise)) => otherwise.clone(),
            _ => found,
        })
    };
    let key = |item: &Value| -> Outcome<Value> {
        match name(item)? {
            Value::Text(text) if lower => cased(&text, "lower", meter).map(Value::Text),
            other => Ok(other),
        }
    };
    let items = sorted(value.iterate(meter)?, false, meter, key)?;
    let (mut groups, mut current): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    let mut close = |current: Vec<Value>| -> Outcome<()> {
        let Some(first) = current.first() else { return Ok(()) };
        let grouper = name(first)?;
        groups.push(Value::tuple(vec![grouper, Value::list(current, meter)?], meter)?);
        Ok(())
    };
    for item in items {
        let same = match current.last() {
            Some(last) => compare::equal(&key(last)?, &key(&item)?, meter)?,
            None => true,
        };
        if !same {
            close(std::mem::take(&mut current))?;
        }
        current.push(item);
    }
    close(current)?;
    Value::list(groups, meter)
}
