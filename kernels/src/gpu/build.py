#!/usr/bin/env python3
"""Compiles the CUDA kernels to the PTX that is embedded in the library, and checks what GPUs make of it.

    python3 kernels/src/gpu/build.py          # compile, assemble, write *.ptx, RESOURCES.md, ROOFLINE.md
    python3 kernels/src/gpu/build.py --check  # the same, but fail if a file would change: what CI runs

Needs neither a GPU nor a CUDA installation: the three tools come from NVIDIA's wheels, in pinned versions, and are kept in target/.
NVRTC is as old as can be, since a driver refuses PTX of a newer compiler than its own (12.0: PTX 8.0, driver 525 or later), and
compiles for the oldest GPU that is supported. Drivers compile that PTX for the GPU that they find; ptxas, a newer one that knows
all of them, does the same here: a kernel that spills registers, uses local memory or computes in double precision fails. nvdisasm
shows the instructions that ROOFLINE.md counts.
"""

import argparse
import ctypes
import os
import pathlib
import re
import subprocess
import sys

import roofline
import sass

NVRTC = "nvidia-cuda-nvrtc-cu12==12.0.140"
PTXAS = "nvidia-cuda-nvcc-cu12==12.9.86"
NVDISASM = "nvidia-cuda-nvdisasm==13.5.37"
TARGET = 70
TARGETS = {"conv2d_tf32.cu": 80, "conv2d_halo_tf32.cu": 80, "conv2d_halo_tf32x3.cu": 80}  # sources that need a newer GPU
GPUS = [70, 75, 80, 86, 90, 120]

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCES = ROOT / "kernels" / "src"
COMMON = SOURCES / "gpu" / "common.cuh"
COMMON_NAME = "../../../gpu/common.cuh"  # as every source and header includes it
RESOURCES = SOURCES / "gpu" / "RESOURCES.md"
ROOFLINE = SOURCES / "gpu" / "ROOFLINE.md"


def toolchain():
    """Installs the wheels, once; in one call, since a second one would not merge into the folder `nvidia`."""
    wheels = [NVRTC, PTXAS, NVDISASM]
    folder = ROOT / "target" / "cuda-toolchain" / "+".join(wheels).replace("==", "-")
    if not (folder / "nvidia").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *wheels]
        subprocess.run(command, check=True)
    nvrtc = folder / "nvidia" / "cuda_nvrtc" / "lib"
    ctypes.CDLL(str(next(nvrtc.glob("libnvrtc-builtins.so.*"))), mode=ctypes.RTLD_GLOBAL)
    ptxas, nvdisasm = (folder / "nvidia" / part / "bin" for part in ["cuda_nvcc", "cu13"])
    return ctypes.CDLL(str(nvrtc / "libnvrtc.so.12")), ptxas / "ptxas", nvdisasm / "nvdisasm"


def target(source):
    """Compute capability of the oldest GPU that a source is compiled for, times 10."""
    return TARGETS.get(source.name, TARGET)


def headers(source):
    """{name that it is included by: file}: what all sources share, then the headers that it includes."""
    names = re.findall(r'^#include "([^"]+)"$', source.read_text(), re.MULTILINE)
    return {COMMON_NAME: COMMON} | {name: (source.parent / name).resolve() for name in names}


def fingerprint(source):
    """FNV-1a of the sources that a file's PTX depends on; tests in gpu/ptx.rs compute the same."""
    state = 0xCBF29CE484222325
    for byte in b"".join(path.read_bytes() for path in [*headers(source).values(), source]):
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return f"{state:016x}"


