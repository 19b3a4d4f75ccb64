"""Runs the kit on the machine with the GPU: unpacks the archives beside this file, and runs every job within its time.

usage: python3 run.py    README.md says what it needs, what the environment variables mean, and what the files of results are

Exits with 0 if all checks hold, with 1 if one does not or could not end, and with 2 if the kit itself cannot run.
"""
import datetime
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import jobs
import machine
from runner import Runner, line_of, write_json

HERE = Path(__file__).resolve().parent
RESULTS = ["results.json", "log.txt", "jit.json", "torch.json", "training.json", "reconstruction.png"]
TOOLS = ["compute-sanitizer", "ncu"]


class Broken(Exception):
    """The kit itself cannot run."""


def unpack(manifest, work):
    """Unpacks the archives; refuses one that is not as it was packed."""
    for name, digest in manifest["archives"].items():
        path = HERE / name
        if not path.exists():
            raise Broken(f"{path} is not there: copy the whole folder")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != digest:
            raise Broken(f"{path} is not as it was packed, or not whole: its SHA-256 is {found}, not {digest}")
        with tarfile.open(path) as archive:
            # Without a filter, newer versions of Python warn or refuse; older ones do not know it.
            archive.extractall(work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def read_manifest():
    path = HERE / "kit.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Broken(f"{path}: {error}: copy the whole folder, which pack.py writes") from error


def absent(runner):
    """What jobs may need and this machine does not have, and why."""
    found = {tool: f"there is no {tool}" for tool in TOOLS if not shutil.which(tool, path=runner.environment["PATH"])}
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    try:
        if subprocess.run([runner.python, "-c", look], capture_output=True, env=runner.environment).returncode != 0:
            found["torch"] = f"{runner.python} has no PyTorch"
    except OSError as error:
        found["torch"] = f"KIT_PYTHON does not start: {error}"
    return found


def run(out):
    """Runs all; returns the exit status."""
    work = Path(os.environ.get("KIT_WORK") or Path(tempfile.gettempdir()) / "gpu-kit-work").resolve()
    try:
        seconds = float(os.environ.get("KIT_SECONDS", "540"))
    except ValueError as error:
        raise Broken(f"KIT_SECONDS is a number of seconds: {error}") from error
    smoke, only = os.environ.get("KIT_SMOKE") == "1", os.environ.get("KIT_ONLY", "").split(",")
    runner = Runner(out, work, seconds, os.environ.get("KIT_PYTHON") or sys.executable, [name.strip() for name in only if name.strip()])
    manifest = read_manifest()
    if "data.tar.xz" not in manifest["archives"] and not smoke:
        raise Broken("this kit was packed with --small: it has no images, and runs with KIT_SMOKE=1 only")
    if work.exists() and not (work / "logs").is_dir():
        raise Broken(f"KIT_WORK={work} exists, and is not of this kit: name another folder")
    shutil.rmtree(work, ignore_errors=True)
    (work / "logs").mkdir(parents=True)
    unpack(manifest, work)
    runner.absent |= absent(runner)
    runner.results = {
        "kit": {key: manifest[key] for key in ["commit", "packed", "glibc"]},
        "date": datetime.date.today().isoformat(),
        "smoke": smoke,
        "seconds": seconds,
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "absent": runner.absent,
        **runner.results,
    }
    jobs.run_all(runner, jobs.Kit(HERE, work, smoke))
    failed = runner.failed_checks()
    runner.results["exit_status"] = 1 if failed else 0
    runner.save()
    print(f"\n{len(runner.results['jobs'])} jobs in {runner.results['took_s']:.0f} s; results in {out}")
    if failed:
        print("checks that do not hold:\n  " + "\n  ".join(map(line_of, failed)))
    return runner.results["exit_status"]


def main():
    out = Path(os.environ.get("OUT") or "out").resolve()
    try:
        if sys.version_info < (3, 9):
            raise Broken(f"Python 3.9 or later is needed; {sys.executable} is {platform.python_version()}")
        if importlib.util.find_spec("_lzma") is None:
            raise Broken(f"{sys.executable} was built without lzma, which the archives need")
        out.mkdir(parents=True, exist_ok=True)
        for name in RESULTS:
            (out / name).unlink(missing_ok=True)  # of an earlier run
        return run(out)
    except Broken as error:
        print(error, file=sys.stderr)
        if out.is_dir():
            write_json(out / "results.json", {"error": str(error), "exit_status": 2, "jobs": []})
    except OSError as error:
        print(f"the kit cannot run: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
