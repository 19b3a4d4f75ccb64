// The calls of CUDA's driver API that cudarc makes, on one device that is no device. Signatures as in NVIDIA's cuda.h.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "failure.h"
#include "memory.h"
#include "module.h"
#include "scheduler.h"
#include "stream.h"

using namespace cuda_emulator;

#define DRIVER extern "C" __attribute__((visibility("default"))) int

namespace {

constexpr const char* device_name = "CUDA driver emulator (not a GPU)";

std::mutex lock;
bool initialized = false;
// The address is the handle of the only context.
char context;
thread_local void* current_context = nullptr;
// A kernel that failed leaves a context in which every call fails.
int context_error = 0;
std::map<int, std::string> last_message;

int report(const char* function, const Failure& failure) {
    int code = static_cast<int>(failure.code);
    last_message[code] = failure.what();
    fprintf(stderr, "cuda-emulator: %s: %s\n", function, failure.what());
    return code;
}

// Appends a line to the file that a variable names, if it is set.
void note(const char* variable, const char* path, const char* line) {
    if (path == nullptr) return;
    FILE* file = fopen(path, "a");
    if (file == nullptr || fprintf(file, "%s\n", line) < 0 || fclose(file) != 0)
        throw Failure(Code::invalid_value, text("%s: `%s` can't be written", variable, path));
}

// Every call: one at a time, and no C++ exception leaves it.
template <class F>
int call(const char* function, F body) {
    std::lock_guard<std::mutex> guard(lock);
    try {
        static const char* const calls = getenv("CUDA_EMULATOR_CALLS");
        note("CUDA_EMULATOR_CALLS", calls, function);
        if (!initialized) throw Failure(Code::not_initialized, "cuInit was not called");
        body();
        return 0;
    } catch (const Failure& failure) {
        return report(function, failure);
    } catch (const std::bad_alloc&) {
        return report(function, Failure(Code::out_of_memory, "the host is out of memory"));
    }
}

// A call that needs a context which is current on this thread and in which no kernel has failed.
template <class F>
int call_in_context(const char* function, F body) {
    return call(function, [&] {
        if (current_context == nullptr) throw Failure(Code::invalid_context, "no context is current on this thread");
        if (context_error != 0) throw Failure(static_cast<Code>(context_error), "an earlier failure: " + last_message[context_error]);
        try {
            body();
        } catch (const Failure& failure) {
            if (failure.code == Code::launch_failed || failure.code == Code::illegal_address) context_error = static_cast<int>(failure.code);
            throw;
        }
    });
}

template <class T>
void put(T* out, T value) {
    if (out == nullptr) throw Failure(Code::invalid_value, "a null pointer for a result");
    *out = value;
}

// The version of CUDA that the driver knows, times 1000.
int driver_version() {
    static const int version = [] {
        const char* value = getenv("CUDA_EMULATOR_DRIVER_VERSION");
        if (value == nullptr) return 12090;
        int number = atoi(value);
        if (number < 1000) throw Failure(Code::invalid_value, text("CUDA_EMULATOR_DRIVER_VERSION is `%s`, expected 12090 or the like", value));
        return number;
    }();
    return version;
}

// Whether CUDA_EMULATOR_COMPILER has it that PTX doesn't compile.
bool refuses_to_compile() {
    const char* value = getenv("CUDA_EMULATOR_COMPILER");
    if (value == nullptr || strcmp(value, "allow") == 0) return false;
    if (strcmp(value, "refuse") == 0) return true;
    throw Failure(Code::invalid_value, text("CUDA_EMULATOR_COMPILER is `%s`, expected allow or refuse", value));
}

// Times 10: 86 is an RTX 3060's, 8.6.
int compute_capability() {
    static const int capability = [] {
        const char* value = getenv("CUDA_EMULATOR_COMPUTE_CAPABILITY");
        if (value == nullptr) return 86;
        if (strlen(value) != 3 || !isdigit(value[0]) || value[1] != '.' || !isdigit(value[2]))
            throw Failure(Code::invalid_value, text("CUDA_EMULATOR_COMPUTE_CAPABILITY is `%s`, expected 8.6 or the like", value));
        return 10 * (value[0] - '0') + (value[2] - '0');
    }();
    return capability;
}

void check_device_number(int device) {
    if (device != 0) throw Failure(Code::invalid_device, text("device %d; the emulator has one, number 0", device));
}

void refuse_in_capture(const char* what) {
    if (capture_forbids()) throw Failure(Code::capture_unsupported, text("%s while a stream is being captured", what));
}

// What the card's attributes are, by the numbers of `CUdevice_attribute`. About an RTX 3060, with few multiprocessors.
const std::map<int, int> attributes = {
    {1, 1024},        // MAX_THREADS_PER_BLOCK
    {2, 1024},        // MAX_BLOCK_DIM_X
    {3, 1024},        // MAX_BLOCK_DIM_Y
    {4, 64},          // MAX_BLOCK_DIM_Z
    {5, 2147483647},  // MAX_GRID_DIM_X
    {6, 65535},       // MAX_GRID_DIM_Y
    {7, 65535},       // MAX_GRID_DIM_Z
    {8, 49152},       // MAX_SHARED_MEMORY_PER_BLOCK
    {9, 65536},       // TOTAL_CONSTANT_MEMORY
    {10, 32},         // WARP_SIZE
    {12, 65536},      // MAX_REGISTERS_PER_BLOCK
    {13, 1000000},    // CLOCK_RATE, kHz
    {16, 3},          // MULTIPROCESSOR_COUNT
    {31, 1},          // CONCURRENT_KERNELS
    {32, 0},          // ECC_ENABLED
    {36, 1000000},    // MEMORY_CLOCK_RATE, kHz
    {37, 128},        // GLOBAL_MEMORY_BUS_WIDTH
    {38, 1 << 20},    // L2_CACHE_SIZE
    {39, 1536},       // MAX_THREADS_PER_MULTIPROCESSOR
    {40, 1},          // ASYNC_ENGINE_COUNT
    {41, 1},          // UNIFIED_ADDRESSING
    {81, 102400},     // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
    {82, 65536},      // MAX_REGISTERS_PER_MULTIPROCESSOR
    {97, 101376},     // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
    {106, 16},        // MAX_BLOCKS_PER_MULTIPROCESSOR
    {115, 1},         // MEMORY_POOLS_SUPPORTED
};

const std::map<int, const char*> error_names = {
    {0, "CUDA_SUCCESS"},
    {1, "CUDA_ERROR_INVALID_VALUE"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY"},
    {3, "CUDA_ERROR_NOT_INITIALIZED"},
    {101, "CUDA_ERROR_INVALID_DEVICE"},
    {200, "CUDA_ERROR_INVALID_IMAGE"},
    {201, "CUDA_ERROR_INVALID_CONTEXT"},
    {218, "CUDA_ERROR_INVALID_PTX"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
    {400, "CUDA_ERROR_INVALID_HANDLE"},
    {500, "CUDA_ERROR_NOT_FOUND"},
    {600, "CUDA_ERROR_NOT_READY"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
    {719, "CUDA_ERROR_LAUNCH_FAILED"},
    {801, "CUDA_ERROR_NOT_SUPPORTED"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
    {905, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"},
};

void check_launch(const Function& function, Extent grid, Extent block, size_t shared_bytes) {
    const char* name = function.kernel->name.c_str();
    if (grid.count() == 0 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
        throw Failure(Code::invalid_value, text("kernel `%s`: a grid of %u x %u x %u blocks", name, grid.x, grid.y, grid.z));
    if (block.count() == 0 || block.count() > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64)
        throw Failure(Code::invalid_value, text("kernel `%s`: a block of %u x %u x %u threads", name, block.x, block.y, block.z));
    if (function.max_threads != 0 && block.count() > function.max_threads)
        throw Failure(Code::invalid_value, text("kernel `%s`: a block of %llu threads, its __launch_bounds__ allow %llu", name, block.count(), function.max_threads));
    if (shared_bytes > function.max_dynamic_shared_bytes)
        throw Failure(Code::invalid_value, text("kernel `%s`: %zu bytes of dynamic shared memory, at most %zu", name, shared_bytes, function.max_dynamic_shared_bytes));
}

// Appends the name of a kernel to the file that CUDA_EMULATOR_LAUNCHED names, when it is launched first: for tests that every kernel
// was.
void note_launch(const std::string& kernel) {
    static const char* const path = getenv("CUDA_EMULATOR_LAUNCHED");
    static std::set<std::string> launched;
    if (path != nullptr && launched.insert(kernel).second) note("CUDA_EMULATOR_LAUNCHED", path, kernel.c_str());
}

}  // namespace

DRIVER cuInit(unsigned) {
    std::lock_guard<std::mutex> guard(lock);
    // As the library of that name in a CUDA toolkit, which is for linking.
    if (getenv("CUDA_EMULATOR_STUB") != nullptr) return static_cast<int>(Code::stub_library);
    if (!initialized) fprintf(stderr, "cuda-emulator: this is no GPU; times mean nothing\n");
    initialized = true;
    return 0;
}
DRIVER cuDriverGetVersion(int* version) {
    std::lock_guard<std::mutex> guard(lock);
    try {
        *version = driver_version();
        return 0;
    } catch (const Failure& failure) {
        return report(__func__, failure);
    }
}

DRIVER cuGetErrorName(int error, const char** name) {
    auto found = error_names.find(error);
    *name = found == error_names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
    return 0;
}
DRIVER cuGetErrorString(int error, const char** message) {
    std::lock_guard<std::mutex> guard(lock);
    auto found = last_message.find(error);
    *message = found == last_message.end() ? "no further details" : found->second.c_str();
    return 0;
}

DRIVER cuDeviceGetCount(int* count) { return call(__func__, [&] { put(count, 1); }); }
DRIVER cuDeviceGet(int* device, int ordinal) {
    return call(__func__, [&] {
        check_device_number(ordinal);
        put(device, 0);
    });
}
DRIVER cuDeviceGetName(char* name, int length, int device) {
    return call(__func__, [&] {
        check_device_number(device);
        snprintf(name, static_cast<size_t>(length), "%s", device_name);
    });
}
DRIVER cuDeviceGetAttribute(int* value, int attribute, int device) {
    return call(__func__, [&] {
        check_device_number(device);
        // COMPUTE_CAPABILITY_MAJOR and COMPUTE_CAPABILITY_MINOR
        if (attribute == 75 || attribute == 76) return put(value, attribute == 75 ? compute_capability() / 10 : compute_capability() % 10);
        auto found = attributes.find(attribute);
        if (found == attributes.end()) throw Failure(Code::invalid_value, text("attribute %d is not in the emulator's table", attribute));
        put(value, found->second);
    });
}
DRIVER cuDeviceTotalMem_v2(size_t* bytes, int device) {
    return call(__func__, [&] {
        check_device_number(device);
        put(bytes, total_bytes());
    });
}

DRIVER cuDevicePrimaryCtxRetain(void** out, int device) {
    return call(__func__, [&] {
        check_device_number(device);
        put<void*>(out, &context);
    });
}
DRIVER cuDevicePrimaryCtxRelease_v2(int device) { return call(__func__, [&] { check_device_number(device); }); }
DRIVER cuCtxGetCurrent(void** out) { return call(__func__, [&] { put(out, current_context); }); }
DRIVER cuCtxSetCurrent(void* handle) { return call(__func__, [&] { current_context = handle; }); }
DRIVER cuCtxSynchronize() { return call_in_context(__func__, [&] { finish_all(); }); }

DRIVER cuMemGetInfo_v2(size_t* free, size_t* total) {
    return call_in_context(__func__, [&] {
        put(free, free_bytes());
        put(total, total_bytes());
    });
}
DRIVER cuMemAlloc_v2(uintptr_t* out, size_t bytes) {
    return call_in_context(__func__, [&] {
        refuse_in_capture("an allocation");
        put(out, reinterpret_cast<uintptr_t>(allocate(Place::device, bytes)));
    });
}
DRIVER cuMemFree_v2(uintptr_t address) {
    return call_in_context(__func__, [&] {
        if (address == 0) return;
        finish_all();
        release(Place::device, address);
    });
}
DRIVER cuMemAllocAsync(uintptr_t* out, size_t bytes, void* stream) {
    return call_in_context(__func__, [&] {
        stream_of(stream);
        refuse_in_capture("an allocation (the emulator has no memory nodes)");
        put(out, reinterpret_cast<uintptr_t>(allocate(Place::device, bytes)));
    });
}
DRIVER cuMemFreeAsync(uintptr_t address, void* stream) {
    return call_in_context(__func__, [&] {
        refuse_in_capture("freeing memory (the emulator has no memory nodes)");
        if (address != 0) submit(stream_of(stream), [=] { release(Place::device, address); });
    });
}
DRIVER cuMemHostAlloc(void** out, size_t bytes, unsigned) {
    return call_in_context(__func__, [&] { put(out, allocate(Place::host, bytes)); });
}
DRIVER cuMemFreeHost(void* address) {
    return call_in_context(__func__, [&] {
        finish_all();
        release(Place::host, reinterpret_cast<uintptr_t>(address));
    });
}

DRIVER cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t bytes, void* handle) {
    return call_in_context(__func__, [&] {
        check_device(to, bytes, "the destination");
        Stream& stream = stream_of(handle);
        if (is_pinned(reinterpret_cast<uintptr_t>(from), bytes)) {
            submit(stream, [=] { memcpy(reinterpret_cast<void*>(to), from, bytes); });
        } else {
            // The driver takes a copy of pageable memory before it returns.
            if (stream.capture != nullptr) throw Failure(Code::capture_unsupported, "a copy from pageable memory while the stream is being captured");
            std::string staged(static_cast<const char*>(from), bytes);
            submit(stream, [=] { memcpy(reinterpret_cast<void*>(to), staged.data(), bytes); });
        }
    });
}
DRIVER cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t bytes, void* handle) {
    return call_in_context(__func__, [&] {
        check_device(from, bytes, "the source");
        Stream& stream = stream_of(handle);
        bool pinned = is_pinned(reinterpret_cast<uintptr_t>(to), bytes);
        if (!pinned && stream.capture != nullptr)
            throw Failure(Code::capture_unsupported, "a copy to pageable memory while the stream is being captured");
        submit(stream, [=] { memcpy(to, reinterpret_cast<void*>(from), bytes); });
        // The driver returns from a copy to pageable memory when it is done.
        if (!pinned) finish(stream);
    });
}
DRIVER cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t bytes, void* stream) {
    return call_in_context(__func__, [&] {
        check_device(to, bytes, "the destination");
        check_device(from, bytes, "the source");
        if (to < from + bytes && from < to + bytes) throw Failure(Code::invalid_value, "source and destination overlap");
        submit(stream_of(stream), [=] { memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes); });
    });
}
DRIVER cuMemsetD8Async(uintptr_t to, unsigned char value, size_t bytes, void* stream) {
    return call_in_context(__func__, [&] {
        check_device(to, bytes, "the destination");
        submit(stream_of(stream), [=] { memset(reinterpret_cast<void*>(to), value, bytes); });
    });
}
DRIVER cuMemsetD32Async(uintptr_t to, unsigned value, size_t count, void* stream) {
    return call_in_context(__func__, [&] {
        check_device(to, 4 * count, "the destination");
        submit(stream_of(stream), [=] { std::fill_n(reinterpret_cast<unsigned*>(to), count, value); });
    });
}
// The calls that wait: on the default stream, which waits for no other one here.
DRIVER cuMemcpyHtoD_v2(uintptr_t to, const void* from, size_t bytes) {
    int error = cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr);
    return error != 0 ? error : call_in_context(__func__, [&] { finish(stream_of(nullptr)); });
}
DRIVER cuMemcpyDtoH_v2(void* to, uintptr_t from, size_t bytes) {
    int error = cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr);
    return error != 0 ? error : call_in_context(__func__, [&] { finish(stream_of(nullptr)); });
}
DRIVER cuMemcpyDtoD_v2(uintptr_t to, uintptr_t from, size_t bytes) { return cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr); }
DRIVER cuMemsetD8_v2(uintptr_t to, unsigned char value, size_t bytes) { return cuMemsetD8Async(to, value, bytes, nullptr); }

