// Modules: the PTX that a program embeds, compared with the host build of the same sources.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "kernel_table.h"

namespace cuda_emulator {

struct Entry {
    std::vector<Parameter> parameters;
    // Of `__launch_bounds__`; 0: none.
    unsigned long long max_threads = 0;
};

struct Function {
    const HostKernel* kernel;
    unsigned long long max_threads;
    size_t max_dynamic_shared_bytes;
};

struct Module {
    std::map<std::string, Entry> entries;
    std::map<std::string, Function> functions;
};

// Reads the `.entry` declarations of a PTX text. Throws where it isn't PTX, or where it is newer than the driver or the device: such
// PTX is refused by a real one, too.
Module* load_module(const char* image, int driver_version, int compute_capability);
// The function, once the PTX and the host build agree on its parameters.
Function* get_function(Module& module, const char* name);

}  // namespace cuda_emulator
