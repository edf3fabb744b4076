    // 32 values in workgroup memory become a block of integers.
    var peak = 0u;
    for (var i = 0u; i < 32u; i += 1u) {
        peak = max(peak, magnitude({SOURCE}[{BASE} + i]));
    }
    let by = quantizer(peak);
    if (lane < 8u) {
        let i = {BASE} + 4u * lane;
        {Q}[8u * block_at + lane] = packed(quantized({SOURCE}[i], by.inverse),
            quantized({SOURCE}[i + 1u], by.inverse), quantized({SOURCE}[i + 2u], by.inverse),
            quantized({SOURCE}[i + 3u], by.inverse));
    }
    if (lane == 8u) {
        var one = 0;
        var two = 0;
        for (var i = 0u; i < 16u; i += 1u) {
            one += quantized({SOURCE}[{BASE} + i], by.inverse);
            two += quantized({SOURCE}[{BASE} + 16u + i], by.inverse);
        }
        {FACTORS}[block_at] = factors_of(by.scale, one, two);
    }
