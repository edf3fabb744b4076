"""Makes the folder `four_bits`: what the bitsandbytes library says that 4 bits mean, and a tiny
model that `transformers` saved in them.

    pip install torch transformers accelerate bitsandbytes safetensors
    python four_bits.py four_bits

`cases.safetensors`: matrices `NAME.weight` with the companions of a checkpoint, quantized on the
CPU, and `NAME.values`, the numbers of the library in float32: all, or, as the shape tells, the last
of them. They are those of its portable implementation: version 0.50.2's kernel for AVX-512 takes
wrong scales for many shapes whose rows end inside a block (the round trip is then off by several
steps). Where no row does, `dequantize_4bit` has to say the same. `model.safetensors` and
`config.json`: a llama of random weights, saved by `save_pretrained` in NF4 with double
quantization. `logits.json`: its logits in float64, from weights as `dequantize_4bit` gives them.
"""

import json
import pathlib
import sys

import bitsandbytes
import torch
import transformers
from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
from bitsandbytes.functional import dequantize_4bit, dequantize_blockwise, quantize_4bit
from safetensors.torch import save_file

# name: kind, values per scale, scales quantized, shape, values kept
CASES = {
    "nf4": ("nf4", 64, False, (5, 64), 320),
    "nf4_cut_rows": ("nf4", 64, False, (7, 24), 168),
    "nf4_odd": ("nf4", 32, False, (5, 7), 35),
    "nf4_large_blocks": ("nf4", 256, False, (3, 100), 300),
    # More than 256 scales, so that there are two scales of scales.
    "nf4_double": ("nf4", 32, True, (86, 96), 192),
    "fp4": ("fp4", 64, False, (4, 80), 320),
    "fp4_double": ("fp4", 128, True, (6, 64), 384),
}
TOKENS = [(i * 13 + i * i * 5 + 3) % 32 for i in range(16)]


def values(codes, state):
    """A matrix's values in float32."""
    absmax = state.absmax
    if state.nested:
        absmax = dequantize_blockwise(absmax, state.state2) + state.offset
    found = _dequantize_4bit_compute(
        codes.flatten(), absmax, state.code, state.blocksize, state.shape, torch.float32
    )
    if state.shape[1] % state.blocksize == 0:
        assert torch.allclose(found, dequantize_4bit(codes, state), rtol=1e-6, atol=0)
    return found.flatten()


def cases():
    tensors = {}
    for name, (kind, block, nested, shape, kept) in CASES.items():
        # Scales far from each other.
        weights = torch.randn(shape) * torch.rand(shape[0], 1).mul(8).sub(6).exp2()
        codes, state = quantize_4bit(
            weights, blocksize=block, quant_type=kind, compress_statistics=nested
        )
        tensors[f"{name}.weight"] = codes
        for end, part in state.as_dict(packed=True).items():
            tensors[f"{name}.weight.{end}"] = part
        tensors[f"{name}.values"] = values(codes, state)[-kept:]
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}


def dequantized(model):
    """The weights of a model in 4 bits, in float64."""
    weights = {}
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        if state is None:
            weights[name] = parameter.data.double()
        else:
            state.dtype = torch.float32
            weights[name] = dequantize_4bit(parameter.data, state).double()
    return weights


def main(folder):
    folder = pathlib.Path(folder)
    torch.manual_seed(7)
    torch.compiler.set_stance("force_eager")
    folder.mkdir(exist_ok=True)
    save_file(cases(), folder / "cases.safetensors")

    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    plain = folder / "plain"
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(plain)
    four_bits = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(
        plain, quantization_config=four_bits, device_map="cpu", dtype=torch.bfloat16
    )
    model.save_pretrained(folder)
    weights = dequantized(model)
    for file in [*plain.iterdir(), folder / "generation_config.json"]:
        file.unlink()
    plain.rmdir()

    config._attn_implementation = "eager"
    exact = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    exact.load_state_dict(weights, strict=False)
    exact.tie_weights()
    with torch.no_grad():
        logits = exact(torch.tensor([TOKENS])).logits[0, -1]
    made_by = f"transformers {transformers.__version__}, bitsandbytes {bitsandbytes.__version__}, torch {torch.__version__}"
    reference = dict(
        made_by=made_by, tokens=TOKENS, logits=[float(f"{x:.6g}") for x in logits.tolist()]
    )
    (folder / "logits.json").write_text(json.dumps(reference) + "\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
