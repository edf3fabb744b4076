"""Names of settings, and the command lines they stand for."""

import re

MOST_DRAFTED = 8

LLAMA_NAMES = (
    "plain, ngram, draft-N and draft-N-pP (N drafted tokens at most, draft probability P at least)"
)
SPECKV_NAMES = "off, a controller such as speckv, fixed-4 or entropy:adaedl (with the draft model), ngram/CONTROLLER"

LLAMA_ALL = ["plain", "ngram"] + [
    f"draft-{n}{p}" for p in ("", "-p0.75") for n in range(1, MOST_DRAFTED + 1)
]
SPECKV_ALL = (
    ["off", "speckv"] + [f"fixed-{n}" for n in range(1, MOST_DRAFTED + 1)] + ["ngram/fixed-4"]
)

# Two engines, a draft each, and the peer without one: enough to see that everything works.
LLAMA_QUICK = ["plain", "draft-3"]
SPECKV_QUICK = ["speckv"]

PLAIN = {"llama": "llama:plain", "speckv": "speckv:off"}


class UnknownSetting(ValueError):
    """A name that stands for nothing."""


def parse(engine, names):
    """Full names, `engine:name`, of a list as typed; each is checked."""
    full = [f"{engine}:{name.strip()}" for name in names.split(",") if name.strip()]
    for name in full:
        arguments(name, "target", "draft")
    return list(dict.fromkeys(full))


def engine_of(setting):
    return setting.split(":", 1)[0]


def arguments(setting, model, draft):
    """Model arguments of `llama-server` or `speckv run` under a setting."""
    engine, name = setting.split(":", 1)
    if engine == "llama":
        return _llama(name, model, draft)
    if engine == "speckv":
        return _speckv(name, model, draft)
    raise UnknownSetting(f"{setting!r}: the engines are llama and speckv")


def _llama(name, model, draft):
    start = ["-m", model]
    if name == "plain":
        return start
    if name == "ngram":
        return start + ["--spec-default"]
    match = re.fullmatch(r"draft-([1-9]\d?)(?:-p(0(?:\.\d+)?|1))?", name)
    if not match:
        raise UnknownSetting(f"{name!r} is no setting of llama-server; there are {LLAMA_NAMES}")
    n_max, p_min = match.group(1), match.group(2) or "0"
    speculate = [
        "--spec-type",
        "draft-simple",
        "--spec-draft-n-max",
        n_max,
        "--spec-draft-p-min",
        p_min,
    ]
    return start + ["-md", draft] + speculate


def _speckv(name, model, draft):
    start = ["--model", model]
    if name == "off":
        return start + ["--draft", "none"]
    drafter, slash, controller = name.rpartition("/")
    # Whether there is such a controller, speckv itself must say: it has more of them than this file
    # can know.
    if (slash and drafter != "ngram") or not re.fullmatch(r"[a-z][a-z0-9.:+-]*", controller):
        raise UnknownSetting(f"{name!r} is no setting of speckv; there are {SPECKV_NAMES}")
    return start + ["--draft", "ngram" if slash else draft, "--controller", controller]
