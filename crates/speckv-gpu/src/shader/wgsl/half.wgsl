// The bits of the half float nearest to x, ties to even; what is too large becomes infinity.
// `pack2x16float` may round towards zero.
fn half_of(x: f32) -> u32 {
    let sign = (bitcast<u32>(x) >> 16u) & 0x8000u;
    let a = bitcast<u32>(x) & 0x7fffffffu;
    if (a > 0x7f800000u) {
        return sign | 0x7e00u;
    }
    if (a >= 0x477ff000u) {
        return sign | 0x7c00u;
    }
    if (a < 0x38800000u) {
        // Below the normal halves: adding 1/2 leaves the rounded bits at the low end.
        return sign | (bitcast<u32>(bitcast<f32>(a) + 0.5) - 0x3f000000u);
    }
    // The bias of the exponent changes from 127 to 15; half a unit, less a bit for ties, rounds.
    return sign | ((a + 0xc8000fffu + ((a >> 13u) & 1u)) >> 13u);
}
