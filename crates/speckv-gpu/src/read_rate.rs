//! What the memory of a device gives: the limit of a pass over one row.

use std::{sync::Arc, time::Instant};

use crate::{
    device::{Bindings, Buffer, Device, Kernel},
    error::GpuError,
    shader::Shader,
};

/// Largest buffer that is read.
const BYTES: u64 = 1 << 30;
/// Workgroups of 256 threads: enough for the largest GPUs.
const WORKGROUPS: usize = 2048;
/// Reads of one submission, so that its own time does not count.
const READS: usize = 16;
/// Submissions; the fastest counts.
const ROUNDS: usize = 5;

/// Device memory that is read to measure how fast that goes.
#[derive(Debug)]
pub struct ReadBuffer {
    device: Arc<Device>,
    kernel: Arc<Kernel>,
    bindings: Bindings,
    /// Held for the kernel.
    _buffers: [Buffer; 3],
    bytes: u64,
}

impl ReadBuffer {
    /// A buffer of at most `bytes` bytes: what a kernel sees at once may be less. The memory has
    /// been read once.
    ///
    /// # Errors
    /// No memory for it, or a device that fails.
    pub fn new(device: &Arc<Device>, bytes: u64) -> Result<Self, GpuError> {
        let bytes = (bytes.min(device.binding_limit()) / 16 * 16).max(16);
        let data = device.buffer("data to read", bytes)?;
        let sums = device.buffer("sums", (WORKGROUPS * 256 * 4) as u64)?;
        let shape = [(bytes / 16) as u32, (WORKGROUPS * 256) as u32];
        let shape = device.uniform("shape", &shape)?;
        let kernel = device.kernel(&Shader::read())?;
        let bindings = kernel.bind_whole(device, &[&shape, &data, &sums])?;
        let device = Arc::clone(device);
        let buffers = [data, sums, shape];
        let buffer = ReadBuffer { device, kernel, bindings, _buffers: buffers, bytes };
        buffer.rate()?; // touches the memory for the first time
        Ok(buffer)
    }

    /// Size of the buffer.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// Bytes per second of one submission that reads the buffer a few times.
    ///
    /// # Errors
    /// A device that fails.
    pub fn rate(&self) -> Result<f64, GpuError> {
        let mut recorder = self.device.recorder();
        for _ in 0..READS {
            recorder.dispatch(&self.kernel, &self.bindings, 0, [WORKGROUPS, 1, 1]);
        }
        let start = Instant::now();
        self.device.run(recorder)?;
        Ok((self.bytes * READS as u64) as f64 / start.elapsed().as_secs_f64())
    }
}

/// Bytes per second that the kernels of a device can read, in one large buffer.
///
/// # Errors
/// No memory for the buffer, or a device that fails.
pub fn read_rate(device: &Arc<Device>) -> Result<f64, GpuError> {
    let buffer = ReadBuffer::new(device, BYTES)?;
    let rates = (0..ROUNDS).map(|_| buffer.rate()).collect::<Result<Vec<_>, _>>()?;
    Ok(rates.into_iter().fold(0.0, f64::max))
}
