// What greedy decoding and a controller need of rows of logits, in parts of {PART} logits each:
// the largest one and its token, the second largest, sum of e^d and of d e^d with d = x - largest.
//!use span
//!use numbers

struct Shape {
    vocab: u32,  // tokens that count
    stride: u32, // logits per row
    parts: u32,
}

//!use part

@group(0) @binding(1) var<uniform> shape: Shape;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> parts: array<Part>;

var<workgroup> bests: array<Part, 256>;

const LEAST = -3.4e38;

// The larger one of two parts that were summed against no largest value yet; of equal ones the
// first token.
fn larger(a: Part, b: Part) -> Part {
    var best = a;
    if (b.largest > a.largest || (b.largest == a.largest && b.token < a.token)) {
        best = b;
        best.second = max(b.second, a.largest);
    } else {
        best.second = max(a.second, b.largest);
    }
    best.broken = a.broken | b.broken;
    return best;
}

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) id: vec3<u32>) {
    let t = id.x;
    let row = span.first + wg.x;
    let begin = wg.y * {PART}u;
    let end = min(begin + {PART}u, shape.vocab);
    let source = row * shape.stride;
    var best = Part(0xffffffffu, LEAST, LEAST, 0.0, 0.0, 0u, 0u, 0u);
    for (var i = begin + t; i < end; i += 256u) {
        let x = logits[source + i];
        if (is_broken(x)) {
            best.broken |= select(1u, 0u, bitcast<u32>(x) == 0xff800000u);
        } else if (x > best.largest || best.token == 0xffffffffu) {
            best.second = best.largest;
            best.largest = x;
            best.token = i;
        } else {
            best.second = max(best.second, x);
        }
    }
    bests[t] = best;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (t < half) {
            bests[t] = larger(bests[t], bests[t + half]);
        }
        workgroupBarrier();
    }
    let largest = bests[0].largest;
    var weights = 0.0;
    var moments = 0.0;
    for (var i = begin + t; i < end; i += 256u) {
        let x = logits[source + i];
        if (!is_broken(x)) {
            let d = max(x - largest, -80.0);
            let weight = exponential(d);
            weights += weight;
            moments = fma(d, weight, moments);
        }
    }
    workgroupBarrier();
    bests[t].weights = weights;
    bests[t].moments = moments;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if (t < half) {
            bests[t].weights += bests[t + half].weights;
            bests[t].moments += bests[t + half].moments;
        }
        workgroupBarrier();
    }
    if (t == 0u) {
        parts[row * shape.parts + wg.y] = bests[0];
    }
}
