//! The values of a template, which are those of Python.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{
    Failure, Outcome,
    dictionary::Dictionary,
    meter::{Charge, Meter},
    run::{Loop, MacroValue},
    text::Text,
};

/// How deep lists and dictionaries may be nested in each other: printing and freeing recurse.
const DEEPEST: usize = 120;

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// What a template reads and is not there; the message says what.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Text),
    List(Rc<Sequence>),
    Tuple(Rc<Sequence>),
    Dictionary(Rc<Dictionary>),
    View(Rc<Dictionary>, View),
    Range(Range),
    /// What a filter such as `map` gives: it can be read once, and has no length.
    Generator(Rc<RefCell<Option<Value>>>),
    Namespace(Rc<Namespace>),
    Loop(Rc<Loop>),
    Macro(Rc<MacroValue>),
    /// A function of the template language.
    Function(&'static str),
    /// A method with its object.
    Method(Rc<(Value, Arc<str>)>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<(Text, Cell<bool>)>),
}

/// Which part of a dictionary a view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

/// Python's `range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
}

impl Range {
    pub(super) fn len(self) -> usize {
        let Range { start, stop, step } = self;
        let distance = if step > 0 { stop - start } else { start - stop };
        if distance <= 0 {
            return 0;
        }
        let count = (distance - 1) / step.abs() + 1;
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    pub(super) fn get(self, place: usize) -> Value {
        Value::Integer(self.start + self.step * place as i128)
    }
}

/// The items of a list or a tuple.
#[derive(Debug)]
pub(super) struct Sequence {
    items: Vec<Value>,
    depth: usize,
    _charge: Charge,
}

impl Sequence {
    pub(super) fn new(items: Vec<Value>, meter: &Arc<Meter>) -> Outcome<Rc<Self>> {
        meter.elements(1 + items.len() / 8)?;
        // Values that count no bytes themselves.
        let own = |item: &&Value| matches!(item, Value::Undefined(_) | Value::Method(_));
        let own = items.iter().filter(own).count() * 160;
        let charge = meter.hold(64 + items.capacity() * size_of::<Value>() + own)?;
        let depth = 1 + depth_of(items.iter())?;
        Ok(Rc::new(Self { items, depth, _charge: charge }))
    }

    pub(super) fn items(&self) -> &[Value] {
        &self.items
    }
}

/// The greatest depth of some values; more than allowed is an error.
pub(super) fn depth_of<'v>(values: impl Iterator<Item = &'v Value>) -> Outcome<usize> {
    let depth = values.map(Value::depth).max().unwrap_or(0);
    if depth >= DEEPEST {
        return Err(Failure::Other(format!("values are nested in more than {DEEPEST} levels")));
    }
    Ok(depth)
}

/// What `namespace()` makes: attributes that `{% set %}` can change.
#[derive(Debug)]
pub(super) struct Namespace {
    pub attributes: RefCell<Vec<(Arc<str>, Value)>>,
    _charge: Charge,
}

impl Namespace {
    pub(super) fn new(attributes: Vec<(Arc<str>, Value)>, meter: &Arc<Meter>) -> Outcome<Rc<Self>> {
        let charge = meter.hold(128 + 2 * attributes.len() * size_of::<(Arc<str>, Value)>())?;
        Ok(Rc::new(Self { attributes: RefCell::new(attributes), _charge: charge }))
    }
}

/// What `cycler()` makes.
#[derive(Debug)]
pub(super) struct Cycler {
    pub items: Rc<Sequence>,
    pub place: Cell<usize>,
}

impl Value {
    /// What is not there. The message is cut: names can be as long as templates.
    pub(super) fn undefined(what: impl AsRef<str>) -> Self {
        let what = what.as_ref();
        let end = what.char_indices().nth(120).map_or(what.len(), |(at, _)| at);
        Self::Undefined(what[..end].into())
    }

