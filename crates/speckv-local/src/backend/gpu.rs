//! Models on a GPU.

use std::sync::Arc;

use speckv::model::LanguageModel;
use speckv_formats::{
    checkpoint::Checkpoint, compression::Compression, config::Config, quant::WeightType,
    weights::Layout,
};
use speckv_gpu::{
    device::{Adapter, Device},
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
    /// Opens the adapter of that number; without one, the first that is no software.
    ///
    /// # Errors
    /// No such adapter, or one whose driver refuses.
    pub fn open(number: Option<usize>) -> Outcome<Self> {
        let adapter = match number {
            Some(number) => Adapter::number(number),
            None => Adapter::first_hardware().ok_or(GpuError::NoAdapter),
        };
        let device = adapter.and_then(Device::open).map_err(|error| device_failure(&error))?;
        for report in tested_formats::read(&device.adapter().identity()) {
            device.note(report);
        }
        let name = number.map_or_else(|| "gpu".to_owned(), |number| format!("gpu:{number}"));
        Ok(GpuBackend { device, name })
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

    fn weight_bytes(&self, file: &Checkpoint, compression: Compression) -> u64 {
        let options = LoadOptions { compression, ..LoadOptions::new(Arc::clone(&self.device)) };
        // A file that cannot be measured cannot be loaded, and loading says why.
        memory_need(file, &options).map_or(0, |need| need.weights + need.pass)
    }

    fn position_bytes(&self, config: &Config, _: CacheType) -> u64 {
        speckv_gpu::model::position_bytes(config) as u64
    }

    fn supports_cache(&self, _: &Config, cache_type: CacheType) -> bool {
        cache_type == CacheType::F16
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
        if options.cache_type != CacheType::F16 {
            return Err(Failure::new(
                format!("keys and values on a GPU cannot be {}; f16 is supported", {
                    options.cache_type
                }),
                "omit --kv",
            ));
        }
        self.test(file, options.compression)?;
        let load = LoadOptions {
            context: Some(context),
            compression: options.compression,
            ..LoadOptions::new(Arc::clone(&self.device))
        };
        GpuModel::load(file.clone(), &load, &mut |progress| at(progress.done, progress.total))
            .map_err(|error| load_failure(&error))
    }
}

/// A failure of this crate's errors that end with a hint of their own.
fn device_failure(error: &GpuError) -> Failure {
    let text = error.to_string();
    match text.split_once("\nhint: ") {
        Some((what, hint)) => Failure::new(what.to_owned(), hint.to_owned()),
        None => Failure::new(text, "--device cpu runs without the GPU"),
    }
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
        CacheType::F16
    }

    fn pass_bytes(&self) -> u64 {
        GpuModel::pass_bytes(self)
    }

    fn sequence_bytes(&self) -> u64 {
        let positions = self.context_length().next_multiple_of(POSITION_GROUP);
        self.position_bytes() as u64 * positions as u64
    }

    fn head_size(&self) -> usize {
        self.vocab_size()
    }

    fn threads(&self) -> usize {
        1
    }

    fn processor(&self) -> String {
        self.device().adapter().identity()
    }
}
