//! Devices by name.

use std::num::NonZeroUsize;

use super::{AnyBackend, CpuBackend};
#[cfg(feature = "gpu")]
use super::{Backend, GpuBackend};
use crate::{device_choice::DeviceName, failure::Outcome, report::Reporter};

/// Opens the device of that name; `threads` compute where it is the processor. `gpu` without a
/// number is a software adapter, with a warning, only where there is no other.
///
/// # Errors
/// A device that is not there or cannot be opened, or that this program was built without.
pub fn open(
    device: DeviceName,
    threads: NonZeroUsize,
    reporter: &dyn Reporter,
) -> Outcome<AnyBackend> {
    #[cfg(not(feature = "gpu"))]
    let _ = reporter;
    match device {
        DeviceName::Cpu => Ok(AnyBackend::Cpu(CpuBackend::new(threads)?)),
        #[cfg(feature = "gpu")]
        DeviceName::Gpu(number) => {
            let backend = GpuBackend::open(number)?;
            if number.is_none() && backend.is_software() {
                reporter.warning(&format!(
                    "{} is a software adapter, the only one here: it computes on the processor, \
                     slower than the device cpu",
                    backend.identity()
                ));
            }
            Ok(AnyBackend::Gpu(backend))
        }
        #[cfg(not(feature = "gpu"))]
        DeviceName::Gpu(_) => Err(crate::failure::Failure::usage(
            format!("the device {device} is not in this program: it was built without GPUs"),
            "give the device cpu, or build with the feature gpu",
        )),
    }
}

/// Opens the processor and every GPU that is no software. A GPU that cannot be opened is reported
/// and omitted.
///
/// # Errors
/// If the system refuses threads.
pub fn hardware(threads: NonZeroUsize, reporter: &dyn Reporter) -> Outcome<Vec<AnyBackend>> {
    #[cfg_attr(not(feature = "gpu"), expect(unused_mut, reason = "GPUs are added to it"))]
    let mut devices = vec![open(DeviceName::Cpu, threads, reporter)?];
    #[cfg(feature = "gpu")]
    for number in GpuBackend::hardware() {
        match GpuBackend::open(Some(number)) {
            Ok(backend) => devices.push(AnyBackend::Gpu(backend)),
            Err(failure) => reporter.warning(&format!("gpu:{number}: {}", failure.message())),
        }
    }
    Ok(devices)
}

/// What a user can do about an error that comes from a device, if it does.
#[must_use]
pub fn device_hint(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    #[cfg(feature = "gpu")]
    {
        let mut cause = Some(error);
        while let Some(error) = cause {
            // A transparent error has the causes of what it holds, not what it holds.
            let held = match error.downcast_ref::<speckv::model::ModelError>() {
                Some(speckv::model::ModelError::Backend(inner)) => inner.downcast_ref(),
                _ => error.downcast_ref::<speckv_gpu::error::GpuError>(),
            };
            if let Some(held) = held {
                return Some(held.hint());
            }
            cause = error.source();
        }
    }
    #[cfg(not(feature = "gpu"))]
    let _ = error;
    None
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use std::{cell::RefCell, time::Duration};

    use speckv::model::ModelError;
    use speckv_gpu::{
        device::{Adapter, Kind},
        error::GpuError,
    };

    use super::*;
    use crate::report::{Progress, Silent, Unit};

    /// Keeps warnings.
    #[derive(Default)]
    struct Warnings(RefCell<Vec<String>>);

    impl Reporter for Warnings {
        fn note(&self, _: &str) {}

        fn warning(&self, text: &str) {
            self.0.borrow_mut().push(text.to_owned());
        }

        fn progress(&self, label: &str, unit: Unit, patience: Duration) -> Box<dyn Progress> {
            Silent.progress(label, unit, patience)
        }
    }

    #[test]
    fn gpu_is_a_software_adapter_with_a_warning_only_where_there_is_no_other() {
        let adapters = Adapter::all();
        let hardware = adapters.iter().filter(|adapter| adapter.kind() != Kind::Software).count();
        let warnings = Warnings::default();
        let opened = open(DeviceName::Gpu(None), NonZeroUsize::MIN, &warnings);
        let said = warnings.0.take();
        match (adapters.first(), hardware) {
            (None, _) => {
                let refused = opened.err().expect("no device");
                assert!(refused.message().contains("no GPU was found"), "{refused:?}");
            }
            (Some(first), 0) => {
                assert_eq!(opened.expect("a device").identity(), first.identity());
                let [warning] = said.as_slice() else { panic!("{said:?}") };
                assert!(warning.contains(first.name()) && warning.contains("software adapter"));
                open(DeviceName::Gpu(Some(0)), NonZeroUsize::MIN, &warnings).expect("a device");
                assert_eq!(warnings.0.take(), [""; 0], "a number is a choice");
            }
            (Some(first), _) => {
                assert_eq!(opened.expect("a device").identity(), first.identity());
                assert_eq!(said, [""; 0]);
            }
        }
        let candidates = super::hardware(NonZeroUsize::MIN, &Silent).expect("devices");
        assert_eq!(candidates.len(), 1 + hardware, "auto has no software adapter to choose");
    }

    #[test]
    fn the_hint_of_a_device_is_found_below_other_errors() {
        let lost = GpuError::Lost { reason: "reset".into() };
        let hint = lost.hint();
        assert_eq!(device_hint(&ModelError::Backend(Box::new(lost))), Some(hint));
        assert_eq!(device_hint(&ModelError::OutOfMemory { bytes: 1 }), None);
    }
}
