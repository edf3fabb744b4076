"""One vLLM engine as a child process: settings as JSON in the only argument, then one JSON object
per line in, one out.

    {"model": FOLDER, "tensor_parallel": 1, "cap": 8, "speckv": {...} or null, "max_length": 1024,
    "requests": 8, "switch": true}
    -> {"ready": true}
    {"prompts": [[token ids], ...], "concurrency": 4, "max_tokens": 64, "setting": {...}}
    -> {"outputs": [[token ids], ...], "seconds": 1.5}

Prompts are answered greedily, `concurrency` at a time: a batch is whole before the next one begins.
With "switch", one engine serves any number of `"speckv"` settings, each with a state of its own, so
that settings can alternate without loading the model again.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # one process less
os.environ.setdefault(
    "VLLM_CPU_NUM_OF_RESERVED_CPU", "0"
)  # two ranks need both cores of a small machine
os.environ.setdefault(
    "VLLM_CPU_OMP_THREADS_BIND", "nobind"
)  # a pinned thread waits while the other core is free
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # two would wait for each other at every barrier of a shared machine
os.environ.setdefault(
    "TORCHDYNAMO_DISABLE", "1"
)  # else vLLM compiles a few functions with a C++ compiler, for minutes on a busy machine
os.environ.setdefault(
    "VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS", "1800"
)  # two ranks wait for each other; on a busy machine that is no fault
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main() -> None:
    settings = json.loads(sys.argv[1])
    # Whatever vLLM prints goes to standard error: standard output is the protocol's.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    switch = settings.get("switch", False)
    if switch:
        setting = Path(tempfile.mkdtemp(prefix="speckv-switch-")) / "setting.json"
        setting.write_text(json.dumps(settings["speckv"]), encoding="utf-8")
        os.environ["SPECKV_SWITCH"] = str(setting)

    from vllm import LLM, SamplingParams

    more = {}
    if settings["speckv"] is not None:
        more["speculative_config"] = {
            "method": "custom_class",
            "model": "switch.SwitchedProposer" if switch else "speckv.vllm.Proposer",
            "num_speculative_tokens": settings["cap"],
        }
        more["additional_config"] = {"speckv": settings["speckv"]}
    llm = LLM(
        model=settings["model"],
        dtype="float32",
        enforce_eager=True,
        max_model_len=settings["max_length"],
        max_num_seqs=settings["requests"],
        tensor_parallel_size=settings["tensor_parallel"],
        enable_prefix_caching=False,
        seed=0,
        **more,
    )
    say = lambda message: print(json.dumps(message), file=protocol, flush=True)
    say({"ready": True})
    for line in sys.stdin:
        task = json.loads(line)
        if switch:
            part = setting.with_suffix(".part")
            part.write_text(json.dumps(task["setting"]), encoding="utf-8")
            part.replace(setting)
        sampling = SamplingParams(
            temperature=0.0, max_tokens=task["max_tokens"], ignore_eos=task.get("ignore_eos", False)
        )
        outputs, began = [], time.perf_counter()
        for first in range(0, len(task["prompts"]), task["concurrency"]):
            batch = [
                {"prompt_token_ids": ids}
                for ids in task["prompts"][first : first + task["concurrency"]]
            ]
            outputs += [
                list(answer.outputs[0].token_ids)
                for answer in llm.generate(batch, sampling, use_tqdm=False)
            ]
        say({"outputs": outputs, "seconds": time.perf_counter() - began})


if __name__ == "__main__":
    main()
