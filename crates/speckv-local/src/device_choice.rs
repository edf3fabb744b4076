//! Which devices run models: what the user says of them.

use std::{fmt, str::FromStr};

/// A device by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// The processor.
    Cpu,
    /// A GPU by its number in `speckv devices`; without one, the first. Software adapters are last.
    Gpu(Option<usize>),
}

/// A device by name, or the faster one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The device whose plain pass is faster and whose memory suffices; no software adapter.
    Auto,
    /// This one.
    Named(DeviceName),
}

/// The devices of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceChoices {
    /// The target's.
    pub target: DeviceChoice,
    /// The draft's; `None` is the target's.
    pub draft: Option<DeviceChoice>,
    /// Whether plain passes are timed again although their times are known.
    pub measure_anew: bool,
}

impl Default for DeviceChoice {
    fn default() -> Self {
        DeviceChoice::Named(DeviceName::Cpu)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Cpu => f.write_str("cpu"),
            DeviceName::Gpu(None) => f.write_str("gpu"),
            DeviceName::Gpu(Some(number)) => write!(f, "gpu:{number}"),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Named(name) => name.fmt(f),
        }
    }
}

/// A word that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected auto, cpu, gpu or gpu:N with the number of a GPU, got {0:?}\n\
     hint: `speckv devices` lists the GPUs of this machine"
)]
pub struct UnknownDevice(String);

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(word: &str) -> Result<Self, UnknownDevice> {
        let named = match word.split_once(':') {
            None if word == "auto" => return Ok(DeviceChoice::Auto),
            None if word == "cpu" => Some(DeviceName::Cpu),
            None if word == "gpu" => Some(DeviceName::Gpu(None)),
            Some(("gpu", number)) => number.parse().ok().map(|n| DeviceName::Gpu(Some(n))),
            _ => None,
        };
        named.map(DeviceChoice::Named).ok_or_else(|| UnknownDevice(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_refused() {
        let named = [DeviceName::Cpu, DeviceName::Gpu(None), DeviceName::Gpu(Some(3))];
        for choice in named.map(DeviceChoice::Named).into_iter().chain([DeviceChoice::Auto]) {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        for word in ["", "GPU", "gpu:", "gpu:x", "gpu:-1", "cuda", "cpu:0", "auto:1"] {
            let refused = word.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(refused.contains(&format!("{word:?}")), "{refused}");
        }
    }
}
