// Moves keys and values of one layer to other slots: a path of a tree of tokens becomes the end
// of the sequence. A thread moves its word of every position, in order; targets come before
// sources.
//!if BYTES
//!use cache_bytes
//!else
//!use cache
//!end

struct Shape {
    kv_heads: u32,
    moves: u32,
}

@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read> moves: array<vec2<u32>>; // from, to
@group(0) @binding(3) var<storage, read_write> keys: array<u32>;
@group(0) @binding(4) var<storage, read_write> values: array<u32>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let words = shape.kv_heads * HEAD_WORDS;
    if (id.x >= words) {
        return;
    }
    let kv_head = id.x / HEAD_WORDS;
    let i = id.x % HEAD_WORDS;
    for (var m = 0u; m < shape.moves; m += 1u) {
        let step = moves[m];
        keys[key_word(step.y, kv_head, shape.kv_heads, i)]
            = keys[key_word(step.x, kv_head, shape.kv_heads, i)];
        values[step.y * words + id.x] = values[step.x * words + id.x];
    }
}
