"""Completions, models, tokens, errors, and what operators look at."""

import json
import os
import urllib.error
import urllib.request

import openai
import pytest


KEY = os.environ.get("SPECKV_API_KEY", "")


def fetch(url, body=None):
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    key = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    request = urllib.request.Request(
        url, data=data, headers={"Content-Type": "application/json", **key}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_completions(client, model):
    answer = client.completions.create(
        model=model, prompt="One, two, three,", max_tokens=12, temperature=0
    )
    assert answer.object == "text_completion" and "four" in answer.choices[0].text
    assert answer.usage.completion_tokens == 12 and answer.choices[0].finish_reason == "length"
    chunks = list(
        client.completions.create(
            model=model, prompt="One, two, three,", max_tokens=12, temperature=0, stream=True
        )
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == answer.choices[0].text
    echoed = client.completions.create(
        model=model, prompt="One, two, three,", max_tokens=4, temperature=0, echo=True
    )
    assert echoed.choices[0].text.startswith("One, two, three,")


def test_several_prompts_as_text_and_as_tokens(client, model, url):
    texts = ["The sky is", "Water is"]
    tokens = [
        json.loads(fetch(f"{url}/tokenize", {"content": text, "add_special": True})[1])["tokens"]
        for text in texts
    ]
    by_text = client.completions.create(model=model, prompt=texts, max_tokens=6, temperature=0)
    by_tokens = client.completions.create(model=model, prompt=tokens, max_tokens=6, temperature=0)
    assert [choice.text for choice in by_text.choices] == [
        choice.text for choice in by_tokens.choices
    ]
    logprobs = (
        client.completions.create(
            model=model, prompt=texts[0], max_tokens=3, temperature=0, logprobs=2
        )
        .choices[0]
        .logprobs
    )
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset) == 3


def test_models(client, model):
    cards = client.models.list().data
    assert [card.id for card in cards] == [model]
    assert client.models.retrieve(model).id == model
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("no-such-model")
    assert error.value.code == "model_not_found"


def test_tokens_come_back_as_text(url):
    text = "naïve café – 東京 🙂\n\tcode()"
    tokens = json.loads(fetch(f"{url}/tokenize", {"content": text})[1])
    assert tokens["count"] == len(tokens["tokens"])
    assert (
        json.loads(fetch(f"{url}/detokenize", {"tokens": tokens["tokens"]})[1])["content"] == text
    )


@pytest.mark.parametrize(
    "more, param",
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"extra_body": {"speculation": {"controller": "fast"}}}, "speculation.controller"),
        ({"extra_body": {"speculation": {"gamma": 1000}}}, "speculation.gamma"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
)
def test_a_wrong_field_is_a_bad_request_that_names_it(client, model, more, param):
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "x"}], **more
        )
    assert error.value.param == param and error.value.type == "invalid_request_error"


def test_a_prompt_beyond_the_context_and_another_model_have_their_codes(client, model):
    with pytest.raises(openai.BadRequestError) as error:
        client.completions.create(model=model, prompt="word " * 20000)
    assert error.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "x"}])
    assert error.value.code == "model_not_found"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[1, 2]", b'{"messages": 5}', b'{"messages": [{"role": 3}]}']
)
def test_bytes_that_are_no_request_are_told_so(url, body):
    status, text = fetch(f"{url}/v1/chat/completions", body)
    error = json.loads(text)["error"]
    assert status == 400 and error["type"] == "invalid_request_error" and error["message"]


def test_a_wrong_key_is_an_authentication_error():
    if not KEY:
        pytest.skip("this server asks for no key")
    wrong = openai.OpenAI(base_url=os.environ["SPECKV_URL"] + "/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as error:
        wrong.models.list()
    assert error.value.code == "invalid_api_key"


def test_health_metrics_and_documents(url, client, model):
    client.completions.create(model=model, prompt="x", max_tokens=2)
    assert json.loads(fetch(f"{url}/health")[1])["status"] == "ok"
    text = fetch(f"{url}/metrics")[1]
    for name in (
        "num_requests_running",
        "generation_tokens_total",
        "spec_decode_num_draft_tokens_total",
        "time_to_first_token_seconds_bucket",
    ):
        assert f"speckv:{name}" in text
    document = json.loads(fetch(f"{url}/openapi.json")[1])
    assert "/v1/chat/completions" in document["paths"] and document["openapi"].startswith("3.")
