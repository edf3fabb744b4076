// activation(gate) * up for 32 columns of a row, where the product could not do it itself: gate
// and up are matrices of two types.
//!use span
//!use numbers
//!use gated

struct Shape {
    blocks: u32, // blocks of 32 columns
}

@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read> gate_up: array<f32>; // [rows, 2, columns]
@group(0) @binding(3) var<storage, read_write> exact: array<f32>;
@group(0) @binding(4) var<storage, read_write> q: array<u32>;
@group(0) @binding(5) var<storage, read_write> factors: array<vec4<u32>>;

var<workgroup> block_values: array<f32, 32>;

@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    let row = span.first + wg.x;
    let width = shape.blocks * 32u;
    let column = wg.y * 32u + lane;
    let at = row * 2u * width + column;
    let value = gated(gate_up[at], gate_up[at + width]);
    block_values[lane] = value;
    exact[row * width + column] = value;
    workgroupBarrier();
    let block_at = row * shape.blocks + wg.y;
    //!use quantize
}
