"""Who is in which row of vLLM's batch.

vLLM hands a proposer rows of token ids, not names of requests. Rows move: a finished or preempted
request leaves a hole, the last row slides into it (`InputBatch.condense`), attention backends swap
rows, and a new request may take a row within the same step. What identifies a request is its text:
a row continues the request whose text, as it was at the last call, is the beginning of the row's
text now. Two requests with the same text up to here are interchangeable: whatever is remembered of
one is true of the other.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

State = TypeVar("State")


@dataclass(eq=False, slots=True)
class Request(Generic[State]):
    """A request that was in the last call's batch."""

    row: int
    text: NDArray[np.int32]
    """All its tokens at that call, `[tokens]`."""
    state: State


@dataclass(slots=True)
class Row(Generic[State]):
    """A row of this call."""

    text: NDArray[np.int32]
    """Its tokens now, those of the last pass included, `[tokens]`."""
    sampled: list[int]
    """Tokens that the last pass added; empty while its prompt is being read."""
    request: Request[State] | None
    """The request that it continues, if it was known."""

    @property
    def continues(self) -> bool:
        """Whether the request's text grew by the last pass and nothing else, so that its outcome
        can be read off.
        """
        return self.request is not None and len(self.request.text) + len(self.sampled) == len(
            self.text
        )


def match_rows(
    requests: list[Request[State]],
    sampled_token_ids: list[list[int]],
    lengths: NDArray[np.integer],
    token_ids: NDArray[np.integer],
) -> tuple[list[Row[State]], list[Request[State]]]:
    """Finds each row's request, and the requests that no row continues: they ended, were preempted,
    or wait.

    `lengths`: tokens of each row without speculative ones, `[rows]`; `token_ids`: `[rows, at least
    the longest length]`. A row takes the request that had its place, if that fits, else the longest
    text that fits; every request goes to one row at most.
    """
    texts = [
        np.asarray(token_ids[row, : int(lengths[row])], dtype=np.int32)
        for row in range(len(sampled_token_ids))
    ]
    before = [len(text) - len(sampled) for text, sampled in zip(texts, sampled_token_ids)]
    rows: list[Row[State]] = [
        Row(text, list(sampled), None) for text, sampled in zip(texts, sampled_token_ids)
    ]
    free = {id(request): request for request in requests}

    def fits(request: Request[State], row: int) -> bool:
        length = len(request.text)
        return length <= before[row] and np.array_equal(request.text, texts[row][:length])

    for request in requests:
        if request.row < len(rows) and fits(request, request.row):
            rows[request.row].request = free.pop(id(request))
    for row in range(len(rows)):
        if rows[row].request is None and free:
            for request in sorted(free.values(), key=lambda request: -len(request.text)):
                if fits(request, row):
                    rows[row].request = free.pop(id(request))
                    break
    return rows, list(free.values())


def outcome(proposed: list[int], sampled: list[int]) -> tuple[int, int]:
    """(accepted, verified) of a draft, from the tokens that the pass added: the accepted ones and
    one more.

    vLLM may have cut the draft before the pass (token budget, grammar, context), and does not say
    so. But a recovered token never equals the token that was rejected there, so where the last
    sampled token does, the pass did not see that draft token: `verified` ends before it.
    """
    accepted = 0
    while (
        accepted < min(len(proposed), len(sampled) - 1) and proposed[accepted] == sampled[accepted]
    ):
        accepted += 1
    unseen = accepted < len(proposed) and proposed[accepted] == sampled[accepted]
    return accepted, accepted if unseen else len(proposed)
