//! The items of a value.

use std::sync::Arc;

use super::{
    Failure, Outcome,
    meter::Meter,
    value::{Value, View},
};

impl Value {
    /// All items in order: of a string its characters, of a dictionary its keys. A generator is
    /// empty afterwards.
    pub(super) fn iterate(&self, meter: &Arc<Meter>) -> Outcome<Vec<Value>> {
        let items: Vec<Value> = match self {
            Self::Undefined(_) => Vec::new(),
            Self::Text(text) => {
                meter.elements(text.as_str().len())?;
                let mut characters = Vec::new();
                for (at, character) in text.as_str().char_indices() {
                    let range = at..at + character.len_utf8();
                    characters.push(Self::Text(text.slice(range, meter)?));
                }
                characters
            }
            Self::List(items) | Self::Tuple(items) => {
                meter.elements(items.items().len() / 8)?;
                items.items().to_vec()
            }
            Self::Dictionary(entries) => {
                meter.elements(entries.len() / 8)?;
                entries.entries().map(|(key, _)| key.clone()).collect()
            }
            Self::View(entries, view) => {
                meter.elements(entries.len())?;
                let entries = entries.entries();
                match view {
                    View::Keys => entries.map(|(key, _)| key.clone()).collect(),
                    View::Values => entries.map(|(_, value)| value.clone()).collect(),
                    View::Items => {
                        let pair = |(key, value): &(Value, Value)| vec![key.clone(), value.clone()];
                        entries
                            .map(|entry| Self::tuple(pair(entry), meter))
                            .collect::<Outcome<_>>()?
                    }
                }
            }
            Self::Range(range) => {
                meter.elements(range.len())?;
                // Counted before the memory is taken.
                let _charge = meter.hold(range.len().saturating_mul(size_of::<Value>()))?;
                (0..range.len()).map(|place| range.get(place)).collect()
            }
            Self::Generator(inner) => match inner.take() {
                Some(items) => items.iterate(meter)?,
                None => Vec::new(),
            },
            other => {
                return Err(Failure::type_error(format!(
                    "'{}' object is not iterable",
                    other.type_name()
                )));
            }
        };
        Ok(items)
    }
}
