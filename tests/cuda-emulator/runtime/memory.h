// Device and pinned memory: plain host memory of exactly the size asked for, so that AddressSanitizer sees every end, and a table
// of it, so that the driver's calls can check what they are given.
#pragma once
#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

enum class Place { device, host };

// Full of NaN: a real card leaves what was there before.
void* allocate(Place place, size_t bytes);
void release(Place place, uintptr_t address);
// Throws unless all of [address, address + bytes) lies in one allocation on the device.
void check_device(uintptr_t address, size_t bytes, const char* what);
// Throws unless it is null or inside (or just behind the end) of an allocation on the device.
void check_pointer_argument(uintptr_t address, const char* kernel, size_t index);
bool is_pinned(uintptr_t address, size_t bytes);
size_t total_bytes();
size_t free_bytes();

}  // namespace cuda_emulator
