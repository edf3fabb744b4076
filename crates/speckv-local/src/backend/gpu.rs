//! Models on a GPU.

use std::sync::Arc;

use speckv::model::LanguageModel;
use speckv_formats::{
    checkpoint::Checkpoint, compression::Compression, config::Config, quant::WeightType,
    weights::Layout,
};
use speckv_gpu::{
    cache_type::CacheType as DeviceCacheType,
    device::{Adapter, Device, Kind},
    error::GpuError,
    matrix::BuildError,
    model::{GpuModel, LoadError, LoadOptions, memory_need},
    report::FormatReport,
    self_test::check_format,
};

use super::{Backend, CacheType, LocalModel, WeightOptions, tested_formats};
use crate::failure::{DAMAGED, Failure, Outcome, chain};

/// Positions of a cache come in groups of so many.
const POSITION_GROUP: usize = 32;

/// Loads models into the memory of one GPU.
#[derive(Clone)]
pub struct GpuBackend {
    device: Arc<Device>,
    name: String,
}

impl GpuBackend {
    /// Opens the adapter of that number; without one, the first, which is a software adapter only
    /// where there is no other.
    ///
    /// # Errors
    /// No such adapter, or one whose driver refuses.
    pub fn open(number: Option<usize>) -> Outcome<Self> {
        let number = number.unwrap_or(0); // software adapters are the last
        let device = Adapter::number(number)
            .and_then(Device::open)
            .map_err(|error| device_failure(&error))?;
        for report in tested_formats::read(&device.adapter().identity()) {
            device.note(report);
        }
        Ok(GpuBackend { device, name: format!("gpu:{number}") })
    }

    /// Numbers of the adapters that are no software.
    pub fn hardware() -> impl Iterator<Item = usize> {
        let is_hardware = |adapter: &Adapter| adapter.kind() != Kind::Software;
        let adapters = Adapter::all().into_iter().enumerate();
        adapters.filter(move |(_, adapter)| is_hardware(adapter)).map(|(number, _)| number)
    }

    /// Whether the adapter is a program on the processor.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.device.adapter().kind() == Kind::Software
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Runs the self-test for the formats that a file's matrices will have, unless it has run with
    /// this driver before.
    fn test(&self, file: &Checkpoint, compression: Compression) -> Outcome<()> {
        use speckv_formats::quant::Rows;
        let (Ok(config), device) = (file.config(), &self.device) else { return Ok(()) };
        let Ok(layout) = Layout::new(file, &config) else { return Ok(()) };
        let mut is_new = false;
        for slot in layout.matrices() {
            let Some(tensor) = file.stored(&slot.name) else { continue };
            let weight_type = compression.of(tensor.weight_type(), slot.role);
            if device.report(weight_type).is_some() {
                continue;
            }
            let report =
                check_format(device, weight_type).map_err(|error| build_failure(&error))?;
            if !report.is_accurate() {
                return Err(wrong_products(device, &report));
            }
            device.note(report);
            is_new = true;
        }
        if is_new {
            tested_formats::write(&device.adapter().identity(), device.reports());
        }
        Ok(())
    }
}

fn wrong_products(device: &Device, report: &FormatReport) -> Failure {
    Failure::new(
        format!(
            "{} multiplies {} weights wrongly: an error of {:.1e} where 1e-5 is the most",
            device.adapter().identity(),
            report.format,
            report.error
        ),
        "another driver version may be right; --device cpu runs without the GPU",
    )
}

impl Backend for GpuBackend {
    type Model = GpuModel;

    fn name(&self) -> &str {
        &self.name
    }

    fn identity(&self) -> String {
        self.device.adapter().identity()
    }

    fn weight_bytes(&self, file: &Checkpoint, compression: Compression) -> u64 {
        let options = LoadOptions { compression, ..LoadOptions::new(Arc::clone(&self.device)) };
        // A file that cannot be measured cannot be loaded, and loading says why.
        memory_need(file, &options).map_or(0, |need| need.weights + need.pass)
    }

