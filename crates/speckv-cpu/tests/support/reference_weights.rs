//! Weights of the models that programs in `transformers/` made: a hash of a tensor's name and an
//! element's place.

/// Values of the tensor of that name and shape.
pub(crate) fn weights(name: &str, shape: &[usize]) -> Vec<f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mix = |x: u64| {
        let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    };
    let norm = name.ends_with("norm.weight");
    let size = if norm || name.contains("embed") { 1.0 } else { 0.25 };
    (0..shape.iter().product::<usize>() as u64)
        .map(|i| {
            let value = (mix(seed.wrapping_add(i)) >> 56) as i32 - 128;
            (if norm { value.div_euclid(4) } else { value }) as f32 * (size / 128.0)
        })
        .collect()
}
