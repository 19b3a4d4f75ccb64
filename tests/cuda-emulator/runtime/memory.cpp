#include "memory.h"

#include <cstdlib>
#include <cstring>
#include <map>

#include "failure.h"

namespace cuda_emulator {
namespace {

struct Allocation {
    size_t bytes;
    Place place;
};

std::map<uintptr_t, Allocation>& table() {
    static std::map<uintptr_t, Allocation> table;
    return table;
}

size_t used = 0;

// The allocation whose [start, end] holds the address, or the table's end.
std::map<uintptr_t, Allocation>::iterator find(uintptr_t address) {
    auto next = table().upper_bound(address);
    if (next == table().begin()) return table().end();
    auto found = std::prev(next);
    return address - found->first <= found->second.bytes ? found : table().end();
}

const char* name_of(Place place) { return place == Place::device ? "device" : "pinned host"; }

}  // namespace

size_t total_bytes() {
    static const size_t total = [] {
        const char* value = getenv("CUDA_EMULATOR_MEMORY_BYTES");
        return value == nullptr ? size_t{8} << 30 : static_cast<size_t>(strtoull(value, nullptr, 10));
    }();
    return total;
}

size_t free_bytes() { return total_bytes() - used; }

void* allocate(Place place, size_t bytes) {
    if (bytes == 0) throw Failure(Code::invalid_value, "an allocation of 0 bytes");
    if (place == Place::device && bytes > free_bytes())
        throw Failure(Code::out_of_memory, text("%zu bytes asked for, %zu of %zu are free", bytes, free_bytes(), total_bytes()));
    void* memory = nullptr;
    // The driver promises 256.
    if (posix_memalign(&memory, 256, bytes) != 0) throw Failure(Code::out_of_memory, text("the host has no %zu bytes", bytes));
    memset(memory, 0xff, bytes);
    table()[reinterpret_cast<uintptr_t>(memory)] = {bytes, place};
    if (place == Place::device) used += bytes;
    return memory;
}

void release(Place place, uintptr_t address) {
    auto found = table().find(address);
    if (found == table().end() || found->second.place != place)
        throw Failure(Code::invalid_value, text("%#zx is not the start of an allocation in %s memory", address, name_of(place)));
    if (place == Place::device) used -= found->second.bytes;
    // Who reads it after this gets NaN, if not AddressSanitizer's report.
    memset(reinterpret_cast<void*>(address), 0xff, found->second.bytes);
    free(reinterpret_cast<void*>(address));
    table().erase(found);
}

void check_device(uintptr_t address, size_t bytes, const char* what) {
    auto found = find(address);
    if (found == table().end() || found->second.place != Place::device)
        throw Failure(Code::invalid_value, text("%s: %#zx is not in device memory", what, address));
    size_t offset = address - found->first;
    if (bytes > found->second.bytes - offset)
        throw Failure(Code::invalid_value, text("%s: bytes %zu..%zu of an allocation of %zu bytes", what, offset, offset + bytes, found->second.bytes));
}

void check_pointer_argument(uintptr_t address, const char* kernel, size_t index) {
    if (address == 0) return;
    auto found = find(address);
    if (found == table().end() || found->second.place != Place::device)
        throw Failure(Code::illegal_address,
                      text("kernel `%s`: argument %zu is a pointer, but %#zx is not in device memory", kernel, index, address));
}

bool is_pinned(uintptr_t address, size_t bytes) {
    auto found = find(address);
    return found != table().end() && found->second.place == Place::host && address - found->first + bytes <= found->second.bytes;
}

}  // namespace cuda_emulator
