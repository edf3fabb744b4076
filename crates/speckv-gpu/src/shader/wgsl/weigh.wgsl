        // Weighted sums of a pair of dimensions over some positions, in their order.
        for (var p = sub_begin; p < sub_end; p += 1u) {
            let at = (slot_of(row, p) * shape.kv_heads + kv_head) * ({HEAD_DIM}u / 2u) + pair;
            let value = unpack2x16float(values[at]);
            //!for l LINES
            sum_{l} = fma(vec2<f32>(scores[{l}u * {CHUNK}u + p % {CHUNK}u]), value, sum_{l});
            //!end
        }
