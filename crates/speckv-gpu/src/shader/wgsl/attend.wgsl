// Attention of one row over one chunk of {CHUNK} positions, for up to {LINES} query heads that
// share a key-value head. Chunks begin at fixed positions, so that their sums have the same bits
// for every number of rows; `merge` puts them together.
//!use span
//!use numbers
//!use rows
//!if BYTES
//!use cache_bytes
//!else
//!use cache
//!end

struct Shape {
    heads: u32,
    kv_heads: u32,
    group: u32,  // query heads per key-value head
    stride: u32, // values per row of `qkv`
    window: u32, // positions that a row sees, itself included
    scale: f32,  // factor of the scores
    cap: f32,    // soft cap of the scaled scores
}

@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read> qkv: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<Row>;
@group(0) @binding(4) var<storage, read> paths: array<u32>;
@group(0) @binding(5) var<storage, read> keys: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read> values: array<u32>;
// Per row, head and chunk: sums of weight * value, [{HEAD_DIM}], and the largest score and the sum
// of the weights.
@group(0) @binding(7) var<storage, read_write> pieces: array<f32>;
@group(0) @binding(8) var<storage, read_write> piece_sums: array<vec2<f32>>;

var<workgroup> queries: array<vec4<f32>, {QUERIES}>; // [LINES, HEAD_DIM / 4]
var<workgroup> scores: array<f32, {SCORES}>;         // [LINES, CHUNK]
var<workgroup> room: array<f32, {SCORES}>;
//!if SPLIT
var<workgroup> merged: array<vec2<f32>, {MERGED}>;   // [LINES, HEAD_DIM / 2]
//!end

// Where the cache keeps a position of a row's sequence.
fn slot_of(row: Row, position: u32) -> u32 {
    if (position < row.start) {
        return position;
    }
    return paths[row.path + position - row.start];
}

