#!/usr/bin/env python3
"""Makes a Hugging Face folder in FP16 from a GGUF file: `paper_models.py FILE.gguf FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    file, folder = Path(sys.argv[1]), Path(sys.argv[2])
    source: dict[str, Any] = {
        "pretrained_model_name_or_path": str(file.parent),
        "gguf_file": file.name,
    }
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    # Releases that keep GGUF's blocks in memory cannot save them; the earlier ones always decode.
    if hasattr(transformers, "GgufConfig"):
        source["quantization_config"] = transformers.GgufConfig(dequantize=True)
    AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float16).save_pretrained(folder)


if __name__ == "__main__":
    main()
