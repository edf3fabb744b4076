"""A proposer that is another one at every turn, for measuring settings against each other in one
engine.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

from speckv.vllm import Proposer


class SwitchedProposer:
    """Delegates to a `Proposer` per setting; each keeps what it learned for its next turn.

    Which one is on is in the file that `SPECKV_SWITCH` names, as JSON: vLLM runs proposers in
    processes of its own. Reading it takes microseconds.
    """

    def __init__(self, vllm_config):
        self._config = vllm_config
        self._file = Path(os.environ["SPECKV_SWITCH"])
        self._proposers: dict[str, Proposer] = {}
        self._current()

    def _current(self) -> Proposer:
        setting = self._file.read_text(encoding="utf-8")
        if setting not in self._proposers:
            names = ("speculative_config", "parallel_config", "model_config")
            parts = {name: getattr(self._config, name) for name in names}
            self._proposers[setting] = Proposer(
                SimpleNamespace(**parts, additional_config={"speckv": json.loads(setting)})
            )
        return self._proposers[setting]

    def load_model(self, *_, **__):
        pass

    def propose(self, *arguments, **named):
        return self._current().propose(*arguments, **named)
