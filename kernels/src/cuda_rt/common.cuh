// What the kernels share. Only plain CUDA C++: the files are compiled by NVRTC for GPUs, and by a host compiler for the tests'
// driver emulator.
//
// Every sum is taken in an order that depends on the shape alone, and nothing is added with atomics: the same call gives the
// same bits.
#pragma once

typedef unsigned int u32;

// All lanes of a warp take part in every shuffle.
#define FULL_WARP 0xffffffffu

// Threads of a block, but for the convolutions.
#define BLOCK 256

// Elements that a thread of an element-wise kernel computes, BLOCK apart, so that a warp always touches consecutive ones.
#define PER_THREAD 4

// Sets or adds to an element (`Write` in backend.rs).
__device__ __forceinline__ void put(float *out, float value, u32 add) {
    *out = add ? *out + value : value;
}

__device__ __forceinline__ void put4(float *out, float4 value, u32 add) {
    float4 *to = reinterpret_cast<float4 *>(out);
    if (add) {
        const float4 old = *to;
        value.x += old.x;
        value.y += old.y;
        value.z += old.z;
        value.w += old.w;
    }
    *to = value;
}

// A sum of two floats that stands for more digits than one has: |lo| is at most half a unit in the last place of hi.
struct Wide {
    float hi, lo;
};

// Exact sum of two floats (Knuth, "The Art of Computer Programming", volume 2, 4.2.2, theorem B).
__device__ __forceinline__ Wide two_sum(float a, float b) {
    const float sum = a + b;
    const float part = sum - a;
    return {sum, (a - (sum - part)) + (b - part)};
}

__device__ __forceinline__ Wide add(Wide a, Wide b) {
    const Wide sum = two_sum(a.hi, b.hi);
    return two_sum(sum.hi, sum.lo + (a.lo + b.lo));
}

// Sum over the lanes of a warp; every lane gets the same bits, since the order of two summands does not matter.
__device__ __forceinline__ Wide warp_sum(Wide value) {
    for (u32 offset = 16; offset > 0; offset /= 2) {
        const Wide other = {__shfl_xor_sync(FULL_WARP, value.hi, offset), __shfl_xor_sync(FULL_WARP, value.lo, offset)};
        value = add(value, other);
    }
    return value;
}

// How blocks walk a matrix of rows x channels, channels contiguous: a block has `lanes` channels (a power of two, at most a warp)
// side by side, and BLOCK / lanes rows below each other. Block (i, j) takes the i-th chunk of rows of the j-th `lanes` channels.
// Made by `Columns::new` in cuda_rt/columns.rs.
struct Columns {
    u32 rows, channels, lanes, chunk_rows, chunks;
};

// The place of a thread in it.
struct Place {
    u32 channel, row, step, end;
};

__device__ __forceinline__ Place place(const Columns &p) {
    const u32 begin = blockIdx.x * p.chunk_rows;
    const u32 left = p.rows - begin;
    Place at;
    at.channel = blockIdx.y * p.lanes + threadIdx.x % p.lanes;
    at.row = begin + threadIdx.x / p.lanes;
    at.step = BLOCK / p.lanes;
    at.end = at.channel < p.channels ? begin + (left < p.chunk_rows ? left : p.chunk_rows) : 0;
    return at;
}

// Rows of chunk i.
__device__ __forceinline__ float chunk_count(const Columns &p, u32 i) {
    const u32 left = p.rows - i * p.chunk_rows;
    return static_cast<float>(left < p.chunk_rows ? left : p.chunk_rows);
}

// Sum of `value` over the threads of the block that have the same channel; all of them get it. `shared` has BLOCK elements.
__device__ __forceinline__ float column_sum(float value, u32 lanes, float *shared) {
    for (u32 offset = 16; offset >= lanes; offset /= 2) {
        value += __shfl_xor_sync(FULL_WARP, value, offset);
    }
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (lane < lanes) {
        shared[warp * lanes + lane] = value;
    }
    __syncthreads();
    float sum = 0.0f;
    for (u32 i = 0; i < BLOCK / 32; ++i) {
        sum += shared[i * lanes + lane % lanes];
    }
    __syncthreads();
    return sum;
}
