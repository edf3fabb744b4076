        // A pair of dimensions of a chunk's sums.
        //!for l LINES
        if (first + {l}u < shape.group) {
            let to = (out + {l}u * span.chunks) * {HEAD_DIM}u + 2u * pair;
            pieces[to] = sum_{l}.x;
            pieces[to + 1u] = sum_{l}.y;
        }
        //!end
