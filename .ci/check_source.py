#!/usr/bin/env python3
"""Checks what neither rustfmt nor clippy does, in the files that git tracks:

circles    No files of a crate's `src` import each other in a circle. An arrow goes from a file to the one that defines
           what a `use` or a path in the code names: re-exports, of single names and of `*`, are followed to the
           definition. Modules that a path only passes through are not counted, nor is `mod x;`. A module and the files
           in its folder may use each other: a circle counts if none of its files is the parent of all others.
           Of files that are in circles together, the shortest circle is shown, with the line that makes each arrow.
           Not seen: macros that are used without a path, and files that are only reached by calling methods.
comments   No line with a comment, in Rust or CUDA, is longer than 120 columns.
functions  No function of a `src` folder has more than 100 lines, from `fn` to the closing brace.

Circles and functions leave out what is `#[cfg(test)]`, and the files of such modules.

usage: check_source.py [--circles] [--comments] [--functions]    without an option: all three
       check_source.py --self-test                               whether seeded faults are found

Prints `path:line: what` for each fault, and exits with 1 if there is any.
"""
import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

MAX_COLUMNS = 120
MAX_LINES = 100

# ---- text: comments, strings and tests are blanked, so that every offset and line stays what it was

COMMENT_OR_LITERAL = re.compile(
    r"""(?P<line>//[^\n]*) | (?P<block>/\*)
      | (?<!\w)[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)             # a raw string
      | "(?:\\.|[^"\\])*"
      | '(?:\\u\{\w+\}|\\x\w\w|\\.|[^\\'\n])'                    # a character; a lifetime has no second quote
    """,
    re.DOTALL | re.VERBOSE,
)
TEST = re.compile(r"#\[cfg\((?:test|all\((?![^\]]*\bnot\(test)[^\]]*\btest\b[^\]]*\))\)\]\s*(?:#\[[^\]]*\]\s*)*")
ITEM = re.compile(
    r"(?:pub(?:\([^)]*\))?\s+)?"
    r"(?:use|mod|unsafe|async|const|static|extern|fn|struct|enum|trait|impl|type|let|macro_rules!)(?!\w)"
)
FN = re.compile(r"\bfn\s+(\$?\w+)")


def blank(text, start, end):
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def without_comments(text, nested):
    """The text with comments and literals blanked, and the spans of its comments."""
    pieces, comments, done = [], [], 0
    while found := COMMENT_OR_LITERAL.search(text, done):
        start, end = found.span()
        if found["block"]:
            depth = 1
            while depth and (edge := re.compile(r"/\*|\*/").search(text, end)):
                depth, end = (depth + 1 if nested else depth) if edge[0] == "/*" else depth - 1, edge.end()
            end = len(text) if depth else end
        if found["line"] or found["block"]:
            comments.append((start, end))
        pieces += [text[done:start], re.sub(r"[^\n]", " ", text[start:end])]
        done = end
    return "".join(pieces) + text[done:], comments


def end_of(code, start, stops):
    """Past the first of `stops` outside of all brackets, or past the first block."""
    depth = 0
    for at in range(start, len(code)):
        character = code[at]
        if not depth and character in stops:
            return at + 1
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                return at
            if character == "}" and not depth:
                return at + 1
    return len(code)


def without_tests(code):
    while found := TEST.search(code):
        # A field or an argument ends with a comma, which does not end an item.
        end = end_of(code, found.end(), ";" if ITEM.match(code, found.end()) else ";,")
        code = blank(code, found.start(), end)
    return code


# ---- modules: which files a crate has, and what a path names

