//! Which device runs models.

use std::{fmt, str::FromStr};

/// A device by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// A GPU by its number in `speckv devices`; without one, the first that is no software.
    Gpu(Option<usize>),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Gpu(None) => f.write_str("gpu"),
            DeviceChoice::Gpu(Some(number)) => write!(f, "gpu:{number}"),
        }
    }
}

/// A word that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected cpu, gpu or gpu:N with the number of a GPU, got {0:?}")]
pub struct UnknownDevice(String);

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(word: &str) -> Result<Self, UnknownDevice> {
        match word.split_once(':') {
            None if word == "cpu" => Ok(DeviceChoice::Cpu),
            None if word == "gpu" => Ok(DeviceChoice::Gpu(None)),
            Some(("gpu", number)) => match number.parse() {
                Ok(number) => Ok(DeviceChoice::Gpu(Some(number))),
                Err(_) => Err(UnknownDevice(word.to_owned())),
            },
            _ => Err(UnknownDevice(word.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_refused() {
        for choice in [DeviceChoice::Cpu, DeviceChoice::Gpu(None), DeviceChoice::Gpu(Some(3))] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for word in ["", "GPU", "gpu:", "gpu:x", "gpu:-1", "cuda", "cpu:0"] {
            let refused = word.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(refused.contains(&format!("{word:?}")), "{refused}");
        }
    }
}
