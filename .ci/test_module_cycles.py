"""What counts as an import, and what the check says of a circle."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import module_cycles


class Circles(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(setattr, module_cycles, "ROOT", module_cycles.ROOT)
        self.addCleanup(setattr, module_cycles, "ALLOWED", module_cycles.ALLOWED)
        module_cycles.ROOT = Path(folder.name)
        self.write("Cargo.toml", "")
        self.write("src/lib.rs", "pub mod a;\npub mod b;\npub use b::Name;\n")

    def write(self, name: str, text: str):
        path = module_cycles.ROOT / "crates/x" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def check(self) -> tuple[int, str]:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = module_cycles.main()
        return status, said.getvalue()

    def test_tests_comments_and_strings_import_nothing(self):
        self.write("src/a.rs", "use crate::b::{self, c::D};\n")
        self.write(
            "src/b.rs",
            '// crate::a\nconst X: &str = "crate::a";\n#[cfg(test)]\nmod tests { use crate::a; }\n',
        )
        self.assertEqual(self.check(), (0, ""))

    def test_a_circle_is_named_with_its_places(self):
        self.write("src/a.rs", "\nuse crate::{std, Name};\n")  # through the root's re-export
        self.write("src/b.rs", "fn f() { super::a::g() }\nuse super::a::g;\n")
        status, said = self.check()
        self.assertEqual(status, 1)
        self.assertIn("in a circle: a, b", said)
        self.assertIn("a -> b (crates/x/src/a.rs:2)", said)

    def test_an_allowed_edge_breaks_a_circle_and_must_exist(self):
        module_cycles.ALLOWED = {"x": {("b", "a"): "a reason"}}
        self.write("src/a.rs", "use crate::b::Name;\n")
        self.write("src/b.rs", "use crate::a::g;\n")
        self.assertEqual(self.check(), (0, ""))
        self.write("src/b.rs", "")
        status, said = self.check()
        self.assertEqual(status, 1)
        self.assertIn("take it off the list", said)


if __name__ == "__main__":
    unittest.main()
