"""A tiny Qwen2 with random weights as a Hugging Face folder, written with NumPy alone."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

LAYERS, HIDDEN, HEADS, KV_HEADS, FEED_FORWARD, VOCAB = 2, 64, 4, 2, 96, 320


def byte_letters() -> list[str]:
    """GPT-2's letters for the 256 bytes: printable ones stand for themselves, the others follow
    from 256 on.
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def weights(
    seed: int, noise: float = 0.0, noise_seed: int = 0, feed_forward: int = FEED_FORWARD
) -> dict[str, np.ndarray]:
    """Weights of a seed; `noise` disturbs them, which makes a draft that often, not always,
    agrees."""
    draw, disturb = np.random.default_rng(seed), np.random.default_rng(1000 + noise_seed)

    def matrix(rows: int, columns: int, scale: float = 1.0) -> np.ndarray:
        values = scale * draw.standard_normal((rows, columns)) / np.sqrt(columns)
        return (
            values + noise * scale * disturb.standard_normal((rows, columns)) / np.sqrt(columns)
        ).astype(np.float32)

    head = HIDDEN // HEADS
    made = {
        "model.embed_tokens.weight": matrix(VOCAB, HIDDEN, 6.0),
        "model.norm.weight": np.ones(HIDDEN, np.float32),
    }
    made["lm_head.weight"] = matrix(VOCAB, HIDDEN, 4.0)
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}."
        for name, rows in [("q", HEADS * head), ("k", KV_HEADS * head), ("v", KV_HEADS * head)]:
            made[f"{stem}self_attn.{name}_proj.weight"] = matrix(rows, HIDDEN)
            made[f"{stem}self_attn.{name}_proj.bias"] = (0.1 * draw.standard_normal(rows)).astype(
                np.float32
            )
        made[f"{stem}self_attn.o_proj.weight"] = matrix(HIDDEN, HIDDEN)
        for name, shape in [
            ("gate", (feed_forward, HIDDEN)),
            ("up", (feed_forward, HIDDEN)),
            ("down", (HIDDEN, feed_forward)),
        ]:
            made[f"{stem}mlp.{name}_proj.weight"] = matrix(*shape)
        made[f"{stem}input_layernorm.weight"] = np.ones(HIDDEN, np.float32)
        made[f"{stem}post_attention_layernorm.weight"] = np.ones(HIDDEN, np.float32)
    return made


def write(
    folder: Path,
    seed: int = 0,
    noise: float = 0.0,
    feed_forward: int = FEED_FORWARD,
    mask: int | None = None,
) -> Path:
    """Writes config.json, tokenizer.json, tokenizer_config.json and model.safetensors. `mask`: the
    mask token of a parallel draft.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": HIDDEN, "intermediate_size": feed_forward,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "max_position_embeddings": 512, "tie_word_embeddings": False, "vocab_size": VOCAB,
        "hidden_act": "silu", "bos_token_id": None, "eos_token_id": 256, "torch_dtype": "float32",
    }  # fmt: skip
    if mask is not None:
        config["pard_token"] = mask
    (folder / "config.json").write_text(json.dumps(config))
    letters = byte_letters()
    added = {
        "id": 256,
        "content": "<|end|>",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": True,
    }
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [added], "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": {letter: byte for byte, letter in enumerate(letters)} | {"<|end|>": 256},
                  "merges": []},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    header: dict[str, object] = {}
    data = b""
    for name, values in weights(seed, noise, feed_forward=feed_forward).items():
        block = values.tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(block)],
        }
        data += block
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder
