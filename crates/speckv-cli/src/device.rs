//! The device that a command runs its models on.

use speckv_local::{
    backend::{Backend, CpuBackend},
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

/// Runs `work` on the device that the settings name. Today there is one, the processor; another
/// becomes a case here.
///
/// # Errors
/// If the device cannot be used, and those of the work.
pub fn run<W: OnDevice>(settings: &PairSettings, work: W) -> Outcome<W::Output> {
    work.run(&CpuBackend::new(settings.threads)?)
}
