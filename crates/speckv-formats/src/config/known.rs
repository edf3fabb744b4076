//! Fields of an object in `config.json` that are not read: each is known, or refused by name.

use serde_json::Value;

use super::{
    ConfigError,
    json::{Fields, wrong},
};

impl Fields<'_> {
    /// Refuses a field that is in none of the lists. `place` is the object's own name, `beside`
    /// what makes the lists the right ones.
    pub fn known(self, place: &str, beside: &str, lists: &[&[&str]]) -> Result<(), ConfigError> {
        let said = self.0.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str());
        for key in said {
            if !lists.iter().any(|list| list.contains(&key)) {
                let key = format!("{place}.{}", key.chars().take(60).collect::<String>());
                return Err(ConfigError::UnknownField { key, beside: beside.to_owned() });
            }
        }
        Ok(())
    }

    /// Refuses a number other than `allowed`.
    pub fn only_number(self, key: &str, allowed: f64, why: &str) -> Result<(), ConfigError> {
        match self.get(key) {
            Some(value) if value.as_f64() != Some(allowed) => {
                Err(wrong(key, format!("{allowed}: {why}"), value))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a field that says anything: null, false, and what is empty say nothing.
    pub fn nothing(self, place: &str, key: &str) -> Result<(), ConfigError> {
        let is_nothing = |value: &Value| match value {
            Value::Bool(truth) => !truth,
            Value::Array(list) => list.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        match self.get(key) {
            Some(value) if !is_nothing(value) => {
                Err(wrong(&format!("{place}.{key}"), "none: it is not supported", value))
            }
            _ => Ok(()),
        }
    }
}
