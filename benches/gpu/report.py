#!/usr/bin/env python3
"""Makes a record of what the kit found on a machine with a GPU.

usage: python3 benches/gpu/report.py RESULTS [--record FILE]    RESULTS: the folder that run.py wrote

The record is benches/record/DATE-gpu.md, if nothing else is said; DATE is the day of the run.
"""
import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = ["f32", "3xTF32", "TF32"]
NOTHING = "Nothing was measured."
# Metrics of ncu that the record shows.
METRICS = {
    "us": ("gpu__time_duration.sum", 1e-3),
    "multiprocessors, % of peak": ("sm__throughput.avg.pct_of_peak_sustained_elapsed", 1),
    "memory, % of peak": ("gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed", 1),
    "warps, % of peak": ("sm__warps_active.avg.pct_of_peak_sustained_active", 1),
    "registers": ("launch__registers_per_thread", 1),
}


class Results:
    """What run.py wrote."""

    def __init__(self, folder):
        self.all = read(folder / "results.json", required=True)
        if "error" in self.all:
            sys.exit(f"{folder / 'results.json'}: the kit did not run: {self.all['error']}")
        self.torch = read(folder / "torch.json") or {}
        self.jobs = {entry["name"]: entry for entry in self.all["jobs"]}

    def values(self, name):
        """The values of a job that came to a good end; else none."""
        entry = self.jobs.get(name, {})
        return entry.get("values", {}) if entry.get("status") == "ok" else {}


def read(path, required=False):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        if required:
            sys.exit(f"{error}: expected the folder that run.py wrote its results to")
    except ValueError as error:
        sys.exit(f"{path} is not whole: {error}")
    return None


def table(heading, rows):
    """A table whose first column is text; empty without rows."""
    if not rows:
        return NOTHING
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)


def number(value, digits):
    return f"{value:.{digits}f}" if isinstance(value, (int, float)) else "-"


def heading(results):
    # Also of a driver that did not take a kernel.
    of, jit = results.all, results.jobs.get("jit", {}).get("values", {})
    parts = ["no GPU that answers"]
    if "compute_capability_minor" in jit:
        version, capability = jit["driver_cuda_version"], [jit[f"compute_capability_{part}"] for part in ["major", "minor"]]
        parts = [jit["gpu"], f"compute capability {capability[0]}.{capability[1]}", f"driver for CUDA {version // 1000}.{version % 1000 // 10}"]
    parts += [
        f"{of['processor']}, {of['cores']} cores",
        f"torch {results.torch['torch']}" if results.torch else "no PyTorch",
        f"commit {of['kit']['commit']}, packed {of['kit']['packed']}",
        f"{len(of['jobs'])} jobs in {of['took_s']:.0f} s",
    ]
    text = ", ".join(parts) + "."
    return f"**A try of the kit in tiny sizes: its numbers mean nothing.**\n\n{text}" if of["smoke"] else text


def checks(results):
    rows = []
    for entry in results.all["jobs"]:
        if entry["check"]:
            values = entry.get("values", {})
            said = [f"{values[key]} {key}" for key in ["passed", "comparisons", "steps"] if key in values]
            said += [values["summary"]] if "summary" in values else []
            apart = values.get("relative_difference_at_step", {})
            said += [f"relative difference at step {step}: {apart[step]:.1e}" for step in list(apart)[:1] + list(apart)[-1:]]
            rows.append([entry["name"], entry["status"], entry.get("reason") or ", ".join(said)])
    return table(["check", "result", "what"], rows).replace("---:", "---")


def batches(results):
    """The batches of which a step was measured."""
    values = [results.values(name) for name in results.jobs if name.startswith("profile ")]
    return sorted({of["batch"] for of in values if of})


def steps(results):
    rows = []
    for batch in batches(results):
        for numbers in NUMBERS:
            values = results.values(f"profile {numbers} batch {batch}")
            without = results.values(f"profile {numbers} batch {batch} no-graphs")
            cells = [number(values.get("whole_ms"), 3), number(values.get("images_per_second"), 0), number(without.get("whole_ms"), 3)]
            rows.append([f"batch {batch}, {numbers}", *cells])
    ours = table(["ours", "ms", "images/s", "ms without graphs"], rows)
    rows = []
    for variant in results.torch.get("variants", []):
        error = variant.get("error", "").split("\n")[0]
        cells = [number(variant.get(key), digits) for key, digits in [("ms", 3), ("images_per_second", 0), ("host_ms", 3), ("peak_mib", 0)]]
        rows.append([f"batch {variant['batch']}, {variant['name']}{f': {error}' if error else ''}", *cells])
    return f"{ours}\n\n{table(['PyTorch', 'ms', 'images/s', 'ms of the host', 'peak MiB'], rows)}"