def compile_ptx(nvrtc, source):
    """The PTX of a source, with its fingerprint in the first line."""

    def check(code):
        if code != 0:
            nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
            raise SystemExit(f"{source}: {nvrtc.nvrtcGetErrorString(code).decode()}\n{text(nvrtc.nvrtcGetProgramLog, nvrtc.nvrtcGetProgramLogSize)}")

    def text(get, get_size):
        size = ctypes.c_size_t()
        get_size(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        get(program, buffer)
        return buffer.value.decode()

    program = ctypes.c_void_p()
    included = headers(source)
    strings = ctypes.c_char_p * len(included)
    texts, names = strings(*(path.read_bytes() for path in included.values())), strings(*map(str.encode, included))
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), source.name.encode(), len(included), texts, names))
    options = [b"--std=c++17", f"--gpu-architecture=compute_{target(source)}".encode(), b"--extra-device-vectorization"]
    check(nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)))
    ptx = text(nvrtc.nvrtcGetPTX, nvrtc.nvrtcGetPTXSize)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return f"// sources {fingerprint(source)}, {NVRTC}, made by gpu/build.py\n{ptx}"


def assemble(ptxas, source, ptx):
    """Resources of every kernel on every GPU that can run it: {kernel: {gpu: (registers, shared bytes)}}."""
    resources = {}
    for gpu in [f"sm_{gpu}" for gpu in GPUS if gpu >= target(source)]:
        command = [ptxas, "-v", f"-arch={gpu}", "-o", "/dev/null", "--warn-on-spills", "--warn-on-local-memory-usage"]
        command += ["--warn-on-double-precision-use", "--warning-as-error", "/dev/stdin"]
        done = subprocess.run(command, input=ptx, capture_output=True, text=True)
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ptxas error")]
            raise SystemExit("\n".join([f"{source.name} for {gpu}:", *errors]))
        kernel = None
        for line in done.stderr.splitlines():
            if found := re.search(r"Compiling entry function '(\w+)'", line):
                kernel = found[1]
            elif found := re.search(r"Used (\d+) registers", line):
                shared = re.search(r"(\d+) bytes smem", line)
                resources.setdefault(kernel, {})[gpu] = (int(found[1]), int(shared[1]) if shared else 0)
    return resources


def table(resources):
    """RESOURCES.md"""
    lines = [
        "# Resources of the CUDA kernels",
        "",
        "Written by `build.py`: what `ptxas` reports for the embedded PTX. Registers a thread on each architecture, and bytes of",
        "shared memory a block; `-` where a kernel needs a newer one. No kernel spills registers, uses local memory or double",
        "precision: `build.py` would fail.",
        "",
        "| kernel | " + " | ".join(f"sm_{gpu}" for gpu in GPUS) + " | shared |",
        "| --- |" + " ---: |" * (len(GPUS) + 1),
    ]
    for kernel in sorted(resources):
        by_gpu = resources[kernel]
        shared = max(shared for _, shared in by_gpu.values())
        registers = [str(by_gpu[f"sm_{gpu}"][0]) if f"sm_{gpu}" in by_gpu else "-" for gpu in GPUS]
        lines.append(f"| `{kernel}` | " + " | ".join(registers) + f" | {shared} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail if a file is not what the sources give")
    check = parser.parse_args().check
    nvrtc, ptxas, nvdisasm = toolchain()
    files, resources, codes = {}, {}, {}
    for source in sorted(SOURCES.glob("**/*.cu")):
        ptx = compile_ptx(nvrtc, source)
        files[source.with_suffix(".ptx")] = ptx
        of_source = assemble(ptxas, source, ptx)
        resources |= of_source
        if not of_source.keys().isdisjoint(roofline.names()):
            for _, gpu, *_ in roofline.GPUS:
                for kernel, code in sass.disassemble(nvdisasm, ptxas, ptx, gpu).items():
                    codes[kernel, gpu] = code
    files[RESOURCES] = table(resources)
    files[ROOFLINE] = roofline.report(resources, codes)
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if check and stale:
        raise SystemExit("not what the sources give: " + ", ".join(os.path.relpath(path, ROOT) for path in stale)
                         + "\nrun python3 kernels/src/gpu/build.py and commit the result")
    for path in stale:
        path.write_text(files[path])
    print(f"{len(resources)} kernels, {len(stale)} files " + ("stale" if check else "written"))


if __name__ == "__main__":
    main()
