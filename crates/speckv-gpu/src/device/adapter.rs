//! The GPUs of this machine.

use std::sync::OnceLock;

use crate::error::GpuError;

/// The drivers' interface; made once, because drivers keep state per instance.
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
        descriptor.flags = wgpu::InstanceFlags::empty();
        wgpu::Instance::new(descriptor)
    })
}

/// What kind of device an adapter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the memory of the processor.
    Integrated,
    /// A GPU that a virtual machine passes on, or an unknown one.
    Other,
    /// A program on the processor that behaves like a GPU.
    Software,
}

impl Kind {
    /// The kind in words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Discrete => "discrete",
            Kind::Integrated => "integrated",
            Kind::Other => "other",
            Kind::Software => "software",
        }
    }
}

/// A GPU that can be opened.
#[derive(Debug, Clone)]
pub struct Adapter {
    pub(super) inner: wgpu::Adapter,
    info: wgpu::AdapterInfo,
}

impl Adapter {
    /// All adapters: discrete ones first, software ones last.
    #[must_use]
    pub fn all() -> Vec<Adapter> {
        let backends = wgpu::Backends::all();
        let found = super::wait::now(instance().enumerate_adapters(backends));
        let mut adapters: Vec<Adapter> =
            found.into_iter().map(|inner| Adapter { info: inner.get_info(), inner }).collect();
        adapters.sort_by_key(|adapter| adapter.kind() as u8);
        adapters
    }

    /// The adapter of that number in the order of [`all`](Self::all).
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] or [`GpuError::NoSuchAdapter`].
    pub fn number(number: usize) -> Result<Adapter, GpuError> {
        let mut adapters = Adapter::all();
        if adapters.is_empty() {
            return Err(GpuError::NoAdapter);
        }
        if number >= adapters.len() {
            return Err(GpuError::NoSuchAdapter { number, count: adapters.len() });
        }
        Ok(adapters.swap_remove(number))
    }

    /// Name, as the driver says it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// What kind of device it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
            wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
            wgpu::DeviceType::Cpu => Kind::Software,
            wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => Kind::Other,
        }
    }

    /// The interface it is reached by: `vulkan`, `metal` or `dx12`.
    #[must_use]
    pub fn interface(&self) -> &'static str {
        self.info.backend.to_str()
    }

    /// Driver and its version.
    #[must_use]
    pub fn driver(&self) -> String {
        format!("{} {}", self.info.driver, self.info.driver_info).trim().to_owned()
    }

    /// What measurements of this device are kept under: name, interface and driver.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{} ({}, {})", self.name(), self.interface(), self.driver())
    }

    /// Bytes of the largest memory that belongs to the device; `None` where the interface does not
    /// say. A software adapter has the memory of the machine.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        super::memory::of(&self.inner)
    }

    /// Largest part of a buffer that a kernel can see, in bytes.
    #[must_use]
    pub fn binding_limit(&self) -> u64 {
        self.inner.limits().max_storage_buffer_binding_size
    }
}
