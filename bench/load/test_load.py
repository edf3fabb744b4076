import http.server
import json
import sys
import threading
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

import load
from client import AnswerFailed, ask, body, read_events, run_level, share
from figures import Answer, busy_period, differing_texts, level, medians, ratios, throughput
from workload import Prompt


def answer(sent, arrivals, tokens, prompt="p", text="t"):
    return Answer(prompt, sent, tuple(arrivals), arrivals[-1], tokens, text)


class FiguresTest(unittest.TestCase):
    def test_waiting_and_gaps_worked_by_hand(self):
        one = answer(10.0, [10.5, 10.75, 11.25], 6)
        self.assertEqual(one.first_token_seconds, 0.5)
        self.assertEqual(one.gaps, [0.25, 0.5])
        self.assertEqual(one.tokens_before(10.5), 0)
        self.assertEqual(one.tokens_before(10.875), 3)
        self.assertEqual(one.tokens_before(99), 6)

    def test_throughput_counts_only_while_all_clients_are_busy(self):
        # Client 1 is done at 2 s; client 2 has half of its second answer then (first text at 1 s, end at 3 s).
        by_client = [
            [answer(0, [0.5, 2.0], 20)],
            [answer(0, [0.2, 0.9], 8), answer(0.9, [1.0, 3.0], 12)],
        ]
        self.assertEqual(busy_period(by_client), (0, 2.0))
        self.assertEqual(throughput(by_client), (20 + 8 + 6) / 2.0)

    def test_one_client_is_busy_to_the_end(self):
        self.assertEqual(throughput([[answer(1, [2, 3], 10), answer(3, [4, 5], 10)]]), 20 / 4)

    def test_a_level_has_quantiles_of_all_answers(self):
        found = level("s", [[answer(0, [1, 2, 4], 3)], [answer(0, [3, 4, 8], 3)]])
        self.assertEqual((found.clients, found.answers), (2, 2))
        self.assertEqual((found.first_token_p50, found.gap_p50), (2, 1.5))

    def test_ratios_are_of_medians_and_against_the_best(self):
        def one(setting, speed):
            return level(setting, [[answer(0, [0.0, 1.0], speed)]])

        levels = [one("speckv:speckv", s) for s in (10, 30, 20)] + [one("speckv:off", s) for s in (10, 10, 40)]
        levels += [one("llama:plain", 4), one("llama:draft-3", 5)]
        self.assertEqual({m.setting: m.tokens_per_second for m in medians(levels)}["speckv:speckv"], 20)
        self.assertEqual(ratios(levels, "speckv:speckv", ["speckv:off"]), {1: 2.0})
        self.assertEqual(ratios(levels, "speckv:speckv", ["llama:plain", "llama:draft-3", "absent"]), {1: 4.0})
        self.assertEqual(ratios(levels, "speckv:speckv", []), {})
        words = load.verdict(levels, ["llama:plain", "llama:draft-3"])
        self.assertTrue(all(text.startswith("met: ") for text in words), words)
        self.assertTrue(load.verdict([one("speckv:speckv", 10), one("speckv:off", 11)], [])[0].startswith("MISSED"))

    def test_other_texts_than_the_references_are_found(self):
        same, other = answer(0, [1], 1), answer(0, [1], 1, text="else")
        found = differing_texts({"speckv:off": [same], "a": [same], "b": [other]}, "speckv:off")
        self.assertEqual(found, {"speckv:off": [], "a": [], "b": ["p"]})


class Pretended(http.server.BaseHTTPRequestHandler):
    """Says the prompt's words back, one per event."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = request["messages"][-1]["content"].split()
        self.send_response(400 if words == ["refuse"] else 200)
        self.end_headers()
        for word in words:
            self.event({"choices": [{"delta": {"content": word + " "}}]})
        self.event({"choices": [], "usage": {"completion_tokens": len(words)}})
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

    def test_an_answer_has_its_text_tokens_and_times_in_order(self):
        prompt = Prompt("id", "task", None, "one two three")
        found = ask(self.port, prompt, body(prompt, 9, {}), 10)
        self.assertEqual((found.text, found.tokens, len(found.arrivals)), ("one two three ", 3, 3))
        self.assertTrue(found.sent <= found.arrivals[0] <= found.arrivals[-1] <= found.ended)

    def test_a_refusal_is_a_failure(self):
        prompt = Prompt("id", "task", None, "refuse")
        with self.assertRaises(AnswerFailed):
            ask(self.port, prompt, body(prompt, 9, {}), 10)
        with self.assertRaises(AnswerFailed):
            run_level(self.port, [[prompt]], 9, {}, 10)

    def test_all_clients_get_their_answers(self):
        prompts = [Prompt(str(n), "task", None, "word " * (n + 1)) for n in range(5)]
        done = run_level(self.port, share(prompts, 3, 2, 0), 9, {}, 10)
        self.assertEqual([[a.prompt for a in answers] for answers in done], [["0", "3"], ["1", "4"], ["2", "0"]])

    def test_an_error_in_a_stream_is_a_failure(self):
        with self.assertRaises(AnswerFailed):
            list(read_events([b'data: {"error": {"message": "m"}}\n']))
        self.assertEqual(list(read_events([b": comment\n", b'data: {"a": 1}\n', b"data: [DONE]\n", b"data: {}\n"])), [{"a": 1}])

    def test_requests_are_greedy_streamed_and_read_the_whole_prompt(self):
        made = body(Prompt("id", "task", "be brief", "x"), 5, {"speculation": "off"})
        self.assertEqual([m["role"] for m in made["messages"]], ["system", "user"])
        self.assertEqual((made["temperature"], made["stream"], made["cache_prompt"], made["speculation"]), (0, True, False, "off"))


class OptionsTest(unittest.TestCase):
    def test_settings_and_levels_are_read(self):
        options = load.parse_arguments(["--model", "m", "--draft", "d", "--clients", "8,1", "--llama", "none"])
        self.assertEqual((options.levels, options.slots), ([1, 8], 8))
        self.assertEqual(options.settings, ["speckv:off", "speckv:fixed-4", "speckv:speckv"])


if __name__ == "__main__":
    unittest.main()
