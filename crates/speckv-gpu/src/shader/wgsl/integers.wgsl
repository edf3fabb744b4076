// Weights of a few bits, multiplied in integers.
//
// total += scale * (s * I) + min * (s * sum of q)        I = sum of (w - OFFSET) * q, exact
//!use integer_weights

@group(0) @binding(6) var<storage, read> q: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> factors: array<vec4<u32>>;

// A row of activations in a block.
struct Integers {
    a: vec4<u32>,
    b: vec4<u32>,
    factors: vec4<u32>,
}

fn dot16(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z)
        + dot4I8Packed(w.w, x.w);
}

fn added(total: f32, w: Weights, x: Integers) -> f32 {
    let scale = bitcast<f32>(x.factors.x);
    var sum = total;
    //!if SUB16
    let first = dot16(w.a, x.a) - {OFFSET} * bitcast<i32>(x.factors.z);
    let second = dot16(w.b, x.b) - {OFFSET} * bitcast<i32>(x.factors.w);
    sum = fma(f32(first) * scale, w.scale.x, sum);
    sum = fma(f32(second) * scale, w.scale.y, sum);
    //!else
    let whole = dot16(w.a, x.a) + dot16(w.b, x.b)
        - {OFFSET} * (bitcast<i32>(x.factors.z) + bitcast<i32>(x.factors.w));
    sum = fma(f32(whole) * scale, w.scale.x, sum);
    //!end
    //!if MIN16
    sum = fma(w.min.x, scale * f32(bitcast<i32>(x.factors.z)), sum);
    sum = fma(w.min.y, scale * f32(bitcast<i32>(x.factors.w)), sum);
    //!end
    //!if MIN32
    sum = fma(w.min.x, bitcast<f32>(x.factors.y), sum);
    //!end
    return sum;
}