DRIVER cuModuleLoadDataEx(void** out, const void* image, unsigned count, const int* options, void** values) {
    // It has nothing to say about what compiles, so that the log of that stays as it is.
    constexpr int info_log_buffer = 3, info_log_buffer_size_bytes = 4, log_verbose = 12;
    constexpr int error_log_buffer = 5, error_log_buffer_size_bytes = 6;
    char* log = nullptr;
    size_t size = 0;
    return call_in_context(__func__, [&] {
        for (unsigned i = 0; i < count; i++) {
            if (options[i] == error_log_buffer) {
                log = static_cast<char*>(values[i]);
            } else if (options[i] == error_log_buffer_size_bytes) {
                size = reinterpret_cast<uintptr_t>(values[i]);
            } else if (options[i] != info_log_buffer && options[i] != info_log_buffer_size_bytes && options[i] != log_verbose) {
                throw Failure(Code::invalid_value, text("option %d of the compiler", options[i]));
            }
        }
        try {
            if (refuses_to_compile()) throw Failure(Code::invalid_ptx, "this driver compiles nothing, as CUDA_EMULATOR_COMPILER says");
            put<void*>(out, load_module(static_cast<const char*>(image), driver_version(), compute_capability()));
        } catch (const Failure& failure) {
            if (log != nullptr && size > 0) snprintf(log, size, "%s", failure.what());
            throw;
        }
    });
}
DRIVER cuModuleLoadData(void** out, const void* image) { return cuModuleLoadDataEx(out, image, 0, nullptr, nullptr); }
DRIVER cuModuleUnload(void* module) {
    return call_in_context(__func__, [&] {
        finish_all();
        delete static_cast<Module*>(module);
    });
}
DRIVER cuModuleGetFunction(void** out, void* module, const char* name) {
    return call_in_context(__func__, [&] { put<void*>(out, get_function(*static_cast<Module*>(module), name)); });
}
DRIVER cuFuncSetAttribute(void* handle, int attribute, int value) {
    return call_in_context(__func__, [&] {
        constexpr int max_dynamic_shared_size_bytes = 8, preferred_shared_memory_carveout = 9;
        if (attribute == preferred_shared_memory_carveout) return;
        if (attribute != max_dynamic_shared_size_bytes) throw Failure(Code::invalid_value, text("function attribute %d can't be set", attribute));
        if (value < 0 || value > attributes.at(97)) throw Failure(Code::invalid_value, text("%d bytes of dynamic shared memory", value));
        static_cast<Function*>(handle)->max_dynamic_shared_bytes = static_cast<size_t>(value);
    });
}
DRIVER cuLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared_bytes,
                      void* stream, void** arguments, void** extra) {
    return call_in_context(__func__, [&] {
        const Function& function = *static_cast<Function*>(handle);
        const HostKernel* kernel = function.kernel;
        Extent grid{gx, gy, gz}, block{bx, by, bz};
        check_launch(function, grid, block, shared_bytes);
        if (extra != nullptr) throw Failure(Code::not_supported, "arguments in `extra`");
        if (arguments == nullptr && !kernel->parameters.empty()) throw Failure(Code::invalid_value, "no arguments");
        // The driver copies the arguments before it returns. Each gets aligned memory of its own.
        auto copies = std::make_shared<std::vector<std::vector<std::max_align_t>>>();
        for (size_t i = 0; i < kernel->parameters.size(); i++) {
            const Parameter& parameter = kernel->parameters[i];
            copies->emplace_back((parameter.size + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t));
            memcpy(copies->back().data(), arguments[i], parameter.size);
            uintptr_t address;
            memcpy(&address, copies->back().data(), sizeof(address));
            if (parameter.kind == Kind::pointer) check_pointer_argument(address, kernel->name.c_str(), i);
        }
        submit(stream_of(stream), [=] {
            std::vector<void*> addresses;
            for (auto& copy : *copies) addresses.push_back(copy.data());
            note_launch(kernel->name);
            run_grid(*kernel, addresses.data(), grid, block, shared_bytes);
        });
    });
}

