//! `--device auto`: the device whose plain pass is faster and whose memory suffices.
//!
//! A plain pass of the model is timed once per device and kept with the measured costs. A device
//! whose memory does not suffice is not loaded for it.

use std::path::Path;

use speckv::engine::Clock;

use crate::{
    backend::{Backend, PairBackends, WeightOptions},
    calibration::plain::{self, PlainSubject},
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    memory::{self, MemoryNeed},
    pair,
    report::Reporter,
};

/// Positions of the caches that are made for timing.
const CONTEXT: usize = 512;

/// How devices are compared.
pub struct Trial<'a> {
    /// Where times are kept; `None` keeps none.
    pub folder: Option<&'a Path>,
    /// Whether times that are known are measured again.
    pub anew: bool,
    /// Ends the measuring.
    pub interrupt: &'a Interrupt,
    /// Hears what was measured and chosen.
    pub reporter: &'a dyn Reporter,
}

impl Trial<'_> {
    /// The candidate with the fastest plain pass among those whose memory suffices.
    ///
    /// # Errors
    /// If no memory suffices, what the first candidate says; what stops a measurement.
    pub fn fastest<B: Backend + Clone>(
        &self,
        candidates: &[B],
        need: MemoryNeed<'_>,
    ) -> Outcome<B> {
        let (mut fitting, mut refused) = (Vec::new(), None);
        for backend in candidates {
            match memory::check(backend, &[need]) {
                Ok(()) => fitting.push(backend),
                Err(failure) => {
                    if candidates.len() > 1 {
                        self.reporter.note(&format!("{} is not used: {}", backend.name(), {
                            failure.message()
                        }));
                    }
                    refused.get_or_insert(failure);
                }
            }
        }
        let what = need.what;
        match (fitting.as_slice(), refused) {
            ([], Some(failure)) => Err(failure),
            ([], None) => Err(Failure::bug("no device to choose from")),
            ([only], refused) => {
                let why = if refused.is_some() {
                    "the only one whose memory suffices"
                } else {
                    "no GPU but software adapters is here"
                };
                self.reporter.note(&format!("device of the {what}: {}, {why}", only.name()));
                Ok((*only).clone())
            }
            (several, _) => self.race(several, need),
        }
    }

    /// The candidate with the fastest plain pass.
    fn race<B: Backend + Clone>(&self, candidates: &[&B], need: MemoryNeed<'_>) -> Outcome<B> {
        let mut timed = Vec::new();
        for backend in candidates {
            match self.seconds(*backend, need) {
                Ok(seconds) => timed.push((seconds, *backend)),
                Err(failure) if self.interrupt.is_raised() => return Err(failure),
                Err(failure) => self.reporter.warning(&format!(
                    "{} is not used: {}",
                    backend.name(),
                    failure.message()
                )),
            }
        }
        timed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let Some(&(_, fastest)) = timed.first() else {
            return Err(Failure::new(
                "no device could run the model",
                "--device cpu says what is wrong on the processor",
            ));
        };
        let times: Vec<String> = timed
            .iter()
            .map(|(seconds, backend)| format!("{} {:.1} ms", backend.name(), 1e3 * seconds))
            .collect();
        self.reporter.note(&format!(
            "device of the {}: {} (a plain pass takes: {})",
            need.what,
            fastest.name(),
            times.join(", ")
        ));
        Ok(fastest.clone())
    }

    /// Seconds of a plain pass, those kept or measured now.
    fn seconds<B: Backend>(&self, backend: &B, need: MemoryNeed<'_>) -> Outcome<f64> {
        let MemoryNeed { file, compression, cache_type, context, .. } = need;
        let of = PlainSubject::new(backend.identity(), file.path(), compression, cache_type);
        let kept = self.folder.filter(|_| !self.anew).and_then(|folder| plain::read(folder, &of));
        if let Some(seconds) = kept {
            return Ok(seconds);
        }
        self.reporter.note(&format!("timing a plain pass on {}, once ...", backend.name()));
        let weights = WeightOptions { compression, cache_type, ..WeightOptions::default() };
        let context = context.min(CONTEXT);
        let model = pair::load_model(backend, file, context, true, &weights, self.reporter)?;
        if self.interrupt.is_raised() {
            return Err(Failure::interrupted(
                "stopped while timing devices",
                "--device cpu or --device gpu needs no timing",
            ));
        }
        let seconds = plain::measure(&*model, &Clock::system())
            .map_err(|error| Failure::new(chain(&error), "give --device cpu or gpu"))?;
        if let Some(folder) = self.folder
            && let Err(why) = plain::write(folder, &of, seconds)
        {
            self.reporter.note(&format!("the time cannot be kept for the next run: {why}"));
        }
        Ok(seconds)
    }

    /// The target's device by its plain pass, and the draft beside it where both fit; where they
    /// do not, the draft is on `other`.
    ///
    /// # Errors
    /// As [`fastest`](Self::fastest).
    pub fn pair<B: Backend + Clone>(
        &self,
        candidates: &[B],
        target: MemoryNeed<'_>,
        draft: Option<MemoryNeed<'_>>,
        other: &B,
    ) -> Outcome<PairBackends<B>> {
        let device = self.fastest(candidates, target)?;
        let Some(draft) = draft else { return Ok(PairBackends::same(device)) };
        if device.name() == other.name() || memory::check(&device, &[target, draft]).is_ok() {
            return Ok(PairBackends::same(device));
        }
        self.reporter.note(&format!(
            "device of the draft: {}, because {} has no room for it beside the target",
            other.name(),
            device.name()
        ));
        Ok(PairBackends::new(device, other.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroUsize,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use speckv_cpu::model::CpuModel;
    use speckv_formats::{
        checkpoint::Checkpoint, compression::Compression, config::Config, gguf::Gguf, tiny::Tiny,
    };

    use super::*;
    use crate::{
        backend::{CacheType, CpuBackend},
        report::Silent,
    };

    /// The processor under another name, with less memory.
    #[derive(Clone)]
    struct Device {
        name: &'static str,
        memory: u64,
        cpu: CpuBackend,
        loads: Arc<AtomicUsize>,
    }

    impl Device {
        fn new(name: &'static str, memory: u64) -> Self {
            let cpu = CpuBackend::new(NonZeroUsize::MIN).expect("one thread");
            Device { name, memory, cpu, loads: Arc::default() }
        }
    }

    impl Backend for Device {
        type Model = CpuModel;

        fn name(&self) -> &str {
            self.name
        }

        fn identity(&self) -> String {
            format!("the device {}", self.name)
        }

        fn weight_bytes(&self, file: &Checkpoint, compression: Compression) -> u64 {
            self.cpu.weight_bytes(file, compression)
        }

        fn position_bytes(&self, config: &Config, cache_type: CacheType) -> u64 {
            self.cpu.position_bytes(config, cache_type)
        }

        fn supports_cache(&self, config: &Config, cache_type: CacheType) -> bool {
            self.cpu.supports_cache(config, cache_type)
        }

        fn available_bytes(&self) -> Option<u64> {
            Some(self.memory)
        }

        fn load(
            &self,
            file: &Checkpoint,
            context: usize,
            options: &WeightOptions,
            at: &mut dyn FnMut(u64, u64),
        ) -> Outcome<CpuModel> {
            self.loads.fetch_add(1, Ordering::Relaxed);
            self.cpu.load(file, context, options, at)
        }
    }

    fn file() -> Checkpoint {
        let bytes = Tiny::default().to_bytes().expect("a file");
        Arc::new(Gguf::from_bytes(bytes).expect("a model")).into()
    }

    fn need<'a>(file: &'a Checkpoint, what: &'static str) -> MemoryNeed<'a> {
        let (compression, cache_type) = (Compression::AsIs, CacheType::F16);
        MemoryNeed { file, compression, context: 64, cache_type, what }
    }

    const ROOM: u64 = 1 << 30;

    /// What one model takes, weights and keys and values.
    fn one_model(file: &Checkpoint) -> u64 {
        let device = Device::new("any", 0);
        let config = file.config().expect("a configuration");
        device.weight_bytes(file, Compression::AsIs)
            + 64 * device.position_bytes(&config, CacheType::F16)
    }

    #[test]
    fn the_faster_device_by_kept_times_is_taken_without_loading() {
        let (file, folder) = (file(), tempfile::tempdir().expect("a folder"));
        let interrupt = Interrupt::default();
        let trial = |anew| Trial {
            folder: Some(folder.path()),
            anew,
            interrupt: &interrupt,
            reporter: &Silent,
        };
        let devices = [Device::new("a", ROOM), Device::new("b", ROOM)];
        for (device, seconds) in devices.iter().zip([0.02, 0.01]) {
            let (none, cache) = (Compression::AsIs, CacheType::F16);
            let subject = PlainSubject::new(device.identity(), None, none, cache);
            plain::write(folder.path(), &subject, seconds).expect("written");
        }
        let taken = trial(false).fastest(&devices, need(&file, "model")).expect("a device");
        assert_eq!(taken.name, "b");
        let loads = || devices.each_ref().map(|device| device.loads.load(Ordering::Relaxed));
        assert_eq!(loads(), [0, 0]);
        trial(true).fastest(&devices, need(&file, "model")).expect("a device");
        assert_eq!(loads(), [1, 1], "measured anew");
        trial(false).fastest(&devices, need(&file, "model")).expect("a device");
        assert_eq!(loads(), [1, 1], "kept");
    }

    #[test]
    fn a_device_without_room_is_not_taken_nor_loaded() {
        let (file, interrupt) = (file(), Interrupt::default());
        let trial = Trial { folder: None, anew: false, interrupt: &interrupt, reporter: &Silent };
        let devices = [Device::new("small", 1000), Device::new("large", ROOM)];
        let taken = trial.fastest(&devices, need(&file, "model")).expect("a device");
        assert_eq!((taken.name, devices[0].loads.load(Ordering::Relaxed)), ("large", 0));
        let small = [Device::new("a", 1000), Device::new("b", 2000)];
        let refused = trial.fastest(&small, need(&file, "model")).err().expect("no room");
        assert!(refused.message().contains("available on a: 1.00 kB"), "{refused:?}");
    }

    #[test]
    fn a_draft_without_room_beside_the_target_is_on_the_other_device() {
        let (file, interrupt) = (file(), Interrupt::default());
        let trial = Trial { folder: None, anew: false, interrupt: &interrupt, reporter: &Silent };
        let other = Device::new("other", ROOM);
        let (target, draft) = (need(&file, "target"), Some(need(&file, "draft")));
        for (memory, expected) in
            [(2 * one_model(&file), "gpu"), (2 * one_model(&file) - 1, "other")]
        {
            let devices = [Device::new("gpu", memory)];
            let pair = trial.pair(&devices, target, draft, &other).expect("devices");
            assert_eq!((pair.target.name, pair.draft.name), ("gpu", expected));
            assert_eq!(pair.share_memory(), expected == "gpu");
        }
        let alone = trial.pair(&[Device::new("gpu", ROOM)], target, None, &other);
        assert_eq!(alone.expect("a device").draft.name, "gpu");
    }
}
