"""Writes expected.json: what Jinja2, set up as `transformers` does, makes of the templates here.

    pip install jinja2==3.1.6
    python3 expected.py > expected.json

The settings are those of `apply_chat_template`: an immutable sandbox with trimmed blocks, loop
controls, `{% generation %}`, `tojson` by json.dumps, and `raise_exception`.
"""

import json
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes

from conversations import CONVERSATIONS
from expressions import EXPRESSIONS, FAILING


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks text for training; here it is a block."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def environment():
    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    return made


ENVIRONMENT = environment()
# Templates with the structures of published ones, written for this test.
STRUCTURES = sorted((Path(__file__).parent / "structures").glob("*.jinja"))
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>", "tools": None, "documents": None}


def rendered(template, conversation):
    variables = {**VARIABLES, "add_generation_prompt": True, **conversation}
    try:
        return ENVIRONMENT.from_string(template).render(**variables)
    except Exception:
        return None


def is_template(text):
    return any(mark in text for mark in ("{%", "{{ ", "{#", "{{-"))


def main():
    one = CONVERSATIONS["one"]
    cases, failed = [], []
    for expression in EXPRESSIONS:
        template = expression if is_template(expression) else "{{ " + expression + " }}"
        text = rendered(template, one)
        if text is None:
            failed.append(expression)
        cases.append({"template": template, "conversation": "one", "expected": text})
    for expression in FAILING:
        template = expression if is_template(expression) else "{{ " + expression + " }}"
        if rendered(template, one) is not None:
            failed.append(expression)
        cases.append({"template": template, "conversation": "one", "expected": None})
    for path in STRUCTURES:
        name, template = path.stem, path.read_text(encoding="utf-8")
        texts = {key: rendered(template, value) for key, value in CONVERSATIONS.items()}
        assert any(texts.values()), name
        for key, text in texts.items():
            case = {"template": template, "conversation": key, "expected": text}
            cases.append({"name": name, **case})
    assert not failed, failed
    table = {"jinja2": jinja2.__version__, "conversations": CONVERSATIONS, "cases": cases}
    print(json.dumps(table, indent=0))


if __name__ == "__main__":
    main()
