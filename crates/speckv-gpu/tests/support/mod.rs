//! A device for tests: the first adapter of the machine, a software one included.

#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::{Arc, OnceLock};

use speckv_gpu::device::{Adapter, Device};

/// The device, or nothing, which is said, where the machine has no adapter.
pub(crate) fn device() -> Option<Arc<Device>> {
    static DEVICE: OnceLock<Option<Arc<Device>>> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        let adapter = Adapter::all().into_iter().next()?;
        Some(Device::open(adapter).expect("the adapter opens"))
    });
    if device.is_none() {
        eprintln!("skipped: no adapter (install mesa-vulkan-drivers and libvulkan1 for a test)");
    }
    device.clone()
}

/// Numbers in -1..1, the same for the same seed.
pub(crate) fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Words of floats.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Floats of words.
pub(crate) fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}
