import unittest

import table
from settings import PLAIN
from summary import Sample, best_setting, by_task, prompt_disagreements, rows, texts_unlike_plain


def sample(setting, prompt, speed, round_number=0, **other):
    task = prompt.split("-")[0]
    known = dict(
        prompt_tokens=30, tokens=10, prompt_tokens_per_second=100.0, drafted=0, accepted=0, text="t"
    )
    return Sample(
        setting,
        setting.split(":")[0],
        round_number,
        prompt,
        task,
        tokens_per_second=speed,
        **(known | other),
    )


SAMPLES = [
    sample("llama:plain", "code-1", 10.0),
    sample("llama:plain", "chat-1", 10.0),
    sample("llama:draft-3", "code-1", 16.0, drafted=8, accepted=6),
    sample("llama:draft-3", "chat-1", 2.0, drafted=12, accepted=4),
    sample("speckv:off", "code-1", 20.0),
    sample("speckv:off", "chat-1", 20.0),
    sample("speckv:fixed-4", "code-1", 40.0, drafted=4, accepted=4),
    sample("speckv:fixed-4", "chat-1", 18.0, drafted=4, accepted=0, text="other"),
]


class SummaryTest(unittest.TestCase):
    def test_the_best_setting_is_the_peers_fastest_and_may_differ_by_task(self):
        self.assertEqual(best_setting(SAMPLES, "llama"), "llama:plain")
        code = [s for s in SAMPLES if s.task == "code"]
        self.assertEqual(best_setting(code, "llama"), "llama:draft-3")
        self.assertIsNone(best_setting([s for s in SAMPLES if s.engine == "speckv"], "llama"))

    def test_ratios_are_paired_by_prompt_and_round(self):
        found = {row.setting: row for row in rows(SAMPLES, PLAIN)}
        fixed = found["speckv:fixed-4"]
        self.assertAlmostEqual(fixed.against_best_peer.median, (4.0 + 1.8) / 2)
        self.assertAlmostEqual(fixed.against_own_plain.median, (2.0 + 0.9) / 2)
        self.assertAlmostEqual(found["llama:draft-3"].against_own_plain.median, (1.6 + 0.2) / 2)
        code = {row.setting: row for row in by_task(SAMPLES, PLAIN)["code"]}
        self.assertEqual(code["speckv:fixed-4"].against_best_peer.median, 40 / 16)

    def test_acceptance_is_accepted_per_drafted_and_absent_without_drafts(self):
        found = {row.setting: row for row in rows(SAMPLES, PLAIN)}
        self.assertEqual(found["llama:draft-3"].acceptance_rate, 10 / 20)
        self.assertIsNone(found["speckv:off"].acceptance_rate)

    def test_without_a_peer_there_is_no_ratio_against_it(self):
        own = rows([s for s in SAMPLES if s.engine == "speckv"], PLAIN)
        self.assertTrue(all(row.against_best_peer is None for row in own))
        self.assertIn("-", table.of_rows(own))

    def test_different_numbers_of_prompt_tokens_are_found(self):
        self.assertEqual(prompt_disagreements(SAMPLES), {})
        odd = sample("speckv:off", "code-1", 1.0, prompt_tokens=31)
        self.assertEqual(
            prompt_disagreements([SAMPLES[0], odd]),
            {"code-1": {30: ["llama:plain"], 31: ["speckv:off"]}},
        )

    def test_different_counts_of_one_setting_in_two_rounds_are_found(self):
        later = sample("llama:plain", "code-1", 1.0, round_number=1, prompt_tokens=5)
        self.assertTrue(
            prompt_disagreements(
                [SAMPLES[0], later, sample("speckv:off", "code-1", 1.0, prompt_tokens=5)]
            )
        )

    def test_answers_unlike_plain_decoding_are_counted(self):
        unlike = texts_unlike_plain(SAMPLES, PLAIN)
        self.assertEqual(unlike["speckv:fixed-4"], (1, 2))
        self.assertEqual(unlike["llama:draft-3"], (0, 2))

    def test_the_table_is_aligned(self):
        lines = table.of_rows(rows(SAMPLES, PLAIN)).splitlines()
        self.assertEqual(len(lines), 5)
        ends = {line.index("tokens/s") + len("tokens/s") for line in lines[:1]}
        self.assertTrue(all(line[end - 1] == ")" for line in lines[1:] for end in ends), lines)


if __name__ == "__main__":
    unittest.main()
