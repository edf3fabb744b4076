// A row of the residual stream through a norm, one workgroup per row.
//
// normed = x / sqrt(mean of x^2 + epsilon) * weight, in exact and in quantized form; without NORM,
// x itself in both forms
//!use span
//!use numbers

struct Shape {
    columns: u32, // values of a row
    blocks: u32,  // blocks of 32 columns that a row takes in memory
    epsilon: f32,
    factor: f32,  // of what is added
}

@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
//!if NORM
@group(0) @binding(3) var<storage, read> weight: array<f32>;
//!end
//!if ADD
// x += factor * norm(delta)
@group(0) @binding(4) var<storage, read> delta: array<f32>;
//!else
@group(0) @binding(4) var<storage, read_write> exact: array<f32>;
@group(0) @binding(5) var<storage, read_write> q: array<u32>;
@group(0) @binding(6) var<storage, read_write> factors: array<vec4<u32>>;
//!if PICKED
// Row of x that each row of the result comes from.
@group(0) @binding(7) var<storage, read> picked: array<u32>;
//!end
//!end

//!if NORM
var<workgroup> squares: array<f32, 256>;
//!end
var<workgroup> peaks: array<u32, 256>;
var<workgroup> counts: array<i32, 256>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let t = id.x;
    let row = span.first + wg.x;
    let width = shape.blocks * 32u;
    //!if PICKED
    let source = picked[row] * width;
    //!else
    let source = row * width;
    //!end
    //!if NORM
    var square = 0.0;
    for (var i = t; i < shape.columns; i += 256u) {
        //!if ADD
        let value = delta[source + i];
        //!else
        let value = x[source + i];
        //!end
        square = fma(value, value, square);
    }
    squares[t] = square;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (t < half) {
            squares[t] += squares[t + half];
        }
        workgroupBarrier();
    }
    let scale = 1.0 / sqrt(squares[0] / f32(shape.columns) + shape.epsilon);
    //!end
    //!if ADD
    for (var i = t; i < shape.columns; i += 256u) {
        x[source + i] += delta[source + i] * scale * weight[i] * shape.factor;
    }
    //!else
    // Four columns per thread, eight threads per block.
    for (var first = 0u; first < width; first += 1024u) {
        let i = first + 4u * t;
        var values = vec4<f32>(0.0);
        if (i < width) {
            let at = source + i;
            values = vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
            //!if NORM
            values = values * scale
                * vec4<f32>(weight[i], weight[i + 1u], weight[i + 2u], weight[i + 3u]);
            //!end
        }
        peaks[t] = max(max(magnitude(values.x), magnitude(values.y)),
            max(magnitude(values.z), magnitude(values.w)));
        workgroupBarrier();
        var peak = 0u;
        for (var k = 0u; k < 8u; k += 1u) {
            peak = max(peak, peaks[(t & ~7u) + k]);
        }
        let by = quantizer(peak);
        let a = quantized(values.x, by.inverse);
        let b = quantized(values.y, by.inverse);
        let c = quantized(values.z, by.inverse);
        let d = quantized(values.w, by.inverse);
        counts[t] = a + b + c + d;
        workgroupBarrier();
        if (i < width) {
            let at = row * width + i;
            exact[at] = values.x;
            exact[at + 1u] = values.y;
            exact[at + 2u] = values.z;
            exact[at + 3u] = values.w;
            q[at / 4u] = packed(a, b, c, d);
            if ((t & 7u) == 0u) {
                let one = counts[t] + counts[t + 1u] + counts[t + 2u] + counts[t + 3u];
                let two = counts[t + 4u] + counts[t + 5u] + counts[t + 6u] + counts[t + 7u];
                factors[at / 32u] = factors_of(by.scale, one, two);
            }
        }
        workgroupBarrier();
    }
    //!end
}