MOD = re.compile(r"\bmod\s+(\w+)\s*([;{])")
PATH_ATTRIBUTE = re.compile(r'#\[path\s*=\s*"([^"]*)"\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?$')
USE = re.compile(r"(?<![\w$])use\s+([^;<]+);")
DEFINITION = re.compile(
    r"\b(?:fn|struct|enum|union|trait|type)\s+(\w+)|\b(?:const|static)\s+(?:mut\s+)?(\w+)\s*:|\bmacro_rules!\s*(\w+)"
)
PATH = re.compile(r"(?<![\w:$.])(?:\$crate|[A-Za-z_]\w*)(?:::[A-Za-z_]\w*)+")


class Module:
    """A module, of a file or inline. Each name in it is a module, the path of a `use`, or the file of a definition."""

    def __init__(self, file, folder, parent=None):
        self.file, self.folder, self.parent = file, folder, parent
        self.root = parent.root if parent else self
        self.names = defaultdict(list)
        self.uses = []  # (offset, path, whether it ends with `*`)
        self.code = ""

    def look_up(self, name, is_last, seen=()):
        """What `name` is here: a module, or the file of its definition. If both, only a path's end is a definition."""
        found = []
        for candidate in self.names.get(name, []):
            if isinstance(candidate, tuple) and (self, candidate) not in seen:
                candidate = self.resolve(candidate, (*seen, (self, candidate)), is_last)
            if isinstance(candidate, (Module, Path)):
                found.append(candidate)
        for _, path, is_glob in self.uses if not found else []:
            if is_glob and (self, path) not in seen:
                target = self.resolve(path, (*seen, (self, path)), False)
                if isinstance(target, Module):
                    found.append(target.look_up(name, is_last, (*seen, (self, path))))
        found = [one for one in found if one]
        return min(found, key=lambda one: isinstance(one, Module) == is_last, default=None)

    def resolve(self, path, seen=(), is_last=True):
        """What a path names: a module, the file of a definition, or None if it is of another crate."""
        at = {"crate": self.root, "$crate": self.root, "self": self, "super": self.parent}.get(path[0])
        at = at or self.look_up(path[0], is_last and len(path) == 1, seen)
        for index, name in enumerate(path[1:], 2):
            if not isinstance(at, Module):
                break
            if name == "super":
                at = at.parent
            else:
                # What is not found is made by a macro.
                at = at.look_up(name, is_last and index == len(path), seen) or at.file
        return at


def use_leaves(text, offset):
    """The paths of a `use`, as (offset, path, name or None for `*`)."""
    tokens = [(found[0], offset + found.start()) for found in re.finditer(r"[{},*]|\$?\w+", text)]

    def tree(prefix):
        path, name = prefix, prefix[-1] if prefix else None
        start = tokens[0][1] if tokens else offset
        while tokens and tokens[0][0] not in ",}":
            token, at = tokens.pop(0)
            if token == "{":
                while tokens and tokens[0][0] != "}":
                    yield from tree(path)
                    if tokens and tokens[0][0] == ",":
                        tokens.pop(0)
                if tokens:
                    tokens.pop(0)
                return
            if token == "*":
                yield start, path, None
                return
            if token == "as":
                name = tokens.pop(0)[0]
            elif token == "self" and path:
                name = path[-1]
            else:
                path, name = (*path, token), token
        yield start, path, name

    yield from tree(())


