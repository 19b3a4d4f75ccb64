// Batch normalization. Sums over rows have two stages: blocks sum chunks of rows (see Columns), then a warp a channel sums the
// chunks. The values of a chunk stay in registers, so memory is read once for mean and variance.
//
// The variance is that of deviations from the mean of the chunk: squares of values with mean 1000 and deviation 1 would be of no
// use. The mean of a chunk is rounded, but the sum of the deviations corrects for that: with d = x - a of n values, for any a,
//
//     mean = a + sum d / n             m2 = sum (x - mean)^2 = sum d^2 - (sum d)^2 / n
//
// and the chunks are merged by their deviations from the mean of all (Chan, Golub & LeVeque, 1979).
#include "../../cuda_rt/common.cuh"

// Rows that a thread sums, and that it maps.
#define SUM_ROWS 32
#define MAP_ROWS 8

// partial[0][channel][chunk] and [1]: mean as a sum of two floats; [2]: m2
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_moments(Columns p, const float *__restrict__ x, float *__restrict__ partial) {
    __shared__ float shared[BLOCK];
    const Place at = place(p);
    float values[SUM_ROWS];
    float sum = 0.0f;
#pragma unroll
    for (u32 i = 0; i < SUM_ROWS; ++i) {
        const u32 row = at.row + i * at.step;
        values[i] = row < at.end ? x[row * p.channels + at.channel] : 0.0f;
        sum += values[i];
    }
    const float count = chunk_count(p, blockIdx.x);
    const float mean = column_sum(sum, p.lanes, shared) / count;
    float first = 0.0f, second = 0.0f;
#pragma unroll
    for (u32 i = 0; i < SUM_ROWS; ++i) {
        const float d = at.row + i * at.step < at.end ? values[i] - mean : 0.0f;
        first += d;
        second = fmaf(d, d, second);
    }
    first = column_sum(first, p.lanes, shared);
    second = column_sum(second, p.lanes, shared);
    if (threadIdx.x < p.lanes && at.channel < p.channels) {
        float *out = partial + at.channel * p.chunks + blockIdx.x;
        const u32 plane = p.channels * p.chunks;
        out[0] = mean;
        out[plane] = first / count;
        out[2 * plane] = second - first * first / count;
    }
}

// `Constants` in batch_norm/cuda/mod.rs. `unbias` is rows / (rows - 1), or 0 if there is one row.
struct Constants {
    Columns columns;
    float eps, momentum, unbias;
};
static_assert(sizeof(Constants) == 32, "as in Rust");

// Statistics of the batch from those of the chunks; a warp a channel
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_statistics(Constants c, const float *__restrict__ partial, float *__restrict__ running_mean,
                          float *__restrict__ running_var, float *__restrict__ mean_out, float *__restrict__ rstd_out) {
    const Columns &p = c.columns;
    const u32 channel = blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (channel >= p.channels) {
        return; // the whole warp
    }
    const float *hi = partial + channel * p.chunks;
    const float *lo = hi + p.channels * p.chunks;
    const float *m2 = lo + p.channels * p.chunks;
    const float shift = hi[0], rows = static_cast<float>(p.rows);
    Wide sum = {0.0f, 0.0f};
    for (u32 i = lane; i < p.chunks; i += 32) {
        sum = add(sum, {chunk_count(p, i) * ((hi[i] - shift) + lo[i]), 0.0f});
    }
    sum = warp_sum(sum);
    const float offset = (sum.hi + sum.lo) / rows;
    Wide squares = {0.0f, 0.0f};
    for (u32 i = lane; i < p.chunks; i += 32) {
        const float d = (hi[i] - shift) + lo[i] - offset;
        squares = add(squares, two_sum(m2[i], chunk_count(p, i) * d * d));
    }
    squares = warp_sum(squares);
    if (lane == 0) {
        const float mean = shift + offset, var = (squares.hi + squares.lo) / rows;
        mean_out[channel] = mean;
        rstd_out[channel] = 1.0f / sqrtf(var + c.eps);
        if (c.momentum != 0.0f) {
            running_mean[channel] += c.momentum * (mean - running_mean[channel]);
            if (c.unbias != 0.0f) {
                running_var[channel] += c.momentum * (var * c.unbias - running_var[channel]);
            }
        }
    }
}

