"""Makes `logits.json`: what the `transformers` library computes for tiny models in the layout of
its folders.

    pip install torch transformers
    python make.py > logits.json

The weights are no data: element i of a tensor is a hash of the tensor's name and i (see `weights`),
which `folders.rs` computes again. All values have 8 significant bits, so that float32, float16 and
bfloat16 hold them exactly and one list of logits serves all three. The models run in float64, with
eager attention, on the CPU.
"""

import json
import sys

import torch
import transformers

MASK = (1 << 64) - 1
TOKENS = [(i * 37 + i * i * 11 + 5) % 64 for i in range(24)]
POSITIONS = [2, 23]

SMALL = dict(
    vocab_size=64,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
)
GEMMA = SMALL | dict(num_hidden_layers=7, head_dim=32, sliding_window=6, query_pre_attn_scalar=24)

MODELS = {
    "llama": transformers.LlamaConfig(**SMALL, attention_bias=True, tie_word_embeddings=False),
    "llama 3": transformers.LlamaConfig(
        **SMALL,
        tie_word_embeddings=True,
        rope_parameters=dict(
            rope_type="llama3",
            rope_theta=10000.0,
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=32,
        ),
    ),
    "mistral": transformers.MistralConfig(**SMALL, sliding_window=5),
    "qwen2": transformers.Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen3": transformers.Qwen3Config(**SMALL | dict(head_dim=32), tie_word_embeddings=False),
    "gemma3": transformers.Gemma3TextConfig(**GEMMA),
    "gemma3 capped": transformers.Gemma3TextConfig(
        **GEMMA,
        final_logit_softcapping=3.0,
        rope_parameters=dict(
            full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6),
            sliding_attention=dict(rope_type="default", rope_theta=5e3),
        ),
    ),
}


def mix(x):
    """SplitMix64's finalizer (Steele, Lea and Flood 2014)."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def weights(name, shape):
    """Bytes of a hash as numbers in [-1, 1), times a power of two by the tensor's kind; fewer bits
    for norms, which may be near 1.
    """
    seed = 0xCBF29CE484222325  # FNV-1a
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 & MASK
    count = 1
    for size in shape:
        count *= size
    values = [(mix((seed + i) & MASK) >> 56) - 128 for i in range(count)]
    if name.endswith("norm.weight"):
        values = [value // 4 for value in values]
    size = 1.0 if "embed" in name or name.endswith("norm.weight") else 0.25
    return torch.tensor(values, dtype=torch.float64).mul(size / 128).reshape(shape)


def main():
    models = []
    for label, config in MODELS.items():
        config._attn_implementation = "eager"
        model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
        stored = {}
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                value = weights(name, parameter.shape)
                # Norms are near 1, which Gemma stores less 1.
                if name.endswith("norm.weight") and "gemma3" not in label:
                    value += 1.0
                parameter.copy_(value)
                if "layers." not in name or "layers.0." in name:  # the others have the same shapes
                    stored[name] = list(parameter.shape)
            logits = model(torch.tensor([TOKENS])).logits[0]
        rows = [[float(f"{x:.6g}") for x in logits[position].tolist()] for position in POSITIONS]
        config = {
            key: value
            for key, value in json.loads(config.to_json_string()).items()
            if value is not None
        }
        models.append(dict(label=label, config=config, tensors=stored, logits=rows))
    made_by = f"transformers {transformers.__version__}, torch {torch.__version__}"
    print(
        "{"
        + f'"made_by": {json.dumps(made_by)}, "tokens": {TOKENS}, "positions": {POSITIONS}, "models": ['
    )
    print(",\n".join(json.dumps(model, separators=(",", ":")) for model in models))
    print("]}")


if __name__ == "__main__":
    sys.exit(main())
