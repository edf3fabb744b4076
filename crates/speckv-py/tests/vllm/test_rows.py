"""Rows of vLLM's batch, without vLLM."""

import numpy as np
import pytest

from speckv._vllm_rows import Request, match_rows, outcome


class Batch:
    """vLLM's token array: rows of texts, with rubbish where speculative tokens were."""

    def __init__(self, *texts):
        self.lengths = np.array([len(text) for text in texts] + [7, 7], dtype=np.int32)
        self.tokens = np.full((len(texts) + 2, 32), 99, dtype=np.int32)
        for row, text in enumerate(texts):
            self.tokens[row, : len(text)] = text


def known(*texts):
    return [
        Request(row, np.array(text, dtype=np.int32), f"state {row}")
        for row, text in enumerate(texts)
    ]


def states(requests, sampled, batch):
    rows, gone = match_rows(requests, sampled, batch.lengths, batch.tokens)
    return (
        [row.request.state if row.request else None for row in rows],
        [request.state for request in gone],
        rows,
    )


def test_rows_that_grew_by_the_sampled_tokens_continue():
    found, gone, rows = states(
        known([1, 2], [3, 4, 5]), [[6], [7, 8]], Batch([1, 2, 6], [3, 4, 5, 7, 8])
    )
    assert found == ["state 0", "state 1"] and not gone
    assert all(row.continues for row in rows)


def test_the_last_row_slides_into_the_place_of_one_that_ended():
    found, gone, _ = states(known([1, 2], [3, 4], [5, 6]), [[9], [9]], Batch([5, 6, 9], [3, 4, 9]))
    assert found == ["state 2", "state 1"] and gone == ["state 0"]


def test_swapped_rows_are_found_again():
    found, gone, _ = states(known([1, 2], [3, 4]), [[9], [9]], Batch([3, 4, 9], [1, 2, 9]))
    assert found == ["state 1", "state 0"] and not gone


def test_a_new_request_in_an_old_row_is_new():
    found, gone, rows = states(known([1, 2]), [[9]], Batch([7, 7, 9]))
    assert found == [None] and gone == ["state 0"] and not rows[0].continues


def test_a_preempted_request_is_gone_and_comes_back_as_a_new_one():
    found, gone, _ = states(known([1, 2], [3, 4]), [[9]], Batch([3, 4, 9]))
    assert found == ["state 1"] and gone == ["state 0"]
    found, gone, rows = states(known([3, 4, 9]), [[8], [5]], Batch([3, 4, 9, 8], [1, 2, 5]))
    assert found == ["state 0", None] and not gone and not rows[1].continues


def test_a_row_that_grew_in_a_step_without_a_call_keeps_its_state_but_shows_no_outcome():
    found, _, rows = states(known([1, 2]), [[9]], Batch([1, 2, 3, 9]))
    assert found == ["state 0"] and not rows[0].continues


def test_twins_with_the_same_text_get_one_state_each():
    found, gone, _ = states(known([1, 2], [1, 2]), [[9], [8]], Batch([1, 2, 9], [1, 2, 8]))
    assert found == ["state 0", "state 1"] and not gone


def test_the_longest_text_that_fits_wins_when_rows_moved():
    requests = known([7], [1, 2, 3], [1])
    found, gone, _ = states(requests, [[9]], Batch([1, 2, 3, 9]))
    assert found == ["state 1"] and sorted(gone) == ["state 0", "state 2"]


def test_a_prompt_that_is_still_being_read_has_no_state():
    found, _, rows = states([], [[], [4]], Batch([1, 2, 3], [5, 4]))
    assert found == [None, None] and rows[0].sampled == []


def test_whatever_happens_to_a_batch_each_request_keeps_its_own_state():
    random = np.random.default_rng(5)
    texts, names, requests = {}, {}, []
    for step in range(300):
        for name in list(texts):
            if random.random() < 0.1:
                del texts[name]
        while len(texts) < 6 and random.random() < 0.6:
            texts[f"{step}-{len(texts)}"] = [
                *random.integers(0, 4, random.integers(1, 6)).tolist(),
                100 + step,
                len(texts),
            ]
        order = list(random.permutation(sorted(texts)))
        sampled = [random.integers(0, 4, random.integers(1, 4)).tolist() for _ in order]
        known_before = {id(request): request for request in requests}
        for name, tokens in zip(order, sampled):
            texts[name] = texts[name] + tokens
        rows, gone = match_rows(
            requests,
            sampled,
            *(lambda b: (b.lengths, b.tokens))(Batch(*[texts[name][-30:] for name in order])),
        )
        if any(len(text) > 30 for text in texts.values()):
            texts, requests = {}, []
            continue
        for name, row in zip(order, rows):
            assert (row.request.state if row.request else None) == names.get(name), (step, name)
        taken = {id(row.request) for row in rows if row.request}
        assert {id(request) for request in gone} == set(known_before) - taken
        names = {name: name for name in order}
        requests = [
            Request(place, row.text, name) for place, (name, row) in enumerate(zip(order, rows))
        ]


@pytest.mark.parametrize(
    ("proposed", "sampled", "expected"),
    [
        ([5, 6, 7], [5, 6, 7, 8], (3, 3)),
        ([5, 6, 7], [5, 9], (1, 3)),
        ([5, 6, 7], [9], (0, 3)),
        ([5, 6, 7], [5, 6], (1, 1)),  # cut to [5]: the 6 came from the target itself
        ([5, 6, 7], [5], (0, 0)),  # cut to nothing
        ([], [5], (0, 0)),
    ],
)
def test_outcomes_are_read_off_the_sampled_tokens(proposed, sampled, expected):
    assert outcome(proposed, sampled) == expected
