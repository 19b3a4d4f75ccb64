// Random words of elements: random.rs has the algorithm. Includes nothing: common.cuh comes first.
#pragma once

// Elements of a block of which two each share a call of the generator (`HALF` in random.rs).
#define HALF 64

// Pairs of elements that a thread computes.
#define PAIRS_PER_THREAD (PER_THREAD / 2)

// `DeviceWords` in gpu/words.rs: the words of elements, the first of which has number `first` in the batch.
struct Words {
    u32 k0, k1, first;
};
static_assert(sizeof(Words) == 12, "as in Rust");

// Two elements of a pass, with their words. What is before the first element wraps around, and is above any length.
struct Pair {
    u32 low, high;
    u32 low_word, high_word;
};

__device__ __forceinline__ void mix(u32 &a, u32 &b, u32 rotation) {
    a += b;
    b = (b << rotation | b >> (32 - rotation)) ^ a;
}

// Pair k of a thread: Threefry-2x32 with 20 rounds.
__device__ __forceinline__ Pair pair_of(const Words &words, u32 k) {
    const u32 first = words.first / (2 * HALF) * HALF + blockIdx.x * BLOCK * PAIRS_PER_THREAD + threadIdx.x;
    const u32 counter = first + k * BLOCK;
    const u32 k0 = words.k0, k1 = words.k1, k2 = k0 ^ k1 ^ 0x1bd11bda;
    u32 a = counter + k0, b = k1;
    mix(a, b, 13), mix(a, b, 15), mix(a, b, 26), mix(a, b, 6);
    a += k1, b += k2 + 1;
    mix(a, b, 17), mix(a, b, 29), mix(a, b, 16), mix(a, b, 24);
    a += k2, b += k0 + 2;
    mix(a, b, 13), mix(a, b, 15), mix(a, b, 26), mix(a, b, 6);
    a += k0, b += k1 + 3;
    mix(a, b, 17), mix(a, b, 29), mix(a, b, 16), mix(a, b, 24);
    a += k1, b += k2 + 4;
    mix(a, b, 13), mix(a, b, 15), mix(a, b, 26), mix(a, b, 6);
    a += k2, b += k0 + 5;
    const u32 low = counter / HALF * (2 * HALF) + counter % HALF - words.first;
    return {low, low + HALF, a, b};
}
