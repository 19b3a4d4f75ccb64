"""Runs jobs, each with a limit, and keeps what is known of them in results.json, written anew after every job."""
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

# How a job ended.
OK, FAILED, TIMEOUT, NO_TIME, NOT_THERE = "ok", "failed", "timeout", "no time", "not there"
# Seconds that are left for the summary and for copying files.
RESERVE_S = 8
# Characters of a job's output in results.json and in log.txt.
END_LEN, LOG_LEN = 4000, 400_000


class Unexpected(Exception):
    """What a job wrote is not as it should be; or a check does not hold. `values` are numbers that show it."""

    def __init__(self, reason, values=None):
        super().__init__(reason)
        self.values = values or {}


@dataclass
class Job:
    """A command. `read` makes values of its output, and raises `Unexpected` if they are not as they should be."""

    name: str
    command: list
    limit_s: float
    read: Callable[[str], dict] = lambda text: {}
    # Whether it says that something is right: if it fails, the kit fails.
    is_check: bool = False
    # What it cannot do without, of what may be in `Runner.absent`.
    needs: tuple = ()
    environment: dict = field(default_factory=dict)


class Runner:
    """Runs jobs within `seconds`, in the folder `work`; what is found goes to `out`."""

    def __init__(self, out, work, seconds, python, only):
        self.out, self.work, self.python, self.only = out, work, python, only
        self.begun, self.end = time.monotonic(), time.monotonic() + seconds - RESERVE_S
        self.results = {"jobs": []}
        # What is known not to be on this machine, and why.
        self.absent = {}
        self.lock = threading.Lock()
        # Tools of NVIDIA's that are not always on the path.
        folders = [path for pattern in ["usr/local/cuda*/bin", "opt/nvidia/nsight-compute/*"] for path in Path("/").glob(pattern)]
        self.environment = os.environ | {
            "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, sorted(folders, reverse=True))]),
            "HOME": str(work),
            "CUDA_CACHE_PATH": str(work / "jit-cache"),
            "CUDA_CACHE_MAXSIZE": str(1 << 30),
            "OMP_WAIT_POLICY": "PASSIVE",
            "RUST_BACKTRACE": "0",
        }

    def left_s(self):
        return self.end - time.monotonic()

    def save(self):
        with self.lock:
            self.results["took_s"] = round(time.monotonic() - self.begun, 1)
            write_json(self.out / "results.json", self.results)

    def run(self, job, end=None):
        """Runs a job, until `end` at the latest. Returns its entry in results.json; None if only others are wanted."""
        if not self.wants(job.name):
            return None
        limit = min(job.limit_s, self.left_s() if end is None else min(self.left_s(), end - time.monotonic()))
        command = [str(part) for part in job.command]
        entry = {"name": job.name, "check": job.is_check, "command": " ".join(command), "limit_s": round(limit, 1)}
        began, text = time.monotonic(), ""
        if absent := [self.absent[need] for need in job.needs if need in self.absent]:
            entry |= {"status": NOT_THERE, "reason": "; ".join(absent)}
        elif limit < 2:
            entry["status"] = NO_TIME
        else:
            path = self.work / "logs" / f"{re.sub('[^a-zA-Z0-9]+', '-', job.name)}.log"
            entry |= self.execute(command, path, limit, job.environment)
            text = path.read_text(errors="replace")
            entry |= read(job, text, entry)
        entry["took_s"] = round(time.monotonic() - began, 2)
        return self.add(entry, text)

    def check(self, name, compare):
        """Compares what jobs left. `compare` returns values, or raises `Unexpected`."""
        if not self.wants(name):
            return
        entry = {"name": name, "check": True, "status": OK}
        try:
            entry["values"] = compare()
        except Unexpected as error:
            entry |= {"status": FAILED, "reason": str(error), "values": error.values}
        except FileNotFoundError as error:
            run = Path(error.filename).parent.name
            entry |= {"status": FAILED, "reason": f"there is nothing to compare: {run} did not end well, or was left out"}
        except Exception as error:  # what is compared is not as expected
            entry |= {"status": FAILED, "reason": f"unexpected output: {type(error).__name__}: {error}"}
        self.add(entry, "")

    def together(self, jobs, seconds):
        """Runs jobs at the same time; all end within so many seconds."""
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
            list(pool.map(lambda job: self.run(job, end), jobs))

    def wants(self, name):
        return not self.only or any(name.startswith(beginning) for beginning in self.only)

    def execute(self, command, log, limit, environment):
        """Runs a command, and ends it and all that it started after its limit."""
        program = shutil.which(command[0], path=self.environment["PATH"]) or command[0]
        with open(log, "wb") as output:
            try:
                process = subprocess.Popen(
                    [program, *command[1:]],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self.environment | environment,
                    cwd=self.work,
                    start_new_session=True,
                )
            except OSError as error:
                return {"status": FAILED, "reason": f"not started: {error}"}
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return {"status": TIMEOUT, "reason": f"ended after {limit:.0f} s"}
        if code == 0:
            return {"status": OK}
        return {"status": FAILED, "reason": f"exit status {code}" if code > 0 else f"ended by signal {-code}"}

    def add(self, entry, text):
        if text:
            entry["end"] = text[-END_LEN:]
        with self.lock:
            self.results["jobs"].append(entry)
            with open(self.out / "log.txt", "a") as log:
                log.write(f"\n===== {entry['name']}: {entry['status']} {entry.get('reason', '')}\n{entry.get('command', '')}\n")
                log.write(text if len(text) <= LOG_LEN else f"{text[: LOG_LEN // 4]}\n... cut ...\n{text[-LOG_LEN * 3 // 4 :]}")
        self.save()
        print(f"[{time.monotonic() - self.begun:5.0f} s] {line_of(entry)}", flush=True)
        return entry

    def failed_checks(self):
        """Entries of what should be right, and is not known to be. What is not on the machine is not counted."""
        return [entry for entry in self.results["jobs"] if entry["check"] and entry["status"] not in [OK, NOT_THERE]]


def read(job, text, entry):
    """What an output adds to the entry of its job."""
    try:
        return {"values": job.read(text)}
    except Unexpected as error:
        found = {"values": error.values, "reason": str(error)}
    except Exception as error:  # an output that is not as expected does not end the other jobs
        found = {"reason": f"unexpected output: {type(error).__name__}: {error}"}
    if entry["status"] == OK:
        return found | {"status": FAILED}
    if not found.get("values"):  # its last words say more
        found["reason"] = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")
    return found | {"reason": f"{entry['reason']}: {found['reason']}"}


def line_of(entry):
    took = f" ({entry['took_s']:.1f} s)" if "took_s" in entry else ""
    return f"{entry['name']}: {entry['status']}{took}{': ' + entry['reason'] if 'reason' in entry else ''}"


def write_json(path, content):
    """Writes a file that is whole, or as it was before."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)
