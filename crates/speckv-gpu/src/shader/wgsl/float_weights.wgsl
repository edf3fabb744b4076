// Weights that are floats. Planes are indexed [group of 32 rows, block, part, row].

@group(0) @binding(2) var<storage, read> low: array<vec4<u32>>;

// A row's weights of a block of 32 columns, in fours.
struct Weights {
    //!for c 8
    c{c}: vec4<f32>,
    //!end
}

fn weights(group: u32, block: u32, lane: u32) -> Weights {
    var w: Weights;
    //!if FLOAT32
    let at = (group * shape.blocks + block) * 256u + lane;
    //!for c 8
    w.c{c} = bitcast<vec4<f32>>(low[at + {c}u * 32u]);
    //!end
    //!else
    let at = (group * shape.blocks + block) * 128u + lane;
    let v0 = low[at];
    let v1 = low[at + 32u];
    let v2 = low[at + 64u];
    let v3 = low[at + 96u];
    w.c0 = widened(v0.x, v0.y);
    w.c1 = widened(v0.z, v0.w);
    w.c2 = widened(v1.x, v1.y);
    w.c3 = widened(v1.z, v1.w);
    w.c4 = widened(v2.x, v2.y);
    w.c5 = widened(v2.z, v2.w);
    w.c6 = widened(v3.x, v3.y);
    w.c7 = widened(v3.z, v3.w);
    //!end
    return w;
}

//!if FLOAT16
fn widened(a: u32, b: u32) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(a), unpack2x16float(b));
}
//!end
//!if BFLOAT16
fn widened(a: u32, b: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}
//!end