class Source:
    """Files with their code, read once."""

    def __init__(self):
        self.files = {}

    def read(self, path):
        """The text of a file, the spans of its comments, and its code without tests."""
        if path not in self.files:
            text = path.read_text()
            code, comments = without_comments(text, nested=path.suffix == ".rs")
            self.files[path] = text, comments, without_tests(code)
        return self.files[path]

    def modules(self, root):
        """Every module that can be reached from a crate's root, tests aside."""
        found = []
        self.add_file(Module(root, root.parent), found)
        return found

    def add_file(self, module, found):
        if module.file.exists():
            self.add(module, self.read(module.file)[2], found)

    def add(self, module, code, found):
        found.append(module)
        text = self.read(module.file)[0]
        at = 0
        while declaration := MOD.search(code, at):
            name, at = declaration[1], declaration.end()
            if declaration[2] == "{":
                child = Module(module.file, module.folder / name, module)
                end = end_of(code, at - 1, "")
                self.add(child, blank(blank(code, 0, at), end - 1, len(code)), found)
                code = blank(code, at, end - 1)
            else:
                attribute = PATH_ATTRIBUTE.search(text[max(0, declaration.start() - 500) : declaration.start()])
                if attribute:
                    is_inline = module.parent is not None and module.parent.file == module.file
                    file = ((module.folder if is_inline else module.file.parent) / attribute[1]).resolve()
                    child = Module(file, file.parent, module)
                else:
                    file = module.folder / f"{name}.rs"
                    file = file if file.exists() else module.folder / name / "mod.rs"
                    child = Module(file, module.folder / name, module)
                self.add_file(child, found)
            module.names[name].append(child)
        for use in list(USE.finditer(code)):
            for offset, path, name in use_leaves(use[1], use.start(1)):
                module.uses.append((offset, path, name is None))
                if name:
                    module.names[name].append(path)
            code = blank(code, *use.span())
        module.code, at = code, 0
        while (brace := code.find("{", at)) >= 0:
            at = end_of(code, brace, "")
            code = blank(code, brace + 1, at - 1)
        for definition in DEFINITION.finditer(code):
            module.names[definition[1] or definition[2] or definition[3]].append(module.file)


# ---- checks: each yields (path, line, what)


def arrows(module):
    """(offset, file) of everything that a module names."""
    for offset, path, is_glob in module.uses:
        target = module.resolve(path)
        if is_glob and isinstance(target, Module):
            for word in set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", module.code)):
                yield offset, target.look_up(word, True)
        else:
            yield offset, target
    for path in PATH.finditer(module.code):
        yield path.start(), module.resolve(tuple(path[0].split("::")))


