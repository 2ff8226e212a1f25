#!/usr/bin/env python3
"""Fails if files of a crate import each other in a circle, and names the circle.

    scripts/no-circles.py CRATE...      folders of crates, such as `vision actors .`
    scripts/no-circles.py --list        check every crate of the workspace, print what is found, and succeed
    scripts/no-circles.py --self-test   check that circles are found and that everything else passes

A file imports another if it names something defined there: `use crate::a::X`, `super::X`, `child::f()`, also through names
re-exported by a file in between. Passing through a module (`crate::a::b::X` through `a`) does not import it, and neither does
`mod child;`; but if a child names something its parent defines, its declaration closes a circle: neither can then be understood
without the other. Code compiled only for tests is left out. Methods are not followed.
"""

import os
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(
    r"""
      (?P<skip>\s+|//[^\n]*)
    | (?P<comment>/\*)
    | (?P<raw>(?:br|cr|r)(?P<hashes>\#*)")
    | (?P<string>[bc]?"(?:[^"\\]|\\.)*")
    | (?P<char>b?'(?:[^'\\\n]|\\(?:[^ux]|x[0-9a-fA-F]{2}|u\{[^}]*\}))')
    | (?P<lifetime>'\w+)
    | (?P<word>(?:r\#)?[A-Za-z_]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<sign>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)
DEFINES = {"fn", "struct", "enum", "union", "trait", "type", "const", "static", "mod"}
CLOSES = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Token:
    text: str
    kind: str
    line: int


def tokens(text):
    """Returns the words and signs of Rust source, without comments and the contents of literals."""
    found, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        kind, end = match.lastgroup, match.end()
        if match.group("comment"):
            depth = 1
            while depth and end < len(text):
                if text.startswith("/*", end):
                    depth, end = depth + 1, end + 2
                elif text.startswith("*/", end):
                    depth, end = depth - 1, end + 2
                else:
                    end += 1
        elif match.group("raw"):
            closing = '"' + match.group("hashes")
            stop = text.find(closing, end)
            end = len(text) if stop < 0 else stop + len(closing)
            found.append(Token("", "literal", line))
        elif match.group("string"):
            found.append(Token(match.group("string"), "literal", line))
        elif match.group("word"):
            found.append(Token(match.group("word").removeprefix("r#"), "word", line))
        elif match.group("sign"):
            found.append(Token(match.group("sign"), "sign", line))
        line += text.count("\n", at, end)
        at = end
    return found


@dataclass
class Module:
    """A module: its file, its children, its definitions, its imports, and the paths in it."""

    file: Path
    parent: "Module | None" = None
    children: dict = field(default_factory=dict)
    defined: set = field(default_factory=set)
    imported: dict = field(default_factory=dict)  # name -> path
    globs: list = field(default_factory=list)  # paths
    paths: list = field(default_factory=list)  # (path, line)


class Crate:
    """One root file and all modules under it."""

    def __init__(self, root):
        self.macros = {}
        self.modules = []
        self.declared = []  # (parent file, child file, line)
        self.root = Module(root)
        self.read(self.root, root.parent)

    def read(self, module, folder):
        self.modules.append(module)
        self.items(module, tokens(module.file.read_text(encoding="utf-8")), folder)

    def items(self, module, found, folder):
        """Reads the tokens of a module's body. `folder` holds its children's files."""
        at, attributes = 0, []
        while at < len(found):
            token = found[at]
            if token.text == "#" and at + 1 < len(found) and found[at + 1].text in ("[", "!"):
                start = at + 1 + (found[at + 1].text == "!")
                end = matching(found, start)
                if start == at + 1:
                    attributes.append(found[start + 1 : end - 1])
                at = end
                continue
            end = end_of_item(found, at)
            item = found[at:end]
            if not any(is_for_tests(attribute) for attribute in attributes):
                exported = any(a and a[0].text == "macro_export" for a in attributes)
                self.item(module, item, attributes, folder, exported)
            at, attributes = end, []

    def item(self, module, item, attributes, folder, exported):
        words = [token.text for token in item]
        depth, place = 0, 0
        # Skips `pub(crate)`, `unsafe`, `extern "C"`.
        while place < len(item) and (depth or words[place] not in DEFINES | {"use", "impl", "macro_rules"}):
            depth += (words[place] == "(") - (words[place] == ")")
            if words[place] in ("{", "=") and not depth:
                break
            place += 1
        word = words[place] if place < len(item) else ""
        # `const fn`; `const X` names what follows.
        while word in ("const", "static") and place + 1 < len(item) and words[place + 1] in DEFINES | {"mut", "unsafe", "async", "extern"}:
            place += 1
            word = words[place]
            if word not in DEFINES:
                word = "const"
        if word == "use":
            self.use(module, item[place + 1 :])
            return
        if word == "macro_rules":
            module.defined.add(words[place + 2])
            if exported:
                self.macros[words[place + 2]] = module
        elif word == "mod":
            self.child(module, item, place, attributes, folder)
            return
        elif word in DEFINES:
            module.defined.add(words[place + 1])
        self.scan(module, item)

    def child(self, module, item, place, attributes, folder):
        name, line = item[place + 1].text, item[place + 1].line
        if item[place + 2].text == "{":
            child = Module(module.file, module)
            module.children[name] = child
            self.modules.append(child)
            self.items(child, item[place + 3 : -1], folder / name)
            return
        for attribute in attributes:
            if attribute and attribute[0].text == "path":
                file = module.file.parent / attribute[2].text.strip('"')
                below = file.parent if file.stem == "mod" else file.parent / file.stem
                break
        else:
            file, below = folder / f"{name}.rs", folder / name
            if not file.is_file():
                file = folder / name / "mod.rs"
        if not file.is_file():
            raise SystemExit(f"error: {module.file}:{line}: the module `{name}` has no file")
        child = Module(file, module)
        module.children[name] = child
        self.declared.append((module.file, file, line))
        self.read(child, below)

    def use(self, module, found):
        """Reads what follows `use`."""
        for path, name, line in use_tree(found):
            if name == "*":
                module.globs.append(path)
                path = [*path, "*"]
            else:
                module.imported.setdefault(name, path)
            module.paths.append((path, line))

    def scan(self, module, found):
        """Reads the paths in some tokens, and the `use` inside functions."""
        at = 0
        while at < len(found):
            token = found[at]
            before = found[at - 1].text if at else ""
            if token.text == "use" and token.kind == "word":
                end = at
                while end < len(found) and found[end].text != ";":
                    end += 1
                self.use(module, found[at + 1 : end])
                at = end
                continue
            if token.kind == "word" and before not in ("::", "."):
                path, at = [token.text], at + 1
                while at + 1 < len(found) and found[at].text == "::" and found[at + 1].kind == "word":
                    path.append(found[at + 1].text)
                    at += 2
                if len(path) > 1:
                    module.paths.append((path, token.line))
                continue
            at += 1

    def imports(self):
        """Returns (importing file, file of the definition) -> (what is named, line)."""
        found = {}
        for module in self.modules:
            for path, line in module.paths:
                target = self.resolve(module, path, set())
                if target is not None and target.file != module.file:
                    found.setdefault((module.file, target.file), ("::".join(path), line))
        for parent, child, line in self.declared:
            if parent != child and (child, parent) in found:
                found.setdefault((parent, child), (f"mod {child.stem if child.stem != 'mod' else child.parent.name}", line))
        return found

    def resolve(self, module, path, seen):
        """Returns the module that defines what a path names; None for items of other crates, and for modules themselves."""
        key = (id(module), tuple(path))
        if key in seen:
            return None
        seen.add(key)
        first, rest = path[0], path[1:]
        if first == "crate":
            start = self.root
        elif first == "self":
            start = module
        elif first == "super":
            start = module.parent
        elif first in module.children:
            return self.resolve(module, ["self", *path], seen)
        elif module.imported.get(first, [first])[0] != first:
            return self.resolve(module, [*module.imported[first], *rest], seen)
        else:
            # Another crate, or a name of the language or of this item itself.
            return None
        while rest and rest[0] == "super" and start is not None:
            start, rest = start.parent, rest[1:]
        if start is None or not rest:
            return None
        name = rest[0]
        if name == "*":
            return start if start.defined else None
        if name in start.children:
            return self.resolve(start.children[name], ["self", *rest[1:]], seen)
        if name in start.defined:
            return start
        if name in start.imported:
            return self.resolve(start, [*start.imported[name], *rest[1:]], seen)
        for glob in start.globs:
            target = self.resolve(start, [*glob, *rest], seen)
            if target is not None:
                return target
        return self.macros.get(name)


def matching(found, at):
    """Returns the position after the bracket that closes the one at `at`."""
    stack = []
    while at < len(found):
        text = found[at].text if found[at].kind == "sign" else ""
        if text in CLOSES:
            stack.append(CLOSES[text])
        elif stack and text == stack[-1]:
            stack.pop()
            if not stack:
                return at + 1
        at += 1
    return at


def end_of_item(found, at):
    """Returns the position after the `;` or the block that ends an item. `use` and `const` end with `;` whatever blocks are in them."""
    ends_with_block = True
    while at < len(found):
        token = found[at]
        if token.text in ("use", "const", "static", "type", "let") and token.kind == "word":
            after = found[at + 1].text if at + 1 < len(found) else ""
            ends_with_block = token.text == "const" and after in ("fn", "unsafe", "async", "extern")
        elif token.text in ("fn", "struct", "enum", "union", "trait", "impl", "mod") and token.kind == "word":
            ends_with_block = True
        if token.kind == "sign" and token.text == ";":
            return at + 1
        if token.kind == "sign" and token.text in CLOSES:
            block = token.text == "{"
            at = matching(found, at)
            if block and ends_with_block:
                return at
            continue
        at += 1
    return at


def is_for_tests(attribute):
    """Returns whether an attribute is `cfg(test)` or `cfg(all(test, …))`, but not `cfg(not(test))`."""
    words = [token.text for token in attribute]
    return words[:1] == ["test"] or (words[:1] == ["cfg"] and "test" in words and "not" not in words)


def use_tree(found):
    """Returns (path, name that it gets, line) of each leaf of what follows `use`."""
    leaves = []

    def tree(at, prefix):
        path = list(prefix)
        while at < len(found):
            token = found[at]
            if token.text == "{":
                at += 1
                while at < len(found) and found[at].text != "}":
                    at = tree(at, path)
                    if at < len(found) and found[at].text == ",":
                        at += 1
                return at + 1
            if token.text == "*":
                leaves.append((path, "*", token.line))
                return at + 1
            if token.kind == "word" and token.text == "as":
                leaves.append((path, found[at + 1].text, token.line))
                return at + 2
            if token.kind == "word":
                # `a::{self}` is `a`.
                if not (token.text == "self" and path):
                    path.append(token.text)
            elif token.text in (",", "}", ";"):
                break
            at += 1
        if path:
            leaves.append((path, path[-1], found[min(at, len(found) - 1)].line))
        return at

    tree(0, [])
    return leaves


def circles(imports):
    """Returns the sets of files that import each other, each with a shortest circle in it."""
    after = {}
    for a, b in imports:
        after.setdefault(a, set()).add(b)

    def reachable(start):
        seen, new = set(), [start]
        while new:
            for file in after.get(new.pop(), ()):
                if file not in seen:
                    seen.add(file)
                    new.append(file)
        return seen

    reach = {file: reachable(file) for file in after}
    found, done = [], set()
    for file in sorted(after):
        if file in done or file not in reach[file]:
            continue
        together = {other for other in reach[file] if file in reach.get(other, ())}
        done |= together
        found.append((together, min((shortest(after, one) for one in sorted(together)), key=len)))
    return found


def shortest(after, start):
    """Returns a shortest path from a file back to itself."""
    ways, seen = [[start]], set()
    while ways:
        way = ways.pop(0)
        for file in sorted(after.get(way[-1], ())):
            if file == start:
                return way
            if file not in seen:
                seen.add(file)
                ways.append([*way, file])
    raise AssertionError("it is in a circle")


def sections(manifest):
    """Returns (name, text) of the sections of a Cargo.toml. Python has a TOML reader only since 3.11."""
    parts = re.split(r"^\[+([^\]]+)\]+\s*$", manifest.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2]))


def roots(folder):
    """Returns the root files of a crate: its library and programs."""
    files, manifest = [], folder / "Cargo.toml"
    for name, text in sections(manifest) if manifest.is_file() else ():
        if name in ("lib", "bin"):
            files += [folder / path for path in re.findall(r'^path = "([^"]+)"', text, re.MULTILINE)]
    files += [folder / "src/lib.rs", folder / "src/main.rs", *sorted((folder / "src/bin").glob("*.rs"))]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def look(folder):
    """Prints the circles of a crate; returns their number."""
    files = roots(folder)
    if not files:
        raise SystemExit(f"error: {folder} is no crate: it has no src/lib.rs, src/main.rs or src/bin")
    count, modules = 0, set()
    for root in files:
        crate = Crate(root)
        modules |= {module.file for module in crate.modules}
        imports = crate.imports()
        for together, way in circles(imports):
            count += 1
            print(f"{folder}: a circle of {len(together)} files:", file=sys.stderr)
            for a, b in zip(way, [*way[1:], way[0]]):
                what, line = imports[a, b]
                print(f"  {a}:{line} names {what}, of {b}", file=sys.stderr)
            rest = sorted(str(file) for file in together - set(way))
            if rest:
                print(f"  also in it: {', '.join(rest)}", file=sys.stderr)
    print(f"no-circles: {folder}: {len(modules)} files, {count or 'no'} circle{'' if count == 1 else 's'}", flush=True)
    return count


def workspace():
    text = dict(sections(Path("Cargo.toml")))["workspace"]
    members = re.search(r"^members = \[([^\]]*)\]", text, re.MULTILINE).group(1)
    return [Path(member) for member in re.findall(r'"([^"]+)"', members)]


# Name -> (files, the files of the circle to be found, or none).
SELF_TEST = {
    "two files": ({"lib.rs": "mod a; mod b;", "a.rs": "use crate::b::B; pub struct A;", "b.rs": "pub struct B; fn f(_: crate::a::A) {}"}, "a b"),
    "three files": (
        {
            "lib.rs": "mod a; mod b; mod c;",
            "a.rs": "use super::b::{self as other, B}; pub struct A;",
            "b.rs": "use super::{c::C}; pub struct B;",
            "c.rs": "pub struct C; impl C { fn f() { use crate::a; a::A; } }",
        },
        "a b c",
    ),
    "child and parent": ({"lib.rs": "mod a;", "a.rs": "mod child; use child::f; pub struct A;", "a/child.rs": "use super::A; pub fn f() {}"}, "a child"),
    "declared child that names its parent": ({"lib.rs": "mod a;", "a.rs": "mod child; pub struct A;", "a/child.rs": "impl super::A {}"}, "a child"),
    "through a name that is handed on": (
        {"lib.rs": "mod a; mod b; pub use a::A;", "a.rs": "pub struct A; fn f() { crate::b::g() }", "b.rs": "pub const fn g() -> crate::A { todo!() }"},
        "a b",
    ),
    "everything of the parent": ({"lib.rs": "mod a;", "a.rs": "mod child; pub fn f() { child::g() }", "a/child.rs": "use super::*; pub fn g() {}"}, "a child"),
    "an inline module": ({"lib.rs": "mod a; mod b;", "a.rs": "pub mod inner { pub struct A; } use crate::b::B;", "b.rs": "pub struct B(crate::a::inner::A);"}, "a b"),
    "use of a child": ({"lib.rs": "mod a;", "a.rs": "mod child; use child::f; pub struct A;", "a/child.rs": "pub fn f() {}"}, None),
    "siblings through the root": ({"lib.rs": "mod a; mod b; pub use a::A; pub use b::B;", "a.rs": "pub struct A;", "b.rs": "pub struct B(crate::A);"}, None),
    "only in tests": (
        {
            "lib.rs": "mod a; mod b; #[cfg(test)] mod tests;",
            "a.rs": "use crate::b::B; pub struct A; #[cfg(test)] mod tests { use super::*; }",
            "b.rs": "pub struct B; #[cfg(all(test, unix))] use crate::a::A; #[test] fn f() { crate::a::A; }",
            "tests.rs": "use crate::a::A;",
        },
        None,
    ),
    "in comments and texts": (
        {
            "lib.rs": "mod a; mod b;",
            "a.rs": "use crate::b::B; pub struct A;",
            "b.rs": "/* /* */ crate::a::A */ // crate::a::A\npub struct B; fn f<'a>(_: &'a str) -> char { r#\"crate::a::A \"#; \"\\\"crate::a::A\"; '\"' }",
        },
        None,
    ),
    "other crates": ({"lib.rs": "mod a; mod fs;", "a.rs": "use std::fs::File; pub struct A;", "fs.rs": "use crate::a::A;"}, None),
}


def self_test():
    for name, (files, expected) in SELF_TEST.items():
        with tempfile.TemporaryDirectory() as folder:
            for file, text in files.items():
                path = Path(folder, "src", file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            found = circles(Crate(Path(folder, "src/lib.rs")).imports())
            circle = " ".join(sorted(file.stem for file in found[0][0])) if found else None
            if circle != expected or len(found) > 1:
                raise SystemExit(f"error: self-test `{name}`: found {circle}, expected {expected}")
    print(f"no-circles: self-test: {len(SELF_TEST)} cases are told apart")


def main(arguments):
    os.chdir(Path(__file__).resolve().parent.parent)
    if arguments == ["--self-test"]:
        self_test()
    elif arguments == ["--list"]:
        for folder in workspace():
            look(folder)
    elif not arguments or any(argument.startswith("-") for argument in arguments):
        raise SystemExit(__doc__)
    elif sum([look(Path(folder)) for folder in arguments]):
        raise SystemExit("error: files import each other in a circle: move what both need into a file of its own")


if __name__ == "__main__":
    main(sys.argv[1:])
