"""Constraints: what they allow, force and refuse, for a real vocabulary."""

from __future__ import annotations

import json

import pytest

import speckv


@pytest.fixture(scope="module")
def tokenizer(small_model):
    return speckv.CpuModel.load(small_model, context=64).tokenizer()


def test_an_answer_that_follows_a_schema_is_json_that_fits(tokenizer):
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    constraint = tokenizer.constraint(json_schema=json.dumps(schema))
    end, tokens = set(tokenizer.end_tokens), []
    while True:
        allowed = constraint.allowed()
        forced = constraint.forced()
        token = int(allowed.argmax()) if forced is None else forced
        assert allowed[token] and constraint.is_allowed(token)
        if token in end:
            break
        constraint.advance(token)
        tokens.append(token)
    assert json.loads(tokenizer.decode(tokens)) in ({"ok": True}, {"ok": False})
    constraint.rollback(len(tokens))
    assert constraint.forced() == tokens[0]


def test_what_is_not_allowed_and_what_does_not_compile_is_an_argument_error(tokenizer):
    constraint = tokenizer.constraint(choices=["yes", "no"])
    with pytest.raises(speckv.ArgumentError):
        constraint.advance(tokenizer.encode("z", add_special=False)[0])
    for wrong in ({}, {"regex": "("}, {"json_schema": "{"}, {"regex": "a", "grammar": "start: b"}):
        with pytest.raises(speckv.ArgumentError):
            tokenizer.constraint(**wrong)
