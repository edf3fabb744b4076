        // Weighted sums of a pair of dimensions over some positions, in their order.
        for (var p = sub_begin; p < sub_end; p += 1u) {
            let at = (slot_of(row, p) * shape.kv_heads + kv_head) * HEAD_WORDS;
            //!if BYTES
            let both = bytes(values[at + pair / 2u]);
            let scale = bitcast<f32>(values[at + BYTE_WORDS + pair / 16u]);
            let value = scale * select(both.xy, both.zw, pair % 2u == 1u);
            //!else
            let value = unpack2x16float(values[at + pair]);
            //!end
            //!for l LINES
            sum_{l} = fma(vec2<f32>(scores[{l}u * {CHUNK}u + p % {CHUNK}u]), value, sum_{l});
            //!end
        }
