// Zeros at the bottom and right of an image, and cutting them off.
#include "../../../gpu/common.cuh"

// `Shape` in pad/cuda/mod.rs. Rows are w * c elements long: channels need no index of their own.
struct Pad {
    u32 n, h0, row0, h1, row1;
};
static_assert(sizeof(Pad) == 20, "as in Rust");

// y = x inside, 0 outside; a thread an element of y
extern "C" __global__ void __launch_bounds__(BLOCK) pad_forward(Pad p, const float *__restrict__ x, float *__restrict__ y) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < p.n * p.h1 * p.row1) {
        const u32 column = i % p.row1, row = i / p.row1;
        const u32 h = row % p.h1, n = row / p.h1;
        const bool inside = h < p.h0 && column < p.row0;
        y[i] = inside ? x[(n * p.h0 + h) * p.row0 + column] : 0.0f;
    }
}

// dx (+)= dy inside; a thread an element of dx
extern "C" __global__ void __launch_bounds__(BLOCK)
    pad_backward(Pad p, const float *__restrict__ dy, float *__restrict__ dx, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i < p.n * p.h0 * p.row0) {
        const u32 column = i % p.row0, row = i / p.row0;
        const u32 h = row % p.h0, n = row / p.h0;
        put(&dx[i], dy[(n * p.h1 + h) * p.row1 + column], add);
    }
}
