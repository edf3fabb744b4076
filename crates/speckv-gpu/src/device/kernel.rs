//! Compiled kernels and what they are bound to.

use super::{Buffer, Device};
use crate::{error::GpuError, shader::Shader};

/// How a kernel uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Shared numbers at a dynamic offset; binding 0 only.
    Offset,
    /// Shared numbers.
    Uniform,
    /// Reads.
    Read,
    /// Reads and writes.
    Write,
}

/// A compiled kernel.
#[derive(Debug)]
pub struct Kernel {
    pub(super) pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    uses: Vec<(u32, Use)>,
    name: &'static str,
}

/// Buffers bound to the places of a kernel, and of every other kernel with the same places.
#[derive(Debug, Clone)]
pub struct Bindings {
    pub(super) inner: wgpu::BindGroup,
    pub(super) has_offset: bool,
}

/// The places of a shader, from its text: `@group(0) @binding(N) var<...>`.
fn uses(text: &str) -> Vec<(u32, Use)> {
    let mut uses: Vec<(u32, Use)> = text
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(')')?;
            let number = number.parse().ok()?;
            let space = rest.trim_start().strip_prefix("var<")?.split_once('>')?.0;
            let used = match space {
                "uniform" if number == 0 => Use::Offset,
                "uniform" => Use::Uniform,
                "storage, read" => Use::Read,
                _ => Use::Write,
            };
            Some((number, used))
        })
        .collect();
    uses.sort_by_key(|(number, _)| *number);
    uses
}

impl Kernel {
    /// Compiles a shader.
    pub(super) fn compile(device: &Device, shader: &Shader) -> Result<Self, GpuError> {
        let (name, text) = (shader.name(), shader.text());
        let uses = uses(&text);
        let entries: Vec<wgpu::BindGroupLayoutEntry> = uses
            .iter()
            .map(|&(binding, used)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match used {
                        Use::Offset | Use::Uniform => wgpu::BufferBindingType::Uniform,
                        Use::Read => wgpu::BufferBindingType::Storage { read_only: true },
                        Use::Write => wgpu::BufferBindingType::Storage { read_only: false },
                    },
                    has_dynamic_offset: used == Use::Offset,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        device.scoped(name, 0, || {
            let source = wgpu::ShaderSource::Wgsl(text.as_str().into());
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(name), source };
            // SAFETY: the kernels of this crate index their buffers by row, block and lane, which
            // stay below the shapes that the buffers were made for; every loop counts up to a
            // bound that it does not change; no division has a zero divisor.
            let module = unsafe {
                let checks = wgpu::ShaderRuntimeChecks::unchecked();
                device.device.create_shader_module_trusted(descriptor, checks)
            };
            let layout = device.device.create_bind_group_layout(&{
                wgpu::BindGroupLayoutDescriptor { label: Some(name), entries: &entries }
            });
            let layouts = [Some(&layout)];
            let pipeline_layout = device.device.create_pipeline_layout(&{
                wgpu::PipelineLayoutDescriptor {
                    label: Some(name),
                    bind_group_layouts: &layouts,
                    immediate_size: 0,
                }
            });
            let pipeline = device.device.create_compute_pipeline(&{
                wgpu::ComputePipelineDescriptor {
                    label: Some(name),
                    layout: Some(&pipeline_layout),
                    module: &module,
                    entry_point: Some("main"),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &[],
                        zero_initialize_workgroup_memory: false,
                    },
                    cache: None,
                }
            });
            Kernel { pipeline, layout, uses, name }
        })
    }

    /// Binds buffers to the kernel's places, in the order of their numbers: each with the first
    /// byte and the number of bytes that the kernel sees.
    ///
    /// # Errors
    /// [`GpuError::Refused`] if the driver does not take them.
    ///
    /// # Panics
    /// If there are not as many as places.
    pub fn bind(
        &self,
        device: &Device,
        buffers: &[(&Buffer, u64, u64)],
    ) -> Result<Bindings, GpuError> {
        assert_eq!(buffers.len(), self.uses.len(), "places of {}: {:?}", self.name, self.uses);
        let entries: Vec<wgpu::BindGroupEntry<'_>> = self
            .uses
            .iter()
            .zip(buffers)
            .map(|(&(binding, _), &(buffer, offset, bytes))| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &buffer.inner,
                    offset,
                    size: wgpu::BufferSize::new(bytes),
                }),
            })
            .collect();
        let inner = device.scoped(self.name, 0, || {
            device.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(self.name),
                layout: &self.layout,
                entries: &entries,
            })
        })?;
        Ok(Bindings { inner, has_offset: self.uses.iter().any(|&(_, used)| used == Use::Offset) })
    }

    /// Binds whole buffers; binding 0 sees one entry at its offset.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_whole(&self, device: &Device, buffers: &[&Buffer]) -> Result<Bindings, GpuError> {
        let parts: Vec<(&Buffer, u64, u64)> = self
            .uses
            .iter()
            .zip(buffers)
            .map(|(&(_, used), &buffer)| {
                let bytes = if used == Use::Offset { super::OFFSET_STEP } else { buffer.len() };
                (buffer, 0, bytes)
            })
            .collect();
        assert_eq!(parts.len(), buffers.len(), "places of {}: {:?}", self.name, self.uses);
        self.bind(device, &parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_the_text() {
        let text = Shader::norm(true).text();
        let expected = [
            (0, Use::Offset),
            (1, Use::Uniform),
            (2, Use::Write),
            (3, Use::Read),
            (4, Use::Write),
            (5, Use::Write),
            (6, Use::Write),
            (7, Use::Read),
        ];
        assert_eq!(uses(&text), expected);
    }
}
