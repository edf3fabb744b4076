"""A proposer that is another one at every turn, for measuring settings against each other in one engine."""

import json
from types import SimpleNamespace

from speckv.vllm import Proposer


class SwitchedProposer:
    """Delegates to a `Proposer` per setting; each keeps what it learned for its next turn."""

    chosen: dict | None = None

    def __init__(self, vllm_config):
        self._config = vllm_config
        self._proposers: dict[str, Proposer] = {}
        SwitchedProposer.choose(vllm_config.additional_config["speckv"])
        self._current()

    @classmethod
    def choose(cls, setting: dict) -> None:
        """`setting`: what `additional_config["speckv"]` would be."""
        cls.chosen = setting

    def _current(self) -> Proposer:
        key = json.dumps(self.chosen, sort_keys=True)
        if key not in self._proposers:
            names = ("speculative_config", "parallel_config", "model_config")
            parts = {name: getattr(self._config, name) for name in names}
            self._proposers[key] = Proposer(SimpleNamespace(**parts, additional_config={"speckv": self.chosen}))
        return self._proposers[key]

    def load_model(self, *_, **__):
        pass

    def propose(self, *arguments, **named):
        return self._current().propose(*arguments, **named)