def components(graph):
    """The strongly connected components of more than one node (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            found.append(set(stack[stack.index(node) :]))
            del stack[stack.index(node) :]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return [component for component in found if len(component) > 1]


def groups(graph, above):
    """Components with a circle that counts: one that no file of it is above all others of."""
    for component in components(graph):
        top = next((file for file in component if all(file in above[other] for other in component - {file})), None)
        if not top:
            yield component
        else:
            rest = component - {top}
            yield from groups({file: rest.intersection(graph[file]) for file in rest}, above)


def shortest_circles(graph, above, group):
    """Circles that count: each has an arrow between two files of which neither is above the other, but no file that is
    above both. Of every such arrow the shortest circle, if there is one."""
    found = []
    for start in sorted(group):
        for second in sorted(group.intersection(graph[start])):
            if start in above[second] or second in above[start]:
                continue
            seen = {second, *(above[start] & above[second])}
            paths = [[start, second]]
            for path in paths:  # which grows
                if start in graph[path[-1]]:
                    found.append([*path, start])
                    break
                for other in sorted(group.intersection(graph[path[-1]]) - seen):
                    seen.add(other)
                    paths.append([*path, other])
    return found


def circles(source, files):
    for src, roots in sorted(crates(files).items()):
        graph = defaultdict(dict)  # file -> file -> line
        above = defaultdict(set)
        for module in (module for root in roots for module in source.modules(root)):
            graph[module.file], above[module.file]  # exist
            parent = module.parent
            while parent:
                above[module.file] |= {parent.file} - {module.file}
                parent = parent.parent
            for offset, target in arrows(module):
                if isinstance(target, Path) and target != module.file:
                    line = line_of(module.code, offset)
                    graph[module.file][target] = min(line, graph[module.file].get(target, line))
        for group in groups(graph, above):
            all_circles = shortest_circles(graph, above, group)
            circle = min(all_circles, key=len)
            names = {file: str(file.relative_to(src)) for file in set().union(*all_circles)}
            what = ["circle " + " -> ".join(names[file] for file in circle)]
            for file, other in zip(circle, circle[1:]):
                line = graph[file][other]
                what.append(f"{names[file]}:{line}: {source.read(file)[0].splitlines()[line - 1].strip()}")
            if len(names) > len(circle) - 1:
                what.append(f"in circles together, {len(names)} files: {' '.join(sorted(names.values()))}")
            yield circle[0], graph[circle[0]][circle[1]], "\n    ".join(what)


def crates(files):
    """The roots of the crates in each `src` folder."""
    found = defaultdict(list)
    for file in files:
        if file.parent.name == "src" and file.name in ["lib.rs", "main.rs"]:
            found[file.parent].append(file)
        elif file.parent.name == "bin" and file.parent.parent.name == "src" and file.suffix == ".rs":
            found[file.parent.parent].append(file)
    return found


def comments(source, files):
    for file in files:
        text, spans, _ = source.read(file)
        lines = text.split("\n")
        numbers = {number for start, end in spans for number in range(line_of(text, start), line_of(text, end) + 1)}
        for number in sorted(numbers):
            if len(lines[number - 1]) > MAX_COLUMNS:
                yield file, number, f"comment of {len(lines[number - 1])} columns, more than {MAX_COLUMNS}"


def functions(source, files):
    reached = {module.file for roots in crates(files).values() for root in roots for module in source.modules(root)}
    for file in sorted(reached):
        code = source.read(file)[2]
        for function in FN.finditer(code):
            end = end_of(code, function.end(), ";")
            lines = code.count("\n", function.start(), end) + 1
            if lines > MAX_LINES:
                line = line_of(code, function.start())
                yield file, line, f"function {function[1]} of {lines} lines, more than {MAX_LINES}"


CHECKS = {"circles": circles, "comments": comments, "functions": functions}


def faults(root, checks):
    command = ["git", "-C", root, "ls-files", "-z", "*.rs", "*.cu", "*.cuh"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    files = [root / name for name in listed.split("\0") if name and (root / name).exists()]
    source = Source()
    found = (fault for check in checks for fault in check(source, files))
    return [f"{path.relative_to(root)}:{line}: {what}" for path, line, what in found]


# ---- the check of the checks

WIDE = "x" * 118  # 121 columns after "// "
SEEDED = {
    "a/src/lib.rs": '#[path = "first/one.rs"]\nmod one;\nmod two;\nmod three;\nmod four;\nmod five;\nmod six;\n'
    "mod seven;\npub use two::Two;\npub use three::three;\n",
    # By a re-export of the root, and by a path in the code.
    "a/src/first/one.rs": "use crate::{\n    Two,\n};\npub fn one() {}\n",
    "a/src/two.rs": "pub struct Two;\nfn two() {\n    super::one::one()\n}\n",
    # By re-exports of all, and by a name that is a module and a function.
    "a/src/three.rs": "use crate::four::*;\npub fn three(_: Four) {}\n",
    "a/src/four/mod.rs": "mod part;\npub use part::*;\n",
    "a/src/four/part.rs": "use crate::three;\npub struct Four;\nfn four() {\n    three::three(Four)\n}\n",
    # Two files in the folder of a module that uses both.
    "a/src/five/mod.rs": "mod near;\nmod next;\npub struct Five;\nfn five() { near::near() }\n",
    "a/src/five/near.rs": "pub fn near(_: super::Five) { super::next::next() }\n",
    "a/src/five/next.rs": f"pub fn next() {{ super::near::near() }} // {WIDE}\n",
    # A module, a file in its folder, and one beside it.
    "a/src/six/mod.rs": "mod part;\npub use part::part;\nfn six() { part::part() }\npub struct Six;\n",
    "a/src/six/part.rs": "pub fn part() { crate::seven::seven() }\n",
    "a/src/seven.rs": "use crate::six::Six;\npub fn seven() {}\n",
    "a/src/main.rs": "fn long<'a>() {\n" + 'f(r#"}"}"#, \'}\', "\\"}");\n' * 99 + "}\nfn main() {}\n",
    "a/src/bin/tool.rs": f"/* /* */\n{WIDE}xxx */ fn main() {{}}\n",
    "a/kernel.cu": f"// {WIDE}\n/*\n// {WIDE} */ int x; /*\n{WIDE}xxx */\n",
}
SEEDED_FAULTS = [
    "a/src/first/one.rs:2: circle first/one.rs -> two.rs -> first/one.rs",
    "a/src/five/near.rs:1: circle five/near.rs -> five/next.rs -> five/near.rs",
    "a/src/four/part.rs:1: circle four/part.rs -> three.rs -> four/part.rs",
    "a/src/seven.rs:1: circle seven.rs -> six/mod.rs -> six/part.rs -> seven.rs",
    f"a/kernel.cu:1: comment of 121 columns, more than {MAX_COLUMNS}",
    f"a/kernel.cu:3: comment of 134 columns, more than {MAX_COLUMNS}",
    f"a/kernel.cu:4: comment of 124 columns, more than {MAX_COLUMNS}",
    f"a/src/bin/tool.rs:2: comment of 137 columns, more than {MAX_COLUMNS}",
    f"a/src/five/next.rs:1: comment of 159 columns, more than {MAX_COLUMNS}",
    f"a/src/main.rs:1: function long of 101 lines, more than {MAX_LINES}",
]
CLEAN = {
    # A module and its own files, which use each other; what only passes through a module; tests.
    "b/src/lib.rs": "mod low;\nmod top;\n#[cfg(test)]\nmod tests;\npub use low::Low;\npub use top::Top;\n",
    "b/src/low.rs": "pub struct Low;\n#[cfg(test)]\nuse crate::{Top, top};\n#[cfg(test)]\nmod t { use crate::Top; }\n",
    "b/src/tests.rs": "use crate::top::*;\n",
    "b/src/top/mod.rs": '#[path = "other/place.rs"]\nmod moved;\nmod part;\npub use part::Part;\n'
    "pub struct Top(moved::Moved);\n",
    "b/src/top/part.rs": "use super::Top;\nuse crate::Low; // crate::top::moved::Moved\npub struct Part;\n",
    "b/src/top/other/place.rs": "pub struct Moved;\nfn f() { crate::top::part::Part; }\n",
    "b/src/main.rs": f"// {WIDE[1:]}\nfn f<'a>(_: &'a str) {{}}\nfn full() {{\n" + f'f("// {WIDE}");\n' * 98 + "}\n",
    "b/kernel.cu": f"/* /* */\nint {WIDE};\n/* */\n",
    "b/tests/long.rs": "fn long() {\n" + "\n" * 100 + "}\n",
}


def self_test():
    for trees, expected in [(SEEDED, SEEDED_FAULTS), (CLEAN, []), (SEEDED | CLEAN, SEEDED_FAULTS)]:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in trees.items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_text(text)
            subprocess.run(["git", "init", "--quiet", folder], check=True)
            subprocess.run(["git", "-C", folder, "add", "."], check=True)
            found = [fault.splitlines()[0] for fault in faults(Path(folder).resolve(), CHECKS.values())]
        if found != expected:
            sys.exit("self-test: expected\n  {}\nfound\n  {}".format("\n  ".join(expected), "\n  ".join(found)))
    print(f"self-test: {len(SEEDED_FAULTS)} seeded faults found")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in [*CHECKS, "self-test"]:
        parser.add_argument(f"--{name}", action="store_true")
    chosen = vars(parser.parse_args())
    if chosen.pop("self_test"):
        return self_test()
    names = [name for name in CHECKS if chosen[name]] or list(CHECKS)
    found = faults(Path(__file__).resolve().parent.parent, [CHECKS[name] for name in names])
    print("\n".join(found) if found else f"{', '.join(names)}: nothing found")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
