"""Asks the driver itself what its compiler makes of our PTX, and how long that takes.

usage: jit.py FOLDER    FOLDER has ptx/*.ptx and symbols.txt; prints one JSON object

The PTX is what our programs hold. Registers, local and shared memory are those of the machine code that will run. The log of
the compiler says why it refuses a file. Exits with 1 if there is no driver, or a call of it fails.
"""
import ctypes
import json
import re
import sys
import time
from pathlib import Path

# Numbers of cuda.h.
DEVICE_ATTRIBUTES = {
    "compute_capability_major": 75,
    "compute_capability_minor": 76,
    "multiprocessors": 16,
    "clock_khz": 13,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "l2_bytes": 38,
    "multiprocessor_shared_bytes": 81,
    "multiprocessor_registers": 82,
}
FUNCTION_ATTRIBUTES = {"registers": 4, "local_bytes": 3, "shared_bytes": 1, "binary_version": 6}
INFO_LOG, INFO_LOG_BYTES, ERROR_LOG, ERROR_LOG_BYTES, LOG_VERBOSE = 3, 4, 5, 6, 12
LOG_BYTES = 1 << 16


class Driver:
    """The driver's library. Calls that fail are collected in `failures`."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.failures = []

    def has(self, name):
        return hasattr(self.library, name)

    def call(self, name, *arguments):
        """Whether the call succeeds."""
        code = getattr(self.library, name)(*arguments)
        if code != 0:
            text = ctypes.c_char_p()
            self.library.cuGetErrorName(code, ctypes.byref(text))
            self.failures.append(f"{name}: {(text.value or b'error %d' % code).decode()}")
        return code == 0

    def integer(self, name, *arguments):
        """The number that a call writes; None if it fails, or the driver does not have it."""
        value = ctypes.c_int()
        return value.value if self.has(name) and self.call(name, ctypes.byref(value), *arguments) else None


def describe(driver):
    """Version, GPU and its attributes. Makes its context current."""
    driver.call("cuInit", 0)
    out = {"driver_cuda_version": driver.integer("cuDriverGetVersion"), "gpus": driver.integer("cuDeviceGetCount")}
    device, context, name = ctypes.c_int(), ctypes.c_void_p(), ctypes.create_string_buffer(200)
    if driver.call("cuDeviceGet", ctypes.byref(device), 0):
        driver.call("cuDeviceGetName", name, len(name), device)
        out["gpu"] = name.value.decode()
        out |= {key: driver.integer("cuDeviceGetAttribute", number, device) for key, number in DEVICE_ATTRIBUTES.items()}
        driver.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        driver.call("cuCtxSetCurrent", context)
    return out


def compile_file(driver, text, capability):
    """What the compiler says about a file, and what its kernels use. A file for newer GPUs is not compiled."""
    entry = {"seconds": 0.0, "too_new": int(re.search(rb"^\.target sm_(\d+)", text, re.M)[1]) > capability, "kernels": {}}
    if entry["too_new"]:
        return entry
    module = ctypes.c_void_p()
    info, errors = (ctypes.create_string_buffer(LOG_BYTES) for _ in range(2))
    options = (ctypes.c_int * 5)(INFO_LOG, INFO_LOG_BYTES, ERROR_LOG, ERROR_LOG_BYTES, LOG_VERBOSE)
    values = (ctypes.c_void_p * 5)(ctypes.addressof(info), LOG_BYTES, ctypes.addressof(errors), LOG_BYTES, 1)
    start = time.perf_counter()
    loads = driver.call("cuModuleLoadDataEx", ctypes.byref(module), text + b"\0", 5, options, values)
    entry["seconds"] = time.perf_counter() - start
    entry |= {"info": info.value.decode(errors="replace"), "errors": errors.value.decode(errors="replace")}
    for kernel in re.findall(rb"\.visible \.entry (\w+)\(", text) if loads else []:
        function = ctypes.c_void_p()
        if driver.call("cuModuleGetFunction", ctypes.byref(function), module, kernel):
            uses = {key: driver.integer("cuFuncGetAttribute", number, function) for key, number in FUNCTION_ATTRIBUTES.items()}
            entry["kernels"][kernel.decode()] = uses
    return entry


def main():
    folder = Path(sys.argv[1])
    try:
        driver = Driver()
    except OSError as error:
        sys.exit(f"no NVIDIA driver: {error}")
    out = describe(driver)
    out["missing_symbols"] = [name for name in (folder / "symbols.txt").read_text().split() if not driver.has(name)]
    capability = 10 * (out.get("compute_capability_major") or 0) + (out.get("compute_capability_minor") or 0)
    files = sorted((folder / "ptx").glob("*.ptx"))
    out["files"] = {path.name: compile_file(driver, path.read_bytes(), capability) for path in files if not driver.failures}
    out["failures"] = driver.failures
    print(json.dumps(out, indent=1))
    sys.exit(1 if driver.failures else 0)


main()
