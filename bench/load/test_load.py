import http.server
import json
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import load
import report
from client import AnswerFailed, ask, body, read_events, run_level, work
from figures import Answer, Block, best, differing_prompts, differing_texts, ratio, rows
from servers import Llama, Speckv
from workload import Prompt


def answer(sent, arrivals, tokens, prompt="p", text="t", drafted=0, accepted=0, prompt_tokens=7):
    return Answer(
        prompt, sent, tuple(arrivals), arrivals[-1], prompt_tokens, tokens, drafted, accepted, text
    )


def block(setting, speed, clients=1, number=0, prompt="p", text="t"):
    return Block(number, clients, setting, (answer(0, [0.0, 1.0], speed, prompt, text),))


class FiguresTest(unittest.TestCase):
    def test_waiting_gaps_and_speed_of_an_answer_worked_by_hand(self):
        one = answer(10.0, [10.5, 10.75, 11.25], 5)
        self.assertEqual(one.first_token_seconds, 0.5)
        self.assertEqual(one.gaps, [0.25, 0.5])
        self.assertEqual(one.tokens_per_second, 4)

    def test_throughput_is_all_tokens_from_the_first_request_to_the_last_end(self):
        answers = (answer(1, [1.5, 3.0], 20), answer(1, [1.2, 1.9], 8), answer(1.9, [2.0, 5.0], 12))
        self.assertEqual(Block(0, 2, "s", answers).tokens_per_second, 40 / 4)

    def test_a_row_has_the_median_of_rounds_and_quantiles_of_all_answers(self):
        blocks = [
            Block(0, 2, "s", (answer(0, [1, 2, 4], 8, drafted=6, accepted=3),)),
            Block(1, 2, "s", (answer(0, [3, 4, 8], 8, drafted=2, accepted=1),)),
            Block(0, 1, "s", (answer(0, [1], 3),)),
        ]
        alone, pair = rows(blocks)
        self.assertEqual(
            (alone.clients, alone.rounds, alone.gap_p50, alone.acceptance_rate), (1, 1, 0.0, None)
        )
        self.assertEqual(
            (pair.rounds, pair.answers, pair.tokens_per_second, pair.lowest, pair.highest),
            (2, 2, 1.5, 1, 2),
        )
        self.assertEqual((pair.first_token_p50, pair.gap_p50), (2, 1.5))
        self.assertEqual((pair.drafted_per_token, pair.acceptance_rate), (0.5, 0.5))

    def test_ratios_are_taken_within_a_round(self):
        # The machine was half as fast in the second round: the ratio is the same in both.
        blocks = [
            block("a", 30, number=0),
            block("b", 20, number=0),
            block("a", 15, number=1),
            block("b", 10, number=1),
        ]
        found = ratio(blocks, 1, "a", "b")
        self.assertEqual(
            (found.throughput, found.lowest, found.highest, found.answer), (1.5, 1.5, 1.5, 1.5)
        )
        self.assertIsNone(ratio(blocks, 1, "a", "c"))
        self.assertIsNone(ratio(blocks, 2, "a", "b"))

    def test_the_best_is_the_fastest_at_that_number_of_clients(self):
        found = rows(
            [
                block("llama:plain", 4),
                block("llama:draft-3", 5),
                block("llama:plain", 9, clients=2),
                block("x", 99),
            ]
        )
        names = {"llama:plain", "llama:draft-3"}
        self.assertEqual(
            (best(found, 1, names), best(found, 2, names), best(found, 3, names)),
            ("llama:draft-3", "llama:plain", None),
        )

    def test_targets_are_checked_against_off_and_against_the_peers_best(self):
        blocks = [
            block("speckv:speckv", 20),
            block("speckv:off", 10),
            block("llama:plain", 4),
            block("llama:draft-3", 5),
        ]
        words = report.verdict(report.comparisons(blocks))
        self.assertEqual(len(words), 3)
        self.assertTrue(all(text.startswith("met: ") for text in words), words)
        self.assertIn("4.00 x llama-server's best", words[2])
        slow = [
            block("speckv:speckv", 20),
            block("speckv:off", 10),
            block("speckv:speckv", 9, 16),
            block("speckv:off", 10, 16),
            block("llama:plain", 8, 16),
        ]
        words = report.verdict(report.comparisons(slow))
        self.assertEqual([text.split(":")[0] for text in words], ["met", "MISSED", "MISSED"])
        self.assertIn("at 16 clients: 0.90 x off", words[1])
        self.assertIn("llama:plain", report.figures(slow))
        self.assertIn("speckv:off", report.ratios_in_words(report.comparisons(slow)))

    def test_other_texts_than_the_references_are_found_also_among_its_own(self):
        blocks = [
            block("speckv:off", 1),
            block("speckv:a", 1),
            block("speckv:b", 1, text="else"),
            block("llama:plain", 1, text="own words"),
        ]
        self.assertEqual(
            differing_texts(blocks, "speckv:off", "speckv:"),
            {"speckv:off": [], "speckv:a": [], "speckv:b": ["p"]},
        )
        blocks.append(block("speckv:off", 1, clients=4, text="else"))
        self.assertEqual(differing_texts(blocks, "speckv:off", "speckv:")["speckv:off"], ["p"])

    def test_sides_that_read_another_prompt_are_found(self):
        same = Block(0, 1, "a", (answer(0, [1], 1),))
        other = Block(
            0, 1, "b", (answer(0, [1], 1, prompt_tokens=8), answer(0, [1], 1, prompt="q"))
        )
        self.assertEqual(differing_prompts([same, other]), {"p": [7, 8]})


