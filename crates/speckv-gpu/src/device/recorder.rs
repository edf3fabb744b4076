//! Commands of a pass.

use super::{Bindings, Device, Kernel, OFFSET_STEP};

/// Records commands for one submission. They run in their order, each after what it depends on.
pub struct Recorder<'d> {
    device: &'d Device,
    encoder: wgpu::CommandEncoder,
    pass: Option<wgpu::ComputePass<'static>>,
}

impl Device {
    /// Begins to record.
    #[must_use]
    pub fn recorder(&self) -> Recorder<'_> {
        let descriptor = wgpu::CommandEncoderDescriptor { label: Some("pass") };
        let encoder = self.device.create_command_encoder(&descriptor);
        Recorder { device: self, encoder, pass: None }
    }
}

impl Recorder<'_> {
    /// The device that the commands are for.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.device
    }

    /// Runs a kernel on a grid of workgroups; `entry` is the number of the entry at binding 0 that
    /// it reads, where it has one.
    pub fn dispatch(&mut self, kernel: &Kernel, bindings: &Bindings, entry: u32, grid: [usize; 3]) {
        let pass = self.pass.get_or_insert_with(|| {
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: None };
            self.encoder.begin_compute_pass(&descriptor).forget_lifetime()
        });
        let offset = [entry * OFFSET_STEP as u32];
        pass.set_pipeline(&kernel.pipeline);
        pass.set_bind_group(0, &bindings.inner, if bindings.has_offset { &offset } else { &[] });
        let [x, y, z] = grid.map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        pass.dispatch_workgroups(x, y, z);
    }

    /// The encoder, outside of a compute pass.
    pub(super) fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        &mut self.encoder
    }

    pub(super) fn finish(mut self) -> wgpu::CommandBuffer {
        self.pass = None;
        self.encoder.finish()
    }
}
