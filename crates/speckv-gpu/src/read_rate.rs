//! What the memory of a device gives: the limit of a pass over one row.

use std::time::Instant;

use crate::{device::Device, error::GpuError, shader::Shader};

/// Largest buffer that is read.
const BYTES: u64 = 1 << 30;
/// Workgroups of 256 threads: enough for the largest GPUs.
const WORKGROUPS: usize = 2048;
/// Reads of one submission, so that its own time does not count.
const READS: usize = 16;
/// Submissions; the fastest counts.
const ROUNDS: usize = 5;

/// Bytes per second that the kernels of a device can read, in one large buffer.
///
/// # Errors
/// No memory for the buffer, or a device that fails.
pub fn read_rate(device: &Device) -> Result<f64, GpuError> {
    let bytes = BYTES.min(device.binding_limit()) / 16 * 16;
    let data = device.buffer("data to read", bytes)?;
    let sums = device.buffer("sums", (WORKGROUPS * 256 * 4) as u64)?;
    let shape = device.uniform("shape", &[(bytes / 16) as u32, (WORKGROUPS * 256) as u32])?;
    let kernel = device.kernel(&Shader::read())?;
    let bindings = kernel.bind_whole(device, &[&shape, &data, &sums])?;
    let mut fastest = f64::INFINITY;
    for round in 0..=ROUNDS {
        let mut recorder = device.recorder();
        for _ in 0..READS {
            recorder.dispatch(&kernel, &bindings, 0, [WORKGROUPS, 1, 1]);
        }
        let start = Instant::now();
        device.run(recorder)?;
        // The first round touches the memory for the first time.
        if round > 0 {
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    Ok((bytes * READS as u64) as f64 / fastest)
}