DRIVER cuStreamCreate(void** out, unsigned) { return call_in_context(__func__, [&] { put<void*>(out, create_stream()); }); }
DRIVER cuStreamDestroy_v2(void* stream) { return call_in_context(__func__, [&] { destroy_stream(stream); }); }
DRIVER cuStreamSynchronize(void* stream) { return call_in_context(__func__, [&] { finish(stream_of(stream)); }); }
DRIVER cuStreamWaitEvent(void* stream, void* event, unsigned) {
    return call_in_context(__func__, [&] { wait(stream_of(stream), *static_cast<Event*>(event)); });
}
DRIVER cuStreamBeginCapture_v2(void* stream, int mode) {
    return call_in_context(__func__, [&] {
        if (mode < 0 || mode > 2) throw Failure(Code::invalid_value, text("capture mode %d", mode));
        begin_capture(stream_of(stream), static_cast<CaptureMode>(mode));
    });
}
DRIVER cuStreamEndCapture(void* stream, void** out) {
    return call_in_context(__func__, [&] { put<void*>(out, end_capture(stream_of(stream))); });
}
DRIVER cuStreamIsCapturing(void* stream, int* status) {
    return call_in_context(__func__, [&] { put(status, stream_of(stream).capture == nullptr ? 0 : 1); });
}
DRIVER cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
    return call_in_context(__func__, [&] { put<void*>(out, new Graph(*static_cast<Graph*>(graph))); });
}
DRIVER cuGraphUpload(void*, void*) { return call_in_context(__func__, [] {}); }
DRIVER cuGraphLaunch(void* graph, void* stream) {
    return call_in_context(__func__, [&] { launch(*static_cast<Graph*>(graph), stream_of(stream)); });
}
DRIVER cuGraphExecDestroy(void* graph) { return call_in_context(__func__, [&] { delete static_cast<Graph*>(graph); }); }
DRIVER cuGraphDestroy(void* graph) { return call_in_context(__func__, [&] { delete static_cast<Graph*>(graph); }); }

