// Query, key and value of a row between product and attention: biases, norms, rotation; keys and
// values go into the cache. One workgroup per row and head.
//!use span
//!use numbers
//!use rows

struct Shape {
    heads: u32,    // query heads
    kv_heads: u32, // key-value heads
    pairs: u32,    // pairs of a head that turn
    stride: u32,   // values per row of `qkv`
    epsilon: f32,
    rate: f32, // queries at position i are multiplied by 1 + rate ln(1 + floor(i / reach))
    reach: u32,
}

@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<Row>;
@group(0) @binding(4) var<storage, read> angles: array<vec2<f32>>; // [rows, pairs]: cosine, sine
//!if BIAS
@group(0) @binding(5) var<storage, read> bias: array<f32>; // as `qkv`
//!end
//!if NORM
@group(0) @binding(6) var<storage, read> norms: array<f32>; // [2, {HEAD_DIM}]: query, key
//!end
@group(0) @binding(7) var<storage, read_write> keys: array<u32>;
@group(0) @binding(8) var<storage, read_write> values: array<u32>;

var<workgroup> head: array<f32, {HEAD_DIM}>;
var<workgroup> squares: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let t = id.x;
    let row = span.first + wg.x;
    let which = wg.y;
    let is_value = which >= shape.heads + shape.kv_heads;
    let source = row * shape.stride + which * {HEAD_DIM}u;
    for (var i = t; i < {HEAD_DIM}u; i += 64u) {
        //!if BIAS
        head[i] = qkv[source + i] + bias[which * {HEAD_DIM}u + i];
        //!else
        head[i] = qkv[source + i];
        //!end
    }
    workgroupBarrier();
    if (!is_value) {
        //!if NORM
        var square = 0.0;
        for (var i = t; i < {HEAD_DIM}u; i += 64u) {
            square = fma(head[i], head[i], square);
        }
        squares[t] = square;
        workgroupBarrier();
        for (var half = 32u; half > 0u; half /= 2u) {
            if (t < half) {
                squares[t] += squares[t + half];
            }
            workgroupBarrier();
        }
        let scale = 1.0 / sqrt(squares[0] / f32({HEAD_DIM}) + shape.epsilon);
        let norm = select(0u, {HEAD_DIM}u, which >= shape.heads);
        for (var i = t; i < {HEAD_DIM}u; i += 64u) {
            head[i] = head[i] * scale * norms[norm + i];
        }
        workgroupBarrier();
        //!end
        for (var i = t; i < shape.pairs; i += 64u) {
            //!if INTERLEAVED
            let one = 2u * i;
            let two = one + 1u;
            //!else
            let one = i;
            let two = i + shape.pairs;
            //!end
            let angle = angles[row * shape.pairs + i];
            let a = head[one];
            let b = head[two];
            head[one] = fma(a, angle.x, -(b * angle.y));
            head[two] = fma(a, angle.y, b * angle.x);
        }
        workgroupBarrier();
    }
    if (which < shape.heads) {
        //!if GROWTH
        let growth = fma(shape.rate, log(f32(1u + rows[row].position / shape.reach)), 1.0);
        //!end
        for (var i = t; i < {HEAD_DIM}u; i += 64u) {
            //!if GROWTH
            qkv[source + i] = head[i] * growth;
            //!else
            qkv[source + i] = head[i];
            //!end
        }
        return;
    }
    let slot = rows[row].slot;
    let kv_head = (which - shape.heads) % shape.kv_heads;
    //!if BYTES
    for (var i = t; i < BYTE_WORDS; i += 64u) {
        let first = 4u * i;
        var peak = 0u;
        for (var k = first & ~31u; k < (first & ~31u) + 32u; k += 1u) {
            peak = max(peak, magnitude(head[k]));
        }
        let by = quantizer(peak);
        let word = packed(quantized(head[first], by.inverse),
            quantized(head[first + 1u], by.inverse), quantized(head[first + 2u], by.inverse),
            quantized(head[first + 3u], by.inverse));
        let scale = BYTE_WORDS + i / 8u;
        if (is_value) {
            let at = (slot * shape.kv_heads + kv_head) * HEAD_WORDS;
            values[at + i] = word;
            if (i % 8u == 0u) {
                values[at + scale] = bitcast<u32>(by.scale);
            }
        } else {
            keys[key_word(slot, kv_head, shape.kv_heads, i)] = word;
            if (i % 8u == 0u) {
                keys[key_word(slot, kv_head, shape.kv_heads, scale)] = bitcast<u32>(by.scale);
            }
        }
    }
    //!else
    for (var i = t; i < {HEAD_DIM}u / 2u; i += 64u) {
        let word = half_of(head[2u * i]) | (half_of(head[2u * i + 1u]) << 16u);
        if (is_value) {
            values[(slot * shape.kv_heads + kv_head) * ({HEAD_DIM}u / 2u) + i] = word;
        } else {
            keys[key_word(slot, kv_head, shape.kv_heads, i)] = word;
        }
    }
    //!end
}
//!if BYTES
//!use cache_bytes
//!else
//!use cache
//!use half
//!end
