#!/usr/bin/env python3
"""Tries the kit in small: packs it, runs it on the emulator of the driver where there are no sources, and breaks it.

usage: python3 benches/gpu/check.py [--keep FOLDER]    FOLDER: where the kit, its results and the record stay

The kit runs with nothing of this environment but PATH and KIT_PYTHON (a Python with PyTorch, to try that comparison, too), and
with an empty folder in place of the repository, where the user may mount one. Every job must end well, or need what this
machine lacks. Then jobs go wrong, and the kit runs with a driver that compiles nothing, without time, and with damaged
archives: its results and its exit status must say so. Times mean nothing here.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE / "kit"))
import readers  # noqa: E402
from runner import Job, Runner  # noqa: E402

# Jobs of which each must have run; their names begin like this.
REQUIRED = ["jit", "start, warm", "gradcheck", "test ", "same bits", "losses beside", "profile", "full training", "processor, ours"]


def fail(message):
    sys.exit(f"the kit: {message}")


def build_emulator(folder):
    """A copy of the emulator's library, which is built if need be."""
    command = ["cargo", "run", "--quiet", "--release", "--locked", "--package", "cuda-emulator"]
    built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    folder.mkdir()
    shutil.copy(Path(built) / "libcuda.so.1", folder)


def without_sources():
    """A command that runs another one where the repository's folder is empty; none if the user may not mount."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', ROOT]
    try:
        mounts = subprocess.run([*unshare, "true"], capture_output=True).returncode == 0
    except OSError:
        mounts = False
    if not mounts:
        print("the sources are not hidden from the kit, as the user may not mount a folder here")
    return unshare if mounts else []


class Kit:
    """The kit in a folder of its own."""

    def __init__(self, folder):
        self.folder, self.prefix = folder, without_sources()
        self.python = os.environ.get("KIT_PYTHON") or sys.executable
        for name in ["home", "tmp"]:
            (folder / name).mkdir()

    def run(self, out, **variables):
        """Runs it; returns exit status and results."""
        results = self.folder / out
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder / "home", "TMPDIR": self.folder / "tmp", "OUT": results}
        environment |= {"LD_LIBRARY_PATH": self.folder / "emulator", "KIT_PYTHON": self.python, "KIT_SMOKE": "1", **variables}
        command = [*self.prefix, sys.executable, self.folder / "kit/run.py"]
        run = subprocess.run(command, cwd=self.folder, env=environment, stdout=sys.stdout, stderr=subprocess.STDOUT)
        return run.returncode, json.loads((results / "results.json").read_text())


def check_whole(kit):
    """All that the kit does, and the record of it."""
    status, results = kit.run("out")
    jobs = results["jobs"]
    for entry in jobs:
        if entry["status"] not in ["ok", "not there"]:
            fail(f"{entry['name']}: {entry['status']}: {entry.get('reason')}\n{entry.get('end', '')}")
    well = [entry["name"] for entry in jobs if entry["status"] == "ok"]
    if missed := [name for name in REQUIRED if not any(done.startswith(name) for done in well)]:
        fail(f"it did not run {missed}")
    if status != 0 or results["exit_status"] != 0:
        fail(f"exit status {status}, and {results['exit_status']} in results.json, though all is well")
    record = kit.folder / "record.md"
    subprocess.run([sys.executable, HERE / "report.py", kit.folder / "out", "--record", record], check=True)
    text = record.read_text()
    if text.count("\n## ") != 8 or "A try of the kit" not in text or "| same bits twice, f32 | ok |" not in text:
        fail(f"the record is not as it should be:\n{text}")
    files = sorted(path.name for path in (kit.folder / "out").iterdir())
    print(f"{len(well)} jobs ended well, {len(jobs) - len(well)} need what is not here; files: {', '.join(files)}")


def check_runner(folder):
    """Jobs that go wrong, each in its own way."""
    for name in ["out", "work/logs"]:
        (folder / name).mkdir(parents=True)
    runner = Runner(folder / "out", folder / "work", seconds=60, python=sys.executable, only=[])
    runner.absent["ncu"] = "there is no ncu"
    # Its child must end, too: it would hold the log open.
    sleep = ["sh", "-c", "sleep 60 & sleep 60"]
    for job, expected in [
        (Job("sleeps", sleep, 2.1), "timeout: ended after 2 s"),
        (Job("fails", ["false"], 9), "failed: exit status 1"),
        (Job("is no program", ["no-such-program"], 9), "failed: not started"),
        (Job("has last words", ["sh", "-c", "echo no GPU; exit 3"], 9, readers.gradcheck), "failed: exit status 3: no GPU"),
        (Job("says nothing", ["true"], 9, readers.gradcheck, is_check=True), "failed: it did not come to its end"),
        (Job("says something else", ["echo", "{"], 9, readers.step_times), "failed: unexpected output"),
        (Job("lacks something", ["ncu"], 9, is_check=True, needs=("ncu",)), "not there: there is no ncu"),
    ]:
        entry = runner.run(job)
        if not f"{entry['status']}: {entry['reason']}".startswith(expected):
            fail(f"a job that {job.name}: {entry}, not {expected}")
    if [entry["name"] for entry in runner.failed_checks()] != ["says nothing"]:
        fail(f"checks that fail: {runner.failed_checks()}")


def check_broken(kit):
    """Faults: each must be in the results, and in the exit status."""
    refuses = kit.run("refuses", KIT_ONLY="jit,start", CUDA_EMULATOR_COMPILER="refuse")
    if refuses[0] != 1 or {entry["status"] for entry in refuses[1]["jobs"]} != {"failed"}:
        fail(f"with a driver that compiles nothing: {refuses}")
    # Eight seconds are kept for the summary.
    late = kit.run("late", KIT_ONLY="gradcheck,quick", KIT_SECONDS="8")
    if late[0] != 1 or {entry["status"] for entry in late[1]["jobs"]} != {"no time"}:
        fail(f"without time: {late}")
    archive = kit.folder / "kit/programs.tar.xz"
    archive.write_bytes(archive.read_bytes()[:-1000])
    for name, expected in [("cut off", "not whole"), ("gone", "not there")]:
        status, results = kit.run(name.replace(" ", "-"))
        if status != 2 or expected not in results["error"]:
            fail(f"with an archive that is {name}: {status}, {results}")
        archive.unlink(missing_ok=True)
    print("faults are in the results and in the exit status")


def check(folder):
    subprocess.run([sys.executable, HERE / "pack.py", folder / "kit", "--small"], check=True)
    if sources := [path.name for path in (folder / "kit").iterdir() if path.suffix not in [".py", ".xz", ".json"]]:
        fail(f"it has files that it does not need: {sources}")
    build_emulator(folder / "emulator")
    kit = Kit(folder)
    check_runner(folder / "runner")
    check_whole(kit)
    check_broken(kit)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keep", type=Path, help="a new folder")
    args = parser.parse_args()
    if args.keep:
        args.keep.mkdir(parents=True)
        return check(args.keep.resolve())
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder).resolve())


if __name__ == "__main__":
    main()
