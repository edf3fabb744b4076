//! Whole numbers as clients write them: `20`, but also `20.0` and `2e1`.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, de};

/// A whole number of type `T`; in JSON an integer, or a float without a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<T>(pub T);

impl<'de, T: TryFrom<i128>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor(PhantomData))
    }
}

struct WholeVisitor<T>(PhantomData<T>);

impl<T: TryFrom<i128>> WholeVisitor<T> {
    fn checked<E: de::Error>(number: i128) -> Result<Whole<T>, E> {
        let wrong = |_| E::custom(format_args!("the number {number} is out of range"));
        T::try_from(number).map(Whole).map_err(wrong)
    }
}

/// Floats from here on do not hold every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53

impl<T: TryFrom<i128>> de::Visitor<'_> for WholeVisitor<T> {
    type Value = Whole<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        Self::checked(number.into())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        Self::checked(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        if number.fract() == 0.0 && number.abs() <= EXACT {
            return Self::checked(number as i128);
        }
        Err(E::invalid_value(de::Unexpected::Float(number), &self))
    }
}

/// For `#[serde(deserialize_with = ...)]` of optional fields.
///
/// # Errors
/// Anything but null and a whole number in the range of `T`.
pub fn optional<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: TryFrom<i128>,
    D: Deserializer<'de>,
{
    Ok(Option::<Whole<T>>::deserialize(deserializer)?.map(|Whole(number)| number))
}

/// For `#[serde(deserialize_with = ...)]` of lists.
///
/// # Errors
/// Anything but a list of whole numbers in the range of `T`.
pub fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: TryFrom<i128>,
    D: Deserializer<'de>,
{
    let numbers = Vec::<Whole<T>>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|Whole(number)| number).collect())
}

/// For `#[serde(deserialize_with = ...)]` of lists of lists.
///
/// # Errors
/// Anything but a list of lists of whole numbers in the range of `T`.
pub fn lists<'de, T, D>(deserializer: D) -> Result<Vec<Vec<T>>, D::Error>
where
    T: TryFrom<i128>,
    D: Deserializer<'de>,
{
    let lists = Vec::<Vec<Whole<T>>>::deserialize(deserializer)?;
    let unwrapped = |list: Vec<Whole<T>>| list.into_iter().map(|Whole(number)| number).collect();
    Ok(lists.into_iter().map(unwrapped).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: TryFrom<i128>>(json: &str) -> Option<T> {
        serde_json::from_str::<Whole<T>>(json).ok().map(|Whole(number)| number)
    }

    #[test]
    fn floats_without_a_fraction_are_whole_numbers() {
        for json in ["20", "20.0", "2e1", "200e-1"] {
            assert_eq!(read::<u32>(json), Some(20), "{json}");
        }
        assert_eq!(read::<i64>("-1.0"), Some(-1));
        assert_eq!(read::<u64>("18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn fractions_other_types_and_what_is_out_of_range_are_refused() {
        for json in ["2.5", "1e300", "\"20\"", "true", "null", "[]", "-1", "4294967296"] {
            assert_eq!(read::<u32>(json), None, "{json}");
        }
        let error = serde_json::from_str::<Whole<u32>>("-1").map(|_| ()).expect_err("negative");
        assert!(error.to_string().contains("the number -1 is out of range"), "{error}");
    }
}
