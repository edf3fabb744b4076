//! Arguments of functions, filters, tests and methods, bound as Python binds them.

use std::sync::Arc;

use super::{Failure, Outcome, text::Text, value::Value};

/// Evaluated arguments of one call.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub positional: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

impl Arguments {
    /// The values of parameters in their order. `what` stands in errors.
    pub(super) fn bind<const N: usize>(
        self,
        what: &str,
        names: [&str; N],
    ) -> Outcome<[Option<Value>; N]> {
        if self.positional.len() > N {
            return Err(Failure::type_error(format!(
                "{what}() takes at most {N} arguments ({} given)",
                self.positional.len()
            )));
        }
        let mut bound = [const { None }; N];
        for (place, value) in self.positional.into_iter().enumerate() {
            bound[place] = Some(value);
        }
        for (name, value) in self.named {
            let Some(place) = names.iter().position(|known| **known == *name) else {
                return Err(Failure::type_error(format!(
                    "{what}() got an unexpected keyword argument '{name}'"
                )));
            };
            if bound[place].replace(value).is_some() {
                return Err(Failure::type_error(format!(
                    "{what}() got multiple values for argument '{name}'"
                )));
            }
        }
        Ok(bound)
    }
}

/// Readings of bound arguments, with the name of the parameter in errors.
pub(super) trait Bound: Sized {
    fn required(self, name: &str) -> Outcome<Value>;

    /// An integer; `otherwise` if there is none or `None`.
    fn integer(self, name: &str, otherwise: i128) -> Outcome<i128>;

    fn optional_integer(self, name: &str) -> Outcome<Option<i128>>;

    fn optional_text(self, name: &str) -> Outcome<Option<Text>>;

    fn text(self, name: &str) -> Outcome<Text>;

    fn truth(self, otherwise: bool) -> bool;
}

impl Bound for Option<Value> {
    fn required(self, name: &str) -> Outcome<Value> {
        self.ok_or_else(|| {
            Failure::type_error(format!("missing 1 required positional argument: '{name}'"))
        })
    }

    fn integer(self, name: &str, otherwise: i128) -> Outcome<i128> {
        Ok(self.optional_integer(name)?.unwrap_or(otherwise))
    }

    fn optional_integer(self, name: &str) -> Outcome<Option<i128>> {
        match self {
            None | Some(Value::None) => Ok(None),
            Some(value) => value.as_integer().map(Some).ok_or_else(|| {
                let got = value.type_name();
                Failure::type_error(format!("{name}: expected an integer, got {got}"))
            }),
        }
    }

    fn optional_text(self, name: &str) -> Outcome<Option<Text>> {
        match self {
            None | Some(Value::None) => Ok(None),
            Some(value) => Some(value).text(name).map(Some),
        }
    }

    fn text(self, name: &str) -> Outcome<Text> {
        match self.required(name)? {
            Value::Text(text) => Ok(text),
            Value::Undefined(message) => Err(Failure::Other(message.to_string())),
            other => Err(Failure::type_error(format!(
                "{name}: expected a string, got {}",
                other.type_name()
            ))),
        }
    }

    fn truth(self, otherwise: bool) -> bool {
        self.map_or(otherwise, |value| value.is_true())
    }
}
