"""What the outputs of jobs say. Each function raises `Unexpected`, or some other error, if an output is not as it should be."""
import csv
import hashlib
import io
import json
import re
import statistics

from runner import Unexpected, write_json

# Lines of messages that are kept.
MOST_LINES = 40


def rust_tests(text):
    """A test program's output."""
    # Also those of a program that did not come to its end.
    passed, failed = (sorted(re.findall(rf"^test (\S+) \.\.\. {end}", text, re.M)) for end in ["ok", "FAILED"])
    values = {"passed": len(passed), "failed": len(failed)}
    if failed:
        values |= {"failed_tests": failed, "panics": re.findall(r"panicked at [^\n]*\n[^\n]*", text)[:MOST_LINES]}
        raise Unexpected(f"{len(failed)} tests failed: {' '.join(failed)}", values)
    if values["passed"] == 0:
        raise Unexpected("no test ran", values)
    return values


def gradcheck(text):
    """The last line of `resconv gradcheck`."""
    found = re.search(r"(\d+) lines, (\d+) comparisons, (\d+) lines failed", text)
    if not found:
        raise Unexpected("it did not come to its end")
    lines, comparisons, failed = map(int, found.groups())
    values = {"lines": lines, "comparisons": comparisons, "failed": failed}
    if failed:
        values["failed_lines"] = re.findall(r".* FAILED .*", text)[:MOST_LINES]
        raise Unexpected(f"{failed} of {lines} lines failed", values)
    return values


def sanitizer(text):
    """What compute-sanitizer found."""
    summaries = re.findall(r"========= (?:ERROR|RACECHECK) SUMMARY: (.*)", text)
    if not summaries:
        raise Unexpected("it has no summary")
    values = {"summary": summaries[-1]}
    if not re.match(r"0 (errors|hazards)", summaries[-1]):
        values["messages"] = re.findall(r"========= .*", text)[:MOST_LINES]
        raise Unexpected(summaries[-1], values)
    return values


def losses(run):
    """The loss of every step that a run's table has."""
    return [float(row["loss"]) for row in rows((run / "metrics.csv").read_text())]


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def summary(run):
    """A reader of a run's summary.json."""
    keys = ["layers", "steps", "training_loss", "validation", "minutes", "images_per_second", "device"]

    def read(_):
        content = json.loads((run / "summary.json").read_text())
        return {key: content[key] for key in keys}

    return read


def digests(run):
    """Of the trained weights and of the losses."""
    names = ["model.safetensors", "metrics.csv"]
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names}


def same_bits(*runs):
    """Fails unless all runs gave the same weights and losses."""
    found = {run.name: digests(run) for run in runs}
    if len({json.dumps(digest) for digest in found.values()}) != 1:
        raise Unexpected("they are not the same", found)
    return found


def close_losses(run, reference, first, last):
    """Fails unless the first losses and the means of the last tenth differ by no more than these shares."""
    got, want = losses(run), losses(reference)
    if not got or len(got) != len(want):
        raise Unexpected(f"{len(got)} steps, not {len(want)}")
    apart = [abs(x - y) / y for x, y in zip(got, want)]
    marks = [step for step in [1, 2, 3, 5, 10, 20, 50, 100, 200, 300, 500, 1000] if step < len(apart)] + [len(apart)]
    ends = [statistics.mean(of[-max(1, len(of) // 10) :]) for of in [got, want]]
    values = {"relative_difference_at_step": {step: apart[step - 1] for step in marks}, "mean_of_last_tenth": ends}
    if apart[0] > first or abs(ends[0] - ends[1]) > last * ends[1]:
        raise Unexpected(f"the first losses differ by {apart[0]:.1e} ({first:.1e} allowed), the last are {ends}", values)
    return values


def step_profile(table, batch):
    """A reader of `resconv profile step`: the time of a step, and that of each operation by its table of steps."""

    def read(text):
        found = re.search(r"as a run takes it: ([0-9.]+) ms", text)
        if not found:
            raise Unexpected("it does not say how long a step takes")
        operations = {}
        for row in rows(table.read_text()):
            of = operations.setdefault((row["op"], row["phase"]), {"op": row["op"], "phase": row["phase"], "steps": 0, "ms": 0.0})
            of["steps"] += int(row["steps"])
            of["ms"] += float(row["ms"])
        whole_ms = float(found[1])
        slowest_first = sorted(operations.values(), key=lambda of: -of["ms"])
        return {"batch": batch, "whole_ms": whole_ms, "images_per_second": batch / whole_ms * 1e3, "operations": slowest_first}

    return read


def json_in(text):
    """The JSON object in an output; an emulator of the driver says before it that it is one."""
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def step_times(text):
    """What `step` and torch_resconv.py print."""
    report = json_in(text)
    wall = report["wall_ms"]
    return {"backend": report["backend"], "median_ms": statistics.median(wall), "best_ms": min(wall)}


def pytorch(path):
    """A reader of what torch_gpu.py wrote."""

    def read(_):
        content = json.loads(path.read_text())
        measured = sum("ms" in variant for variant in content["variants"])
        values = {"torch": content["torch"], "measured": measured, "variants": len(content["variants"])}
        if measured == 0:
            raise Unexpected(content.get("error") or "no variant was measured", values)
        return values

    return read


def launches(text):
    """Kernel and metrics of each launch that `ncu --csv --page raw --print-units base` measured."""
    start = text.find('"ID"')
    if start < 0:
        raise Unexpected(next(iter(re.findall(r"==ERROR==.*", text)), "ncu measured no kernel"))
    # The first row has the units.
    measured = rows(text[start:])[1:]
    names = [name for name in measured[0] if name and "__" in name] if measured else []
    return [(row["Kernel Name"].split("(")[0], {name: number(row[name]) for name in names}) for row in measured]


def number(value):
    try:
        return float(value.replace(",", ""))
    except ValueError:
        return value


def slowest_kernels(count):
    """A reader of ncu's times: the kernels that take most time together."""

    def read(text):
        totals = {}
        for kernel, metrics in launches(text):
            entry = totals.setdefault(kernel, {"kernel": kernel, "launches": 0, "us": 0.0})
            entry["launches"] += 1
            entry["us"] += metrics["gpu__time_duration.sum"] / 1e3
        return {"slowest": sorted(totals.values(), key=lambda entry: -entry["us"])[:count]}

    return read


def counters(text):
    """The metrics of the last launch that ncu measured."""
    kernel, metrics = launches(text)[-1]
    return {"kernel": kernel, "metrics": metrics}


def jit(path):
    """A reader of jit.py, which also keeps all that it says in `path`."""

    def read(text):
        content = json_in(text)
        write_json(path, content)
        files = content["files"]
        kernels = {name: uses for file in files.values() for name, uses in file["kernels"].items()}
        keys = ["gpu", "driver_cuda_version", "compute_capability_major", "compute_capability_minor"]
        values = {key: content[key] for key in keys if content.get(key) is not None}
        values |= {"kernels": len(kernels), "seconds": sum(file["seconds"] for file in files.values())}
        values["too_new"] = [name for name, file in files.items() if file["too_new"]]
        if any(uses["local_bytes"] is not None for uses in kernels.values()):  # a driver that says what kernels use
            values["spilled"] = [name for name, uses in kernels.items() if uses["local_bytes"]]
        values["missing_symbols"] = content["missing_symbols"]
        if content["failures"]:
            raise Unexpected("; ".join(content["failures"]), values)
        return values

    return read
