//! Devices by name.

use std::num::NonZeroUsize;

#[cfg(feature = "gpu")]
use super::GpuBackend;
use super::{AnyBackend, CpuBackend};
use crate::{device_choice::DeviceName, failure::Outcome, report::Reporter};

/// Opens the device of that name; `threads` compute where it is the processor.
///
/// # Errors
/// A device that is not there or cannot be opened, or that this program was built without.
pub fn open(device: DeviceName, threads: NonZeroUsize) -> Outcome<AnyBackend> {
    match device {
        DeviceName::Cpu => Ok(AnyBackend::Cpu(CpuBackend::new(threads)?)),
        #[cfg(feature = "gpu")]
        DeviceName::Gpu(number) => Ok(AnyBackend::Gpu(GpuBackend::open(number)?)),
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
    let mut devices = vec![open(DeviceName::Cpu, threads)?];
    #[cfg(feature = "gpu")]
    for number in GpuBackend::hardware() {
        match GpuBackend::open(Some(number)) {
            Ok(backend) => devices.push(AnyBackend::Gpu(backend)),
            Err(failure) => reporter.warning(&format!("gpu:{number}: {}", failure.message())),
        }
    }
    #[cfg(not(feature = "gpu"))]
    let _ = reporter;
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
    use speckv::model::ModelError;
    use speckv_gpu::error::GpuError;

    use super::*;

    #[test]
    fn the_hint_of_a_device_is_found_below_other_errors() {
        let lost = GpuError::Lost { reason: "reset".into() };
        let hint = lost.hint();
        assert_eq!(device_hint(&ModelError::Backend(Box::new(lost))), Some(hint));
        assert_eq!(device_hint(&ModelError::OutOfMemory { bytes: 1 }), None);
    }
}
