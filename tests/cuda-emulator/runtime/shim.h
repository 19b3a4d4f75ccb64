// CUDA's language for the host compiler: what a kernel source sees instead of the headers that NVRTC has built in.
//
// `__shared__` and `#pragma unroll` aren't here: a macro can't express them, so `rewrite.rs` replaces them in the preprocessed text.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel_table.h"
#include "mma.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

#define CUDA_EMULATOR_VECTORS(scalar, name, bytes)                                                   \
    struct __align__(2 * bytes) name##2 { scalar x, y; };                                            \
    struct name##3 { scalar x, y, z; };                                                              \
    struct __align__(4 * bytes <= 16 ? 4 * bytes : 16) name##4 { scalar x, y, z, w; };                \
    inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }                             \
    inline name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; }                \
    inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }
CUDA_EMULATOR_VECTORS(float, float, 4)
CUDA_EMULATOR_VECTORS(double, double, 8)
CUDA_EMULATOR_VECTORS(int, int, 4)
CUDA_EMULATOR_VECTORS(unsigned, uint, 4)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

// The scheduler sets these whenever it enters a thread.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace cuda_emulator {

// One `__shared__` declaration (of one instantiation of its function). Every block gets memory of its own, of exactly this size and
// full of NaN, so that a sanitizer sees the end of each array and no block sees what another one left.
struct SharedSlot {
    unsigned long long block = 0;
    void* memory = nullptr;
    void* get(size_t bytes, size_t alignment);
};
void* dynamic_shared();

enum class WarpOp { shuffle, ballot, sync, mma };
enum class BlockOp { barrier, count, all, any };

// Both wait: for every thread of the block, and for every lane in `mask`.
int block_wait(BlockOp op, int predicate, const char* file, int line);
uint64_t warp_wait(WarpOp op, unsigned mask, uint64_t value, int source_lane, const char* file, int line);
[[noreturn]] void trap(const char* what, const char* file, int line);
unsigned lane();

// The lane that `lane` reads, or itself where CUDA says that the value stays as it is.
inline int source_index(int lane, int source, int width) { return lane / width * width + ((source % width) + width) % width; }
inline int source_up(int lane, int delta, int width) { return lane % width < delta ? lane : lane - delta; }
inline int source_down(int lane, int delta, int width) { return lane % width + delta >= width ? lane : lane + delta; }
inline int source_xor(int lane, int bits, int width) {
    int source = lane ^ bits;
    return source / width > lane / width ? lane : source;
}

template <class T>
T shuffle(unsigned mask, T value, int source, const char* file, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = warp_wait(WarpOp::shuffle, mask, bits, source, file, line);
    memcpy(&value, &bits, sizeof(T));
    return value;
}

// Leaves d in the caller's registers, which the scheduler writes when all lanes are there.
inline void mma(float (&d)[4], const float (&a)[4], const float (&b)[2], const float (&c)[4], const char* file, int line) {
    MmaLane fragments{a, b, c, d};
    warp_wait(WarpOp::mma, 0xffffffffu, reinterpret_cast<uint64_t>(&fragments), 0, file, line);
}

template <class To, class From>
To bits_of(From value) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}

