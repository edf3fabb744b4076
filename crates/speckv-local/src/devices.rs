//! From the devices that the user names to devices that are open.

use std::num::NonZeroUsize;

use crate::{
    backend::{self, AnyBackend, Backend, PairBackends},
    calibration::kept::Folder,
    device_auto::Trial,
    device_choice::{DeviceChoice, DeviceChoices, DeviceName},
    failure::Outcome,
    interrupt::Interrupt,
    memory::{self, MemoryNeed},
    model_source::ModelSource,
    pair::PairFiles,
    pair_settings::PairSettings,
    report::Reporter,
};

/// Opens the devices that the settings of a pair name. `auto` opens the models' files and, the
/// first time, loads them on every device to time a plain pass.
///
/// # Errors
/// A device that cannot be opened; with `auto`, also a file that cannot be, or no memory that
/// suffices.
pub fn of_pair(
    settings: &PairSettings,
    source: &ModelSource,
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> Outcome<PairBackends<AnyBackend>> {
    let DeviceChoices { target, draft, measure_anew } = settings.devices;
    match (target, draft) {
        (DeviceChoice::Named(target), None) => {
            return Ok(PairBackends::same(backend::open(target, settings.threads, reporter)?));
        }
        (DeviceChoice::Named(target), Some(DeviceChoice::Named(draft))) => {
            let target = (target, backend::open(target, settings.threads, reporter)?);
            if target.0 == draft {
                return Ok(PairBackends::same(target.1));
            }
            return Ok(PairBackends::new(
                target.1,
                backend::open(draft, settings.threads, reporter)?,
            ));
        }
        _ => {}
    }
    let candidates = backend::hardware(settings.threads, reporter)?;
    let open = |name| named(name, &candidates, settings.threads, reporter);
    if let [cpu] = candidates.as_slice() {
        reporter.note("device: cpu, no GPU but software adapters is here");
        let of = |choice| match choice {
            DeviceChoice::Auto => Ok(cpu.clone()),
            DeviceChoice::Named(name) => open(name),
        };
        return Ok(match draft {
            None => PairBackends::same(of(target)?),
            Some(draft) => PairBackends::new(of(target)?, of(draft)?),
        });
    }
    let files = PairFiles::open(settings, source, interrupt, reporter)?;
    let (target_need, draft_need) = files.memory_needs(settings)?;
    let folder = Folder::from_environment();
    let folder = folder.as_ref().map(Folder::folder);
    let trial = Trial { folder, anew: measure_anew, interrupt, reporter };
    let cpu = &candidates[0];
    let target = match (target, draft) {
        (DeviceChoice::Auto, None) => {
            return trial.pair(&candidates, target_need, draft_need, cpu);
        }
        (DeviceChoice::Auto, Some(_)) => trial.fastest(&candidates, target_need)?,
        (DeviceChoice::Named(name), _) => open(name)?,
    };
    let draft = match (draft, draft_need) {
        (Some(DeviceChoice::Named(name)), _) => open(name)?,
        (_, None) | (None, _) => return Ok(PairBackends::same(target)),
        (Some(DeviceChoice::Auto), Some(draft)) => {
            let has_room = |device: &&AnyBackend| {
                device.name() != target.name()
                    || memory::check(*device, &[target_need, draft]).is_ok()
            };
            let candidates: Vec<AnyBackend> = candidates.iter().filter(has_room).cloned().collect();
            trial.fastest(&candidates, draft)?
        }
    };
    Ok(PairBackends::new(target, draft))
}

/// Opens the device for one model.
///
/// # Errors
/// As [`of_pair`].
pub fn of_model(
    choice: DeviceChoice,
    threads: NonZeroUsize,
    need: MemoryNeed<'_>,
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> Outcome<AnyBackend> {
    if let DeviceChoice::Named(name) = choice {
        return backend::open(name, threads, reporter);
    }
    let candidates = backend::hardware(threads, reporter)?;
    let folder = Folder::from_environment();
    let folder = folder.as_ref().map(Folder::folder);
    let trial = Trial { folder, anew: false, interrupt, reporter };
    trial.fastest(&candidates, need)
}

/// The device of that name: an open one, so that models on it share threads, kernels and memory.
fn named(
    name: DeviceName,
    candidates: &[AnyBackend],
    threads: NonZeroUsize,
    reporter: &dyn Reporter,
) -> Outcome<AnyBackend> {
    let open = match name {
        DeviceName::Cpu => candidates.first(),
        DeviceName::Gpu(None) => candidates.get(1),
        DeviceName::Gpu(Some(_)) => {
            candidates.iter().find(|device| device.name() == name.to_string())
        }
    };
    open.map_or_else(|| backend::open(name, threads, reporter), |device| Ok(device.clone()))
}
