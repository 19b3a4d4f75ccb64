"""What a GPU's machine code (SASS) has in a kernel's longest loop, and in all of it. Used by build.py."""

import re
import subprocess
import tempfile
from dataclasses import dataclass

# Bytes that a thread loads, by the suffix of the instruction; without one, 4.
WIDTHS = {"64": 8, "128": 16, "U8": 1, "S8": 1, "U16": 2, "S16": 2}


@dataclass
class Code:
    """Instructions of a warp, and bytes that a thread has under way.

    Of paths that exclude each other, the longest counts: what a branch leaves out for the common case is in it.
    """

    whole: int  # of the kernel, its loops once
    loop: int  # of the longest loop, once
    inner: int  # of the longest loop inside of that, once; 0 if there is none
    in_flight: int  # most bytes loaded from memory before an instruction needs one of them


def disassemble(nvdisasm, ptxas, ptx, gpu):
    """{kernel: Code} of a file's PTX on a GPU (`sm_90`)."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        subprocess.run([ptxas, f"-arch={gpu}", "-o", cubin.name, "/dev/stdin"], input=ptx, check=True, text=True)
        text = subprocess.run([nvdisasm, "-c", cubin.name], capture_output=True, check=True, text=True).stdout
    codes = {}
    for section in re.split(r"^\s*\.section\s+\.text\.", text, flags=re.MULTILINE)[1:]:
        kernel = re.match(r"\w+", section)[0]
        codes[kernel] = read(section)
    return codes


def read(section):
    """The Code of a kernel's section."""
    lines, labels = [], {}
    for line in section.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(lines)
        elif found := re.match(r"\s+/\*[0-9a-f]+\*/\s+(.*?)\s*;", line):
            lines.append(found[1])
    targets = [next((labels[label] for label in re.findall(r"`\((\.L_x_\d+)\)", line)), None) for line in lines]
    jumps = [re.match(r"(?:@\S+\s+)?(BRA|BRX|JMP|EXIT|RET)\b", line) is not None for line in lines]
    # The endless loop behind the last instruction is padding.
    loops = [(target, i) for i, target in enumerate(targets) if jumps[i] and target is not None and target < i]

    def longest_of(loops):
        return max(loops, key=lambda loop: loop[1] - loop[0], default=(0, -1))

    outer = longest_of(loops)
    inner = longest_of([loop for loop in loops if outer[0] <= loop[0] and loop[1] <= outer[1] and loop != outer])
    spans = [(0, len(lines) - 1), outer, inner]
    return Code(*(longest(lines, targets, jumps, *span) for span in spans), in_flight(lines, targets, jumps))


def successors(lines, targets, jumps, i):
    """What may follow an instruction further down."""
    if not jumps[i] or lines[i].startswith("@"):
        yield i + 1
    if jumps[i] and targets[i] is not None and targets[i] > i:
        yield targets[i]


def longest(lines, targets, jumps, begin, end):
    """Instructions of the longest path from `begin` to `end` that goes down only."""
    count = {end + 1: 0}
    for i in range(end, begin - 1, -1):
        count[i] = 1 + max((count.get(next_one, 0) for next_one in successors(lines, targets, jumps, i)), default=0)
    return count.get(begin, 0)


def in_flight(lines, targets, jumps):
    """Most bytes that are loaded from memory before an instruction needs one of them, on any path that goes down only."""
    pending, most = {0: {}}, 0  # {instruction: {first register: bytes}}
    for i, line in enumerate(lines):
        loading = dict(pending.pop(i, {}))
        registers = {int(number) for number in re.findall(r"\bR(\d+)\b", line)}
        load = re.match(r"(?:@\S+\s+)?LDG\.(\S+)\s+R(\d+)\b", line)
        if load:
            registers.discard(int(load[2]))
        if any(first <= register < first + max(1, size // 4) for first, size in loading.items() for register in registers):
            loading = {}
        if load:
            width = next((WIDTHS[part] for part in load[1].split(".") if part in WIDTHS), 4)
            loading[int(load[2])] = width
            most = max(most, sum(loading.values()))
        for next_one in successors(lines, targets, jumps, i):
            if sum(pending.get(next_one, {}).values()) <= sum(loading.values()):
                pending[next_one] = loading
    return most
