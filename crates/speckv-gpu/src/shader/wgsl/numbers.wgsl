// Functions from multiply-adds and bit operations only: every driver gives the same bits in
// every pipeline.

// 1 / x for x in [1e-37, 1e37], within 2 units in the last place.
fn reciprocal(x: f32) -> f32 {
    var y = bitcast<f32>(0x7ef311c7u - bitcast<u32>(x));
    y = fma(y, fma(-x, y, 1.0), y);
    y = fma(y, fma(-x, y, 1.0), y);
    y = fma(y, fma(-x, y, 1.0), y);
    y = fma(y, fma(-x, y, 1.0), y);
    return y;
}

// e^x for x in [-80, 80]; arguments outside are taken to that range. A NaN stays one.
// x = n ln 2 + r, |r| <= ln 2 / 2: 2^n goes into the exponent, e^r is a Taylor polynomial.
fn exponential(x: f32) -> f32 {
    let bounded = clamp(x, -80.0, 80.0);
    let n = round(bounded * 1.44269504);
    var r = fma(n, -0.693359375, bounded);
    r = fma(n, 2.12194440e-4, r);
    var p = 1.98412698e-4;
    p = fma(p, r, 1.38888889e-3);
    p = fma(p, r, 8.33333333e-3);
    p = fma(p, r, 4.16666667e-2);
    p = fma(p, r, 1.66666667e-1);
    p = fma(p, r, 0.5);
    p = fma(p, r, 1.0);
    p = fma(p, r, 1.0);
    let power = bitcast<f32>(u32(i32(n) + 127) << 23u);
    return select(p * power, x, magnitude(x) > 0x7f800000u);
}

// Whether x is a NaN or an infinity, by its bits: compilers may assume that there are none.
fn is_broken(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u;
}

// The bits of |x|: their order is that of the magnitudes, and what is no number is above all.
fn magnitude(x: f32) -> u32 {
    return bitcast<u32>(x) & 0x7fffffffu;
}

// What a block's largest magnitude says of its integers: x ~ scale * q.
struct Quantizer {
    scale: f32,
    inverse: f32,
}

// The largest magnitude is at 127. A block with a NaN or an infinity gets such a scale.
fn quantizer(peak: u32) -> Quantizer {
    let largest = bitcast<f32>(peak);
    if (peak >= 0x7f800000u) {
        return Quantizer(bitcast<f32>(0x7fc00000u | (peak & 1u)), 0.0);
    }
    if (largest < 1e-30) {
        return Quantizer(0.0, 0.0);
    }
    return Quantizer(largest * (1.0 / 127.0), 127.0 * reciprocal(largest));
}

// The integer nearest to x / scale, ties to even, -127 to 127.
fn quantized(x: f32, inverse: f32) -> i32 {
    return clamp(i32(round(x * inverse)), -127, 127);
}

// Four integers as the bytes of a word, the first one lowest.
fn packed(a: i32, b: i32, c: i32, d: i32) -> u32 {
    return (u32(a) & 255u) | ((u32(b) & 255u) << 8u) | ((u32(c) & 255u) << 16u)
        | ((u32(d) & 255u) << 24u);
}

// What the products read of a block besides its integers: scale, scale * sum, and the sums of the
// first and the second 16 integers.
fn factors_of(scale: f32, first: i32, second: i32) -> vec4<u32> {
    let sum = scale * f32(first + second);
    return vec4<u32>(bitcast<u32>(scale), bitcast<u32>(sum), bitcast<u32>(first),
        bitcast<u32>(second));
}
