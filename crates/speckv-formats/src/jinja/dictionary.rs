//! Python's dictionary: entries in the order in which their keys came.

use std::{collections::HashMap, sync::Arc};

use super::{
    Failure, Outcome,
    meter::{Charge, Meter},
    value::{Value, depth_of},
};

/// Bytes that an entry takes besides its key and value.
const ENTRY: usize = 2 * size_of::<(Value, Value)>() + 96;

#[derive(Debug)]
pub(super) struct Dictionary {
    entries: Vec<(Value, Value)>,
    index: HashMap<Key, usize>,
    depth: usize,
    charge: Charge,
    meter: Arc<Meter>,
}

/// A hashable value. Numbers that are equal are one key: `1`, `1.0` and `True`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    None,
    Undefined,
    Integer(i128),
    Float(u64),
    Text(Box<str>),
    Tuple(Vec<Key>),
}

impl Key {
    pub(super) fn of(value: &Value, meter: &Meter) -> Outcome<Self> {
        meter.steps(1)?;
        Ok(match value {
            Value::None => Self::None,
            Value::Undefined(_) => Self::Undefined,
            Value::Bool(value) => Self::Integer((*value).into()),
            Value::Integer(value) => Self::Integer(*value),
            Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e30 => {
                Self::Integer(*value as i128)
            }
            Value::Float(value) => Self::Float(value.to_bits()),
            Value::Text(text) => {
                meter.work(text.as_str().len())?;
                Self::Text(text.as_str().into())
            }
            Value::Tuple(items) => {
                let keys = items.items().iter().map(|item| Self::of(item, meter));
                Self::Tuple(keys.collect::<Outcome<_>>()?)
            }
            other => {
                let message = format!("unhashable type: '{}'", other.type_name());
                return Err(Failure::type_error(message));
            }
        })
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Tuple(keys) => keys.iter().map(|key| size_of::<Key>() + key.bytes()).sum(),
            _ => 0,
        }
    }
}

impl Dictionary {
    pub(super) fn new(meter: &Arc<Meter>) -> Outcome<Self> {
        Ok(Self {
            entries: Vec::new(),
            index: HashMap::new(),
            depth: 1,
            charge: meter.hold(128)?,
            meter: Arc::clone(meter),
        })
    }

    pub(super) fn insert(&mut self, key: Value, value: Value) -> Outcome<()> {
        let hashed = Key::of(&key, &self.meter)?;
        self.depth = self.depth.max(1 + depth_of([&key, &value].into_iter())?);
        match self.index.get(&hashed) {
            Some(&place) => self.entries[place].1 = value,
            None => {
                self.charge.grow(ENTRY + hashed.bytes())?;
                self.index.insert(hashed, self.entries.len());
                self.entries.push((key, value));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &Value) -> Outcome<Option<&Value>> {
        if self.entries.is_empty() {
            return Ok(None);
        }
        let place = self.index.get(&Key::of(key, &self.meter)?);
        Ok(place.map(|&place| &self.entries[place].1))
    }

    /// The value of a key that is a string.
    pub(super) fn get_str(&self, key: &str) -> Option<&Value> {
        let place = self.index.get(&Key::Text(key.into()))?;
        Some(&self.entries[*place].1)
    }

    pub(super) fn entries(&self) -> std::slice::Iter<'_, (Value, Value)> {
        self.entries.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }
}
