// Weights of a few bits: w = scale * (word's byte - OFFSET) + min.
//
// Planes of a matrix, each indexed [group of 32 rows, ..., row]: a lane reads its row's entry, so
// that 32 lanes read neighbours.

@group(0) @binding(2) var<storage, read> low: array<{LOW_TYPE}>;
@group(0) @binding(3) var<storage, read> scales: array<{SCALE_TYPE}>;
//!if HIGH_BITS
@group(0) @binding(4) var<storage, read> high: array<{HIGH_TYPE}>;
//!end
//!if TOPS
@group(0) @binding(5) var<storage, read> tops: array<u32>;
//!end

// A row's weights of a block: word i holds columns 4 i to 4 i + 3. Scale and minimum of the first
// and of the second 16 columns, the same unless the format has them per 16.
struct Weights {
    a: vec4<u32>, // words 0 to 3
    b: vec4<u32>, // words 4 to 7
    scale: vec2<f32>,
    min: vec2<f32>,
}

//!if TABLE
// The value of each nibble of a word's low halves, as bytes.
fn looked_up(nibbles: u32) -> u32 {
    let i = nibbles & 0x0f0f0f0fu;
    return level(i & 15u) | (level((i >> 8u) & 15u) << 8u) | (level((i >> 16u) & 15u) << 16u)
        | (level(i >> 24u) << 24u);
}

// Byte i of the table.
fn level(i: u32) -> u32 {
    let first = select({TABLE0}u, {TABLE1}u, (i & 4u) != 0u);
    let second = select({TABLE2}u, {TABLE3}u, (i & 4u) != 0u);
    return (select(first, second, (i & 8u) != 0u) >> (8u * (i & 3u))) & 255u;
}
//!end

fn weights(group: u32, block: u32, lane: u32) -> Weights {
    var w: Weights;
    let at = (group * shape.blocks + block) * 32u + lane;
    //!if LOW2
    let v = low[at];
    w.a = (vec4<u32>(v.x) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u);
    w.b = (vec4<u32>(v.y) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u);
    //!end
    //!if LOW4
    let v = low[at];
    //!if TABLE
    w.a = vec4<u32>(looked_up(v.x), looked_up(v.x >> 4u), looked_up(v.y), looked_up(v.y >> 4u));
    w.b = vec4<u32>(looked_up(v.z), looked_up(v.z >> 4u), looked_up(v.w), looked_up(v.w >> 4u));
    //!else
    w.a = vec4<u32>(v.x, v.x >> 4u, v.y, v.y >> 4u) & vec4<u32>(0x0f0f0f0fu);
    w.b = vec4<u32>(v.z, v.z >> 4u, v.w, v.w >> 4u) & vec4<u32>(0x0f0f0f0fu);
    //!end
    //!end
    //!if LOW8
    let both = (group * shape.blocks + block) * 64u + lane;
    w.a = low[both];
    w.b = low[both + 32u];
    //!end
    //!if HIGH1
    // Bit i of a byte belongs to word i.
    let h = high[at];
    w.a |= ((vec4<u32>(h) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(0x01010101u))
        << vec4<u32>({HIGH_SHIFT}u);
    w.b |= ((vec4<u32>(h) >> vec4<u32>(4u, 5u, 6u, 7u)) & vec4<u32>(0x01010101u))
        << vec4<u32>({HIGH_SHIFT}u);
    //!end
    //!if HIGH2
    let h = high[at];
    w.a |= ((vec4<u32>(h.x) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u))
        << vec4<u32>(4u);
    w.b |= ((vec4<u32>(h.y) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(0x03030303u))
        << vec4<u32>(4u);
    //!end
    let units = (shape.blocks + {UNIT_BLOCKS}u - 1u) / {UNIT_BLOCKS}u;
    let unit = (group * units + block / {UNIT_BLOCKS}u) * 32u + lane;
    //!if SCALE_HALF
    // Two scales per word: of the first and of the second part of its unit.
    let pair = unpack2x16float(scales[unit]);
    w.scale = vec2<f32>(select(pair.x, pair.y, block % {UNIT_BLOCKS}u >= {UNIT_BLOCKS}u / 2u));
    //!end
    //!if SCALE_HALF_MIN
    let pair = unpack2x16float(scales[unit]);
    w.scale = vec2<f32>(pair.x);
    w.min = vec2<f32>(pair.y);
    //!end
    //!if SCALE_SIX
    // d and dmin, then 12 bytes of scales and minima of six bits as the file has them.
    let s = scales[unit];
    let d = unpack2x16float(s.x);
    let j = block % 8u;
    let shift = 8u * (j & 3u);
    let x = s.y >> shift;
    let y = s.z >> shift;
    let z = s.w >> shift;
    let scale = select(x & 63u, (z & 15u) | ((x >> 2u) & 48u), j > 3u);
    let least = select(y & 63u, ((z >> 4u) & 15u) | ((y >> 2u) & 48u), j > 3u);
    w.scale = vec2<f32>(d.x * f32(scale));
    w.min = vec2<f32>(-d.y * f32(least));
    //!end
    //!if SCALE_BYTES
    // Signed bytes per 16 columns; the scale of the scales is in `tops`.
    let word = scales[unit][(block % 8u) / 2u] >> (16u * (block & 1u));
    let d = unpack2x16float(tops[unit]).x;
    w.scale = vec2<f32>(d * f32(extractBits(bitcast<i32>(word), 0u, 8u)),
        d * f32(extractBits(bitcast<i32>(word), 8u, 8u)));
    //!end
    //!if SCALE_NIBBLES
    let word = scales[unit][(block % 8u) / 2u] >> (16u * (block & 1u));
    let d = unpack2x16float(tops[unit]);
    w.scale = vec2<f32>(d.x * f32(word & 15u), d.x * f32((word >> 8u) & 15u));
    w.min = vec2<f32>(-d.y * f32((word >> 4u) & 15u), -d.y * f32((word >> 12u) & 15u));
    //!end
    return w;
}
