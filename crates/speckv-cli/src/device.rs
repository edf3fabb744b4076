//! The devices that a command runs its models on.

use speckv_local::{
    backend::{Backend, PairBackends},
    devices,
    failure::Outcome,
    interrupt::Interrupt,
    model_source::ModelSource,
    pair_settings::PairSettings,
    report::Reporter,
};

/// Work that runs on any devices.
pub trait OnDevice {
    /// What comes of it.
    type Output;

    /// Runs it with models that `backends` load.
    ///
    /// # Errors
    /// Those of the work.
    fn run<B: Backend + Clone>(self, backends: &PairBackends<B>) -> Outcome<Self::Output>;
}

/// Runs `work` on the devices that the settings name.
///
/// # Errors
/// If a device cannot be used, and those of the work.
pub fn run<W: OnDevice>(
    settings: &PairSettings,
    (source, interrupt): (&ModelSource, &Interrupt),
    reporter: &dyn Reporter,
    work: W,
) -> Outcome<W::Output> {
    work.run(&devices::of_pair(settings, source, interrupt, reporter)?)
}
