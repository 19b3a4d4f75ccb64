// Batch normalization. Sums over rows have two stages: blocks sum chunks of rows (see Columns), then a warp a channel
// sums the chunks. The values of a chunk stay in registers, so memory is read once for mean and variance. The chunks
// are merged by their deviations from the mean of all (Chan, Golub & LeVeque, 1979).
#include "../../../gpu/common.cuh"

// Rows that a thread sums, and that it maps.
#define SUM_ROWS 32
#define MAP_ROWS 8

// What `chunk_moments` leaves in `partial`
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_chunks(Columns p, const float *__restrict__ x, float *__restrict__ partial) {
    __shared__ float shared[BLOCK];
    const Place at = place(p);
    float values[SUM_ROWS];
#pragma unroll
    for (u32 i = 0; i < SUM_ROWS; ++i) {
        const u32 row = at.row + i * at.step;
        values[i] = row < at.end ? x[row * p.channels + at.channel] : 0.0f;
    }
    chunk_moments<SUM_ROWS>(p, at, [&](u32 i) { return values[i]; }, partial, shared);
}

struct Moments {
    float mean, var;
};

// Moments of a channel from those of its chunks, by the lanes of a warp; all of them get it.
__device__ __forceinline__ Moments merge(const Columns &p, u32 channel, u32 lane, const float *__restrict__ partial) {
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
    return {shift + offset, (squares.hi + squares.lo) / rows};
}

// `Update` in batch_norm/cuda/mod.rs: how running statistics follow those of batches. `unbias` is rows / (rows - 1), or
// 0 if there is one row, of which there is no variance.
struct Update {
    float eps, momentum, unbias;
};
static_assert(sizeof(Update) == 12, "as in Rust");

__device__ __forceinline__ void update_running(const Update &u, Moments batch, float *mean, float *var) {
    // with momentum 0 an infinite mean would make NaN of the running one, and a sum 0 of -0
    if (u.momentum != 0.0f) {
        *mean += u.momentum * (batch.mean - *mean);
        if (u.unbias != 0.0f) {
            *var += u.momentum * (batch.var * u.unbias - *var);
        }
    }
}

// Statistics of the batch from its chunks; a warp a channel
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_statistics(Columns p, Update u, const float *__restrict__ partial, float *__restrict__ running_mean,
                          float *__restrict__ running_var, float *__restrict__ mean, float *__restrict__ rstd) {
    const u32 channel = blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (channel >= p.channels) {
        return; // the whole warp
    }
    const Moments batch = merge(p, channel, lane, partial);
    if (lane == 0) {
        mean[channel] = batch.mean;
        rstd[channel] = 1.0f / sqrtf(batch.var + u.eps);
        update_running(u, batch, &running_mean[channel], &running_var[channel]);
    }
}

// Moments of the batch from its chunks; a warp a channel
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_moments(Columns p, const float *__restrict__ partial, float *__restrict__ mean, float *__restrict__ var) {
    const u32 channel = blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (channel >= p.channels) {
        return; // the whole warp
    }
    const Moments batch = merge(p, channel, lane, partial);
    if (lane == 0) {
        mean[channel] = batch.mean;
        var[channel] = batch.var;
    }
}

// The affine map of a normalization, its rstd if that is wanted, and the running statistics if they are given; a thread
// a channel
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_fold(u32 channels, Update u, const float *__restrict__ gamma, const float *__restrict__ beta,
                    const float *__restrict__ mean, const float *__restrict__ var, float *__restrict__ running_mean,
                    float *__restrict__ running_var, float *__restrict__ rstd, float *__restrict__ scale,
                    float *__restrict__ shift) {
    const u32 c = blockIdx.x * BLOCK + threadIdx.x;
    if (c < channels) {
        const float reciprocal = 1.0f / sqrtf(var[c] + u.eps);
        const float factor = gamma[c] * reciprocal;
        scale[c] = factor;
        shift[c] = fmaf(-factor, mean[c], beta[c]);
        if (rstd) {
            rstd[c] = reciprocal;
        }
        if (running_mean) {
            update_running(u, {mean[c], var[c]}, &running_mean[c], &running_var[c]);
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

// dbeta and dgamma, if they are wanted, and, if they are, the coefficients of dx = a dy + b (x - mean) + c:
// coefficients[0] = a = gamma rstd, [1] = b = -a rstd dgamma / rows, [2] = c = -a dbeta / rows; a warp a channel
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_gradients(Columns p, Writes adds, const float *__restrict__ partial, const float *__restrict__ gamma,
                         const float *__restrict__ rstd, float *__restrict__ dgamma, float *__restrict__ dbeta,
                         float *__restrict__ coefficients) {
    const u32 channel = blockIdx.x * (BLOCK / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (channel >= p.channels) {
        return; // the whole warp
    }
    const float *first = partial + channel * p.chunks;
    const float *second = first + p.channels * p.chunks;
    Wide of_beta = {0.0f, 0.0f}, of_gamma = {0.0f, 0.0f};
    for (u32 i = lane; i < p.chunks; i += 32) {
        of_beta = add(of_beta, {first[i], 0.0f});
        of_gamma = add(of_gamma, {second[i], 0.0f});
    }
    of_beta = warp_sum(of_beta);
    of_gamma = warp_sum(of_gamma);
    if (lane == 0) {
        if (dbeta) {
            put(&dbeta[channel], of_beta.hi, adds.dbeta);
        }
        if (dgamma) {
            put(&dgamma[channel], of_gamma.hi, adds.dgamma);
        }
        if (coefficients) {
            const float rows = static_cast<float>(p.rows), a = gamma[channel] * rstd[channel];
            coefficients[channel] = a;
            coefficients[p.channels + channel] = -a * rstd[channel] * of_gamma.hi / rows;
            coefficients[2 * p.channels + channel] = -a * of_beta.hi / rows;
        }
    }
}

// dx (+)= a dy + b (x - mean) + c; dx may be dy
extern "C" __global__ void __launch_bounds__(BLOCK)
    batch_norm_backward(Columns p, const float *__restrict__ x, const float *__restrict__ mean,
                        const float *__restrict__ coefficients, const float *dy, float *dx, u32 add_to) {
    const Place at = place(p);
    if (at.row < at.end) {
        const u32 channel = at.channel;
        const float center = mean[channel], a = coefficients[channel], b = coefficients[p.channels + channel];
        const float c = coefficients[2 * p.channels + channel];
#pragma unroll
        for (u32 i = 0; i < MAP_ROWS; ++i) {
            const u32 row = at.row + i * at.step;
            if (row < at.end) {
                const u32 at_row = row * p.channels + channel;
                put(&dx[at_row], fmaf(a, dy[at_row], fmaf(b, x[at_row] - center, c)), add_to);
            }
        }
    }
}
