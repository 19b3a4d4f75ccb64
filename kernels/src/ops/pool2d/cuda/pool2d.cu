// Pooling, and its gradient.
#include "../../../gpu/common.cuh"

// In the order of `Pooling` in pool2d/params.rs.
enum Pooling : u32 {
    MAX,
    AVERAGE,
    AVERAGE_INSIDE,
};

// `Axis` and `Pool` in pool2d/cuda/mod.rs.
struct Axis {
    u32 input, output, kernel, stride, padding;
};

struct Pool {
    u32 n, c, pooling;
    Axis rows, columns;
};
static_assert(sizeof(Pool) == 52, "as in Rust");

struct Range {
    u32 begin, end;
};

// The rows or columns of the image that the window of output row or column i covers.
__device__ __forceinline__ Range window(const Axis &axis, u32 i) {
    const u32 begin = i * axis.stride, end = begin + axis.kernel - axis.padding;
    return {begin < axis.padding ? 0 : begin - axis.padding, end < axis.input ? end : axis.input};
}

__device__ __forceinline__ float share(const Pool &p, Range rows, Range columns) {
    const u32 inside = (rows.end - rows.begin) * (columns.end - columns.begin);
    return 1.0f / static_cast<float>(p.pooling == AVERAGE ? p.rows.kernel * p.columns.kernel : inside);
}

// The place, in an image, of a window's first largest value, or of its last NaN. `x` is the channel's first pixel.
__device__ __forceinline__ u32 largest(const Pool &p, Range rows, Range columns, const float *__restrict__ x) {
    u32 best = rows.begin * p.columns.input + columns.begin;
    float value = x[best * p.c];
#pragma unroll 1
    for (u32 h = rows.begin; h < rows.end; ++h) {
#pragma unroll 1
        for (u32 w = columns.begin; w < columns.end; ++w) {
            const u32 pixel = h * p.columns.input + w;
            const float candidate = x[pixel * p.c];
            if (candidate > value || candidate != candidate) {
                best = pixel;
                value = candidate;
            }
        }
    }
    return best;
}

// A thread an element of y.
extern "C" __global__ void __launch_bounds__(BLOCK) pool2d_forward(Pool p, const float *__restrict__ x, float *__restrict__ y) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= p.n * p.rows.output * p.columns.output * p.c) {
        return;
    }
    const u32 c = i % p.c, pixel = i / p.c, row = pixel / p.columns.output;
    const Range rows = window(p.rows, row % p.rows.output), columns = window(p.columns, pixel % p.columns.output);
    const float *image = x + row / p.rows.output * (p.rows.input * p.columns.input * p.c) + c;
    if (p.pooling == MAX) {
        y[i] = image[largest(p, rows, columns, image) * p.c];
        return;
    }
    float sum = 0.0f;
#pragma unroll 1
    for (u32 h = rows.begin; h < rows.end; ++h) {
#pragma unroll 1
        for (u32 w = columns.begin; w < columns.end; ++w) {
            sum += image[(h * p.columns.input + w) * p.c];
        }
    }
    y[i] = sum * share(p, rows, columns);
}

// The output rows or columns whose windows cover row or column i of the image.
__device__ __forceinline__ Range covering(const Axis &axis, u32 i) {
    const u32 at = i + axis.padding, end = at / axis.stride + 1;
    return {at < axis.kernel ? 0 : (at - axis.kernel) / axis.stride + 1, end < axis.output ? end : axis.output};
}

// A thread an element of dx: it adds up the windows that it is in, in their order.
extern "C" __global__ void __launch_bounds__(BLOCK)
    pool2d_backward(Pool p, const float *__restrict__ x, const float *__restrict__ dy, float *__restrict__ dx, u32 add) {
    const u32 i = blockIdx.x * BLOCK + threadIdx.x;
    if (i >= p.n * p.rows.input * p.columns.input * p.c) {
        return;
    }
    const u32 c = i % p.c, pixel = i / p.c, n = pixel / (p.rows.input * p.columns.input);
    const u32 of_image = pixel % (p.rows.input * p.columns.input);
    const float *image = x + n * (p.rows.input * p.columns.input * p.c) + c;
    const Range over_rows = covering(p.rows, of_image / p.columns.input), over_columns = covering(p.columns, of_image % p.columns.input);
    float sum = 0.0f;
#pragma unroll 1
    for (u32 row = over_rows.begin; row < over_rows.end; ++row) {
#pragma unroll 1
        for (u32 column = over_columns.begin; column < over_columns.end; ++column) {
            const Range rows = window(p.rows, row), columns = window(p.columns, column);
            const float gradient = dy[((n * p.rows.output + row) * p.columns.output + column) * p.c + c];
            if (p.pooling != MAX) {
                sum += gradient * share(p, rows, columns);
            } else if (largest(p, rows, columns, image) == of_image) {
                sum += gradient;
            }
        }
    }
    put(&dx[i], sum, add);
}
