//! The counters of NVIDIA's GPUs, by the library that comes with their driver.

use std::{ffi::OsStr, fmt, sync::Arc};

use nvml_wrapper::{Nvml, error::NvmlError};

use super::NoCounter;

/// The library's name where the driver alone is installed; the crate's own is that of developers'
/// packages.
const LIBRARY: &str = if cfg!(windows) { "nvml.dll" } else { "libnvidia-ml.so.1" };

/// One GPU that counts its energy.
#[derive(Debug, Clone)]
struct Gpu {
    index: u32,
    name: String,
    start: u64, // millijoules when the counter was opened
}

/// All of them, at least one.
#[derive(Clone)]
pub(super) struct Gpus {
    library: Arc<Nvml>,
    gpus: Vec<Gpu>,
}

impl Gpus {
    /// Those of this machine; none without NVIDIA's driver, or where no GPU counts (those before
    /// Volta do not).
    pub(super) fn open() -> Option<Self> {
        Self::open_with(OsStr::new(LIBRARY))
    }

    /// Those that a library tells of.
    pub(super) fn open_with(library: &OsStr) -> Option<Self> {
        let library = Nvml::builder().lib_path(library).init().ok()?;
        let count = library.device_count().ok()?;
        let counting = |index| Gpu::open(&library, index).ok();
        let gpus: Vec<Gpu> = (0..count).filter_map(counting).collect();
        (!gpus.is_empty()).then(|| Gpus { library: Arc::new(library), gpus })
    }

    /// Joules since they were opened.
    pub(super) fn joules(&self) -> Result<f64, NoCounter> {
        let mut millijoules = 0;
        for gpu in &self.gpus {
            let now = millijoules_of(&self.library, gpu.index).map_err(|error| NoCounter::Gpu {
                gpu: gpu.name.clone(),
                reason: error.to_string(),
            })?;
            // A driver that was loaded again has begun at 0.
            millijoules += now.saturating_sub(gpu.start);
        }
        Ok(millijoules as f64 / 1e3)
    }

    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
        names.join(", ")
    }
}

impl Gpu {
    fn open(library: &Nvml, index: u32) -> Result<Self, NvmlError> {
        let name = library.device_by_index(index)?.name()?;
        Ok(Gpu { index, name, start: millijoules_of(library, index)? })
    }
}

/// Millijoules of a GPU since its driver was loaded.
fn millijoules_of(library: &Nvml, index: u32) -> Result<u64, NvmlError> {
    library.device_by_index(index)?.total_energy_consumption()
}

impl fmt::Debug for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gpus").field(&self.gpus).finish()
    }
}
