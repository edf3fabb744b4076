//! `map`, `select`, `reject`, `selectattr`, `rejectattr`.

use crate::jinja::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    meter::Meter,
    methods,
    run::Run,
    value::Value,
};

pub(super) fn apply(
    run: &mut Run<'_>,
    name: &str,
    value: &Value,
    mut arguments: Arguments,
) -> Outcome<Value> {
    let meter = run.meter.clone();
    // What counts as false has nothing to select from, none and 0 too.
    let items = if value.is_true() { value.iterate(&meter)? } else { Vec::new() };
    let mut kept = Vec::new();
    if name == "map" {
        let attribute = take_named(&mut arguments, "attribute");
        if let Some(attribute) = attribute.filter(|_| arguments.positional.is_empty()) {
            let otherwise = take_named(&mut arguments, "default");
            let [] = arguments.bind(name, [])?;
            for item in items {
                let found = methods::path(&item, &attribute, &meter)?;
                kept.push(match (&found, &otherwise) {
                    (Value::Undefined(_), Some(otherwise)) => otherwise.clone(),
                    _ => found,
                });
            }
            return Value::generator(kept, &meter);
        }
        let filter = first(&mut arguments, "map requires a filter argument")?;
        for item in items {
            kept.push(run.filter(&filter, item, copied(&arguments, &meter)?)?);
        }
        return Value::generator(kept, &meter);
    }
    let attribute = match name {
        "selectattr" | "rejectattr" if arguments.positional.is_empty() => {
            return Err(Failure::Other("missing parameter for attribute name".into()));
        }
        "selectattr" | "rejectattr" => Some(arguments.positional.remove(0)),
        _ => None,
    };
    let test = match arguments.positional.is_empty() {
        true => None,
        false => Some(first(&mut arguments, "a test has a name")?),
    };
    let wanted = name.starts_with("select");
    for item in items {
        let tested = match &attribute {
            Some(attribute) => methods::path(&item, attribute, &meter)?,
            None => item.clone(),
        };
        let holds = match &test {
            Some(test) => run.test(test, &tested, copied(&arguments, &meter)?)?,
            None => tested.is_true(),
        };
        if holds == wanted {
            kept.push(item);
        }
    }
    Value::generator(kept, &meter)
}

fn take_named(arguments: &mut Arguments, name: &str) -> Option<Value> {
    let place = arguments.named.iter().position(|(known, _)| &**known == name)?;
    Some(arguments.named.remove(place).1)
}

/// The name of a filter or a test.
fn first(arguments: &mut Arguments, missing: &str) -> Outcome<String> {
    if arguments.positional.is_empty() {
        return Err(Failure::Other(missing.to_owned()));
    }
    let name = Some(arguments.positional.remove(0)).text("name")?;
    Ok(name.as_str().to_owned())
}

fn copied(arguments: &Arguments, meter: &Meter) -> Outcome<Arguments> {
    meter.elements(arguments.positional.len() + arguments.named.len())?;
    Ok(Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() })
}
