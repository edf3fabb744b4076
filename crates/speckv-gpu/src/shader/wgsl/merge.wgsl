// Puts the chunks of attention together, in their order, for 32 columns of a row; the result is
// the input of the output projection, in exact and in quantized form.
//
// M = max m_c,  out = (sum of e^(m_c - M) a_c) / (sum of e^(m_c - M) l_c)
//!use span
//!use numbers
//!use rows

struct Shape {
    heads: u32,
    blocks: u32, // blocks of 32 columns of the result
    window: u32, // positions that a row sees, itself included
}

@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read> rows: array<Row>;
@group(0) @binding(3) var<storage, read> pieces: array<f32>;
@group(0) @binding(4) var<storage, read> piece_sums: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> exact: array<f32>;
@group(0) @binding(6) var<storage, read_write> q: array<u32>;
@group(0) @binding(7) var<storage, read_write> factors: array<vec4<u32>>;

var<workgroup> block_values: array<f32, 32>;

@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    let number = span.first + wg.x;
    let column = wg.y * 32u + lane;
    let visible = rows[number].position + 1u;
    let first = select(0u, visible - shape.window, visible > shape.window) / {CHUNK}u;
    let last = (visible - 1u) / {CHUNK}u;
    let head = column / {HEAD_DIM}u;
    var value = 0.0;
    if (head < shape.heads) {
        let at = (number * shape.heads + head) * span.chunks;
        var largest = piece_sums[at + first].x;
        for (var c = first + 1u; c <= last; c += 1u) {
            largest = max(largest, piece_sums[at + c].x);
        }
        var weight = 0.0;
        for (var c = first; c <= last; c += 1u) {
            let sums = piece_sums[at + c];
            let factor = exponential(sums.x - largest);
            weight = fma(factor, sums.y, weight);
            value = fma(factor, pieces[(at + c) * {HEAD_DIM}u + column % {HEAD_DIM}u], value);
        }
        value *= reciprocal(weight);
    }
    block_values[lane] = value;
    exact[number * shape.blocks * 32u + column] = value;
    workgroupBarrier();
    let block_at = number * shape.blocks + wg.y;
    //!use quantize
}
