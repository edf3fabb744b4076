import json
import unittest

import curve

# Lines as llama-batched-bench (build 11434) prints them, shortened; other text comes with them.
BATCHED = """
{"n_threads": 2, "pp": 128, "tg": 4, "pl": 1, "t_pp": 1.5, "t_tg": 0.24, "speed_tg": 16.67}
{"n_threads": 2, "pp": 128, "tg": 4, "pl": 5, "t_pp": 1.5, "t_tg": 0.6, "speed_tg": 33.33}

"""
BENCH = json.dumps(
    [
        {"n_prompt": 128, "n_gen": 0, "samples_ts": [40.0]},
        {"n_prompt": 0, "n_gen": 4, "samples_ts": [16.0]},
    ]
)


def speckv(one, five, speed):
    passes = [{"rows": n, "milliseconds": {"median": ms}} for n, ms in ((1, one), (5, five))]
    prompts = [{"tokens": 128, "tokens_per_second": {"median": speed}}]
    return json.dumps({"curves": [{"context": 128, "passes": passes}], "prompts": prompts})


class CurveTest(unittest.TestCase):
    def test_answers_of_all_programs_are_understood(self):
        self.assertEqual(curve.of_batched_bench(BATCHED), {1: 60.0, 5: 150.0})
        self.assertEqual(curve.of_llama_bench(BENCH), {128: 40.0})
        self.assertEqual(
            curve.of_speckv_bench(speckv(30.0, 45.0, 90.0)), ({1: 30.0, 5: 45.0}, {128: 90.0})
        )

    def test_ratios_are_taken_within_rounds(self):
        # The second round is twice as slow for all.
        samples = {
            "llama": {
                "passes": {(0, 1): 60.0, (0, 5): 150.0, (1, 1): 120.0, (1, 5): 300.0},
                "prompts": {(0, 128): 40.0, (1, 128): 20.0},
            },
            "speckv": {
                "passes": {(0, 1): 30.0, (0, 5): 45.0, (1, 1): 60.0, (1, 5): 90.0},
                "prompts": {(0, 128): 90.0, (1, 128): 45.0},
            },
        }
        summary = curve.summarise(samples)
        five = summary["passes"][1]
        self.assertEqual(five["rows"], 5)
        self.assertEqual((five["llama_ratio"].lower, five["llama_ratio"].upper), (2.5, 2.5))
        self.assertEqual((five["speckv_ratio"].lower, five["speckv_ratio"].upper), (1.5, 1.5))
        self.assertAlmostEqual(five["llama_over_speckv"].median, 150 / 45)
        self.assertEqual(summary["prompts"][0]["speckv_over_llama"].median, 2.25)
        text = curve.report(summary, 128)
        self.assertIn("3.33 (3.33-3.33)", text)
        json.dumps(summary, default=curve.as_json)


if __name__ == "__main__":
    unittest.main()
