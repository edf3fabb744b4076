"""Starting workers and finding models, for the tests and for measuring."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Worker:
    """A vLLM engine in a process of its own. `with` ends it."""

    def __init__(
        self,
        model,
        *,
        speckv=None,
        tensor_parallel=1,
        cap=8,
        max_length=1024,
        requests=8,
        switch=False,
        log=None,
    ):
        settings = {
            "model": str(model),
            "speckv": speckv,
            "tensor_parallel": tensor_parallel,
            "cap": cap,
            "max_length": max_length,
            "requests": requests,
            "switch": switch,
        }
        path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        self._log = open(log, "wb") if log else subprocess.DEVNULL
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": path},
            text=True,
        )

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"the engine ended with status {self._process.wait()}; its log says why"
            )
        return json.loads(line)

    def wait(self):
        """Until the model is loaded."""
        assert self._read()["ready"]
        return self

    def answer(self, prompts, concurrency, max_tokens, setting=None, ignore_eos=False):
        task = {
            "prompts": prompts,
            "concurrency": concurrency,
            "max_tokens": max_tokens,
            "setting": setting,
            "ignore_eos": ignore_eos,
        }
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return self._read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def model_file(name):
    """A catalogue model's GGUF file, or None: SPECKV_MODELS, else the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "speckv" / "models"
    path = Path(os.environ.get("SPECKV_MODELS") or cache) / f"{name}.gguf"
    return path if path.is_file() else None


def convert(source, folder, dtype="f32"):
    """The Hugging Face folder of a GGUF file."""
    tool = HERE.parent.parent / "tools" / "gguf_to_hf.py"
    subprocess.run(
        [sys.executable, str(tool), str(source), str(folder), "--dtype", dtype],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder


def tiny_qwen2(folder, vocab_size=64):
    """A random Qwen2 of a few kilobytes without a tokenizer. Its greedy text soon runs in circles,
    which look-up finds.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=128,  # heads of 32: vLLM has no CPU attention for smaller ones
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=vocab_size - 1,
    )
    Qwen2ForCausalLM(config).to(torch.float32).save_pretrained(folder)
    return folder


def workload(tokenizer, tasks, per_task, longest):
    """Prompts of the repository's test split as token ids, chat template applied: the first ones of
    each task that are not too long.
    """
    root = HERE.parents[3] / "crates/speckv-lab/workloads"
    prompts = []
    for task in tasks:
        lines = [
            json.loads(line)
            for line in (root / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        taken = 0
        for line in lines:
            if line["split"] != "test" or taken == per_task:
                continue
            messages = [{"role": "system", "content": line["system"]}] if line["system"] else []
            messages.append({"role": "user", "content": line["prompt"]})
            text = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(ids) <= longest:
                prompts.append((line["id"], ids))
                taken += 1
    return prompts
