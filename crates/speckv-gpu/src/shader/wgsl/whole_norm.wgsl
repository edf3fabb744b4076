// Query and key of a row through norms over all their heads, biases first. One workgroup per row
// and part: query, key, and, where there are biases, value.
//!use span

struct Shape {
    queries: u32, // values of all query heads
    keys: u32,    // values of all key heads
    stride: u32,  // values per row of `qkv`
    epsilon: f32,
}

@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(3) var<storage, read> norms: array<f32>; // [queries + keys]
//!if BIAS
@group(0) @binding(4) var<storage, read> bias: array<f32>; // as `qkv`
//!end

var<workgroup> squares: array<f32, 256>;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let t = id.x;
    let first = min(wg.y, 1u) * shape.queries + select(0u, shape.keys, wg.y == 2u);
    let count = select(shape.keys, shape.queries, wg.y == 0u);
    let source = (span.first + wg.x) * shape.stride + first;
    //!if BIAS
    for (var i = t; i < count; i += 256u) {
        qkv[source + i] += bias[first + i];
    }
    if (wg.y == 2u) {
        return;
    }
    //!end
    // Each thread reads what it has written.
    var square = 0.0;
    for (var i = t; i < count; i += 256u) {
        square = fma(qkv[source + i], qkv[source + i], square);
    }
    squares[t] = square;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (t < half) {
            squares[t] += squares[t + half];
        }
        workgroupBarrier();
    }
    let scale = 1.0 / sqrt(squares[0] / f32(count) + shape.epsilon);
    for (var i = t; i < count; i += 256u) {
        qkv[source + i] = qkv[source + i] * scale * norms[first + i];
    }
}
