import unittest

from soak import Wrong, check_error, growth, text_of, unchunked


class SoakTest(unittest.TestCase):
    def test_growth_compares_the_last_third_with_the_middle_one(self):
        self.assertEqual(growth([0, 50, 100, 100, 100, 100, 130, 130, 130]), 30)
        self.assertEqual(growth([9] * 30), 0)
        self.assertIsNone(growth([1, 2, 3]))

    def test_only_openais_error_objects_are_proper(self):
        check_error(400, '{"error": {"message": "m", "type": "t", "param": null, "code": null}}')
        for status, text in [(500, "{}"), (400, ""), (400, "oops"), (400, '{"error": "m"}'), (404, '{"error": {"message": "m"}}')]:
            with self.assertRaises(Wrong):
                check_error(status, text)

    def test_a_stream_must_end_and_must_not_fail(self):
        event = 'data: {"choices": [{"text": "a"}]}\n\n'
        self.assertEqual(text_of(event + ": comment\n\n" + event + "data: [DONE]\n\n"), "aa")
        for broken in [event, 'data: {"error": {"message": "m"}}\n\ndata: [DONE]\n\n']:
            with self.assertRaises(Wrong):
                text_of(broken)

    def test_chunks_are_joined(self):
        self.assertEqual(unchunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), b"abcde")


if __name__ == "__main__":
    unittest.main()
