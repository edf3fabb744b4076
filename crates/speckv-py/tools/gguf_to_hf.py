"""Turns a GGUF file of the llama or qwen2 family into a Hugging Face folder that transformers and
vLLM read.

    python gguf_to_hf.py MODEL.gguf FOLDER [--dtype f32|bf16|f16]

Writes config.json, generation_config.json, model.safetensors, tokenizer.json and
tokenizer_config.json. Weights are what the file's quantized blocks stand for, so the folder is the
*same* model, dequantized, not the one that was quantized once. Needs the packages numpy and gguf.
"""

import argparse
import json
import struct
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, dequantize

HF_DTYPE = {
    "f32": ("float32", "F32", 4),
    "f16": ("float16", "F16", 2),
    "bf16": ("bfloat16", "BF16", 2),
}

# GGUF's names of a layer's tensors and Hugging Face's.
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}

QWEN2_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def refuse(message: str, hint: str) -> None:
    sys.exit(f"error: {message}\nhint: {hint}")


class Metadata:
    """The key-value part of a file."""

    def __init__(self, reader: GGUFReader):
        self.fields = reader.fields
        self.architecture = self["general.architecture"]

    def __getitem__(self, key: str):
        field = self.fields.get(key)
        if field is None:
            raise KeyError(key)
        if field.types[0] == GGUFValueType.ARRAY:
            if field.types[1] == GGUFValueType.STRING:
                return [bytes(field.parts[index]).decode("utf-8") for index in field.data]
            return [field.parts[index][0].item() for index in field.data]
        value = field.parts[field.data[0]]
        return (
            bytes(value).decode("utf-8")
            if field.types[0] == GGUFValueType.STRING
            else value[0].item()
        )

    def get(self, key: str, default=None):
        return self[key] if key in self.fields else default

    def of_architecture(self, key: str, default=None):
        return self.get(f"{self.architecture}.{key}", default)


def config(metadata: Metadata, names: set[str], vocab: int, dtype: str) -> dict:
    """config.json, from the metadata alone."""
    of = metadata.of_architecture
    heads, hidden = of("attention.head_count"), of("embedding_length")
    if of("rope.scaling.type", "none") not in ("none", ""):
        refuse(
            f"rope scaling of type {of('rope.scaling.type')} is not translated",
            "choose a model without rope scaling",
        )
    common = {
        "hidden_size": hidden,
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": of("attention.head_count_kv", heads),
        "max_position_embeddings": of("context_length"),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
        "rope_theta": of("rope.freq_base", 10000.0),
        "hidden_act": "silu",
        "vocab_size": vocab,
        "tie_word_embeddings": "output.weight" not in names,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "torch_dtype": HF_DTYPE[dtype][0],
        "use_cache": True,
    }
    if metadata.architecture == "llama":
        head = {"head_dim": hidden // heads, "attention_bias": False, "mlp_bias": False}
        return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **common, **head}
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **common,
        "use_sliding_window": False,
    }


def unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undoes what GGUF does to the query and key rows of llama: there the two halves of a head's
    rotary dimensions are interleaved.

    [heads, half, 2, columns] -> [heads, 2, half, columns]
    """
    rows, columns = weight.shape
    return (
        weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )


def hf_name(name: str) -> str | None:
    stem, _, suffix = name.rpartition(".")
    if stem in TOP:
        return f"{TOP[stem]}.{suffix}"
    parts = stem.split(".")
    if len(parts) == 3 and parts[0] == "blk" and parts[2] in LAYER:
        return f"model.layers.{parts[1]}.{LAYER[parts[2]]}.{suffix}"
    return None


def to_bytes(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "f32":
        return values.astype("<f4").tobytes()
    if dtype == "f16":
        return values.astype("<f2").tobytes()
    bits = values.astype("<f4").view("<u4")
    return (
        ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    )  # to nearest, ties to even


def write_safetensors(
    path: Path, tensors: list[tuple[str, tuple[int, ...], object]], dtype: str
) -> None:
    """`tensors`: name, shape and a function that makes the values; one is in memory at a time."""
    _, kind, width = HF_DTYPE[dtype]
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _ in tensors:
        size = int(np.prod(shape)) * width
        header[name] = {
            "dtype": kind,
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, values in tensors:
            file.write(to_bytes(values(), dtype))


def tokenizer(metadata: Metadata) -> tuple[dict, dict]:
    """tokenizer.json and tokenizer_config.json of a byte-level BPE vocabulary."""
    if metadata["tokenizer.ggml.model"] != "gpt2":
        refuse(
            f"the vocabulary is of type {metadata['tokenizer.ggml.model']}, not byte-level BPE",
            "choose another model",
        )
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    splits = {
        "qwen2": [
            {
                "type": "Split",
                "pattern": {"Regex": QWEN2_SPLIT},
                "behavior": "Isolated",
                "invert": False,
            },
            byte_level | {"use_regex": False},
        ],
        "smollm": [{"type": "Digits", "individual_digits": True}, byte_level | {"use_regex": True}],
    }
    kind = metadata.get("tokenizer.ggml.pre", "default")
    if kind not in splits:
        refuse(
            f"how texts are split is called {kind!r} here, which is not known",
            f"known are {', '.join(splits)}",
        )
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    control, user_defined = 3, 4
    added = [
        {
            "id": token,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": types[token] == control,
        }
        for token, text in enumerate(tokens)
        if types[token] in (control, user_defined)
    ]
    merges = [merge.split(" ", 1) for merge in metadata["tokenizer.ggml.merges"]]
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFC"} if kind == "qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits[kind]},
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: token for token, text in enumerate(tokens)},
            "merges": merges,
        },
    }
    name = lambda key: (
        tokens[token]
        if (token := metadata.get(f"tokenizer.ggml.{key}_token_id")) is not None
        else None
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": name("bos"),
        "eos_token": name("eos"),
        "pad_token": name("padding"),
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata.of_architecture("context_length"),
    }
    template = metadata.get("tokenizer.chat_template")
    return document, settings | ({"chat_template": template} if template else {})


def convert(source: Path, folder: Path, dtype: str) -> int:
    reader = GGUFReader(source)
    metadata = Metadata(reader)
    if metadata.architecture not in ("llama", "qwen2"):
        refuse(
            f"the family {metadata.architecture} is not translated",
            "choose a model of the family llama or qwen2",
        )
    names = {tensor.name for tensor in reader.tensors}
    heads = {"attn_q": metadata.of_architecture("attention.head_count")}
    heads["attn_k"] = metadata.of_architecture("attention.head_count_kv", heads["attn_q"])
    tensors, vocab = [], 0
    for tensor in reader.tensors:
        if tensor.name == "rope_freqs.weight":
            refuse("the file has rope factors of its own", "choose a model without rope scaling")
        name = hf_name(tensor.name)
        if name is None:
            refuse(
                f"no Hugging Face name is known for the tensor {tensor.name}",
                "choose a plain llama or qwen2 model",
            )
        shape = tuple(int(size) for size in reversed(tensor.shape))
        vocab = shape[0] if tensor.name == "token_embd.weight" else vocab

        def values(tensor=tensor, shape=shape):
            weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
            part = tensor.name.split(".")[-2]
            turned = metadata.architecture == "llama" and part in heads
            return unpermute(weight, heads[part]) if turned else weight

        tensors.append((name, shape, values))
    folder.mkdir(parents=True, exist_ok=True)
    facts = config(metadata, names, vocab, dtype)
    document, settings = tokenizer(metadata)
    ends = {
        "bos_token_id": facts["bos_token_id"],
        "eos_token_id": facts["eos_token_id"],
        "do_sample": False,
    }
    for name, content in [
        ("config.json", facts),
        ("generation_config.json", ends),
        ("tokenizer.json", document),
        ("tokenizer_config.json", settings),
    ]:
        (folder / name).write_text(
            json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8"
        )
    write_safetensors(folder / "model.safetensors", tensors, dtype)
    return len(tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="a GGUF file")
    parser.add_argument("folder", type=Path, help="the folder to write")
    parser.add_argument(
        "--dtype",
        choices=HF_DTYPE,
        default="f32",
        help="type of the weights (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if not arguments.source.is_file():
        refuse(
            f"there is no file {arguments.source}",
            "`speckv models` shows where downloaded models lie",
        )
    count = convert(arguments.source, arguments.folder, arguments.dtype)
    print(f"{arguments.folder}: {count} tensors as {HF_DTYPE[arguments.dtype][0]}")


if __name__ == "__main__":
    main()
