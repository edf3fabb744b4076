"""Every complete answer under a schema validates; SCHEMAS of them are generated (SPECKV_SCHEMAS, 40), and 30 are written by hand."""

import json
import os
import random

import jsonschema
import pytest

COUNT = int(os.environ.get("SPECKV_SCHEMAS", "40"))
NODE = {"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["value", "next"], "additionalProperties": False}


def closed(properties, required=None, **more):
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required, "additionalProperties": False, **more}


HARD = {
    "an empty object": closed({}),
    "any object": {"type": "object"},
    "anything": {},
    "null": {"type": "null"},
    "a constant": {"const": {"a": [1, "ü"]}},
    "a large enum": {"enum": [f"value {number}" for number in range(500)]},
    "an enum of kinds": {"enum": [1, "1", None, True, [], {}]},
    "text of unicode": {"enum": ["日本語", "naïve", "🙂", 'quo"ted', "back\\slash"]},
    "unicode keys": closed({"größe": {"type": "integer"}, "名前": {"type": "string", "maxLength": 5}}),
    "keys with quotes": closed({'a"b': {"type": "boolean"}, "c\\d": {"type": "null"}}),
    "a pattern": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
    "a pattern of choices": {"type": "string", "pattern": "^(red|green|blue)( (light|dark))?$"},
    "short text": {"type": "string", "minLength": 2, "maxLength": 6},
    "a date": {"type": "string", "format": "date"},
    "a uuid": {"type": "string", "format": "uuid"},
    "an address": {"type": "string", "format": "ipv4"},
    "a whole range": {"type": "integer", "minimum": -17, "maximum": 42},
    "an open range": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "multiples": {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
    "lists of a length": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    "a tuple": {"type": "array", "prefixItems": [{"type": "integer"}, {"enum": ["a", "b"]}], "items": False, "minItems": 2},
    "lists of lists": {"type": "array", "items": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9}, "maxItems": 2}, "maxItems": 2},
    "deep nesting": closed({"a": closed({"b": closed({"c": closed({"d": closed({"e": {"type": "boolean"}})})})})}),
    "optional fields": closed({"a": {"type": "boolean"}, "b": {"type": "boolean"}, "c": {"type": "boolean"}}, ["b"]),
    "either": {"anyOf": [closed({"kind": {"const": "a"}, "n": {"type": "integer"}}), closed({"kind": {"const": "b"}, "s": {"type": "string", "maxLength": 4}})]},
    "one of": {"oneOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"type": "boolean"}]},
    "all of": {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]}]},
    "a reference": {"$defs": {"point": closed({"x": {"type": "integer"}, "y": {"type": "integer"}})}, **closed({"from": {"$ref": "#/$defs/point"}, "to": {"$ref": "#/$defs/point"}})},
    "recursion": {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    "several types": {"type": ["integer", "null", "boolean"]},
}


def generated(seed):
    """A schema whose answers are short: every text, list and number is bounded."""
    dice = random.Random(seed)

    def schema(depth):
        kinds = ["boolean", "null", "integer", "number", "enum", "text", "pattern"] + (["object", "object", "array", "any", "optional"] if depth else [])
        kind = dice.choice(kinds)
        low = dice.randint(-50, 50)
        if kind == "integer":
            return {"type": "integer", "minimum": low, "maximum": low + dice.randint(0, 200)}
        if kind == "number":
            return {"type": "number", "minimum": low, "maximum": low + dice.randint(1, 9)}
        if kind == "enum":
            return {"enum": dice.sample(["red", "grün", 7, None, "x y", True, 2.5], dice.randint(1, 5))}
        if kind == "text":
            return {"type": "string", "maxLength": dice.randint(0, 12)}
        if kind == "pattern":
            return {"type": "string", "pattern": dice.choice(["^[a-f]{2,4}$", "^(yes|no)$", "^v[0-9]+\\.[0-9]$", "^[^a-z]{1,3}$"])}
        if kind == "array":
            return {"type": "array", "items": schema(depth - 1), "minItems": dice.randint(0, 1), "maxItems": dice.randint(1, 3)}
        if kind == "any":
            return {"anyOf": [schema(depth - 1) for _ in range(dice.randint(2, 3))]}
        if kind in ("object", "optional"):
            fields = {dice.choice("abcdefgh") + str(number): schema(depth - 1) for number in range(dice.randint(0, 4))}
            return closed(fields, list(fields)[::2] if kind == "optional" else None)
        return {"type": kind}

    return schema(3)


def check(client, model, schema, temperature, seed):
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    messages = [{"role": "user", "content": "Answer with an example."}]
    answer = client.chat.completions.create(model=model, messages=messages, response_format=form, max_tokens=160, temperature=temperature, seed=seed)
    choice = answer.choices[0]
    if choice.finish_reason == "length":
        return False
    assert choice.finish_reason == "stop"
    jsonschema.validate(json.loads(choice.message.content), schema, format_checker=jsonschema.FormatChecker())
    return True


@pytest.mark.parametrize("name", HARD)
def test_a_complete_answer_validates(client, model, name):
    for temperature in (0, 1):
        check(client, model, HARD[name], temperature, 5)


def test_complete_answers_of_generated_schemas_validate(client, model):
    complete = sum(check(client, model, generated(seed), seed % 2, seed) for seed in range(COUNT))
    assert complete > COUNT * 0.6
