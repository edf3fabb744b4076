// The embeddings of the likeliest tokens: for each row of logits, the row of a matrix with its
// token's number, as floats.
//
// x[to + i] = factor * w[likeliest token of row i]
//
// A matrix in parts has a dispatch for each, of which one writes.
//!use span
//!use part

struct Shape {
    blocks: u32, // blocks of 32 columns
    first: u32,  // first row of this part of the matrix
    rows: u32,   // rows of this part
    factor: f32,
}

struct Counted {
    vocab: u32,  // tokens that count
    stride: u32, // logits per row
    parts: u32,  // of a row of logits
}

@group(0) @binding(1) var<uniform> shape: Shape;
//!use {WEIGHTS}
@group(0) @binding(6) var<uniform> counted: Counted;
@group(0) @binding(7) var<storage, read> parts: array<Part>;
@group(0) @binding(8) var<storage, read_write> x: array<f32>;

const NONE = 0xffffffffu;

// The token with the largest logit, of several the first; 0 where there is none.
fn likeliest(row: u32) -> u32 {
    let count = (counted.vocab + {PART}u - 1u) / {PART}u;
    var token = NONE;
    var largest = 0.0;
    for (var i = 0u; i < count; i += 1u) {
        let at = row * counted.parts + i;
        if (parts[at].token != NONE && (token == NONE || parts[at].largest > largest)) {
            token = parts[at].token;
            largest = parts[at].largest;
        }
    }
    return select(token, 0u, token == NONE);
}

// A block of 32 columns per thread.
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let token = likeliest(span.first + wg.x);
    let block = wg.y * 32u + id.x;
    if (token < shape.first || token >= shape.first + shape.rows || block >= shape.blocks) {
        return;
    }
    let row = token - shape.first;
    let at = ((span.to + wg.x) * shape.blocks + block) * 32u;
    let w = weights(row / 32u, block, row % 32u);
    //!if INTEGERS
    //!for i 4
    four(at + 4u * {i}u, w.a[{i}], w.scale.x, w.min.x);
    four(at + 16u + 4u * {i}u, w.b[{i}], w.scale.y, w.min.y);
    //!end
    //!else
    //!for c 8
    //!for k 4
    x[at + 4u * {c}u + {k}u] = w.c{c}[{k}] * shape.factor;
    //!end
    //!end
    //!end
}

//!if INTEGERS
// Four weights of a word. Scale times integer is exact in single precision in every format, so that
// the one rounding is the same in any order of the operations.
fn four(at: u32, word: u32, scale: f32, least: f32) {
    //!for k 4
    let w_{k} = f32(extractBits(bitcast<i32>(word), 8u * {k}u, 8u) - {OFFSET}) * scale;
    //!if MIN
    x[at + {k}u] = (w_{k} + least) * shape.factor;
    //!else
    x[at + {k}u] = w_{k} * shape.factor;
    //!end
    //!end
}
//!end
