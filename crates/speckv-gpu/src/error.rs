//! What can go wrong on a device.

use std::time::Duration;

/// Why a device cannot do something.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter has the number that was asked for.
    #[error(
        "expected a GPU number below {count}, got {number}\n\
         hint: `speckv devices` lists the GPUs"
    )]
    NoSuchAdapter {
        /// Number asked for.
        number: usize,
        /// Adapters found.
        count: usize,
    },
    /// No adapter at all, or only software ones.
    #[error(
        "no GPU was found: no driver for Vulkan, Metal or DX12 lists one\n\
         hint: on Linux, install the GPU's Vulkan driver, then `speckv devices` lists it"
    )]
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
    #[error(
        "{what} needs {bytes} bytes, and the device has no more memory for them\n\
         hint: a smaller context, a smaller model or `--device cpu` needs less"
    )]
    OutOfMemory {
        /// What it was for.
        what: String,
        /// Bytes asked for.
        bytes: u64,
    },
    /// A model does not fit, known before anything was loaded.
    #[error(
        "{what} needs {needed} of device memory, and {adapter} has {available}\n\
         hint: a smaller `--context`, a smaller model or `--device cpu` needs less"
    )]
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
    #[error(
        "the GPU was lost: {reason}\n\
         hint: start again; if it happens again, `--device cpu` runs without the GPU"
    )]
    Lost {
        /// The driver's words.
        reason: String,
    },
    /// A pass did not end in time.
    #[error(
        "the GPU did not end a pass within {limit:?}\n\
         hint: another program may use it; `--device cpu` runs without the GPU"
    )]
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
