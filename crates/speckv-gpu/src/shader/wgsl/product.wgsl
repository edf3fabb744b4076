// Rows of activations with 32 or 64 rows of weights.
//
// out[a][r] = sum over slices s of (sum over blocks b = s, s + SLICES, .. of the products)
//
// A lane holds {ROWS} rows of weights, 32 apart; the slices of a workgroup share the columns, in
// blocks of 32, and are added in their order. Slices depend on the matrix alone, so that a row has
// the same bits for every number of rows.
//!use span
//!use numbers

struct Shape {
    blocks: u32,    // blocks of 32 columns
    rows: u32,      // rows of the matrix that are written
    first: u32,     // column of `out` that the first row goes to
    stride: u32,    // columns of `out`
    cap: f32,       // soft cap of the results
    factor: f32,    // results are multiplied by it
}

@group(0) @binding(1) var<uniform> shape: Shape;
//!use {FORMAT}
//!if STORE
@group(0) @binding(8) var<storage, read_write> out: array<f32>;
//!end
//!if GLU_QUANTIZED
@group(0) @binding(8) var<storage, read_write> inner: array<u32>;
@group(0) @binding(9) var<storage, read_write> inner_factors: array<vec4<u32>>;
//!end
//!if GLU_FLOAT
@group(0) @binding(8) var<storage, read_write> inner: array<f32>;
//!end
//!if BIAS
@group(0) @binding(9) var<storage, read> bias: array<f32>;
//!end

// Sums of the slices, {ROUND} results at a time, then the results: [row of weights, activation].
var<workgroup> parts: array<f32, {PARTS}>;
var<workgroup> sums: array<f32, {SUMS}>;

@compute @workgroup_size(32, {SLICES}, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    let slice = id.y;
    let tile = span.first + wg.x * {N}u;
    let last = span.first + span.rows - 1u;
    let group = wg.y * {ROWS}u;
    //!for a N
    let line_{a} = min(tile + {a}u, last) * shape.blocks;
    //!end
    for (var turn = 0u; turn < {TURNS}u; turn += 1u) {
        //!for r AT_ONCE
        //!for a N
        var total_{r}_{a} = 0.0;
        //!end
        //!end
        for (var block = slice; block < shape.blocks; block += {SLICES}u) {
            //!for r AT_ONCE
            let w_{r} = weights(group + turn * {AT_ONCE}u + {r}u, block, lane);
            //!end
            //!for a N
            {
                //!if INTEGERS
                let at = line_{a} + block;
                let x = Integers(q[2u * at], q[2u * at + 1u], factors[at]);
                //!else
                let at = 8u * (line_{a} + block);
                //!end
                //!for r AT_ONCE
                //!if INTEGERS
                total_{r}_{a} = added(total_{r}_{a}, w_{r}, x);
                //!else
                //!for c 8
                total_{r}_{a} = dotted(total_{r}_{a}, w_{r}.c{c}, exact[at + {c}u]);
                //!end
                //!end
                //!end
            }
            //!end
        }
        //!for r AT_ONCE
        //!for a N
        gather({r}u * {N}u + {a}u, total_{r}_{a}, turn, lane, slice);
        //!end
        //!end
        finish(turn, lane, slice);
    }
    workgroupBarrier();
    write(tile, last, group, lane, slice);
}

// Keeps a slice's part of result `number` of this turn, and adds up the parts once there are
// {ROUND} of them.
fn gather(number: u32, part: f32, turn: u32, lane: u32, slice: u32) {
    parts[(number % {ROUND}u * {SLICES}u + slice) * 32u + lane] = part;
    if (number % {ROUND}u == {ROUND}u - 1u) {
        workgroupBarrier();
        add_parts(number + 1u - {ROUND}u, {ROUND}u, turn, lane, slice);
        workgroupBarrier();
    }
}

// Adds up what is left when a turn ends.
fn finish(turn: u32, lane: u32, slice: u32) {
    let count = {AT_ONCE}u * {N}u % {ROUND}u;
    if (count > 0u) {
        workgroupBarrier();
        add_parts({AT_ONCE}u * {N}u - count, count, turn, lane, slice);
        workgroupBarrier();
    }
}

// Results `first` to `first + count` of this turn: slices in their order.
fn add_parts(first: u32, count: u32, turn: u32, lane: u32, slice: u32) {
    for (var i = slice; i < count; i += {SLICES}u) {
        var sum = parts[i * {SLICES}u * 32u + lane];
        for (var s = 1u; s < {SLICES}u; s += 1u) {
            sum += parts[(i * {SLICES}u + s) * 32u + lane];
        }
        sums[(turn * {AT_ONCE}u * {N}u + first + i) * 32u + lane] = sum;
    }
}

//!if STORE
fn write(tile: u32, last: u32, group: u32, lane: u32, slice: u32) {
    for (var i = slice; i < {ROWS}u * {N}u; i += {SLICES}u) {
        let r = i / {N}u;
        let a = i % {N}u;
        let row = (group + r) * 32u + lane;
        if (row < shape.rows && tile + a <= last) {
            let at = (tile + a) * shape.stride + shape.first + row;
            var sum = sums[i * 32u + lane];
            //!if BIAS
            sum += bias[row];
            //!end
            //!if ADD
            sum = fma(sum, shape.factor, out[at]);
            //!else
            sum *= shape.factor;
            //!end
            //!if CAP
            sum = shape.cap * (1.0 - 2.0 * reciprocal(exponential(sum * 2.0
                * reciprocal(shape.cap)) + 1.0));
            //!end
            out[at] = sum;
        }
    }
}
//!else
// activation(gate) * up: the first group of the workgroup is the gate's, the second one the
// other's, of the same 32 outputs.
//!use gated

fn write(tile: u32, last: u32, group: u32, lane: u32, slice: u32) {
    // Column of the first result, in blocks.
    let block = shape.first / 32u + group / 2u;
    for (var a = slice; a < {N}u; a += {SLICES}u) {
        let value = gated(sums[a * 32u + lane], sums[({N}u + a) * 32u + lane]);
        //!if GLU_FLOAT
        if (tile + a <= last) {
            inner[(tile + a) * shape.stride + block * 32u + lane] = value;
        }
        //!else
        sums[a * 32u + lane] = value;
        //!end
    }
    //!if GLU_QUANTIZED
    workgroupBarrier();
    for (var a = slice; a < {N}u; a += {SLICES}u) {
        if (tile + a <= last) {
            let block_at = (tile + a) * (shape.stride / 32u) + block;
            //!use quantize
        }
    }
    //!end
}
//!end
