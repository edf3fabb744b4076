#!/usr/bin/env python3
"""Fails where modules of a crate import each other in a circle.

A node is a module declared in a crate's `lib.rs` or `main.rs`; an edge is a path `crate::module`
(or `super::module` in a module's own file) outside of tests. An edge that is left for now stands in
ALLOWED with its reason; one that is gone must leave the list, too.

    .ci/module_cycles.py            checks every crate of the workspace
    .ci/module_cycles.py --edges    prints all edges, with the place of the first import
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# crate -> {(from, to): reason}
ALLOWED: dict[str, dict[tuple[str, str], str]] = {
    "speckv": {
        ("logits", "model"): "Logits is the output of a pass for backends in host memory",
        ("logits", "signals"): "the output of a pass answers in signals",
    },
    "speckv-serve": {
        ("metrics", "api"): "reasons to finish are counted under the API's names",
        ("metrics", "scheduler"): "metrics count steps in the scheduler's terms",
    },
    "speckv-local": {
        ("memory", "backend"): "a backend estimates what it needs, memory compares it",
    },
}

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
STRING = re.compile(r'b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])\'', re.S)


def blank(match: re.Match) -> str:
    """The same lines without what stands in them."""
    return re.sub(r"[^\n]", " ", match.group(0))


def without_tests(text: str) -> str:
    """The text with items behind `#[cfg(test)]` blanked."""
    while found := re.search(r"#\[cfg\(test\)\]", text):
        end = found.end()
        depth = 0
        for end in range(found.end(), len(text)):
            character = text[end]
            depth += character == "{"
            depth -= character == "}"
            if depth == 0 and character in ";}":
                break
        item = text[found.start() : end + 1]
        text = text[: found.start()] + re.sub(r"[^\n]", " ", item) + text[end + 1 :]
    return text


def source(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    text = re.sub(STRING, blank, re.sub(COMMENT, blank, text))
    return without_tests(text)


def leaves(tree: str) -> list[str]:
    """The paths of a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        return [tree]
    head, body = tree[:brace], tree[brace + 1 : tree.rfind("}")]
    paths, depth, start = [], 0, 0
    for at, character in enumerate(body + ","):
        depth += character == "{"
        depth -= character == "}"
        if character == "," and depth == 0:
            if part := body[start:at].strip():
                paths += [head + path for path in leaves(part)]
            start = at + 1
    return paths


class Crate:
    def __init__(self, folder: Path):
        self.name = folder.name
        self.src = folder / "src"
        self.roots = [self.src / name for name in ("lib.rs", "main.rs")]
        self.roots = [root for root in self.roots if root.exists()]
        text = "\n".join(source(root) for root in self.roots)
        self.modules = set(re.findall(r"^\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", text, re.M))
        self.exports = self.find_exports(text)

    def find_exports(self, text: str) -> dict[str, str]:
        """Names that the root re-exports -> the module that they come from."""
        exports = {}
        for tree in re.findall(r"^\s*pub(?:\([^)]*\))?\s+use\s+([^;]+);", text, re.M):
            for path in leaves(tree):
                parts = re.sub(r"^(crate|self)::", "", path).split("::")
                name = parts[-1].split(" as ")[-1].strip()
                if parts[0] in self.modules and len(parts) > 1:
                    exports[name] = parts[0]
        return exports

    def edges(self) -> dict[tuple[str, str], str]:
        """(from, to) -> the first place."""
        found: dict[tuple[str, str], str] = {}
        for path in sorted(self.src.rglob("*.rs")):
            parts = path.relative_to(self.src).parts
            module = parts[0].removesuffix(".rs")
            if module not in self.modules or path.name == "tests.rs" or "tests" in parts:
                continue
            for target, line in self.targets(path, top=parts):
                if target != module:
                    place = f"{path.relative_to(ROOT)}:{line}"
                    found.setdefault((module, target), place)
        return found

    def targets(self, path: Path, top: tuple[str, ...]):
        """Modules of the crate that a file names, with the line."""
        text = source(path)
        own_file = len(top) == 1 or (len(top) == 2 and top[1] == "mod.rs")
        paths = []
        for match in re.finditer(r"\buse\s+([^;]+);", text):
            paths += [(leaf, match.start()) for leaf in leaves(match.group(1))]
        for match in re.finditer(r"\bcrate(?:::\w+)+", text):
            paths.append((match.group(0), match.start()))
        for written, at in paths:
            parts = written.split("::")
            root = parts[0] == "crate" or (own_file and parts[0] == "super")
            if not root or len(parts) < 2:
                continue
            name = parts[1].split(" as ")[0].strip()
            target = name if name in self.modules else self.exports.get(name)
            if target:
                yield target, text.count("\n", 0, at) + 1


def circles(nodes: set[str], edges: set[tuple[str, str]]) -> list[list[str]]:
    """The strongly connected sets of more than one module."""
    reach = {node: {to for (start, to) in edges if start == node} for node in nodes}
    changed = True
    while changed:
        changed = False
        for node in nodes:
            more = set().union(*(reach[to] for to in reach[node])) if reach[node] else set()
            if not more <= reach[node]:
                reach[node] |= more
                changed = True
    groups = {frozenset(b for b in nodes if b in reach[a] and a in reach[b]) for a in nodes}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def main() -> int:
    failed = False
    for manifest in sorted(ROOT.glob("crates/*/Cargo.toml")):
        crate = Crate(manifest.parent)
        edges = crate.edges()
        if "--edges" in sys.argv:
            for (start, to), place in sorted(edges.items()):
                print(f"{crate.name}: {start} -> {to} ({place})")
            continue
        allowed = ALLOWED.get(crate.name, {})
        for edge in sorted(set(allowed) - set(edges)):
            failed = True
            print(f"{crate.name}: {edge[0]} -> {edge[1]} is allowed but gone; take it off the list")
        for circle in circles(crate.modules, set(edges) - set(allowed)):
            failed = True
            print(f"{crate.name}: modules import each other in a circle: {', '.join(circle)}")
            for (start, to), place in sorted(edges.items()):
                if start in circle and to in circle and (start, to) not in allowed:
                    print(f"    {start} -> {to} ({place})")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
