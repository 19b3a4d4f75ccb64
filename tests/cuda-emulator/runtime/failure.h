// What goes wrong: a driver's error code, and a sentence that says more than the code can.
#pragma once
#include <stdexcept>
#include <string>

namespace cuda_emulator {

// The values of `CUresult` in NVIDIA's cuda.h that the emulator returns.
enum class Code {
    success = 0,
    invalid_value = 1,
    out_of_memory = 2,
    not_initialized = 3,
    stub_library = 34,
    invalid_device = 101,
    invalid_image = 200,
    invalid_context = 201,
    invalid_ptx = 218,
    no_binary_for_gpu = 209,
    unsupported_ptx_version = 222,
    invalid_handle = 400,
    not_found = 500,
    not_ready = 600,
    illegal_address = 700,
    launch_out_of_resources = 701,
    launch_failed = 719,
    not_supported = 801,
    capture_unsupported = 900,
    capture_invalidated = 901,
    capture_isolation = 905,
};

struct Failure : std::runtime_error {
    Failure(Code code, const std::string& message) : std::runtime_error(message), code(code) {}
    Code code;
};

// `text("a %d", 3)`: a formatted std::string.
std::string text(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace cuda_emulator
