"""Who drafts for a request, what that costs, and what becomes of a request whose draft fails.

A draft model keeps a cache for every request that it drafts for, as long as the longest text may
become. So that many requests cannot fill the memory, only so many have one; the others draft by
look-up, which needs a few bytes per token.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import Controller, CostModel, Drafter, DraftSequence, DraftWork, Error, PassCurve

log = logging.getLogger("vllm.speckv")

SHORT_READ = 16
"""Fewer tokens than this, read in one go, cost mostly the pass itself: they say nothing of what a
token costs.
"""


@dataclass(eq=False, slots=True)
class Draft:
    """What drafts for one request."""

    drafter: Drafter
    sequence: DraftSequence | None
    """None once its drafting failed: the request decodes plainly."""

    @property
    def proposed(self) -> list[int]:
        """Its tokens in the pass under way."""
        return [] if self.sequence is None else self.sequence.proposed

    def close(self) -> None:
        """Gives its memory back."""
        if self.sequence is not None:
            self.sequence.close()
        self.sequence = None


class Drafts:
    """The drafts of all requests: by the model for at most `caches` of them, by look-up beyond. An
    error ends the draft of the request that it came from and of no other."""

    def __init__(
        self, drafter: Drafter, *, caches: int, read_limit: int | None = None, lookup: bool = True
    ) -> None:
        self.times = DraftTimes()
        self.failures = 0
        """Requests whose draft failed so far."""
        self.work = {"model_tokens": 0, "lookup_tokens": 0, "read_tokens": 0}
        """What the last `propose` drafted and read."""
        self._drafter = drafter
        self._beyond = Drafter(None, lookup=lookup) if drafter.has_model else drafter
        self._caches, self._read_limit = caches, read_limit

    @property
    def open_sequences(self) -> int:
        """Requests with a draft."""
        return sum(
            drafter.open_sequences for drafter in dict.fromkeys((self._drafter, self._beyond))
        )

    @property
    def caches(self) -> int:
        """Those of them that the model drafts for."""
        return self._drafter.open_sequences if self._drafter.has_model else 0

    def open(self, controller: Callable[[], Controller], text: NDArray[np.int32]) -> Draft:
        """For a request that is new."""
        if self._beyond is self._drafter or self.caches < self._caches:
            try:
                return Draft(self._drafter, self._drafter.open(controller(), text))
            except Error as error:
                log.warning(
                    "SpecKV has no room for another cache of the draft model (%s); the request drafts by look-up",
                    error.message,
                )
        return Draft(self._beyond, self._beyond.open(controller(), text))

    def propose(
        self,
        drafts: Sequence[Draft],
        limits: Sequence[int],
        *,
        curve: PassCurve,
        rows: int,
        waiting: int,
    ) -> list[list[int]]:
        """Draft tokens for each; none where its draft failed, now or before."""
        costs = curve.costs(self.times.costs(curve))
        proposals: list[list[int]] = [[] for _ in drafts]
        self.work = dict.fromkeys(self.work, 0)

        def ask(drafter: Drafter, places: list[int]) -> None:
            sequences = [
                sequence for place in places if (sequence := drafts[place].sequence) is not None
            ]
            found = drafter.propose(
                sequences,
                [limits[place] for place in places],
                costs=costs,
                rows=rows,
                waiting=waiting,
                read_limit=self._read_limit,
            )
            for place, proposal in zip(places, found):
                proposals[place] = proposal
            work = drafter.work
            self.work["model_tokens"] += work.model_tokens
            self.work["lookup_tokens"] += work.lookup_tokens
            self.work["read_tokens"] += work.catch_up_tokens

        for drafter in dict.fromkeys((self._drafter, self._beyond)):
            places = [
                place
                for place, draft in enumerate(drafts)
                if draft.drafter is drafter and draft.sequence is not None
            ]
            if not places:
                continue
            try:
                ask(drafter, places)
            except Error:
                for place in places:  # each alone, so that only the one that fails is given up
                    try:
                        ask(drafter, [place])
                    except Error as error:
                        self.fail(drafts[place], error)
            else:
                if drafter.has_model:
                    self.times.observe(drafter.work)
        return proposals

    def fail(self, draft: Draft, error: Error) -> None:
        """Gives one up."""
        self.failures += 1
        log.error(
            "SpecKV's draft of a request failed, which decodes plainly from now on: %s",
            error,
            exc_info=error,
        )
        draft.close()


class DraftTimes:
    """What the draft model costs here, by this process's clock: medians over the last passes and
    readings, so that a stall teaches nothing. Look-up, a thousand times as fast, is not in them."""

    def __init__(self, window: int = 15) -> None:
        self._passes: deque[tuple[float, float]] = deque(maxlen=window)  # seconds, sequences in it
        self._reads: deque[float] = deque(maxlen=window)  # seconds per token

    def observe(self, work: DraftWork) -> None:
        """After `Drafter.propose`."""
        if work.model_passes > 0:
            self._passes.append(
                (work.model_seconds / work.model_passes, work.model_tokens / work.model_passes)
            )
        if work.catch_up_tokens >= SHORT_READ:
            self._reads.append(work.catch_up_seconds / work.catch_up_tokens)

    def costs(self, curve: PassCurve) -> CostModel | None:
        """A base for the curve's costs with the draft's own times; None before there are any.

        The cost model takes a pass over `m` drafts to cost `d(1) t(m) / t(1)`, so what such a pass
        took gives `d(1)`."""
        one = curve.seconds(1)
        alone = [
            seconds * one / curve.seconds(max(1, round(together)))
            for seconds, together in self._passes
        ]
        draft = float(np.median(alone)) if alone else None
        read = float(np.median(self._reads)) if self._reads else None
        return None if draft is None and read is None else CostModel.from_curve([one], draft, read)
