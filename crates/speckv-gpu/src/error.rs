//! What can go wrong on a device.

use std::time::Duration;

/// Why a device cannot do something.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter has the number that was asked for.
    #[error("expected a GPU number below {count}, got {number}")]
    NoSuchAdapter {
        /// Number asked for.
        number: usize,
        /// Adapters found.
        count: usize,
    },
    /// No adapter at all, not even a software one.
    #[error("no GPU was found: no driver for Vulkan, Metal or DX12 lists one")]
    NoAdapter,
    /// The adapter refused to open.
    #[error("{adapter} cannot be opened: {reason}")]
    Open {
        /// Adapter's name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// The adapter lacks something that the kernels need.
    #[error("{adapter} has {what} {got}, expected at least {least}")]
    Limit {
        /// Adapter's name.
        adapter: String,
        /// The limit.
        what: &'static str,
        /// Its value.
        got: u64,
        /// What the kernels need.
        least: u64,
    },
    /// Memory of the device ran out.
    #[error("{what} needs {bytes} bytes, and the device has no more memory for them")]
    OutOfMemory {
        /// What it was for.
        what: String,
        /// Bytes asked for.
        bytes: u64,
    },
    /// A model does not fit, known before anything was loaded.
    #[error("{what} needs {needed} of device memory, and {adapter} has {available}")]
    TooLarge {
        /// What does not fit.
        what: String,
        /// Adapter's name.
        adapter: String,
        /// Bytes needed, in words.
        needed: String,
        /// Bytes there, in words.
        available: String,
    },
    /// The device is gone: unplugged, reset by its driver, or its driver crashed.
    #[error("the GPU was lost: {reason}")]
    Lost {
        /// The driver's words.
        reason: String,
    },
    /// A pass did not end in time.
    #[error("the GPU did not end a pass within {limit:?}")]
    TimedOut {
        /// How long was waited.
        limit: Duration,
    },
    /// The device or its driver refused something that it should take.
    #[error("the GPU's driver refused {what}: {reason}")]
    Refused {
        /// What was asked of it.
        what: String,
        /// Its words.
        reason: String,
    },
}

impl GpuError {
    /// What a user can do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            GpuError::NoSuchAdapter { .. } => "`speckv devices` lists the GPUs",
            GpuError::NoAdapter => {
                "install the GPU's driver, then `speckv devices` lists it; without a GPU, \
                 mesa-vulkan-drivers has a software adapter for Linux"
            }
            GpuError::OutOfMemory { .. } | GpuError::TooLarge { .. } => {
                "a shorter context, a smaller model or the device cpu needs less"
            }
            GpuError::Lost { .. } => {
                "start again; if it happens again, the device cpu runs without the GPU"
            }
            GpuError::TimedOut { .. } => {
                "another program may use the GPU; the device cpu runs without it"
            }
            GpuError::Open { .. } | GpuError::Limit { .. } | GpuError::Refused { .. } => {
                "another driver version may do it; the device cpu runs without the GPU"
            }
        }
    }
}