// y = gamma (x - mean) rstd + beta; y may be x
__device__ __forceinline__ void normalize(const Columns &p, const Place &at, float mean, float scale, float beta, const float *x,
                                          float *y) {
#pragma unroll
    for (u32 i = 0; i < MAP_ROWS; ++i) {
        const u32 row = at.row + i * at.step;
        if (row < at.end) {
            const u32 at_row = row * p.channels + at.channel;
            y[at_row] = fmaf(scale, x[at_row] - mean, beta);
        }
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_apply(Columns p, const float *x, const float *__restrict__ gamma, const float *__restrict__ beta,
                     const float *__restrict__ mean, const float *__restrict__ rstd, float *y) {
    const Place at = place(p);
    if (at.row < at.end) {
        const u32 c = at.channel;
        normalize(p, at, mean[c], gamma[c] * rstd[c], beta[c], x, y);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_inference(Columns p, float eps, const float *x, const float *__restrict__ gamma, const float *__restrict__ beta,
                         const float *__restrict__ mean, const float *__restrict__ var, float *y) {
    const Place at = place(p);
    if (at.row < at.end) {
        const u32 c = at.channel;
        normalize(p, at, mean[c], gamma[c] / sqrtf(var[c] + eps), beta[c], x, y);
    }
}

// partial[0][channel][chunk] = sum dy, [1] = sum dy xhat
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_backward_sums(Columns p, const float *__restrict__ x, const float *__restrict__ mean,
                             const float *__restrict__ rstd, const float *__restrict__ dy, float *__restrict__ partial) {
    __shared__ float shared[BLOCK];
    const Place at = place(p);
    float first = 0.0f, second = 0.0f;
    if (at.row < at.end) {
        const float center = mean[at.channel], scale = rstd[at.channel];
#pragma unroll 8
        for (u32 i = 0; i < SUM_ROWS; ++i) {
            const u32 row = at.row + i * at.step;
            if (row < at.end) {
                const u32 at_row = row * p.channels + at.channel;
                const float g = dy[at_row];
                first += g;
                second = fmaf(g, (x[at_row] - center) * scale, second);
            }
        }
    }
    first = column_sum(first, p.lanes, shared);
    second = column_sum(second, p.lanes, shared);
    if (threadIdx.x < p.lanes && at.channel < p.channels) {
        float *out = partial + at.channel * p.chunks + blockIdx.x;
        out[0] = first;
        out[p.channels * p.chunks] = second;
    }
}

// `Writes` in batch_norm/cuda/mod.rs: what is added to
struct Writes {
    u32 dgamma, dbeta;
};

// dbeta and dgamma, if they are wanted, and means[0] = dbeta / rows, means[1] = dgamma / rows; a warp a channel
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_backward_statistics(Columns p, Writes adds, const float *__restrict__ partial, float *__restrict__ dgamma,
                                   float *__restrict__ dbeta, float *__restrict__ means) {
    const u32 channel = blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (channel >= p.channels) {
        return; // the whole warp
    }
    const float *first = partial + channel * p.chunks;
    const float *second = first + p.channels * p.chunks;
    Wide beta = {0.0f, 0.0f}, gamma = {0.0f, 0.0f};
    for (u32 i = lane; i < p.chunks; i += 32) {
        beta = add(beta, {first[i], 0.0f});
        gamma = add(gamma, {second[i], 0.0f});
    }
    beta = warp_sum(beta);
    gamma = warp_sum(gamma);
    if (lane == 0) {
        const float rows = static_cast<float>(p.rows);
        if (dbeta) {
            put(&dbeta[channel], beta.hi, adds.dbeta);
        }
        if (dgamma) {
            put(&dgamma[channel], gamma.hi, adds.dgamma);
        }
        means[channel] = beta.hi / rows;
        means[p.channels + channel] = gamma.hi / rows;
    }
}

// dx (+)= gamma rstd (dy - dbeta / m - xhat dgamma / m); dx may be dy
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_backward_input(Columns p, const float *__restrict__ x, const float *__restrict__ gamma,
                              const float *__restrict__ mean, const float *__restrict__ rstd, const float *__restrict__ means,
                              const float *dy, float *dx, u32 add) {
    const Place at = place(p);
    if (at.row < at.end) {
        const u32 c = at.channel;
        const float center = mean[c], inverse = rstd[c], scale = gamma[c] * inverse;
        const float beta = means[c], slope = means[p.channels + c];
#pragma unroll
        for (u32 i = 0; i < MAP_ROWS; ++i) {
            const u32 row = at.row + i * at.step;
            if (row < at.end) {
                const u32 at_row = row * p.channels + c;
                const float xhat = (x[at_row] - center) * inverse;
                put(&dx[at_row], scale * (dy[at_row] - beta - xhat * slope), add);
            }
        }
    }
}