// Compare and swap in a loop, for what the processor has no instruction for.
template <class T, class F>
T atomic_update(T* address, F update) {
    T old, wanted;
    __atomic_load(address, &old, __ATOMIC_ACQUIRE);
    do {
        wanted = update(old);
    } while (!__atomic_compare_exchange(address, &old, &wanted, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return old;
}

inline float exp_approximately(float x) { return expf(x); }
inline float log_approximately(float x) { return logf(x); }
inline float pow_approximately(float x, float y) { return powf(x, y); }
inline float sin_approximately(float x) { return sinf(x); }
inline float cos_approximately(float x) { return cosf(x); }

}  // namespace cuda_emulator

// The file and line name a barrier in messages, and tell two barriers apart.
#define __syncthreads() ((void)cuda_emulator::block_wait(cuda_emulator::BlockOp::barrier, 0, __FILE__, __LINE__))
#define __syncthreads_count(p) cuda_emulator::block_wait(cuda_emulator::BlockOp::count, (p) != 0, __FILE__, __LINE__)
#define __syncthreads_and(p) cuda_emulator::block_wait(cuda_emulator::BlockOp::all, (p) != 0, __FILE__, __LINE__)
#define __syncthreads_or(p) cuda_emulator::block_wait(cuda_emulator::BlockOp::any, (p) != 0, __FILE__, __LINE__)

#define CUDA_EMULATOR_WARP(op, mask, value) \
    cuda_emulator::warp_wait(cuda_emulator::WarpOp::op, mask, value, 0, __FILE__, __LINE__)
#define CUDA_EMULATOR_MASK(...) (__VA_ARGS__ + 0)
#define __syncwarp(...) ((void)CUDA_EMULATOR_WARP(sync, (sizeof(#__VA_ARGS__) > 1 ? CUDA_EMULATOR_MASK(__VA_ARGS__) : 0xffffffffu), 0))
#define __ballot_sync(mask, p) ((unsigned)CUDA_EMULATOR_WARP(ballot, mask, (p) != 0))
#define __any_sync(mask, p) (__ballot_sync(mask, p) != 0)
#define __all_sync(mask, p) (__ballot_sync(mask, !(p)) == 0)

#define CUDA_EMULATOR_WIDTH(unused, width, ...) width
#define CUDA_EMULATOR_SHUFFLE(how, mask, value, argument, ...)                                                               \
    cuda_emulator::shuffle(mask, value,                                                                                      \
                           cuda_emulator::source_##how(cuda_emulator::lane(), argument,                                      \
                                                       CUDA_EMULATOR_WIDTH(0, ##__VA_ARGS__, warpSize, warpSize)),           \
                           __FILE__, __LINE__)
#define __shfl_sync(mask, value, ...) CUDA_EMULATOR_SHUFFLE(index, mask, value, __VA_ARGS__)
#define __shfl_up_sync(mask, value, ...) CUDA_EMULATOR_SHUFFLE(up, mask, value, __VA_ARGS__)
#define __shfl_down_sync(mask, value, ...) CUDA_EMULATOR_SHUFFLE(down, mask, value, __VA_ARGS__)
#define __shfl_xor_sync(mask, value, ...) CUDA_EMULATOR_SHUFFLE(xor, mask, value, __VA_ARGS__)

// For kernels to call in place of inline PTX, which only NVRTC understands: see mma.h.
#define CUDA_EMULATOR_CVT_RNA_TF32(x) cuda_emulator::to_tf32(x)
#define CUDA_EMULATOR_MMA_M16N8K8_TF32(d, a, b, c) cuda_emulator::mma(d, a, b, c, __FILE__, __LINE__)

#define __trap() cuda_emulator::trap("__trap()", __FILE__, __LINE__)
#define assert(condition) ((condition) ? (void)0 : cuda_emulator::trap("assert(" #condition ")", __FILE__, __LINE__))

// Blocks run one after another, and atomics below order memory, so that a fence has nothing left to do.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

template <class T>
inline T __ldg(const T* address) { return *address; }
template <class T>
inline T __ldcg(const T* address) { return *address; }
template <class T>
inline T __ldcs(const T* address) { return *address; }
template <class T>
inline void __stcs(T* address, T value) { *address = value; }

template <class T>
inline T atomicAdd(T* address, T value) {
    return cuda_emulator::atomic_update(address, [=](T old) { return old + value; });
}
template <class T>
inline T atomicMax(T* address, T value) {
    return cuda_emulator::atomic_update(address, [=](T old) { return old > value ? old : value; });
}
template <class T>
inline T atomicMin(T* address, T value) {
    return cuda_emulator::atomic_update(address, [=](T old) { return old < value ? old : value; });
}
template <class T>
inline T atomicExch(T* address, T value) {
    return cuda_emulator::atomic_update(address, [=](T) { return value; });
}
template <class T>
inline T atomicCAS(T* address, T compare, T value) {
    return cuda_emulator::atomic_update(address, [=](T old) { return old == compare ? value : old; });
}
inline unsigned atomicInc(unsigned* address, unsigned limit) {
    return cuda_emulator::atomic_update(address, [=](unsigned old) { return old >= limit ? 0 : old + 1; });
}

#define CUDA_EMULATOR_MIN_MAX(T)                            \
    inline T min(T a, T b) { return b < a ? b : a; }        \
    inline T max(T a, T b) { return a < b ? b : a; }
CUDA_EMULATOR_MIN_MAX(int)
CUDA_EMULATOR_MIN_MAX(unsigned)
CUDA_EMULATOR_MIN_MAX(long)
CUDA_EMULATOR_MIN_MAX(unsigned long)
CUDA_EMULATOR_MIN_MAX(long long)
CUDA_EMULATOR_MIN_MAX(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

// The C library declares names of its own that begin like these, so they are macros.
#define __expf(x) cuda_emulator::exp_approximately(x)
#define __logf(x) cuda_emulator::log_approximately(x)
#define __powf(x, y) cuda_emulator::pow_approximately(x, y)
#define __sinf(x) cuda_emulator::sin_approximately(x)
#define __cosf(x) cuda_emulator::cos_approximately(x)
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }
inline float normcdff(float x) { return 0.5f * erfcf(-0.70710678f * x); }

inline int __float_as_int(float x) { return cuda_emulator::bits_of<int>(x); }
inline unsigned __float_as_uint(float x) { return cuda_emulator::bits_of<unsigned>(x); }
inline float __int_as_float(int x) { return cuda_emulator::bits_of<float>(x); }
inline float __uint_as_float(unsigned x) { return cuda_emulator::bits_of<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32); }
inline int __float2int_rn(float x) { return static_cast<int>(rintf(x)); }
inline int __float2int_rd(float x) { return static_cast<int>(floorf(x)); }
