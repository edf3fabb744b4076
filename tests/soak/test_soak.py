import struct
import unittest

from soak import Wrong, check_error, counter, growth, slope, text_of, texts_of, unchunked
from templates import HARMLESS, HOSTILE, KEY, STRING, padded, place_of_template


class SoakTest(unittest.TestCase):
    def test_growth_compares_the_last_third_with_the_middle_one(self):
        self.assertEqual(growth([0, 50, 100, 100, 100, 100, 130, 130, 130]), 30)
        self.assertEqual(growth([9] * 30), 0)
        self.assertIsNone(growth([1, 2, 3]))

    def test_a_slope_is_that_of_the_line_after_the_warm_up(self):
        times = list(range(100))
        samples = [1_000_000] * 20 + [500 + 3 * time for time in times[20:]]
        self.assertAlmostEqual(slope(times, samples, 20), 3)
        self.assertAlmostEqual(slope(times, [7] * 100, 20), 0)
        # Noise around a flat line does not look like a leak, a leak of 4 MB in 1800 s among it
        # does.
        times = list(range(1800))
        noise = [(-1) ** time * 2e6 for time in times]
        self.assertLess(abs(slope(times, noise, 450) * 1800), 0.1e6)
        self.assertAlmostEqual(
            slope(times, [time * 4e6 / 1800 + up for time, up in zip(times, noise)], 450) * 1800,
            4e6,
            delta=0.1e6,
        )

    def test_too_few_samples_have_no_slope(self):
        self.assertIsNone(slope(list(range(20)), [0] * 20, 15))

    def test_a_counter_is_found_by_its_whole_name(self):
        metrics = (
            "# TYPE speckv:panics counter\nspeckv:panics_total 2\nspeckv:panics_total_more 9\n"
        )
        self.assertEqual(counter(metrics, "speckv:panics_total"), 2)
        self.assertIsNone(counter(metrics, "speckv:panics"))

    def test_texts_are_told_apart_by_choice(self):
        events = [
            'data: {"choices": [{"index": %d, "text": "%s"}]}\n\n' % event
            for event in [(1, "x"), (0, "a"), (1, "y")]
        ]
        self.assertEqual(texts_of("".join(events) + "data: [DONE]\n\n"), ["a", "xy"])

    def test_only_openais_error_objects_are_proper(self):
        check_error(400, '{"error": {"message": "m", "type": "t", "param": null, "code": null}}')
        for status, text in [
            (500, "{}"),
            (400, ""),
            (400, "oops"),
            (400, '{"error": "m"}'),
            (404, '{"error": {"message": "m"}}'),
        ]:
            with self.assertRaises(Wrong):
                check_error(status, text)

    def test_a_stream_must_end_and_must_not_fail(self):
        event = 'data: {"choices": [{"index": 0, "text": "a"}]}\n\n'
        self.assertEqual(text_of(event + ": comment\n\n" + event + "data: [DONE]\n\n"), "aa")
        for broken in [event, 'data: {"error": {"message": "m"}}\n\ndata: [DONE]\n\n']:
            with self.assertRaises(Wrong):
                text_of(broken)

    def test_chunks_are_joined(self):
        self.assertEqual(unchunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"abcde")


class TemplatesTest(unittest.TestCase):
    def test_a_template_is_found_in_a_header_and_replaced_at_its_length(self):
        head = (
            b"GGUF"
            + struct.pack("<Q", len(KEY))
            + KEY
            + struct.pack("<IQ", STRING, 40)
            + b"x" * 40
            + b"more"
        )
        at, length = place_of_template(head)
        self.assertEqual(head[at : at + length], b"x" * 40)
        self.assertEqual(padded("{{ 1 }}", 14), b"{{ 1 }}{#   #}")
        for template in [*HOSTILE, HARMLESS]:
            self.assertEqual(len(padded(template, 300)), 300)
        with self.assertRaises(ValueError):
            padded("x" * 40, 40)


if __name__ == "__main__":
    unittest.main()