    pub(super) fn text(text: &str, meter: &Arc<Meter>) -> Outcome<Self> {
        Ok(Self::Text(Text::new(text, meter)?))
    }

    pub(super) fn list(items: Vec<Value>, meter: &Arc<Meter>) -> Outcome<Self> {
        Ok(Self::List(Sequence::new(items, meter)?))
    }

    pub(super) fn tuple(items: Vec<Value>, meter: &Arc<Meter>) -> Outcome<Self> {
        Ok(Self::Tuple(Sequence::new(items, meter)?))
    }

    pub(super) fn generator(items: Vec<Value>, meter: &Arc<Meter>) -> Outcome<Self> {
        Ok(Self::Generator(Rc::new(RefCell::new(Some(Self::list(items, meter)?)))))
    }

    /// Of JSON. The strings are marked as the conversation's.
    pub(super) fn from_json(json: &serde_json::Value, meter: &Arc<Meter>) -> Outcome<Self> {
        meter.steps(1)?;
        Ok(match json {
            serde_json::Value::Null => Self::None,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => Self::Integer(integer.into()),
                (_, Some(integer)) => Self::Integer(integer.into()),
                _ => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Self::Text(Text::data(text, meter)?),
            serde_json::Value::Array(items) => {
                let items = items.iter().map(|item| Self::from_json(item, meter));
                Self::list(items.collect::<Outcome<_>>()?, meter)?
            }
            serde_json::Value::Object(entries) => {
                let mut dictionary = Dictionary::new(meter)?;
                for (key, value) in entries {
                    let key = Self::Text(Text::data(key, meter)?);
                    dictionary.insert(key, Self::from_json(value, meter)?)?;
                }
                Self::Dictionary(Rc::new(dictionary))
            }
        })
    }

    fn depth(&self) -> usize {
        match self {
            Self::List(items) | Self::Tuple(items) => items.depth,
            Self::Dictionary(entries) | Self::View(entries, _) => entries.depth(),
            // Their contents are freed by the rendering, but printed through them.
            Self::Generator(inner) => {
                1 + inner.try_borrow().map_or(0, |inner| inner.as_ref().map_or(0, Value::depth))
            }
            Self::Method(method) => 1 + method.0.depth(),
            Self::Cycler(cycler) => 1 + cycler.items.depth,
            Self::Loop(state) => state.depth(),
            _ => 0,
        }
    }

    /// Python's truth of a value.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Integer(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.as_str().is_empty(),
            Self::List(items) | Self::Tuple(items) => !items.items().is_empty(),
            Self::Dictionary(entries) | Self::View(entries, _) => !entries.is_empty(),
            Self::Range(range) => range.len() > 0,
            _ => true,
        }
    }

    /// The name of the value's type in Python.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dictionary(_) => "dict",
            Self::View(_, View::Keys) => "dict_keys",
            Self::View(_, View::Values) => "dict_values",
            Self::View(_, View::Items) => "dict_items",
            Self::Range(_) => "range",
            Self::Generator(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Macro(_) => "Macro",
            Self::Function(_) => "function",
            Self::Method(_) => "builtin_function_or_method",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
        }
    }

    /// A number that counts as an integer: `True` is 1.
    pub(super) fn as_integer(&self) -> Option<i128> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Bool(value) => Some((*value).into()),
            _ => None,
        }
    }

    /// A number as a floating-point one.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            other => other.as_integer().map(|value| value as f64),
        }
    }

    /// The number of items or characters, if the value has one.
    pub(super) fn length(&self, meter: &Meter) -> Outcome<Option<usize>> {
        Ok(Some(match self {
            Self::Undefined(_) => 0,
            Self::Text(text) => text.chars(meter)?,
            Self::List(items) | Self::Tuple(items) => items.items().len(),
            Self::Dictionary(entries) | Self::View(entries, _) => entries.len(),
            Self::Range(range) => range.len(),
            Self::Loop(state) => state.length(),
            _ => return Ok(None),
        }))
    }
}