DRIVER cuEventCreate(void** out, unsigned) { return call_in_context(__func__, [&] { put<void*>(out, new Event); }); }
DRIVER cuEventDestroy_v2(void* event) { return call_in_context(__func__, [&] { delete static_cast<Event*>(event); }); }
DRIVER cuEventRecord(void* event, void* stream) {
    return call_in_context(__func__, [&] { record(*static_cast<Event*>(event), stream_of(stream)); });
}
DRIVER cuEventSynchronize(void* handle) {
    return call_in_context(__func__, [&] {
        const Mark& mark = static_cast<Event*>(handle)->mark;
        if (!reached(*static_cast<Event*>(handle))) finish(*mark.stream, mark.position);
    });
}
DRIVER cuEventQuery(void* event) {
    bool done = false;
    int error = call_in_context(__func__, [&] { done = reached(*static_cast<Event*>(event)); });
    return error != 0 ? error : done ? 0 : static_cast<int>(Code::not_ready);
}
DRIVER cuEventElapsedTime(float* milliseconds, void* start, void* end) {
    return call_in_context(__func__, [&] {
        const Mark &from = static_cast<Event*>(start)->mark, &to = static_cast<Event*>(end)->mark;
        if (from.time == nullptr || to.time == nullptr) throw Failure(Code::invalid_handle, "an event that was not recorded");
        put(milliseconds, std::chrono::duration<float, std::milli>(*to.time - *from.time).count());
    });
}
DRIVER cuEventElapsedTime_v2(float* milliseconds, void* start, void* end) { return cuEventElapsedTime(milliseconds, start, end); }
