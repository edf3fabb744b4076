//! Functions that every template can call.

use std::{cell::Cell, rc::Rc};

use super::{
    Failure, Outcome,
    arguments::{Arguments, Bound},
    dictionary::Dictionary,
    run::Run,
    value::{Cycler, Namespace, Range, Value},
};

const FUNCTIONS: [&str; 7] =
    ["range", "dict", "namespace", "cycler", "joiner", "raise_exception", "strftime_now"];

/// Most items of a `range`, as in Jinja's sandbox.
const MOST_RANGE: usize = 100_000;

/// Most bytes of a format of `strftime_now`.
const MOST_FORMAT: usize = 10_000;

/// The function of a name.
pub(super) fn named(name: &str) -> Option<&'static str> {
    FUNCTIONS.into_iter().find(|known| *known == name)
}

pub(super) fn call(run: &mut Run<'_>, name: &str, arguments: Arguments) -> Outcome<Value> {
    match name {
        "range" => range(arguments),
        "dict" => {
            let mut dictionary = Dictionary::new(&run.meter)?;
            fill(&mut dictionary, arguments, run)?;
            Ok(Value::Dictionary(Rc::new(dictionary)))
        }
        "namespace" => {
            let mut dictionary = Dictionary::new(&run.meter)?;
            fill(&mut dictionary, arguments, run)?;
            let entries = dictionary.entries();
            let attributes = entries
                .filter_map(|(key, value)| match key {
                    Value::Text(key) => Some((key.as_str().into(), value.clone())),
                    _ => None,
                })
                .collect();
            let namespace = Namespace::new(attributes, &run.meter)?;
            run.keep_namespace(&namespace);
            Ok(Value::Namespace(namespace))
        }
        "cycler" => {
            if arguments.positional.is_empty() {
                return Err(Failure::Other("RuntimeError: at least one item expected".into()));
            }
            let items = super::value::Sequence::new(arguments.positional, &run.meter)?;
            Ok(Value::Cycler(Rc::new(Cycler { items, place: Cell::new(0) })))
        }
        "joiner" => {
            let [separator] = arguments.bind(name, ["sep"])?;
            let separator = match separator {
                Some(separator) => Some(separator).text("sep")?,
                None => super::text::Text::constant(", "),
            };
            Ok(Value::Joiner(Rc::new((separator, Cell::new(false)))))
        }
        "raise_exception" => {
            let [message] = arguments.bind(name, ["message"])?;
            let message = super::print::text(&message.required("message")?, &run.meter)?;
            // A message becomes a line of an error.
            Err(Failure::Raised(message.as_str().chars().take(2000).collect()))
        }
        _ => {
            let [format] = arguments.bind(name, ["format"])?;
            let format = format.text("format")?;
            if format.as_str().len() > MOST_FORMAT {
                return Err(Failure::value_error(format!(
                    "a format of strftime_now has at most {MOST_FORMAT} bytes"
                )));
            }
            run.meter.elements(format.as_str().len())?;
            Value::text(&(run.strftime)(format.as_str()), &run.meter)
        }
    }
}

fn range(arguments: Arguments) -> Outcome<Value> {
    let [first, second, step] = arguments.bind("range", ["start", "stop", "step"])?;
    let integer = |value: Option<Value>, name: &str| {
        value.required(name).and_then(|value| Some(value).optional_integer(name))
    };
    let first = integer(first, "stop")?.unwrap_or(0);
    let (start, stop) = match second {
        Some(stop) => (first, integer(Some(stop), "stop")?.unwrap_or(0)),
        None => (0, first),
    };
    let step = step.integer("step", 1)?;
    if step == 0 {
        return Err(Failure::value_error("range() arg 3 must not be zero"));
    }
    let most = 1u128 << 100;
    if [start, stop, step].iter().any(|number| number.unsigned_abs() > most) {
        return Err(Failure::Other("OverflowError: the range is too large".into()));
    }
    let range = Range { start, stop, step };
    if range.len() > MOST_RANGE {
        return Err(Failure::Other(format!(
            "OverflowError: a range has at most {MOST_RANGE} items, not {}",
            range.len()
        )));
    }
    Ok(Value::Range(range))
}

/// `dict(mapping or pairs, name=value)`
fn fill(dictionary: &mut Dictionary, arguments: Arguments, run: &Run<'_>) -> Outcome<()> {
    let Arguments { positional, named } = arguments;
    for from in positional {
        match from {
            Value::Dictionary(entries) => {
                for (key, value) in entries.entries() {
                    dictionary.insert(key.clone(), value.clone())?;
                }
            }
            pairs => {
                for pair in pairs.iterate(&run.meter)? {
                    let mut pair = pair.iterate(&run.meter)?.into_iter();
                    match (pair.next(), pair.next(), pair.next()) {
                        (Some(key), Some(value), None) => dictionary.insert(key, value)?,
                        _ => return Err(Failure::value_error("expected pairs")),
                    }
                }
            }
        }
    }
    for (name, value) in named {
        dictionary.insert(Value::text(&name, &run.meter)?, value)?;
    }
    Ok(())
}
