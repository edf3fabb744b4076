//! Joules that the machine's own counters measure.
//!
//! Linux lists the counters of processors and memory ([`POWERCAP`]; RAPL of Intel and AMD). Reading
//! them often needs root. NVIDIA's driver counts those of GPUs (NVML, from Volta on). Where there
//! are none, or they cannot be read, the reason is a value ([`NoCounter`]), so that a report can
//! state it.

mod meter;
mod nvml;
mod powercap;

use std::path::{Path, PathBuf};

use nvml::Gpus;
use powercap::Zones;

pub use meter::{Energy, EnergyMeter, IDLE};

/// Where Linux lists counters of energy.
pub const POWERCAP: &str = "/sys/class/powercap";

/// Why no energy is counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCounter {
    /// The system lists no counter, and no GPU has one.
    #[error("this machine lists no energy counter in {}", .0.display())]
    Absent(PathBuf),
    /// There is a counter that this process may not read, or that is broken.
    #[error("{} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The counter's file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// A GPU's counter can no longer be read.
    #[error("the energy of {gpu} cannot be read: {reason}")]
    Gpu {
        /// The GPU's name.
        gpu: String,
        /// The driver's reason.
        reason: String,
    },
}

/// The counters of this machine: processor packages, memory, GPUs.
#[derive(Debug, Clone)]
pub struct EnergyCounter {
    zones: Option<Zones>,
    gpus: Option<Gpus>,
}

impl EnergyCounter {
    /// The counters of this machine. Those that cannot be read are left out where others can;
    /// [`source`](Self::source) names what is counted.
    ///
    /// # Errors
    /// See [`NoCounter`]: nothing can be counted.
    pub fn open() -> Result<Self, NoCounter> {
        Self::of(Zones::open_in(Path::new(POWERCAP)), Gpus::open())
    }

    /// The counters in a folder that is laid out as Linux's powercap, and no others.
    ///
    /// Packages are counted, and memory beside them (`dram`). Parts of a package and the whole
    /// platform (`psys`) are not: they would count the same joules twice.
    ///
    /// # Errors
    /// See [`NoCounter`].
    pub fn open_in(folder: &Path) -> Result<Self, NoCounter> {
        Self::of(Zones::open_in(folder), None)
    }

    fn of(zones: Result<Zones, NoCounter>, gpus: Option<Gpus>) -> Result<Self, NoCounter> {
        match (zones, gpus) {
            (Err(reason), None) => Err(reason),
            (zones, gpus) => Ok(EnergyCounter { zones: zones.ok(), gpus }),
        }
    }

    /// Joules since the counter was opened. To be called at least once while a counter of Linux
    /// goes round, which takes minutes at full load.
    ///
    /// # Errors
    /// A counter that can no longer be read.
    pub fn joules(&mut self) -> Result<f64, NoCounter> {
        let zones = self.zones.as_mut().map_or(Ok(0.0), Zones::joules)?;
        let gpus = self.gpus.as_ref().map_or(Ok(0.0), Gpus::joules)?;
        Ok(zones + gpus)
    }

    /// What is counted: `Linux powercap: package-0, dram; NVML: NVIDIA H200`.
    #[must_use]
    pub fn source(&self) -> String {
        let zones = self.zones.as_ref().map(|zones| format!("Linux powercap: {}", zones.names()));
        let gpus = self.gpus.as_ref().map(|gpus| format!("NVML: {}", gpus.names()));
        zones.into_iter().chain(gpus).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests;