class Pretended(http.server.BaseHTTPRequestHandler):
    """Says the prompt's words back, one per event."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = request["messages"][-1]["content"].split()
        self.send_response(400 if words == ["refuse"] else 200)
        self.end_headers()
        for word in words:
            self.event({"choices": [{"delta": {"content": word + " "}}]})
        self.event({"choices": [{"delta": {}}], "timings": {"draft_n": 3, "draft_n_accepted": 2}})
        self.event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": len(words)}})
        if words != ["break"]:
            self.wfile.write(b"data: [DONE]\n\n")

    def event(self, value):
        self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())

    def log_message(self, *_):
        pass


class ClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pretended)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.port = cls.server.server_address[1]

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def test_an_answer_has_its_text_tokens_drafts_and_times_in_order(self):
        prompt = Prompt("id", "task", None, "one two three")
        found = ask(self.port, prompt, body(prompt, 9, {}), 10)
        self.assertEqual(
            (found.text, found.tokens, found.prompt_tokens, len(found.arrivals)),
            ("one two three ", 3, 5, 3),
        )
        self.assertEqual((found.drafted, found.accepted), (3, 2))
        self.assertTrue(found.sent <= found.arrivals[0] <= found.arrivals[-1] <= found.ended)

    def test_a_refusal_and_a_stream_without_end_are_failures(self):
        for text in ("refuse", "break"):
            prompt = Prompt("id", "task", None, text)
            with self.assertRaises(AnswerFailed):
                ask(self.port, prompt, body(prompt, 9, {}), 10)
            with self.assertRaises(AnswerFailed):
                run_level(self.port, [prompt] * 3, 2, 9, {}, 10)

    def test_every_prompt_of_a_level_is_answered_once_and_in_its_place(self):
        prompts = [Prompt(str(n), "task", None, "word " * (n + 1)) for n in range(5)]
        listed = work(prompts, 3, 2, 4)
        done = run_level(self.port, listed, 3, 9, {}, 10)
        self.assertEqual([a.prompt for a in done], ["0", "1", "2", "3", "4", "0"])
        self.assertEqual([a.tokens for a in done], [1, 2, 3, 4, 5, 1])

    def test_more_clients_than_prompts_do_not_wait_for_each_other(self):
        prompt = Prompt("id", "task", None, "x")
        self.assertEqual(len(run_level(self.port, [prompt], 4, 9, {}, 10)), 1)

    def test_a_level_has_so_many_prompts_per_client_and_a_least_number(self):
        self.assertEqual([len(work(["a"], clients, 1, 4)) for clients in (1, 4, 16)], [4, 4, 16])
        self.assertEqual(work("ab", 1, 3, 1), ["a", "b", "a"])

    def test_an_error_in_a_stream_is_a_failure(self):
        for lines in ([b'data: {"error": {"message": "m"}}\n'], [b'data: {"a": 1}\n']):
            with self.assertRaises(AnswerFailed):
                list(read_events(lines))
        self.assertEqual(
            list(
                read_events([b": comment\n", b'data: {"a": 1}\n', b"data: [DONE]\n", b"data: {}\n"])
            ),
            [{"a": 1}],
        )

    def test_requests_are_greedy_streamed_and_read_the_whole_prompt(self):
        made = body(Prompt("id", "task", "be brief", "x"), 5, {"speculation": "off"})
        self.assertEqual([m["role"] for m in made["messages"]], ["system", "user"])
        self.assertEqual(
            (made["temperature"], made["max_tokens"], made["stream"], made["cache_prompt"]),
            (0, 5, True, False),
        )
        self.assertEqual(made["speculation"], "off")


def options(*words):
    return load.parse_arguments(["--model", "m", "--draft", "d", *words])


class OptionsTest(unittest.TestCase):
    def test_settings_and_levels_are_read(self):
        read = options("--clients", "8,1", "--llama", "none")
        self.assertEqual((read.levels, read.slots), ([1, 8], 8))
        self.assertEqual(read.settings, ["speckv:off", "speckv:fixed-4", "speckv:speckv"])
        self.assertEqual(options().settings[:3], ["llama:plain", "llama:ngram", "llama:draft-3"])

    def test_both_servers_get_the_same_slots_threads_and_context_per_slot(self):
        read = options("--clients", "1,16", "--context", "1000", "--threads", "3")
        theirs = Llama("llama-server", "llama:draft-3", read).command
        own = Speckv("speckv", read)

        def flag(command, name):
            return command[command.index(name) + 1]

        self.assertEqual(
            (flag(theirs, "-np"), flag(theirs, "-c"), flag(theirs, "-t"), flag(theirs, "-md")),
            ("16", "16000", "3", "d"),
        )
        self.assertEqual(
            [flag(own.command, name) for name in ("--parallel", "--ctx", "--threads", "--draft")],
            ["16", "1000", "3", "d"],
        )
        self.assertEqual(own.more("speckv:fixed-4"), {"speculation": {"controller": "fixed:4"}})
        self.assertEqual(own.more("speckv:off"), {"speculation": {"controller": "off"}})


class PlanTest(unittest.TestCase):
    def test_every_level_comes_once_in_a_round(self):
        planned = list(load.plan(options("--rounds", "3"), lambda: 0.0))
        self.assertEqual(
            sorted(planned),
            [(number, clients) for number in range(3) for clients in (1, 2, 4, 8, 16)],
        )
        self.assertNotEqual(
            [c for n, c in planned if n == 0], [c for n, c in planned if n == 1], "in another order"
        )

    def test_time_bounds_the_later_rounds_but_never_the_first(self):
        now = [0.0]
        planned = []
        for number, clients in load.plan(
            options("--rounds", "9", "--minutes", "5"), lambda: now[0]
        ):
            planned.append((number, clients))
            now[0] += 10.0 * clients  # a round lasts 310 s: only the first begins within 5 minutes
        self.assertEqual(sorted(planned), [(0, clients) for clients in (1, 2, 4, 8, 16)])
        now[0], planned = 0.0, []
        for number, clients in load.plan(
            options("--rounds", "9", "--minutes", "10"), lambda: now[0]
        ):
            planned.append((number, clients))
            now[0] += 10.0 * clients
        self.assertLessEqual(now[0], 600)
        self.assertGreater(len(planned), 8, "what fits is done")


if __name__ == "__main__":
    unittest.main()
