// Structural similarity of images, and its gradient, as ssim/mod.rs writes the equations for rounding.
#include "../../../gpu/common.cuh"

// Height and width of a window.
#define WINDOW 7
#define WINDOW_LEN 49.0f

#define C1 1e-4f
#define C2 9e-4f

// `Ssim` in ssim/cuda/mod.rs
struct Ssim {
    u32 n, h, w, c;
};

// What the equations name of a window.
struct Window {
    float mx, md, vd, a1, a2, b1, b2;
};

__device__ __forceinline__ u32 windows(const Ssim &p) {
    return p.n * (p.h - (WINDOW - 1)) * (p.w - (WINDOW - 1)) * p.c;
}

// Window i: row by row, channels next to each other
__device__ __forceinline__ Window window(const Ssim &p, const float *x, const float *y, u32 i) {
    const u32 width = (p.w - (WINDOW - 1)) * p.c, height = p.h - (WINDOW - 1), row = p.w * p.c;
    const u32 first = (i / width / height * p.h + i / width % height) * row + i % width;
    float mx = 0.0f, md = 0.0f;
#pragma unroll 1
    for (u32 h = 0; h < WINDOW; ++h) {
#pragma unroll
        for (u32 w = 0; w < WINDOW; ++w) {
            const u32 at = first + h * row + w * p.c;
            mx += x[at];
            md += y[at] - x[at];
        }
    }
    mx /= WINDOW_LEN;
    md /= WINDOW_LEN;
    float squares = 0.0f, d_squares = 0.0f;
#pragma unroll 1
    for (u32 h = 0; h < WINDOW; ++h) {
#pragma unroll
        for (u32 w = 0; w < WINDOW; ++w) {
            const u32 at = first + h * row + w * p.c;
            const float of_x = x[at] - mx, of_d = (y[at] - x[at]) - md, of_y = of_x + of_d;
            squares = fmaf(of_x, of_x, fmaf(of_y, of_y, squares));
            d_squares = fmaf(of_d, of_d, d_squares);
        }
    }
    const float my = mx + md, vd = d_squares / (WINDOW_LEN - 1.0f);
    const float b1 = fmaf(mx, mx, fmaf(my, my, C1)), b2 = squares / (WINDOW_LEN - 1.0f) + C2;
    return {mx, md, vd, fmaf(-md, md, b1), b2 - vd, b1, b2};
}

// partial[block] = sum of the similarities of the block's windows, one a thread
extern "C" __global__ void __launch_bounds__(BLOCK)
    ssim_sums(Ssim p, const float *__restrict__ x, const float *__restrict__ y, Wide *__restrict__ partial) {
    __shared__ Wide shared[BLOCK / 32];
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    Wide sum = {0.0f, 0.0f};
    if (i < windows(p)) {
        const Window at = window(p, x, y, i);
        sum.hi = at.a1 * at.a2 / (at.b1 * at.b2);
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
    }
}

// out = sum of partial / windows; one block
extern "C" __global__ void __launch_bounds__(BLOCK)
    ssim_mean(Ssim p, u32 partials, const Wide *__restrict__ partial, float *__restrict__ out) {
    __shared__ Wide shared[BLOCK / 32];
    Wide sum = {0.0f, 0.0f};
    for (u32 i = threadIdx.x; i < partials; i += BLOCK) {
        sum = add(sum, partial[i]);
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
        *out = (sum.hi + sum.lo) / static_cast<float>(windows(p));
    }
}

// D - R md - T mx, R and T of every window, one a thread, times the gradient of its similarity
extern "C" __global__ void __launch_bounds__(BLOCK)
    ssim_coefficients(Ssim p, const float *__restrict__ x, const float *__restrict__ y, const float *__restrict__ dout,
                      float *__restrict__ coefficients) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x, len = windows(p);
    if (i >= len) {
        return;
    }
    const Window at = window(p, x, y, i);
    const float factor = 2.0f * (*dout / static_cast<float>(len)) / at.b1 / at.b2;
    const float r = factor * at.a1 / (WINDOW_LEN - 1.0f), t = r * (at.vd / at.b2);
    const float d = factor * at.a2 / WINDOW_LEN * fmaf(at.mx / at.b1, at.md * at.md, at.md);
    coefficients[i] = fmaf(-t, at.mx, fmaf(-r, at.md, d));
    coefficients[len + i] = r;
    coefficients[2 * len + i] = t;
}

// A thread an element of dx: it adds up what the windows that it is in give it, in their order.
extern "C" __global__ void __launch_bounds__(BLOCK)
    ssim_backward(Ssim p, const float *__restrict__ x, const float *__restrict__ y, const float *__restrict__ coefficients,
                  float *__restrict__ dx, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= p.n * p.h * p.w * p.c) {
        return;
    }
    const u32 c = i % p.c, column = i / p.c % p.w, row = i / p.c / p.w % p.h, image = i / p.c / p.w / p.h;
    const u32 width = p.w - (WINDOW - 1), height = p.h - (WINDOW - 1), len = windows(p);
    const u32 top = row < WINDOW ? 0 : row - (WINDOW - 1), bottom = row < height ? row : height - 1;
    const u32 left = column < WINDOW ? 0 : column - (WINDOW - 1), right = column < width ? column : width - 1;
    const float of_x = x[i], of_d = y[i] - of_x;
    float sum = 0.0f;
#pragma unroll 1
    for (u32 h = top; h <= bottom; ++h) {
        const float *from = coefficients + (image * height + h) * width * p.c + c;
#pragma unroll 1
        for (u32 w = left; w <= right; ++w) {
            const float *at = from + w * p.c;
            sum += fmaf(at[2 * len], of_x, fmaf(at[len], of_d, at[0]));
        }
    }
    put(&dx[i], sum, add);
}