    fn position_bytes(&self, config: &Config, cache_type: CacheType) -> u64 {
        speckv_gpu::model::position_bytes(config, on_device(cache_type)) as u64
    }

    fn supports_cache(&self, config: &Config, cache_type: CacheType) -> bool {
        on_device(cache_type).takes(config.head_dim)
    }

    fn available_bytes(&self) -> Option<u64> {
        self.device.adapter().memory()
    }

    fn load(
        &self,
        file: &Checkpoint,
        context: usize,
        options: &WeightOptions,
        at: &mut dyn FnMut(u64, u64),
    ) -> Outcome<GpuModel> {
        self.test(file, options.compression)?;
        let load = LoadOptions {
            context: Some(context),
            compression: options.compression,
            cache_type: on_device(options.cache_type),
            head_gap: options.head_gap.clone(),
            embedding: options.drafts,
            ..LoadOptions::new(Arc::clone(&self.device))
        };
        GpuModel::load(file.clone(), &load, &mut |progress| at(progress.done, progress.total))
            .map_err(|error| load_failure(&error))
    }
}

/// The type in the words of the GPU crate.
fn on_device(cache_type: CacheType) -> DeviceCacheType {
    match cache_type {
        CacheType::F16 => DeviceCacheType::F16,
        CacheType::Q8_0 => DeviceCacheType::Q8_0,
    }
}

/// A device's failure with its own hint.
fn device_failure(error: &GpuError) -> Failure {
    Failure::new(error, error.hint())
}

fn build_failure(error: &BuildError) -> Failure {
    match error {
        BuildError::Device(error) => device_failure(error),
        other => Failure::new(chain(other), DAMAGED),
    }
}

fn load_failure(error: &LoadError) -> Failure {
    match error {
        LoadError::Device(error) | LoadError::Weight { source: BuildError::Device(error), .. } => {
            device_failure(error)
        }
        LoadError::CacheType { .. } => {
            Failure::new(chain(error), "omit --kv: keys and values are then f16")
        }
        LoadError::Context { most, .. } => {
            Failure::new(chain(error), format!("give at most --ctx {most}"))
        }
        LoadError::Config(_) => Failure::new(
            chain(error),
            "`speckv inspect MODEL` shows what the file holds; `speckv models` lists models that \
             work",
        ),
        LoadError::Weight { .. } => Failure::new(
            chain(error),
            "another --compression (or --draft-compression) can represent these weights; asis \
             always can",
        ),
        _ => Failure::new(chain(error), DAMAGED),
    }
}

impl LocalModel for GpuModel {
    fn config(&self) -> &Config {
        GpuModel::config(self)
    }

    fn compression(&self) -> Compression {
        GpuModel::compression(self)
    }

    fn weight_type(&self) -> WeightType {
        GpuModel::weight_type(self)
    }

    fn bits_per_weight(&self) -> f64 {
        GpuModel::bits_per_weight(self)
    }

    fn cache_type(&self) -> CacheType {
        match GpuModel::cache_type(self) {
            DeviceCacheType::F16 => CacheType::F16,
            DeviceCacheType::Q8_0 => CacheType::Q8_0,
        }
    }

    fn pass_bytes(&self) -> u64 {
        GpuModel::pass_bytes(self)
    }

    fn multiply_adds(&self) -> u64 {
        GpuModel::multiply_adds(self)
    }

    fn position_bytes(&self) -> u64 {
        GpuModel::position_bytes(self) as u64
    }

    fn sequence_bytes(&self) -> u64 {
        let positions = self.context_length().next_multiple_of(POSITION_GROUP);
        LocalModel::position_bytes(self) * positions as u64
    }

    fn head_size(&self) -> usize {
        GpuModel::head_size(self)
    }

    fn threads(&self) -> usize {
        1
    }

    fn processor(&self) -> String {
        self.device().adapter().identity()
    }
}
