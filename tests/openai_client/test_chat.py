"""Chat, streamed and whole."""

import concurrent.futures

MESSAGES = [
    {"role": "user", "content": "List the numbers from one to ten in words, separated by commas."}
]


def greedy(client, model, messages=MESSAGES, max_tokens=32, **more):
    return client.chat.completions.create(
        model=model, messages=messages, temperature=0, max_tokens=max_tokens, **more
    )


def test_an_answer_has_text_reason_and_usage(client, model):
    answer = greedy(client, model)
    choice = answer.choices[0]
    assert (
        answer.object == "chat.completion"
        and answer.id.startswith("chatcmpl-")
        and answer.model == model
    )
    assert choice.message.role == "assistant" and choice.message.content.strip()
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 5 and 1 <= usage.completion_tokens <= 32
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    extra = usage.model_dump()
    assert extra["drafted_tokens"] >= extra["accepted_tokens"] >= 0
    details = usage.completion_tokens_details
    assert details.accepted_prediction_tokens == details.rejected_prediction_tokens == 0
    timings = answer.model_dump()["timings"]
    assert timings["predicted_n"] == usage.completion_tokens
    assert timings["prompt_n"] + timings["cache_n"] == usage.prompt_tokens


def test_a_stream_says_what_the_whole_answer_says(client, model):
    whole = greedy(client, model).choices[0]
    chunks = list(greedy(client, model, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [
        chunk.choices[0].finish_reason
        for chunk in chunks
        if chunk.choices and chunk.choices[0].finish_reason
    ]
    assert text == whole.message.content and reasons == [whole.finish_reason]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_speculation_changes_no_token_and_is_a_switch_of_the_request(client, model):
    texts, drafted = {}, {}
    for name in ("off", "fixed:4", "speckv", "chain+fixed"):
        answer = greedy(
            client,
            model,
            max_tokens=48,
            extra_body={"speculation": {"controller": name, "draft": "ngram"}},
        )
        texts[name] = answer.choices[0].message.content
        drafted[name] = answer.usage.model_dump()["drafted_tokens"]
    assert len(set(texts.values())) == 1
    assert drafted["off"] == 0 and drafted["fixed:4"] > 0


def test_details_tell_where_each_token_came_from(client, model):
    more = {"speculation": {"controller": "fixed:4", "details": True}}
    chunks = list(
        greedy(
            client,
            model,
            max_tokens=48,
            stream=True,
            stream_options={"include_usage": True},
            extra_body=more,
        )
    )
    steps = [
        chunk.model_extra["speckv"] for chunk in chunks if "speckv" in (chunk.model_extra or {})
    ]
    tokens = [token for step in steps for token in step["tokens"]]
    assert {token["origin"] for token in tokens} <= {
        "plain",
        "accepted",
        "recovered",
        "bonus",
        "forced",
    }
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "".join(token["text"] for token in tokens) == text
    usage = chunks[-1].usage.model_dump()
    assert sum(step["accepted"] for step in steps) == usage["accepted_tokens"]
    assert sum(step["gamma"] for step in steps) == usage["drafted_tokens"]


def test_concurrent_greedy_answers_are_those_of_the_same_requests_alone(client, model):
    asks = [
        [{"role": "user", "content": f"Count from {n} to {n + 5}." + " Please." * (n % 4)}]
        for n in range(10)
    ]
    alone = [greedy(client, model, ask, 24, extra_body={"speculation": "off"}) for ask in asks]
    controllers = ["speckv", "fixed:4", "off", "chain+fixed", "speckv"]

    def among_others(number):
        more = {"speculation": {"controller": controllers[number % 5]}}
        return greedy(client, model, asks[number], 24, extra_body=more)

    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        together = list(pool.map(among_others, range(10)))
    assert [answer.choices[0].message.content for answer in together] == [
        answer.choices[0].message.content for answer in alone
    ]
    assert [answer.usage.completion_tokens for answer in together] == [
        answer.usage.completion_tokens for answer in alone
    ]
    assert sum(answer.usage.model_dump()["drafted_tokens"] for answer in together) > 0


def test_several_answers_seeds_and_stop_strings(client, model):
    both = client.chat.completions.create(
        model=model, messages=MESSAGES, n=2, seed=3, temperature=1.2, max_tokens=16
    )
    assert [choice.index for choice in both.choices] == [0, 1]
    again = client.chat.completions.create(
        model=model, messages=MESSAGES, n=2, seed=3, temperature=1.2, max_tokens=16
    )
    # Which tokens are drafted depends on times, and drafting uses random numbers; plain decoding
    # repeats.
    plain = {"speculation": "off"}
    first, second = (
        client.chat.completions.create(
            model=model, messages=MESSAGES, seed=3, temperature=1.2, max_tokens=16, extra_body=plain
        )
        for _ in range(2)
    )
    assert first.choices[0].message.content == second.choices[0].message.content
    assert len(again.choices) == 2
    whole = greedy(client, model).choices[0].message.content
    stop = whole[8:12]
    cut = greedy(client, model, stop=[stop]).choices[0]
    assert cut.message.content == whole[: whole.index(stop)] and cut.finish_reason == "stop"


def test_logprobs(client, model):
    answer = greedy(client, model, max_tokens=6, logprobs=True, top_logprobs=3).choices[0]
    content = answer.logprobs.content
    assert len(content) >= 1 and all(
        len(entry.top_logprobs) == 3 and entry.logprob <= 0 for entry in content
    )
    assert all(entry.top_logprobs[0].token == entry.token for entry in content)
    said = b"".join(bytes(entry.bytes) for entry in content).decode(errors="replace")
    assert said.startswith(answer.message.content)


def test_the_next_turn_reads_only_what_is_new(client, model):
    said = greedy(client, model).choices[0].message.content
    turns = MESSAGES + [
        {"role": "assistant", "content": said},
        {"role": "user", "content": "And now backwards."},
    ]
    usage = greedy(client, model, turns).usage
    assert usage.prompt_tokens_details.cached_tokens > usage.prompt_tokens // 3


def test_roles_and_parts(client, model):
    turns = [
        {"role": "developer", "content": "Answer briefly."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Say "}, {"type": "text", "text": "hello."}],
        },
    ]
    assert greedy(client, model, turns, 8, max_completion_tokens=8).choices[0].message.content
