"""Requests whose answers have a form: schemas, expressions, choices and tools, some of them hostile.

Each act makes one request; `fault` says what is wrong with its answer, or nothing."""

import json

NAMES = ["name", "count", "open", "tags", "größe", "a b"]
TYPES = {
    "string": {"type": "string", "maxLength": 12},
    "integer": {"type": "integer", "minimum": 0, "maximum": 999},
    "boolean": {"type": "boolean"},
    "array": {"type": "array", "items": {"enum": ["x", "y"]}, "maxItems": 3},
}
PYTHON = {"string": str, "integer": int, "boolean": bool, "array": list}


def schema(dice):
    """A small object, seldom the same twice: its grammar is compiled anew and drops an older one."""
    names = dice.sample(NAMES, dice.randrange(1, 4))
    return {
        "type": "object",
        "properties": {name: TYPES[dice.choice(list(TYPES))] for name in names},
        "required": names,
        "additionalProperties": False,
    }


def hostile(dice):
    """Schemas and expressions that must end in an answer or a clear error."""
    deep = {"type": "integer"}
    for _ in range(dice.choice([20, 200, 2000])):
        deep = {"type": "array", "items": deep, "minItems": 1}
    return dice.choice([
        {"json_schema": deep},
        {"json_schema": {"enum": [f"value {number}" for number in range(20_000)]}},
        {"json_schema": {"allOf": [{"type": "integer"}, {"type": "string"}]}},
        {"json_schema": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}},
        {"json_schema": {"type": "string", "minLength": 10**9}},
        {"json_schema": {"type": "string", "pattern": "(a{1,500}){1,500}$"}},
        {"guided_regex": "(x+x+)+y{1000,100000}"},
        {"guided_regex": "(" * 5000},
        {"grammar": "root ::= root root | root"},
        {"grammar": "root ::= [" + "a" * 100_000},
        {"json_schema": {"type": "nothing"}},
    ])  # fmt: skip


def request(dice, prompt):
    """A chat request and the check of its answer, `None` where only the status counts."""
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": dice.choice([8, 48]),
        "temperature": dice.choice([0, 0, 1.0]),
        "speculation": dice.choice(["off", "fixed:4", "speckv"]),
        "stream": False,
    }
    kind = dice.choice(["schema", "schema", "choices", "regex", "tool", "hostile"])
    if kind == "hostile":
        return body | hostile(dice), None
    if kind == "choices":
        return body | {"guided_choice": ["yes", "no", "perhaps"]}, is_choice
    if kind == "regex":
        return body | {"guided_regex": "[a-c]{3}-[0-9]{2}"}, is_code
    form = schema(dice)
    if kind == "tool":
        tool = {"type": "function", "function": {"name": "store", "parameters": form}}
        return body | {"tools": [tool], "tool_choice": "required"}, lambda m: is_call(m, form)
    response = {"type": "json_schema", "json_schema": {"name": "thing", "schema": form}}
    return body | {"response_format": response}, lambda m: fits(m["content"], form)


def is_choice(message):
    return message["content"] in ("yes", "no", "perhaps")


def is_code(message):
    text = message["content"]
    return len(text) == 6 and set(text[:3]) <= set("abc") and text[3] == "-" and text[4:].isdigit()


def is_call(message, form):
    calls = message["tool_calls"]
    return all(
        call["function"]["name"] == "store" and fits(call["function"]["arguments"], form)
        for call in calls
    ) and bool(calls)


def fits(text, form):
    """Whether a text is an object of the form; only forms of `schema`."""
    value = json.loads(text)
    properties = form["properties"]
    return value.keys() == properties.keys() and all(
        type(value[name]) is PYTHON[properties[name]["type"]] for name in properties
    )


def fault(text, check):
    """What is wrong with a successful answer: whole ones must fit, cut ones say `length`."""
    choice = json.loads(text)["choices"][0]
    if check is None or choice["finish_reason"] == "length":
        return None
    try:
        good = check(choice["message"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return f"{error!r} in {text[:400]}"
    return None if good else f"the answer does not have its form: {text[:400]}"