@compute @workgroup_size({CHUNK}, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let t = id.x;
    let number = span.first + wg.x;
    let row = rows[number];
    let parts = (shape.group + {LINES}u - 1u) / {LINES}u;
    let kv_head = wg.y / parts;
    let first = wg.y % parts * {LINES}u; // of the heads of the group
    let chunk = wg.z;
    let visible = row.position + 1u;
    let begin = max(chunk * {CHUNK}u, select(0u, visible - shape.window, visible > shape.window));
    let end = min((chunk + 1u) * {CHUNK}u, visible);
    if (begin >= end) {
        return;
    }
    for (var i = t; i < {LINES}u * {HEAD_DIM}u / 4u; i += {CHUNK}u) {
        let line = first + i / ({HEAD_DIM}u / 4u);
        let head = kv_head * shape.group + min(line, shape.group - 1u);
        let at = number * shape.stride + head * {HEAD_DIM}u + 4u * (i % ({HEAD_DIM}u / 4u));
        queries[i] = vec4<f32>(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]) * shape.scale;
    }
    workgroupBarrier();

    // One position per thread.
    let position = chunk * {CHUNK}u + t;
    let seen = position >= begin && position < end;
    //!for l LINES
    var score_{l} = 0.0;
    //!end
    if (seen) {
        let slot = slot_of(row, position);
        //!if BYTES
        let block = key_block(slot, kv_head, shape.kv_heads) / 4u; // of four words
        for (var b = 0u; b < {HEAD_DIM}u / 32u; b += 1u) {
            let scales = keys[block + 8u * (BYTE_WORDS + b) + slot % 32u / 4u];
            let scale = bitcast<f32>(scales[slot % 4u]);
            //!for l LINES
            var part_{l} = 0.0;
            //!end
            //!for w 2
            {
                let k = keys[block + (2u * b + {w}u) * 32u + slot % 32u];
                let at = 8u * b + 4u * {w}u;
                //!for l LINES
                part_{l} = four(part_{l}, bytes(k.x), queries[{l}u * {HEAD_DIM}u / 4u + at]);
                part_{l} = four(part_{l}, bytes(k.y), queries[{l}u * {HEAD_DIM}u / 4u + at + 1u]);
                part_{l} = four(part_{l}, bytes(k.z), queries[{l}u * {HEAD_DIM}u / 4u + at + 2u]);
                part_{l} = four(part_{l}, bytes(k.w), queries[{l}u * {HEAD_DIM}u / 4u + at + 3u]);
                //!end
            }
            //!end
            //!for l LINES
            score_{l} = fma(scale, part_{l}, score_{l});
            //!end
        }
        //!else
        let source = (slot / 32u * shape.kv_heads + kv_head) * ({HEAD_DIM}u / 8u) * 32u + slot % 32u;
        for (var i = 0u; i < {HEAD_DIM}u / 8u; i += 1u) {
            let k = keys[source + i * 32u];
            let a = vec4<f32>(unpack2x16float(k.x), unpack2x16float(k.y));
            let b = vec4<f32>(unpack2x16float(k.z), unpack2x16float(k.w));
            //!for l LINES
            score_{l} = four(score_{l}, a, queries[{l}u * {HEAD_DIM}u / 4u + 2u * i]);
            score_{l} = four(score_{l}, b, queries[{l}u * {HEAD_DIM}u / 4u + 2u * i + 1u]);
            //!end
        }
        //!end
        //!if CAP
        //!for l LINES
        score_{l} = shape.cap * (1.0 - 2.0 * reciprocal(exponential(score_{l} * 2.0
            * reciprocal(shape.cap)) + 1.0));
        //!end
        //!end
    }
    //!for l LINES
    scores[{l}u * {CHUNK}u + t] = score_{l};
    room[{l}u * {CHUNK}u + t] = select(-3.4e38, score_{l}, seen);
    //!end
    workgroupBarrier();
    for (var half = {CHUNK}u / 2u; half > 0u; half /= 2u) {
        if (t < half) {
            //!for l LINES
            room[{l}u * {CHUNK}u + t] = max(room[{l}u * {CHUNK}u + t],
                room[{l}u * {CHUNK}u + t + half]);
            //!end
        }
        workgroupBarrier();
    }
    //!for l LINES
    let largest_{l} = room[{l}u * {CHUNK}u];
    //!end
    workgroupBarrier();
    //!for l LINES
    let weight_{l} = select(0.0, exponential(score_{l} - largest_{l}), seen);
    scores[{l}u * {CHUNK}u + t] = weight_{l};
    room[{l}u * {CHUNK}u + t] = weight_{l};
    //!end
    workgroupBarrier();
    for (var half = {CHUNK}u / 2u; half > 0u; half /= 2u) {
        if (t < half) {
            //!for l LINES
            room[{l}u * {CHUNK}u + t] += room[{l}u * {CHUNK}u + t + half];
            //!end
        }
        workgroupBarrier();
    }
    let out = (number * shape.heads + kv_head * shape.group + first) * span.chunks + chunk;
    if (t == 0u) {
        //!for l LINES
        if (first + {l}u < shape.group) {
            piece_sums[out + {l}u * span.chunks] = vec2<f32>(largest_{l}, room[{l}u * {CHUNK}u]);
        }
        //!end
    }

    // A pair of dimensions per thread.
    //!if SPLIT
    // {SUBS} threads share the positions, a fixed part for each, added in their order.
    let sub = t / {LANES}u;
    let pair = t % {LANES}u;
    let works = pair < {HEAD_DIM}u / 2u;
    let sub_begin = max(begin, chunk * {CHUNK}u + sub * ({CHUNK}u / {SUBS}u));
    let sub_end = min(end, chunk * {CHUNK}u + (sub + 1u) * ({CHUNK}u / {SUBS}u));
    //!for l LINES
    var sum_{l} = vec2<f32>(0.0);
    //!end
    if (works) {
        //!use weigh
    }
    //!for s SUBS
    if (sub == {s}u && works) {
        //!for l LINES
        //!if s
        merged[{l}u * ({HEAD_DIM}u / 2u) + pair] += sum_{l};
        //!else
        merged[{l}u * ({HEAD_DIM}u / 2u) + pair] = sum_{l};
        //!end
        //!end
    }
    workgroupBarrier();
    //!end
    if (sub == 0u && works) {
        //!for l LINES
        sum_{l} = merged[{l}u * ({HEAD_DIM}u / 2u) + pair];
        //!end
        //!use store
    }
    //!else
    let sub_begin = begin;
    let sub_end = end;
    for (var pair = t; pair < {HEAD_DIM}u / 2u; pair += {CHUNK}u) {
        //!for l LINES
        var sum_{l} = vec2<f32>(0.0);
        //!end
        //!use weigh
        //!use store
    }
    //!end
}

//!if BYTES
// Four signed bytes of a word.
fn bytes(word: u32) -> vec4<f32> {
    let v = vec4<i32>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
    return vec4<f32>(v);
}

//!end
fn four(total: f32, k: vec4<f32>, x: vec4<f32>) -> f32 {
    return fma(k.w, x.w, fma(k.z, x.z, fma(k.y, x.y, fma(k.x, x.x, total))));
}
