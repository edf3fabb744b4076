//! The device that a command runs its models on.

use std::num::NonZeroUsize;

#[cfg(feature = "gpu")]
use speckv_local::backend::GpuBackend;
use speckv_local::{
    backend::{AnyBackend, Backend, CpuBackend},
    device_choice::DeviceChoice,
    failure::Outcome,
    pair_settings::PairSettings,
};

/// Work that runs on any device.
pub trait OnDevice {
    /// What comes of it.
    type Output;

    /// Runs it with models that `backend` loads.
    ///
    /// # Errors
    /// Those of the work.
    fn run<B: Backend>(self, backend: &B) -> Outcome<Self::Output>;
}

/// The device of that name.
///
/// # Errors
/// If it is not there or cannot be opened, or the program was built without it.
pub fn backend(device: DeviceChoice, threads: NonZeroUsize) -> Outcome<AnyBackend> {
    match device {
        DeviceChoice::Cpu => Ok(AnyBackend::Cpu(CpuBackend::new(threads)?)),
        #[cfg(feature = "gpu")]
        DeviceChoice::Gpu(number) => Ok(AnyBackend::Gpu(GpuBackend::open(number)?)),
        #[cfg(not(feature = "gpu"))]
        DeviceChoice::Gpu(_) => Err(speckv_local::failure::Failure::usage(
            format!("--device {device} is not in this program: it was built without GPUs"),
            "give --device cpu, or build with the feature gpu",
        )),
    }
}

/// Runs `work` on the device that the settings name.
///
/// # Errors
/// If the device cannot be used, and those of the work.
pub fn run<W: OnDevice>(settings: &PairSettings, work: W) -> Outcome<W::Output> {
    work.run(&backend(settings.device, settings.threads)?)
}
