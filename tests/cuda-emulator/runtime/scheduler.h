// Runs a grid: block after block, every CUDA thread of a block on a fiber of its own, in an order that may be chosen.
#pragma once
#include <cstddef>
#include <string>

#include "kernel_table.h"

namespace cuda_emulator {

struct Extent {
    unsigned x, y, z;
    unsigned long long count() const { return 1ull * x * y * z; }
};

// Throws `Failure` if the kernel breaks a rule. `shared_bytes`: of dynamic shared memory.
void run_grid(const HostKernel& kernel, void* const* arguments, Extent grid, Extent block, size_t shared_bytes);

}  // namespace cuda_emulator
