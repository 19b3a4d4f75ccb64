"""What a record says about where, when and of what it was measured."""
import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path


def processor():
    """The name of the CPU."""
    try:
        names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown CPU"


def describe(root):
    """Date, CPU, commit of the repository `root`, and load."""
    git = ["git", "-C", str(root)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True).stdout
    load = "/".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{datetime.date.today().isoformat()}, {processor()}, commit {commit}{' with changes' if changed else ''}, load at the end {load}"


def build(folder, *flags):
    """Compiles what is measured, so that it is not a program of some day before."""
    print(f"building {Path(folder).name}", file=sys.stderr)
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", *flags], cwd=folder, check=True)


def write_record(path, title, heading, measured):
    """Writes the tables `measured`, with the command that made them."""
    command = " ".join(["python3", f"benches/peers/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    date = datetime.date.today().isoformat()
    path.write_text(f"# {title}, {date}\n\n{heading}\n\n```sh\n{command}\n```\n\n{measured}\n")
