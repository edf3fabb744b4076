"""Tools, schemas and the other interfaces with the clients that applications use."""

import json

import anthropic
import langchain_openai
import ollama
import pydantic
import pytest

from conftest import KEY, URL

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Rome", "Bern", "Oslo"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {
        "name": "forecast",
        "description": "The weather of a city in the next days.",
        "parameters": SCHEMA,
    },
}
QUESTION = [{"role": "user", "content": "What will the weather in Rome be in the next 3 days?"}]


class Forecast(pydantic.BaseModel):
    """The weather of a city in the next days."""

    city: str
    days: int


def fits(arguments):
    values = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert values["city"] in ("Rome", "Bern", "Oslo") and 1 <= values["days"] <= 9


def test_a_required_tool_is_called_whole_and_streamed(client, model):
    more = {
        "model": model,
        "messages": QUESTION,
        "tools": [TOOL],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "temperature": 0,
    }
    choice = client.chat.completions.create(**more).choices[0]
    call = choice.message.tool_calls[0]
    assert choice.finish_reason == "tool_calls" and call.function.name == "forecast"
    fits(call.function.arguments)
    name, arguments = None, ""
    for chunk in client.chat.completions.create(stream=True, **more):
        for delta in chunk.choices[0].delta.tool_calls or []:
            name = delta.function.name or name
            arguments += delta.function.arguments or ""
    assert (name, arguments) == ("forecast", call.function.arguments)


def test_the_result_of_a_tool_reaches_the_model(client, model):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "forecast", "arguments": '{"city": "Rome", "days": 3}'},
    }
    messages = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Snow, -3 degrees."},
    ]
    answer = client.chat.completions.create(
        model=model, messages=messages, tools=[TOOL], temperature=0, max_tokens=60
    )
    assert answer.choices[0].message.content or answer.choices[0].message.tool_calls


def test_an_answer_is_parsed_into_a_type(client, model):
    answer = client.chat.completions.parse(
        model=model, messages=QUESTION, response_format=Forecast, temperature=0, max_tokens=200
    )
    assert isinstance(answer.choices[0].message.parsed, Forecast)


def test_speculation_changes_no_token_of_a_structured_answer(client, model):
    texts, forced = set(), {}
    for name in ("off", "fixed:4", "speckv"):
        more = {"speculation": {"controller": name, "draft": "ngram"}, "guided_json": SCHEMA}
        answer = client.chat.completions.create(
            model=model, messages=QUESTION, temperature=0, extra_body=more
        )
        texts.add(answer.choices[0].message.content)
        forced[name] = answer.model_dump()["timings"]["forced_n"]
    assert len(texts) == 1 and forced["off"] == 0 and forced["fixed:4"] > 3
    fits(texts.pop())


def test_responses_are_whole_and_streamed(client, model):
    more = {"model": model, "input": "Say hello.", "temperature": 0, "max_output_tokens": 24}
    whole = client.responses.create(**more)
    assert whole.output_text.strip()
    text = ""
    with client.responses.stream(**more) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
        final = stream.get_final_response()
    assert text == whole.output_text == final.output_text
    tool = {"type": "function", "name": "forecast", "parameters": SCHEMA, "strict": True}
    called = client.responses.create(
        model=model,
        input=QUESTION[0]["content"],
        tools=[tool],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
    )
    call = next(item for item in called.output if item.type == "function_call")
    fits(call.arguments)


@pytest.fixture(scope="module")
def claude():
    return anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=120)


def test_anthropics_client_gets_messages_tools_and_streams(claude, model):
    more = {
        "model": model,
        "max_tokens": 24,
        # The client has no argument for it any more; the interface has.
        "extra_body": {"temperature": 0},
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Say hello."}],
    }
    whole = claude.messages.create(**more)
    assert whole.content[0].type == "text" and whole.usage.output_tokens > 0
    with claude.messages.stream(**more) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text
    counted = claude.messages.count_tokens(
        model=model, system="Be brief.", messages=more["messages"]
    )
    assert counted.input_tokens == whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    tool = {"name": "forecast", "description": "The weather.", "input_schema": SCHEMA}
    choice = {"type": "any", "disable_parallel_tool_use": True}
    called = claude.messages.create(
        model=model,
        max_tokens=200,
        extra_body={"temperature": 0},
        messages=QUESTION,
        tools=[tool],
        tool_choice=choice,
    )
    use = next(block for block in called.content if block.type == "tool_use")
    assert called.stop_reason == "tool_use"
    fits(use.input)
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "Sun."}
    turns = [
        *QUESTION,
        {"role": "assistant", "content": [use.model_dump()]},
        {"role": "user", "content": [result]},
    ]
    assert (
        claude.messages.create(model=model, max_tokens=20, messages=turns, tools=[tool]).content
        is not None
    )
    with pytest.raises(anthropic.BadRequestError):
        claude.messages.create(**{**more, "extra_body": {"temperature": -1}})


def test_langchain_binds_tools_and_types(model):
    chat = langchain_openai.ChatOpenAI(
        model=model, base_url=f"{URL}/v1", api_key=KEY, temperature=0, max_retries=0, timeout=120
    )
    said = chat.bind_tools([Forecast], tool_choice="Forecast").invoke(QUESTION[0]["content"])
    assert said.tool_calls[0]["name"] == "Forecast" and isinstance(
        said.tool_calls[0]["args"]["days"], int
    )
    for method in ("json_schema", "function_calling"):
        assert isinstance(
            chat.with_structured_output(Forecast, method=method).invoke(QUESTION[0]["content"]),
            Forecast,
        )


def test_ollamas_client_chats_generates_and_lists(model):
    client = ollama.Client(host=URL, headers={"Authorization": f"Bearer {KEY}"})
    assert model in [entry.model for entry in client.list().models]
    assert "completion" in client.show(model).capabilities
    options = {"temperature": 0, "num_predict": 24}
    messages = [{"role": "user", "content": "Say hello."}]
    whole = client.chat(model=model, messages=messages, options=options)
    text = "".join(
        part.message.content
        for part in client.chat(model=model, messages=messages, options=options, stream=True)
    )
    assert text == whole.message.content and text.strip()
    assert client.generate(model=model, prompt="Say hello.", options=options).response == text
    formed = client.chat(model=model, messages=QUESTION, format=SCHEMA, options={"temperature": 0})
    fits(formed.message.content)
    client.chat(model=model, messages=QUESTION, tools=[TOOL], options=options)
