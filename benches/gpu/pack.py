#!/usr/bin/env python3
"""Packs the programs, the data and the scripts of this folder for a machine that has a GPU, but neither Rust nor the sources.

usage: python3 benches/gpu/pack.py [FOLDER] [--small]    writes FOLDER, by default target/gpu-kit

Builds what is tested, as `.ci/run` does. The folder must stay below 45 MB. Compressing takes two minutes; the images are
compressed once, and kept in FOLDER. `--small` leaves them out and compresses little: such a kit runs with KIT_SMOKE=1 only, to
be tried. README.md says how to go on.
"""
import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MOST_BYTES = 45_000_000
# Names in the kit, by package, target and kind of the target.
PROGRAMS = {
    ("resconv", "resconv", "bin"): "resconv",
    ("benches", "step", "bin"): "step",
    ("resconv-kernels", "kernels", "lib"): "test-kernels",
    ("tests", "golden", "test"): "test-golden",
    ("tests", "golden_networks", "test"): "test-golden_networks",
    ("tests", "gradients", "test"): "test-gradients",
    ("tests", "gpu_steps", "test"): "test-gpu_steps",
}
IMAGES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def build():
    """The programs, as (name in the kit, path)."""
    command = ["cargo", "test", "--release", "--locked", "--workspace", "--no-run", "--message-format=json"]
    print("building", file=sys.stderr)
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if output.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: exit status {output.returncode}")
    found = {}
    for line in output.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if not message.get("executable"):
            continue
        target = message["target"]
        # path+file:///ROOT/kernels#resconv-kernels@0.1.0, or path+file:///ROOT/tests#0.1.0
        folder, _, version = message["package_id"].partition("#")
        package = version.partition("@")[0] if "@" in version else Path(folder).name
        name = PROGRAMS.get((package, target["name"], target["kind"][0]))
        # Programs are also built as tests of themselves.
        if name and message["profile"]["test"] == (target["kind"][0] != "bin"):
            found[name] = Path(message["executable"])
    if missing := sorted(set(PROGRAMS.values()) - set(found)):
        sys.exit(f"cargo did not build {', '.join(missing)}")
    return found


def stage(programs, folder):
    """What is packed with the programs, in the folder that the kit unpacks it to."""
    for name in ["bin", "ptx"]:
        (folder / name).mkdir()
    for name, path in programs.items():
        strip = ["strip", "--strip-all", "-o", folder / "bin" / name, path]
        subprocess.run(strip, check=True)
    # The PTX that the programs hold.
    for path in ROOT.glob("kernels/src/ops/*/cuda/*.ptx"):
        shutil.copy(path, folder / "ptx")
    # The functions of the driver that they call, which the emulator has all.
    driver = (ROOT / "tests/cuda-emulator/runtime/driver.cpp").read_text()
    symbols = re.findall(r"^DRIVER (cu\w+)\(", driver, re.M)
    (folder / "symbols.txt").write_text("\n".join(symbols) + "\n")
    (folder / "golden").mkdir()
    for path in (ROOT / "tests/golden").glob("*.safetensors"):
        shutil.copy(path, folder / "golden")
    shutil.copytree(ROOT / "trainer/tests/data/fashion-mnist", folder / "data-small")


def images():
    """The files of Fashion-MNIST, not compressed: beside each other they compress better."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resconv/fashion-mnist"
    folders = [os.environ.get("FASHION_MNIST_DIR"), cache, "/usr/share/datasets/fashion-mnist"]
    for folder in (Path(folder) for folder in folders if folder):
        files = [next((path for path in [folder / name, folder / f"{name}.gz"] if path.exists()), None) for name in IMAGES]
        if all(files):
            return {name: gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for name, path in zip(IMAGES, files)}
    sys.exit(f"no Fashion-MNIST in {', '.join(map(str, filter(None, folders)))}: `resconv train --quick` fetches it")


def compress(path, add, preset):
    """Writes an archive that is whole or absent. `add` fills it."""
    print(f"compressing {path.name}", file=sys.stderr)
    part = path.with_name(path.name + ".part")
    with tarfile.open(part, "w:xz", preset=preset) as archive:
        add(archive)
    part.replace(path)


def add_images(archive):
    for name, content in images().items():
        file = tarfile.TarInfo(f"data/{name}")
        file.size = len(content)
        archive.addfile(file, io.BytesIO(content))


def newest_glibc(programs):
    """The version of the C library that the other machine needs."""
    found = {tuple(map(int, version.split(b"."))) for path in programs for version in re.findall(rb"GLIBC_(2\.\d+)\b", path.read_bytes())}
    return ".".join(map(str, max(found, default=())))


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "target/gpu-kit")
    parser.add_argument("--small", action="store_true", help="without the images, compressed little")
    args = parser.parse_args()
    if not shutil.which("strip"):
        sys.exit("there is no strip (Debian: binutils): programs with symbols are too large")
    programs = build()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder)
        stage(programs, staged)
        glibc = newest_glibc((staged / "bin").iterdir())
        compress(args.folder / "programs.tar.xz", lambda archive: archive.add(staged, "."), 0 if args.small else 9)
    data = args.folder / "data.tar.xz"
    if args.small:
        data.unlink(missing_ok=True)
    elif not data.exists():
        compress(data, add_images, 9)
    for script in args.folder.glob("*.py"):
        script.unlink()  # of an earlier kit
    for script in [*(HERE / "kit").glob("*.py"), *(HERE.parent / "peers" / f"{name}.py" for name in ["torch_resconv", "machine"])]:
        shutil.copy(script, args.folder)
    archives = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(args.folder.glob("*.tar.xz"))}
    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    manifest = {
        "commit": git("rev-parse", "--short", "HEAD") + changed,
        "packed": datetime.date.today().isoformat(),
        "glibc": glibc,
        "archives": archives,
    }
    (args.folder / "kit.json").write_text(json.dumps(manifest, indent=1) + "\n")
    size = sum(path.stat().st_size for path in args.folder.iterdir())
    print(f"{args.folder}: {size / 1e6:.1f} MB; needs glibc {glibc} or later")
    if size > MOST_BYTES:
        sys.exit(f"it must stay below {MOST_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
