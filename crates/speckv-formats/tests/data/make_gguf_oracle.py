"""Makes the expected data of gguf_oracle.rs with the `gguf` package of the llama.cpp project
(0.19.0, numpy 2).

    pip install gguf==0.19.0 && python make_gguf_oracle.py

blocks.txt   per type: name, blocks as stored in hexadecimal, the floats they decode to as
             hexadecimal binary32
read.txt     the same of the types that are only read
oracle.bin   a small file with a metadata value of every type and two tensors
"""

import os

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T

HERE = os.path.dirname(os.path.abspath(__file__))
HALVES = {
    T.Q8_0: [0],
    T.Q4_0: [0],
    T.Q5_0: [0],
    T.IQ4_NL: [0],
    T.Q4_1: [0, 2],
    T.Q5_1: [0, 2],
    T.Q2_K: [80, 82],
    T.Q3_K: [108],
    T.Q4_K: [0, 2],
    T.Q5_K: [0, 2],
    T.Q6_K: [208],
    T.BF16: [],
    T.F16: [],
}
rng = np.random.default_rng(20260801)

with open(os.path.join(HERE, "blocks.txt"), "w") as out:
    for kind, halves in HALVES.items():
        length, size = gguf.GGML_QUANT_SIZES[kind]
        count = max(1, 64 // length)
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        if not halves:  # floats: any bits but NaN and infinity
            blocks[:, 1] &= 0xBB if kind == T.F16 else 0xBF
        for at in halves:
            scale = rng.normal(0, 0.01, count).astype(np.float16)
            blocks[:, at : at + 2] = scale.view(np.uint8).reshape(count, 2)
        values = gguf.quants.dequantize(blocks, kind).astype(np.float32).ravel()
        assert values.size == count * length
        print(
            kind.name,
            blocks.tobytes().hex(),
            values.view(np.uint32).astype(">u4").tobytes().hex(),
            file=out,
        )

# Types that are only read: where their half floats are. MXFP4 and NVFP4 have scales of their own;
# those of IQ1_M lie in pieces.
READ = {
    T.IQ4_XS: [0],
    T.IQ3_S: [0],
    T.IQ3_XXS: [0],
    T.IQ2_S: [0],
    T.IQ2_XS: [0],
    T.IQ2_XXS: [0],
    T.IQ1_S: [0],
    T.IQ1_M: [],
    T.MXFP4: [],
    T.NVFP4: [],
    T.TQ1_0: [52],
    T.TQ2_0: [64],
}
rng = np.random.default_rng(20261128)

with open(os.path.join(HERE, "read.txt"), "w") as out:
    for kind, halves in READ.items():
        length, size = gguf.GGML_QUANT_SIZES[kind]
        count = max(2, 512 // length)
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        if kind == T.MXFP4:  # every kind of exponent, the two subnormal scales among them
            blocks[:, 0] = ([0, 1, 2, 240] + list(range(100, 132)))[:count]
        if kind == T.NVFP4:  # subnormal scales, no number, and the bit that means nothing
            blocks[0, :4], blocks[1, :4] = [0, 1, 7, 8], [0x7F, 0x7E, 0xFF, 0x80]
        if kind == T.IQ1_M:  # no exponent of infinity
            blocks[:, 55] &= 0xBF
        for at in halves:
            scale = rng.normal(0, 0.01, count).astype(np.float16)
            blocks[:, at : at + 2] = scale.view(np.uint8).reshape(count, 2)
        values = gguf.quants.dequantize(blocks, kind).astype(np.float32).ravel()
        assert values.size == count * length
        print(
            kind.name,
            blocks.tobytes().hex(),
            values.view(np.uint32).astype(">u4").tobytes().hex(),
            file=out,
        )

writer = gguf.GGUFWriter(os.path.join(HERE, "oracle.bin"), "llama")
writer.add_uint8("u8", 200)
writer.add_int8("i8", -100)
writer.add_uint16("u16", 60000)
writer.add_int16("i16", -30000)
writer.add_uint32("u32", 4000000000)
writer.add_int32("i32", -2000000000)
writer.add_uint64("u64", 2**63 + 1)
writer.add_int64("i64", -(2**62))
writer.add_float32("f32", 0.5)
writer.add_float64("f64", -1e300)
writer.add_bool("bool", True)
writer.add_string("string", "snowman \u2603")
writer.add_array("strings", ["a", "", "\u0120the"])
writer.add_array("integers", [1, -2, 3])
writer.add_array("floats", [0.25, -8.0])
writer.add_array("bools", [True, False, True])
writer.add_tensor("matrix", np.arange(6, dtype=np.float32).reshape(2, 3))
writer.add_tensor(
    "packed",
    gguf.quants.quantize(np.arange(64, dtype=np.float32).reshape(2, 32), T.Q8_0),
    raw_dtype=T.Q8_0,
)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
