// Channels of several tensors one after another, and some of the channels of one.
#include "../../../gpu/common.cuh"

// `MAX_PARTS` in concat/mod.rs
#define PARTS 8

// `Parts` in concat/cuda/mod.rs: the inputs, and for each the number of channels of y up to its last one. An absent one
// ends where the one before it does.
struct Parts {
    const float *x[PARTS];
    u32 end[PARTS];
};
static_assert(sizeof(Parts) == 96, "as in Rust");

// y[r, begin_i + c] = x_i[r, c]; a thread an element of y
extern "C" __global__ void __launch_bounds__(BLOCK) concat_forward(Parts p, u32 len, float *__restrict__ y) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < len) {
        const u32 width = p.end[PARTS - 1], row = i / width, channel = i % width;
        const float *x = p.x[0];
        u32 begin = 0, end = p.end[0];
#pragma unroll
        for (u32 part = 1; part < PARTS; ++part) {
            if (channel >= p.end[part - 1]) {
                x = p.x[part];
                begin = p.end[part - 1];
                end = p.end[part];
            }
        }
        y[i] = x[row * (end - begin) + channel - begin];
    }
}

// `Channels` in concat/cuda/mod.rs
struct Channels {
    u32 rows, wide, begin, narrow;
};
static_assert(sizeof(Channels) == 16, "as in Rust");

// y[r, c] (+)= x[r, begin + c]; a thread an element of y
extern "C" __global__ void __launch_bounds__(BLOCK)
    concat_slice(Channels p, const float *__restrict__ x, float *__restrict__ y, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < p.rows * p.narrow) {
        put(&y[i], x[i / p.narrow * p.wide + p.begin + i % p.narrow], add);
    }
}

// y[r, begin + c] (+)= x[r, c], else (+)= 0; a thread an element of y
extern "C" __global__ void __launch_bounds__(BLOCK)
    concat_embed(Channels p, const float *__restrict__ x, float *__restrict__ y, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < p.rows * p.wide) {
        const u32 channel = i % p.wide - p.begin; // wraps around before `begin`
        if (channel < p.narrow) {
            put(&y[i], x[i / p.wide * p.narrow + channel], add);
        } else if (!add) {
            y[i] = 0.0f;
        }
    }
}