def operations(results):
    """The operations that take most time, of the smallest batch."""
    tables = []
    for numbers in NUMBERS if batches(results) else []:
        name = f"profile {numbers} batch {batches(results)[0]}"
        found = results.values(name).get("operations", [])
        total = sum(of["ms"] for of in found) or 1.0
        rows = [[f"{of['op']}, {of['phase']}", of["steps"], f"{of['ms']:.3f}", f"{of['ms'] / total:.1%}"] for of in found[:10]]
        tables.append(table([f"operation ({name})", "steps", "ms", "share"], rows))
    return "\n\n".join(tables) or NOTHING


def training(results):
    rows = []
    for numbers in NUMBERS:
        values = results.values(f"full training {numbers}")
        if values:
            validation = [number(values["validation"][statistics]["all"], 5) for statistics in ["running", "batch"]]
            cells = [values["layers"], values["steps"], f"{values['minutes'] * 60:.1f}", f"{values['images_per_second']:.0f}"]
            rows.append([numbers, *cells, f"{values['training_loss']:.5f}", *validation])
    columns = ["", "layers", "steps", "s", "images/s", "training loss", "validation, running statistics", "batch statistics"]
    return table(columns, rows)


def kernels(results):
    rows = []
    for numbers in NUMBERS:
        for slow in results.values(f"ncu {numbers}").get("slowest", []):
            metrics = results.values(f"ncu {numbers} {slow['kernel']}").get("metrics", {})
            cells = [number(metrics.get(name, 0) * scale if name in metrics else None, 1) for name, scale in METRICS.values()]
            rows.append([f"`{slow['kernel']}`, {numbers}", slow["launches"], f"{slow['us']:.0f}", *cells])
    return table(["kernel", "launches", "us of all", *METRICS], rows)


def processor(results):
    rows = []
    for threads in [1, 2, 4, 8, 16]:
        names = [f"processor, {who}, {threads} threads" for who in ["ours", "PyTorch", "PyTorch, channels last"]]
        times = [results.values(name).get("median_ms") for name in names]
        if any(times):
            theirs = [time for time in times[1:] if time]
            ratio = f"{min(theirs) / times[0]:.2f}x" if times[0] and theirs else "-"
            rows.append([threads, *(number(time, 2) for time in times), ratio])
    return table(["threads", "ours, ms", "PyTorch", "PyTorch, channels last", "ratio"], rows)


def compiler(results):
    values = results.values("jit")
    if not values:
        return "The driver's compiler did not take the kernels."
    starts = [results.jobs.get(f"start, {kind}", {}).get("took_s") for kind in ["cold", "warm"]]
    lines = [
        f"{values['kernels']} kernels in {values['seconds']:.1f} s; the first start of the program takes {number(starts[0], 1)} s, "
        f"the second {number(starts[1], 1)} s.",
        f"With spilled registers: {', '.join(values['spilled']) or 'none'}." if "spilled" in values else "It does not say what they use.",
    ]
    if values["too_new"]:
        lines.append(f"For newer GPUs: {', '.join(values['too_new'])}.")
    if values["missing_symbols"]:
        lines.append(f"Functions that this driver does not have: {', '.join(values['missing_symbols'])}.")
    return " ".join(lines)


def rest(results):
    """What was not measured, and why; checks have their own table."""
    entries = [entry for entry in results.all["jobs"] if not entry["check"] and entry["status"] != "ok"]
    lines = [f"- {entry['name']}: {entry['status']}{': ' + entry['reason'] if 'reason' in entry else ''}" for entry in entries]
    return "\n".join(lines) or "Nothing."


SECTIONS = {
    "Is it right?": checks,
    "A training step": steps,
    "Where its time goes": operations,
    "The study's training": training,
    "The slowest kernels": kernels,
    "On the processor": processor,
    "The driver's compiler": compiler,
    "What was not measured": rest,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--record", type=Path)
    args = parser.parse_args()
    results = Results(args.results)
    date = results.all["date"]
    path = args.record or ROOT / f"benches/record/{date}-gpu.md"
    sections = "\n\n".join(f"## {title}\n\n{write(results)}" for title, write in SECTIONS.items())
    about = "By the kit of [benches/gpu](../gpu/README.md); a step has 15 layers of 32 channels, 3x3, 32x32, forward, backward and AdamW."
    path.write_text(f"# On an NVIDIA GPU, {date}\n\n{heading(results)}\n\n{about}\n\n{sections}\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
