//! The device layer: adapters, memory, kernels, commands.
//!
//! It is all that the crate asks of wgpu. Everything above it names buffers, kernels and groups of
//! bindings, so that another interface can replace wgpu behind it.

mod adapter;
mod buffer;
mod environment;
mod kernel;
mod memory;
mod recorder;
mod wait;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use adapter::{Adapter, Kind};
pub use buffer::{Buffer, Reading};
pub use environment::omit_display_search;
pub use kernel::{Bindings, Kernel};
pub use recorder::Recorder;

use speckv_formats::quant::WeightType;

use crate::{
    error::GpuError,
    report::FormatReport,
    shader::{MAX_TILE, Shader},
};

/// How long a pass may take before its answer is given up.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Distance of two entries that a kernel reads at a dynamic offset: what every adapter takes.
pub const OFFSET_STEP: u64 = 256;

/// An opened GPU, shared by the models on it.
pub struct Device {
    adapter: Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    limits: wgpu::Limits,
    failure: Arc<Mutex<Option<GpuError>>>,
    kernels: Mutex<BTreeMap<Shader, Arc<Kernel>>>,
    reports: Mutex<BTreeMap<String, FormatReport>>,
}

impl Device {
    /// Opens an adapter.
    ///
    /// # Errors
    /// [`GpuError::Limit`] if it lacks what the kernels need, [`GpuError::Open`] if its driver
    /// refuses.
    pub fn open(adapter: Adapter) -> Result<Arc<Device>, GpuError> {
        let limits = adapter.inner.limits();
        let needs = [
            ("threads per workgroup", u64::from(limits.max_compute_invocations_per_workgroup), 256),
            ("bytes of workgroup memory", u64::from(limits.max_compute_workgroup_storage_size), {
                16 << 10
            }),
            (
                "storage buffers per kernel",
                { u64::from(limits.max_storage_buffers_per_shader_stage) },
                8,
            ),
            ("bytes of a binding", limits.max_storage_buffer_binding_size, 128 << 20),
        ];
        for (what, got, least) in needs {
            if got < least {
                let adapter = adapter.name().to_owned();
                return Err(GpuError::Limit { adapter, what, got, least });
            }
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("speckv"),
            required_features: wgpu::Features::empty(),
            required_limits: limits.clone(),
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            trace: wgpu::Trace::Off,
        };
        let opened = wait::now(adapter.inner.request_device(&descriptor));
        let (device, queue) = opened.map_err(|error| GpuError::Open {
            adapter: adapter.name().to_owned(),
            reason: error.to_string(),
        })?;
        let failure = Arc::new(Mutex::new(None));
        let note = |failure: &Arc<Mutex<Option<GpuError>>>, error: GpuError| {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        };
        let lost = Arc::clone(&failure);
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&lost, GpuError::Lost { reason: message });
            }
        });
        let refused = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            note(&refused, from_wgpu("a command", 0, &error));
        }));
        Ok(Arc::new(Device {
            adapter,
            device,
            queue,
            limits,
            failure,
            kernels: Mutex::default(),
            reports: Mutex::default(),
        }))
    }

    /// The adapter that was opened.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// Largest part of a buffer that a kernel can see, in bytes.
    #[must_use]
    pub fn binding_limit(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size)
    }

    /// Most threads of a workgroup.
    #[must_use]
    pub fn invocations(&self) -> usize {
        self.limits.max_compute_invocations_per_workgroup as usize
    }

    /// Takes what the self-test has found, now or in an earlier run, for the models loaded from now
    /// on.
    pub fn note(&self, report: FormatReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(report.format.clone(), report);
    }

    /// What the self-test has found for a format.
    #[must_use]
    pub fn report(&self, weight_type: WeightType) -> Option<FormatReport> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.get(weight_type.name()).cloned()
    }

    /// What the self-test has found for all formats that it has run for.
    #[must_use]
    pub fn reports(&self) -> Vec<FormatReport> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.values().cloned().collect()
    }

    /// Rows of the largest tile that products with this format may use.
    pub(crate) fn largest_tile(&self, weight_type: WeightType) -> usize {
        self.report(weight_type).map_or(MAX_TILE, |report| report.largest_tile)
    }

    /// The kernel of a shader, compiled the first time it is asked for.
    ///
    /// # Errors
    /// [`GpuError::Refused`] with the driver's words.
    pub fn kernel(&self, shader: &Shader) -> Result<Arc<Kernel>, GpuError> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(shader) {
            return Ok(Arc::clone(kernel));
        }
        let kernel = Arc::new(Kernel::compile(self, shader)?);
        kernels.insert(shader.clone(), Arc::clone(&kernel));
        Ok(kernel)
    }

    /// Lets the next command fail so: for tests of what callers do then. A loss stays.
    pub fn inject(&self, failure: GpuError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// Gives the device up, as a driver does that resets it: its memory is gone, and every later
    /// command fails with [`GpuError::Lost`].
    pub fn give_up(&self) {
        self.inject(GpuError::Lost { reason: "it was given up".to_owned() });
        self.device.destroy();
    }

    /// Submits recorded commands and waits until they are done.
    ///
    /// # Errors
    /// A lost device, a time-out, or what the driver refused.
    pub fn run(&self, recorder: Recorder<'_>) -> Result<(), GpuError> {
        let commands = recorder.finish();
        self.check()?;
        let index = self.queue.submit([commands]);
        self.wait(Some(index))
    }

    /// Submits recorded commands. They run before those that are submitted later.
    ///
    /// # Errors
    /// A device that was lost before.
    pub fn submit(&self, recorder: Recorder<'_>) -> Result<(), GpuError> {
        let commands = recorder.finish();
        self.check()?;
        self.queue.submit([commands]);
        Ok(())
    }

    /// Waits for everything that was submitted.
    fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        let poll = wgpu::PollType::Wait { submission_index, timeout: Some(TIME_LIMIT) };
        match self.device.poll(poll) {
            Err(wgpu::PollError::Timeout) => Err(GpuError::TimedOut { limit: TIME_LIMIT }),
            _ => self.check(),
        }
    }

    /// What has gone wrong on the device, if something has. A lost device stays lost.
    fn check(&self) -> Result<(), GpuError> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match &*failure {
            Some(error @ GpuError::Lost { .. }) => Err(error.clone()),
            _ => failure.take().map_or(Ok(()), Err),
        }
    }

    /// Runs `work` and takes what the driver says against it.
    fn scoped<T>(&self, what: &str, bytes: u64, work: impl FnOnce() -> T) -> Result<T, GpuError> {
        self.check()?;
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let value = work();
        let errors = [internal, validation, memory].map(|scope| wait::now(scope.pop()));
        match errors.into_iter().flatten().next() {
            Some(error) => Err(from_wgpu(what, bytes, &error)),
            None => Ok(value),
        }
    }
}

/// wgpu's error in the words of this crate.
fn from_wgpu(what: &str, bytes: u64, error: &wgpu::Error) -> GpuError {
    match error {
        wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory { what: what.to_owned(), bytes },
        other => GpuError::Refused { what: what.to_owned(), reason: other.to_string() },
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("adapter", &self.adapter.identity()).finish_non_exhaustive()
    }
}
